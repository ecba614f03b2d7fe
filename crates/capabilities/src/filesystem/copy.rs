use super::Scope;
use super::atomic::{Publish, Staged};
use super::fault;
use super::io::{Pass, hash_each, size_of, write_all};
use super::place::{Place, Slot};
use super::trash::MAX_COPIED;
use super::undo::{Begun, Draft};
use super::write::require_writable;
use kruxos_types::{CallError, ErrorType};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};

const DO: &str = "copy";

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
    let (file, stat) = source.open_file(DO)?;
    if size_of(&stat) > MAX_COPIED {
        return Err(fault::exhausted(
            "bytes of one copy",
            MAX_COPIED,
            size_of(&stat),
        ));
    }
    let shown = (source.show(), destination.show());
    let slot = destination_slot(destination, DO)?;
    let existing = check_destination(&slot, args.overwrite)?;
    if existing.is_some_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)) {
        return Err(CallError::invalid_input(
            "destination",
            "it is the source itself",
            "another path",
        ));
    }
    let (checksum, size) = copy(&file, &stat, &slot, args.overwrite, scope)?;
    Ok(json!({ "source": shown.0, "destination": shown.1, "size": size, "checksum": checksum }))
}

/// The slot of a destination; a missing directory is told as `FileNotFound` of that directory.
pub(super) fn destination_slot<'r>(
    place: Place<'r>,
    operation: &'static str,
) -> Result<Slot<'r>, CallError> {
    place.target_slot().map_err(|(errno, place)| match errno {
        Errno::NOENT | Errno::NOTDIR => {
            let parent = place.given().trim_end_matches('/').rsplit_once('/').map_or(".", |(parent, _)| parent);
            fault::of(ErrorType::FileNotFound, parent)
                .detail("The directory of the destination does not exist; filesystem.write with create_parents makes one.")
        }
        Errno::ISDIR => exists(place.given()).detail("It is a directory; name the new file in it."),
        other => place.fault(other, operation),
    })
}

/// `DestinationExists`.
pub(super) fn exists(given: &str) -> CallError {
    fault::of(ErrorType::DestinationExists, given)
}

/// Refuses a destination that is there, unless it is a file that may be replaced.
pub(super) fn check_destination(
    slot: &Slot<'_>,
    overwrite: bool,
) -> Result<Option<Stat>, CallError> {
    let existing = slot.stat().map_err(|errno| slot.fault(errno, DO))?;
    if let Some(stat) = &existing {
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(exists(slot.place.given())
                .detail("It is a directory, which is never replaced; name the new file in it."));
        }
        if !overwrite {
            return Err(exists(slot.place.given()));
        }
        require_writable(slot, stat)?;
    }
    Ok(existing)
}

/// Copies an open file to a slot in one visible step. The copy has the source's mode.
pub(super) fn copy(
    file: &OwnedFd,
    stat: &Stat,
    slot: &Slot<'_>,
    overwrite: bool,
    scope: &Scope<'_>,
) -> Result<(String, u64), CallError> {
    let draft = Draft::new(scope);
    let (begun, sum) = copy_recorded(file, stat, slot, overwrite, scope, draft)?;
    begun.done();
    Ok(sum)
}

/// [`copy`] with a record that may have begun before and is the caller's to end, if it succeeds.
pub(super) fn copy_recorded<'a>(
    file: &OwnedFd,
    stat: &Stat,
    slot: &Slot<'_>,
    overwrite: bool,
    scope: &Scope<'a>,
    mut draft: Draft<'a>,
) -> Result<(Begun<'a>, (String, u64)), CallError> {
    let fail = |errno| slot.fault(errno, DO);
    draft.around(slot).map_err(fail)?;
    let staged = Staged::begin(&slot.dir, Some(stat)).map_err(fail)?;
    let pass = hash_each(file, MAX_COPIED, None, |chunk| {
        write_all(&staged.file, chunk)
    })
    .map_err(fail)?;
    let Pass::Whole { sha256, size } = pass else {
        return Err(fault::exhausted(
            "bytes of one copy",
            MAX_COPIED,
            MAX_COPIED,
        ));
    };
    rustix::fs::fsync(&staged.file).map_err(fail)?;
    let _held = scope.files.changing();
    let existing = check_destination(slot, overwrite)?;
    let after = staged.state(&sha256).map_err(fail)?;
    draft
        .replace(slot, existing.as_ref(), Some(after))
        .map_err(fail)?;
    draft.moved_to_last(&sha256);
    let begun = draft.begin().map_err(fail)?;
    let how = if existing.is_some() {
        Publish::Replace
    } else {
        Publish::New
    };
    if let Err(errno) = staged.publish(&slot.name, how) {
        begun.failed();
        return Err(if errno == Errno::EXIST {
            exists(slot.place.given())
        } else {
            fail(errno)
        });
    }
    Ok((begun, (sha256, size)))
}
