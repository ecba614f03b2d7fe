//! What goes when its time is over. By path and not by an open trash: most principals with a trash
//! have no session when the hour comes.

use super::{find, forget, ids, made_at};
use crate::filesystem::roots::DIRECTORY;
use crate::filesystem::text::quote;
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use std::path::Path;
use std::time::Duration;

/// An entry of a trash, for a person.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs)]
pub struct TrashEntry {
    pub id: String,
    /// Label of the root it was below, and the path there.
    pub mount: String,
    pub path: String,
    pub kind: String,
    pub size: u64,
    pub session: Option<String>,
    pub deleted_at: Timestamp,
    pub until: Timestamp,
}

/// What is in a principal's trash, the newest first, at most `limit`, and how many more there are. The
/// files are an agent's own, so names are quoted. None if there is no such trash.
///
/// # Errors
/// The directory cannot be read.
pub fn list(trash: &Path, limit: usize) -> std::io::Result<(Vec<TrashEntry>, usize)> {
    let flags = DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(trash, flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(rustix::io::Errno::NOENT) => return Ok((Vec::new(), 0)),
        Err(errno) => return Err(errno.into()),
    };
    // Behind the letter an id begins with its time.
    let all: Vec<String> = ids(&dir)?.into_iter().collect();
    let more = all.len().saturating_sub(limit);
    let newest = all.iter().rev().take(limit).filter_map(|id| find(&dir, id));
    let entries = newest.map(|sidecar| TrashEntry {
        id: sidecar.id,
        mount: quote(&sidecar.mount),
        path: quote(&sidecar.path),
        kind: quote(&sidecar.kind),
        size: sidecar.size,
        session: sidecar.session.as_deref().map(quote),
        deleted_at: sidecar.trashed_at,
        until: sidecar.until,
    });
    Ok((entries.collect(), more))
}

/// Removes the entries of a principal's trash whose time is over, and what a crash left of others when
/// `keep` has passed since. Answers how many went; 0 if there is no such trash. Names that are not of
/// the trash's own making stay. With `dry_run` none
/// goes, and the answer is how many would. `stop` is asked now and then and ends the work early.
///
/// # Errors
/// The directory cannot be read.
pub fn clean(
    trash: &Path,
    keep: Duration,
    now: Timestamp,
    dry_run: bool,
    stop: &dyn Fn() -> bool,
) -> std::io::Result<u64> {
    let flags = DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(trash, flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(rustix::io::Errno::NOENT) => return Ok(0),
        Err(errno) => return Err(errno.into()),
    };
    let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    let mut gone = 0;
    for id in ids(&dir)? {
        if stop() {
            break;
        }
        let over = match find(&dir, &id) {
            Some(sidecar) => sidecar.until <= now,
            None => {
                made_at(&id).is_some_and(|made| made.saturating_add(keep) <= now.as_millisecond())
            }
        };
        if over {
            if !dry_run {
                forget(&dir, &id);
            }
            gone += 1;
        }
    }
    Ok(gone)
}
