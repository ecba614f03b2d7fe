use super::copy::exists;
use super::roots::Root;
use super::trash::{Cause, Sidecar};
use super::undo::{self, Draft};
use super::{Scope, fault};
use kruxos_types::{CallError, ErrorType};
use rustix::fs::FileType;
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};

const DO: &str = "restore";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    trash_path: String,
    #[serde(default)]
    overwrite: bool,
}

/// Where the entry would go back to, as the agent sees it.
pub(super) fn origin(args: &Args, scope: &Scope<'_>) -> Result<String, CallError> {
    let entry = find(&args.trash_path, scope)?;
    let root = root_of(&entry, args, scope)?;
    Ok(scope.files.roots.place(root, &entry.path).show())
}

fn root_of<'a>(entry: &Sidecar, args: &Args, scope: &Scope<'a>) -> Result<&'a Root, CallError> {
    scope.files.roots.by_label(&entry.mount).ok_or_else(|| {
        fault::of(ErrorType::FileNotFound, &args.trash_path)
            .detail("The mount it came from is gone.")
    })
}

pub(super) fn run(args: Args, scope: &Scope<'_>) -> Result<Value, CallError> {
    let entry = find(&args.trash_path, scope)?;
    let roots = &scope.files.roots;
    let root = root_of(&entry, &args, scope)?;
    let place = roots.place(root, &entry.path);
    let shown = place.show();
    let fail = |errno| roots.place(root, &entry.path).fault(errno, DO);
    undo::make_parents(&place, scope).map_err(fail)?;
    let slot = place
        .slot()
        .map_err(|(errno, place)| place.fault(errno, DO))?;
    let _held = scope.files.changing();
    let there = slot.stat().map_err(fail)?;
    if let Some(there) = &there {
        let is_directory = FileType::from_raw_mode(there.st_mode) == FileType::Directory;
        if !args.overwrite || is_directory || entry.kind == "directory" {
            return Err(exists(&shown));
        }
    }
    let trash = &scope.files.trash;
    let mut draft = Draft::new(scope);
    draft.around(&slot).map_err(fail)?;
    let after = trash.state(&entry).map_err(fail)?;
    draft
        .replace(&slot, there.as_ref(), Some(after))
        .map_err(fail)?;
    let begun = draft.begin().map_err(fail)?;
    begun
        .end(trash.put(&entry, &slot, there.is_some()))
        .map_err(|errno| match errno {
            Errno::EXIST => exists(&shown),
            errno => fail(errno),
        })?;
    let size = if entry.kind == "directory" {
        0
    } else {
        entry.size
    };
    Ok(json!({ "restored_path": shown, "size": size }))
}

/// The entry that `/trash/<id>` or `<id>` names, in the caller's own trash.
fn find(given: &str, scope: &Scope<'_>) -> Result<Sidecar, CallError> {
    let id = given.strip_prefix("/trash/").unwrap_or(given);
    if id.contains('/') || id.contains("..") {
        return Err(scope
            .files
            .roots
            .outside(given, None)
            .detail("A trash path is /trash/<id>, as filesystem.delete answers it."));
    }
    let entry = scope
        .files
        .trash
        .find(id)
        .filter(|entry| entry.cause == Cause::Deleted);
    entry.filter(|entry| entry.until > scope.files.clock.now()).ok_or_else(|| {
        fault::of(ErrorType::FileNotFound, given)
            .detail("Nothing with this id is in your trash; it may have been restored or its time is over.")
    })
}
