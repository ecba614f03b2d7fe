use super::fault::disk_full;
use super::io::{size_of, write_all};
use super::place::Slot;
use super::roots::open_beneath;
use super::undo::{self, Draft};
use super::write::{replace, require_writable};
use super::{Scope, fault};
use kruxos_types::CallError;
use rustix::fd::AsFd;
use rustix::fs::{OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};

const DO: &str = "append";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
    content: String,
}

pub(super) fn run(args: Args, scope: &Scope<'_>) -> Result<Value, CallError> {
    let place = scope.files.roots.locate("path", &args.path)?;
    let shown = place.show();
    let slot = place
        .target_slot()
        .map_err(|(errno, place)| disk_full(place.fault(errno, DO)))?;
    let content = args.content.as_bytes();
    let new_size = match slot.stat().map_err(|errno| slot.fault(errno, DO))? {
        None => {
            replace(&slot, content, &super::text::sha256(content), scope).map_err(disk_full)?;
            content.len() as u64
        }
        Some(stat) => {
            require_writable(&slot, &stat)?;
            grow(&slot, content, scope).map_err(disk_full)?
        }
    };
    Ok(json!({ "path": shown, "new_size": new_size }))
}

/// Appends in place (`O_APPEND`), so that a program that follows the file goes on following it. The
/// earlier content is the file's own beginning; the journal notes how long it was and its digest. If
/// not all of it fits, the file gets its earlier length back.
fn grow(slot: &Slot<'_>, content: &[u8], scope: &Scope<'_>) -> Result<u64, CallError> {
    let fail = |errno| slot.fault(errno, DO);
    let _held = scope.files.changing();
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open_beneath(
        slot.dir.as_fd(),
        slot.name.as_str(),
        flags,
        ResolveFlags::NO_SYMLINKS,
    )
    .map_err(|errno| match errno {
        Errno::LOOP => fault::changed_meanwhile(slot.place.given()),
        other => fail(other),
    })?;
    let stat = rustix::fs::fstat(&file).map_err(fail)?;
    slot.place.require_regular(&stat, DO)?;
    require_alone(slot, &stat)?;
    let mut draft = Draft::new(scope);
    let appending = undo::grow(&mut draft, slot, &stat, content).map_err(fail)?;
    let mut begun = draft.begin().map_err(fail)?;
    let written = write_all(&file, content).and_then(|()| rustix::fs::fsync(&file));
    if let Err(errno) = written {
        rustix::fs::ftruncate(&file, size_of(&stat)).map_err(fail)?;
        begun.failed();
        return Err(fail(errno));
    }
    let grown = rustix::fs::fstat(&file).map_err(fail)?;
    if let Some(appending) = appending {
        appending.done(&mut begun, &grown);
    }
    begun.done();
    Ok(size_of(&grown))
}

/// Appending writes into the file itself, so every other name of it would change too.
fn require_alone(slot: &Slot<'_>, stat: &Stat) -> Result<(), CallError> {
    if stat.st_nlink > 1 {
        return Err(fault::permission(slot.place.given(), DO).detail(
            "It has other names (hard links) that would change with it; write it anew with filesystem.write.",
        ));
    }
    Ok(())
}
