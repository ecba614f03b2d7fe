use super::atomic::{Publish, Staged};
use super::fault::{disk_full, not_regular};
use super::place::{Place, Slot};
use super::read::Encoding;
use super::text::sha256;
use super::undo::{self, Draft};
use super::{Scope, fault};
use kruxos_types::{CallError, ErrorType};
use rustix::fs::{Access, AtFlags, FileType, Stat};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};

const DO: &str = "write";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
    content: String,
    #[serde(default)]
    encoding: Encoding,
    #[serde(default)]
    create_parents: bool,
}

pub(super) fn run(args: Args, scope: &Scope<'_>) -> Result<Value, CallError> {
    let decoded;
    let content: &[u8] = match args.encoding {
        Encoding::Utf8 => args.content.as_bytes(),
        Encoding::Base64 => {
            decoded = decode_base64(&args.content)?;
            &decoded
        }
    };
    let place = scope.files.roots.locate("path", &args.path)?;
    let shown = place.show();
    let slot = find_slot(place, args.create_parents, scope)?;
    let checksum = sha256(content);
    replace(&slot, content, &checksum, scope).map_err(disk_full)?;
    Ok(json!({ "path": shown, "size": content.len(), "checksum": checksum }))
}

/// Bytes of base64 text with or without padding and line breaks.
pub(super) fn decode_base64(text: &str) -> Result<Vec<u8>, CallError> {
    let mut clean = text.as_bytes().to_vec();
    clean.retain(|byte| !byte.is_ascii_whitespace() && *byte != b'=');
    data_encoding::BASE64_NOPAD.decode(&clean).map_err(|error| {
        let reason = format!("not base64: wrong at character {}", error.position);
        CallError::invalid_input("content", &reason, "base64 text (RFC 4648)")
    })
}

/// Where a write must go, following links to their target inside the root.
fn find_slot<'r>(
    place: Place<'r>,
    create_parents: bool,
    scope: &Scope<'_>,
) -> Result<Slot<'r>, CallError> {
    if create_parents {
        undo::make_parents(&place, scope).map_err(|errno| parent_fault(&place, errno))?;
    }
    place
        .target_slot()
        .map_err(|(errno, place)| parent_fault(&place, errno))
}

fn parent_fault(place: &Place<'_>, errno: Errno) -> CallError {
    match errno {
        Errno::NOENT => fault::of(ErrorType::ParentNotFound, place.given()),
        Errno::NOTDIR => fault::of(ErrorType::ParentNotFound, place.given())
            .detail("A part of the path above the file is not a directory."),
        other => disk_full(place.fault(other, DO)),
    }
}

/// Puts content at a slot in one step, keeping what was there.
pub(super) fn replace(
    slot: &Slot<'_>,
    content: &[u8],
    checksum: &str,
    scope: &Scope<'_>,
) -> Result<(), CallError> {
    let fail = |errno| slot.fault(errno, DO);
    let existing = slot.stat().map_err(fail)?;
    if let Some(stat) = &existing {
        require_writable(slot, stat)?;
    }
    let mut draft = Draft::new(scope);
    draft.around(slot).map_err(fail)?;
    let staged = Staged::with_content(&slot.dir, existing.as_ref(), content).map_err(fail)?;
    let _held = scope.files.changing();
    let existing = slot.stat().map_err(fail)?;
    if let Some(stat) = &existing {
        require_writable(slot, stat)?;
    }
    let after = staged.state(checksum).map_err(fail)?;
    draft
        .replace(slot, existing.as_ref(), Some(after))
        .map_err(fail)?;
    let begun = draft.begin().map_err(fail)?;
    let how = match existing {
        Some(_) => Publish::Replace,
        None => Publish::New,
    };
    begun.end(publish(staged, slot, how))
}

fn publish(staged: Staged<'_>, slot: &Slot<'_>, how: Publish) -> Result<(), CallError> {
    staged
        .publish(&slot.name, how)
        .map_err(|errno| match errno {
            Errno::EXIST => fault::changed_meanwhile(slot.place.given()),
            errno => slot.fault(errno, DO),
        })
}

/// Refuses to replace what is not a regular file, and files that this process may not write: a
/// rename would not ask for that.
pub(super) fn require_writable(slot: &Slot<'_>, stat: &Stat) -> Result<(), CallError> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        // It was followed to its end a moment ago, so somebody put it there since.
        FileType::Symlink => return Err(fault::changed_meanwhile(slot.place.given())),
        other => return Err(not_regular(slot.place.given(), other)),
    }
    rustix::fs::accessat(
        &slot.dir,
        slot.name.as_str(),
        Access::WRITE_OK,
        AtFlags::EACCESS,
    )
    .map_err(|errno| slot.fault(errno, DO))
}
