//! Unfinished files that a crash left in a workspace.

use super::io::nanoseconds;
use super::roots::{DIRECTORY, Root};
use super::temporary::{is_own, is_temporary};
use super::text::instant;
use super::walk::{Next, Walk};
use jiff::Timestamp;
use rustix::fs::FileType;
use std::path::Path;
use std::time::Duration;

/// How long an unfinished file has to have rested: longer than any call works on one, also on a slow
/// disk, and the clock of a machine may be a little off.
const RESTED: Duration = Duration::from_secs(3600);
/// Time one workspace may take in the background.
const TIME: Duration = Duration::from_secs(60);

/// What a sweep of one workspace did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Swept {
    pub removed: u64,
    /// Not everything was looked at: a bound of the walk was hit, something cannot be read or removed,
    /// or it was stopped.
    pub cut: bool,
}

/// Removes the unfinished files of earlier processes below a workspace that nothing has changed for an
/// hour, by the file system's own time of change, which no caller can set. Those of this process are
/// its own to remove; any other name stays, however alike it looks. `stop` is asked at each entry and
/// ends the sweep. A workspace that is not there has nothing to sweep.
///
/// # Errors
/// The workspace cannot be opened.
pub fn sweep_unfinished(
    workspace: &Path,
    now: Timestamp,
    stop: &dyn Fn() -> bool,
) -> std::io::Result<Swept> {
    let root = match Root::at("workspace", "/workspace", workspace) {
        Ok(root) => root,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Swept::default()),
        Err(error) => return Err(error),
    };
    let start = root.open(b".", DIRECTORY)?;
    let mut walk = Walk::over_everything(start, TIME);
    let mut swept = Swept::default();
    walk.each(|entry| {
        if stop() {
            return Next::Stop;
        }
        let file = matches!(entry.kind, FileType::RegularFile | FileType::Symlink);
        if !file || !is_temporary(entry.name()) || is_own(entry.name()) {
            return Next::On;
        }
        let Some(stat) = entry.stat() else {
            return Next::On;
        };
        let changed = instant(stat.st_ctime, nanoseconds(stat.st_ctime_nsec));
        if changed
            .saturating_add(RESTED)
            .is_ok_and(|rested| rested <= now)
        {
            match entry.remove() {
                Ok(()) => swept.removed += 1,
                Err(_) => swept.cut = true,
            }
        }
        Next::On
    });
    swept.cut |= walk.cut;
    Ok(swept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use kruxos_types::{Clock, SystemClock};

    #[test]
    fn what_this_process_may_still_be_writing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let name = crate::filesystem::temporary::name();
        std::fs::write(dir.path().join(&name), "half").unwrap();
        let tomorrow = SystemClock.now() + Duration::from_secs(24 * 3600);
        let swept = sweep_unfinished(dir.path(), tomorrow, &|| false).unwrap();
        assert_eq!(swept, Swept::default());
        assert!(dir.path().join(&name).exists());
    }
}
