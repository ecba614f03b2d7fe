use super::undo::{Draft, Kept, Kind, state_of};
use super::{Scope, fault};
use kruxos_types::{CallError, ErrorType};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};

const DO: &str = "delete";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
}

pub(super) fn run(args: Args, scope: &Scope<'_>) -> Result<Value, CallError> {
    let place = scope.files.roots.locate("path", &args.path)?;
    if place.is_root() {
        let expected = "a path below the root";
        return Err(fault::bad_path(
            &args.path,
            "it is the root itself",
            expected,
        ));
    }
    let shown = place.show();
    let slot = place
        .slot()
        .map_err(|(errno, place)| place.fault(errno, DO))?;
    let _held = scope.files.changing();
    let fail = |errno| match errno {
        Errno::NOTEMPTY | Errno::EXIST => fault::of(ErrorType::DirectoryNotEmpty, &args.path),
        Errno::FBIG => slot.fault(errno, DO).detail(
            "The trash is on another file system, and the file is too large to copy there.",
        ),
        errno => slot.fault(errno, DO),
    };
    let stat = slot
        .stat()
        .map_err(fail)?
        .ok_or_else(|| fail(Errno::NOENT))?;
    let trash = &scope.files.trash;
    let entry = trash.entry(&slot, &stat, scope.by());
    let mut draft = Draft::new(scope);
    draft.around(&slot).map_err(fail)?;
    let before = state_of(&slot, &stat)
        .map_err(fail)?
        .with_sha256(entry.sha256.clone());
    let kept = match before.kind {
        Kind::Directory => Kept::Nothing,
        _ => Kept::Trash(entry.id.clone()),
    };
    draft.note(&slot, Some(before), None, kept);
    let begun = draft.begin().map_err(fail)?;
    begun.end(trash.take(&entry, &slot, &stat)).map_err(fail)?;
    Ok(json!({
        "deleted_path": shown,
        "trash_path": format!("/trash/{}", entry.id),
        "recoverable_until": entry.until.to_string(),
    }))
}
