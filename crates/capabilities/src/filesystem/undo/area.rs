//! What the gateway does with a principal's journals by itself: by path and not through a session, since
//! most principals have none when the hour comes. The files are an agent's own, so they are read as
//! anything might be in them.

use super::super::roots::DIRECTORY;
use super::super::text::instant;
use super::journal::{Area, is_session};
use super::quota::{Holding, drop_unfinished, make_room};
use jiff::Timestamp;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::path::Path;
use std::time::Duration;

/// How long what is half written has to have rested before it goes.
const RESTED: i64 = 3_600;
/// Tries to get the lock of a trash that calls hold all the time; the next hour brings more.
const TRIES: u32 = 200;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// A session of which changes are recorded.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs)]
pub struct RecordedSession {
    pub session: String,
    pub last_change: Timestamp,
    /// Of its journal.
    pub bytes: u64,
}

/// The sessions of which a principal's trash has journals, the one that changed something last first. None
/// if there is no such trash.
///
/// # Errors
/// The directory cannot be read.
pub fn recorded_sessions(trash: &Path) -> std::io::Result<Vec<RecordedSession>> {
    let Some((_, area)) = open(trash)? else {
        return Ok(Vec::new());
    };
    let mut sessions: Vec<RecordedSession> = Holding::look(&area)?
        .sessions()
        .map(|(name, (second, nanosecond), bytes)| RecordedSession {
            session: name.to_owned(),
            last_change: instant(second, nanosecond),
            bytes,
        })
        .collect();
    sessions.sort_by_key(|recorded| std::cmp::Reverse(recorded.last_change));
    Ok(sessions)
}

/// Whether a principal's trash has a journal of this session.
#[must_use]
pub fn has_recorded(trash: &Path, session: &str) -> bool {
    is_session(session)
        && open(trash).is_ok_and(|opened| {
            opened.is_some_and(|(_, area)| {
                let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::statat(&area.sessions, session, flags).is_ok()
            })
        })
}

/// Removes journals that nothing was written to for `keep`, content that no journal refers to, and the
/// oldest sessions beyond `quota`. Answers how many files went. Does nothing while calls hold the lock.
///
/// # Errors
/// The directory cannot be read.
pub fn clean_changes(
    trash: &Path,
    keep: Duration,
    quota: u64,
    now: Timestamp,
    stop: &dyn Fn() -> bool,
) -> std::io::Result<u64> {
    let Some((dir, area)) = open(trash)? else {
        return Ok(0);
    };
    if !locked(&dir, stop)? {
        tracing::info!(trash = %trash.display(), "a trash is busy; its journals are cleaned next time");
        return Ok(0);
    }
    let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
    let mut held = Holding::look(&area)?;
    let mut gone = held.drop_older(&area, now.as_second().saturating_sub(keep));
    gone += held.drop_unreferenced(&area)?;
    let before = held.files();
    // The lock goes with the handle.
    gone += before.saturating_sub(make_room(&area, quota, None)?.files());
    drop_unfinished(&area, now.as_second().saturating_sub(RESTED))?;
    Ok(gone)
}

fn open(trash: &Path) -> Result<Option<(OwnedFd, Area)>, Errno> {
    let flags = DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(trash, flags, Mode::empty())
        .and_then(|dir| Area::open(&dir, false).map(|area| (dir, area)));
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[expect(clippy::disallowed_methods, reason = "flock knows no time limit")]
fn locked(dir: &OwnedFd, stop: &dyn Fn() -> bool) -> Result<bool, Errno> {
    for _ in 0..TRIES {
        if stop() {
            return Ok(false);
        }
        match rustix::fs::flock(dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(BETWEEN_TRIES),
            // A file system without locks: calls do without too.
            Err(_) => return Ok(true),
        }
    }
    Ok(false)
}
