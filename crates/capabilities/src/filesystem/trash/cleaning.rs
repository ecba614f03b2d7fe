//! What goes when its time is over. By path and not by an open trash: most principals with a trash
//! have no session when the hour comes.

use super::{find, forget, ids, made_at};
use crate::filesystem::roots::DIRECTORY;
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use std::path::Path;
use std::time::Duration;

/// Removes the entries of a principal's trash whose time is over, and what a crash left of others when
/// `keep` has passed since. Answers how many went; 0 if there is no such trash. Names that are not of
/// the trash's own making stay. `stop` is asked now and then and ends the work early.
///
/// # Errors
/// The directory cannot be read.
pub fn clean(
    trash: &Path,
    keep: Duration,
    now: Timestamp,
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
            forget(&dir, &id);
            gone += 1;
        }
    }
    Ok(gone)
}
