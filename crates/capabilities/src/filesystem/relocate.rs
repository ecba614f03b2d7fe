//! `filesystem.move`; `move` is a keyword.

use super::Scope;
use super::atomic::sync_directory;
use super::copy::{check_destination, copy_recorded, exists};
use super::fault;
use super::io::size_of;
use super::place::{Place, Slot};
use super::undo::{self, Draft};
use kruxos_types::{CallError, ErrorType};
use rustix::fs::{AtFlags, FileType, RenameFlags, Stat};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};

const DO: &str = "move";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    source: String,
    destination: String,
    #[serde(default)]
    overwrite: bool,
}

pub(super) fn run(args: Args, scope: &Scope<'_>) -> Result<Value, CallError> {
    let roots = &scope.files.roots;
    let source = roots.locate("source", &args.source)?;
    let destination = roots.locate("destination", &args.destination)?;
    if source.is_root() {
        return Err(CallError::invalid_input(
            "source",
            "it is the root itself",
            "a path below the root",
        ));
    }
    let shown = (source.show(), destination.show());
    let from = source
        .slot()
        .map_err(|(errno, place)| place.fault(errno, DO))?;
    let stat = match from.stat().map_err(|errno| from.fault(errno, DO))? {
        Some(stat) => stat,
        None => return Err(from.fault(Errno::NOENT, DO)),
    };
    let to = own_slot(destination)?;
    move_entry(&from, &stat, &to, args.overwrite, scope)?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let size = if is_directory { 0 } else { size_of(&stat) };
    Ok(json!({ "source": shown.0, "destination": shown.1, "size": size }))
}

/// The destination's own name; a link there is not followed.
fn own_slot(place: Place<'_>) -> Result<Slot<'_>, CallError> {
    place.slot().map_err(|(errno, place)| match errno {
        Errno::NOENT | Errno::NOTDIR => {
            let given = place.given().trim_end_matches('/');
            let parent = given.rsplit_once('/').map_or(".", |(parent, _)| parent);
            fault::of(ErrorType::FileNotFound, parent)
                .detail("The directory of the destination does not exist.")
        }
        Errno::ISDIR => {
            exists(place.given()).detail("It is a directory; name the new entry in it.")
        }
        other => place.fault(other, DO),
    })
}

fn move_entry(
    from: &Slot<'_>,
    stat: &Stat,
    to: &Slot<'_>,
    overwrite: bool,
    scope: &Scope<'_>,
) -> Result<(), CallError> {
    let fail = |errno| to.fault(errno, DO);
    let _held = scope.files.changing();
    let there = to.stat().map_err(fail)?;
    let flags = match &there {
        Some(there) if (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino) => {
            let reason = "it is the source itself, or another name of it";
            return Err(CallError::invalid_input(
                "destination",
                reason,
                "another path",
            ));
        }
        Some(there) if overwrite && FileType::from_raw_mode(there.st_mode) == FileType::Symlink => {
            RenameFlags::empty()
        }
        Some(_) => {
            check_destination(to, overwrite)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                return Err(exists(to.place.given()).detail("A directory does not replace a file."));
            }
            RenameFlags::empty()
        }
        None => RenameFlags::NOREPLACE,
    };
    let mut draft = Draft::new(scope);
    let state = undo::leaving(&mut draft, from, stat).map_err(fail)?;
    draft.around(to).map_err(fail)?;
    draft
        .replace(to, there.as_ref(), Some(state))
        .map_err(fail)?;
    let begun = draft.begin().map_err(fail)?;
    let renamed = match rustix::fs::renameat_with(
        &from.dir,
        from.name.as_str(),
        &to.dir,
        to.name.as_str(),
        flags,
    ) {
        Ok(()) => {
            begun.done();
            sync_directory(&to.dir).map_err(fail)?;
            return sync_directory(&from.dir).map_err(fail);
        }
        Err(errno) => begun.failed_with(errno),
    };
    if renamed != Errno::XDEV {
        return Err(explain(renamed, from, to));
    }
    drop(_held);
    across(from, stat, to, overwrite, scope)
}

fn explain(errno: Errno, from: &Slot<'_>, to: &Slot<'_>) -> CallError {
    match errno {
        Errno::EXIST | Errno::NOTEMPTY => exists(to.place.given()),
        Errno::INVAL => CallError::invalid_input(
            "destination",
            "it lies inside the source",
            "a path outside the source",
        ),
        Errno::NOENT => from.fault(errno, DO),
        other => to.fault(other, DO),
    }
}

/// Between file systems: a copy that is complete before the source goes.
fn across(
    from: &Slot<'_>,
    stat: &Stat,
    to: &Slot<'_>,
    overwrite: bool,
    scope: &Scope<'_>,
) -> Result<(), CallError> {
    let fail = |errno| from.fault(errno, DO);
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(CallError::invalid_input(
            "source",
            "only regular files can move to another file system",
            "a regular file, or a destination on the same file system",
        ));
    }
    let file = from.open().map_err(fail)?;
    let stat = rustix::fs::fstat(&file).map_err(fail)?;
    from.place.require_regular(&stat, DO)?;
    let mut draft = Draft::new(scope);
    undo::leaving(&mut draft, from, &stat).map_err(fail)?;
    let (begun, _) = copy_recorded(&file, &stat, to, overwrite, scope, draft)?;
    // If this fails, the copy stays and the record is without an end: undo looks at both.
    rustix::fs::unlinkat(&from.dir, from.name.as_str(), AtFlags::empty()).map_err(fail)?;
    begun.done();
    sync_directory(&from.dir).map_err(fail)
}
