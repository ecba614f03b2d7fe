//! Undo of what a session changed. Every call that changes files writes a record to its session's journal
//! before it does ([`Draft`]), with the state of each path before and after, and keeps the earlier content;
//! undo brings the paths back in reverse order, as far as they are still what the record says.

mod apply;
mod area;
mod crash;
mod draft;
mod journal;
mod plan;
mod quota;
mod record;
mod report;
mod store;
#[cfg(test)]
mod tests;
mod tree;
mod view;

pub use area::{RecordedSession, clean_changes, has_recorded, recorded_sessions};
pub(super) use draft::{Begun, Draft, grow};
pub(super) use journal::Journal;
pub(super) use record::{Kept, Kind, State, Time, modified_at};
pub(super) use report::run;
pub use report::{MAX_DIFF, MAX_ROWS, UndoOptions, UndoReport, UndoRow};
pub(super) use tree::{modified, state as state_of};

use super::Scope;
use super::io::{hash_file, size_of};
use super::place::{Place, Slot};
use rustix::fs::Stat;
use rustix::io::Errno;

/// A file that only moves is hashed up to this, in bytes; larger ones are told by size and time.
const MAX_MOVED_HASH: u64 = 1 << 20;

/// Notes that what is at a slot goes to the change that is noted next.
pub(super) fn leaving(draft: &mut Draft<'_>, from: &Slot<'_>, stat: &Stat) -> Result<State, Errno> {
    draft.around(from)?;
    let mut state = state_of(from, stat)?;
    if state.kind == Kind::File
        && size_of(stat) <= MAX_MOVED_HASH
        && let Ok(file) = from.open()
    {
        state.sha256 = hash_file(&file, MAX_MOVED_HASH, None)?;
    }
    let next = draft.changes().len() + 1;
    draft.note(from, Some(state.clone()), None, Kept::Moved(next));
    Ok(state)
}

/// [`Place::make_parents`], recorded.
pub(super) fn make_parents(place: &Place<'_>, scope: &Scope<'_>) -> Result<(), Errno> {
    let missing = place.missing_parents();
    // With `..` behind what is missing, no path says where a directory will be: it is not recorded.
    let unclear = missing.iter().any(|path| path.contains(".."));
    let (Some(first), Some(_), false) = (missing.first(), scope.session, unclear) else {
        return place.make_parents();
    };
    let root = place.root;
    let slot = scope.files.roots.place(root, first).slot();
    let slot = slot.map_err(|(errno, _)| errno)?;
    let first_key = tree::key(&slot);
    let mut draft = Draft::new(scope);
    let _held = scope.files.changing();
    draft.around(&slot)?;
    drop(slot);
    let mut keys = Vec::with_capacity(missing.len());
    for path in &missing {
        let rest = path.strip_prefix(first.as_str()).unwrap_or_default();
        let mut key = first_key.clone();
        key.path.push_str(rest);
        // Its permissions are known once the umask had its say.
        draft.note_key(
            key.clone(),
            None,
            Some(State::new_directory()),
            Kept::Nothing,
        );
        keys.push(key);
    }
    let mut begun = draft.begin()?;
    let made = place.make_parents();
    if made.is_ok() {
        for (index, key) in keys.iter().enumerate() {
            let slot = tree::slot(scope.files, key)?;
            if let Some(stat) = slot.stat()? {
                begun.became(index, State::of(&stat));
            }
        }
    }
    begun.end(made)
}
