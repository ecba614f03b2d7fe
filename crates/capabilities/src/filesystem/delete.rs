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
    let entry = scope
        .files
        .trash
        .take(&slot, &stat, scope.by())
        .map_err(fail)?;
    Ok(json!({
        "deleted_path": shown,
        "trash_path": format!("/trash/{}", entry.id),
        "recoverable_until": entry.until.to_string(),
    }))
}
