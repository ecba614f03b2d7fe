//! Walking a tree by handles: every directory is opened below the starting one with links refused, so
//! the walk cannot be led out, whatever is moved meanwhile.

use super::roots::{DIRECTORY, READ, open_beneath};
use super::temporary::is_temporary;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// Time one search may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Entries one search looks at.
const MAX_SEEN: u64 = 1_000_000;
/// Directories within directories.
const MAX_DEPTH: usize = 256;
/// Longest path below the start, in bytes: the kernel's `PATH_MAX`.
const MAX_REL: usize = 4_096;
/// Names that one walk holds in memory, in bytes, for each purpose. Half a million usual
/// paths fit; longer ones, which only an attack makes, are left out and told as `truncated`.
pub(super) const MAX_HELD: usize = 64 << 20;

/// Memory for paths, given out until it is used up.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new(bytes: usize) -> Budget {
        Budget(bytes)
    }

    /// What keeping a path costs: its bytes, and the vector's own.
    fn cost(path: &[u8]) -> usize {
        path.len() + 32
    }

    /// Takes room for a path; `false` if there is none, and then nothing is taken.
    pub(super) fn take(&mut self, path: &[u8]) -> bool {
        match self.0.checked_sub(Budget::cost(path)) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => false,
        }
    }

    /// Gives a path's room back.
    fn give(&mut self, path: &[u8]) {
        self.0 += Budget::cost(path);
    }
}

/// One walk.
pub(super) struct Walk {
    start: OwnedFd,
    include: Include,
    deadline: Instant,
    /// For the directories still to be read.
    room: Budget,
    seen: u64,
    /// Something was left out: a bound or the deadline was hit, or a directory could not be read.
    pub(super) cut: bool,
}

/// Which entries a walk shows and goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Include {
    /// Names without a leading dot.
    Plain,
    /// Hidden ones too.
    Hidden,
    /// Hidden ones and the product's own unfinished files.
    Everything,
}

/// An entry on the way.
pub(super) struct Found<'w> {
    /// Raw path below the start.
    pub(super) rel: &'w [u8],
    pub(super) kind: FileType,
    directory: BorrowedFd<'w>,
    name: &'w std::ffi::CStr,
}

impl Found<'_> {
    /// Its last component.
    pub(super) fn name(&self) -> &[u8] {
        self.name.to_bytes()
    }

    /// Opens it if it is a regular file; never through a link.
    pub(super) fn open_file(&self) -> Option<(OwnedFd, Stat)> {
        regular(open_beneath(
            self.directory,
            self.name,
            READ,
            ResolveFlags::NO_SYMLINKS,
        ))
    }

    /// Removes it, a directory excepted.
    pub(super) fn remove(&self) -> Result<(), Errno> {
        rustix::fs::unlinkat(self.directory, self.name, AtFlags::empty())
    }

    /// Its facts; a link is not followed.
    pub(super) fn stat(&self) -> Option<Stat> {
        rustix::fs::statat(self.directory, self.name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }
}

/// Whether a walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    On,
    Stop,
}

impl Walk {
    /// Starts at an opened directory.
    pub(super) fn new(start: OwnedFd, include_hidden: bool) -> Walk {
        let include = if include_hidden {
            Include::Hidden
        } else {
            Include::Plain
        };
        Walk::with(start, include, DEADLINE)
    }

    /// A walk in the background over everything there is, unfinished files too.
    pub(super) fn over_everything(start: OwnedFd, time: Duration) -> Walk {
        Walk::with(start, Include::Everything, time)
    }

    fn with(start: OwnedFd, include: Include, time: Duration) -> Walk {
        Walk {
            start,
            include,
            deadline: Instant::now() + time,
            room: Budget::new(MAX_HELD),
            seen: 0,
            cut: false,
        }
    }

    /// When the work has to end.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether it has.
    pub(super) fn is_late(&self) -> bool {
        Instant::now() > self.deadline
    }

    /// Visits all entries below the start, in no particular order.
    pub(super) fn each(&mut self, mut visit: impl FnMut(&Found<'_>) -> Next) {
        let mut waiting: Vec<Vec<u8>> = vec![Vec::new()];
        while let Some(rel) = waiting.pop() {
            self.room.give(&rel);
            match self.directory(&rel, &mut waiting, &mut visit) {
                Ok(Next::On) => {}
                Ok(Next::Stop) => {
                    self.cut = true;
                    return;
                }
                // Gone or replaced meanwhile, or not ours to read.
                Err(_) => self.cut = true,
            }
        }
    }

    fn directory(
        &mut self,
        rel: &[u8],
        waiting: &mut Vec<Vec<u8>>,
        visit: &mut impl FnMut(&Found<'_>) -> Next,
    ) -> Result<Next, Errno> {
        let mut entries = Dir::new(self.open(rel, DIRECTORY)?)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name();
            let bytes = name.to_bytes();
            if bytes == b"." || bytes == b".." || !self.includes(bytes) {
                continue;
            }
            self.seen += 1;
            if self.seen > MAX_SEEN || (self.seen.is_multiple_of(256) && self.is_late()) {
                return Ok(Next::Stop);
            }
            let path = join(rel, bytes);
            let directory = entries.fd()?;
            let kind = match entry.file_type() {
                FileType::Unknown => rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileType::Unknown, |stat| {
                        FileType::from_raw_mode(stat.st_mode)
                    }),
                known => known,
            };
            if visit(&Found {
                rel: &path,
                kind,
                directory,
                name,
            }) == Next::Stop
            {
                return Ok(Next::Stop);
            }
            if kind == FileType::Directory {
                let depth = path.iter().filter(|byte| **byte == b'/').count() + 1;
                if depth >= MAX_DEPTH || path.len() >= MAX_REL || !self.room.take(&path) {
                    self.cut = true;
                } else {
                    waiting.push(path);
                }
            }
        }
        Ok(Next::On)
    }

    fn includes(&self, name: &[u8]) -> bool {
        match self.include {
            Include::Everything => true,
            Include::Hidden => !is_temporary(name),
            Include::Plain => !name.starts_with(b"."),
        }
    }

    /// Opens something found; never through a link.
    fn open(&self, rel: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if rel.is_empty() { b".".as_slice() } else { rel };
        open_beneath(self.start.as_fd(), path, flags, ResolveFlags::NO_SYMLINKS)
    }

    /// Opens a regular file that was found; `None` if it is gone, has changed its type, or is no file.
    pub(super) fn open_file(&self, rel: &[u8]) -> Option<(OwnedFd, Stat)> {
        regular(self.open(rel, READ))
    }

    /// The facts of something found; a link is not followed.
    pub(super) fn stat(&self, rel: &[u8]) -> Option<Stat> {
        let handle = self.open(rel, OFlags::PATH | OFlags::NOFOLLOW).ok();
        match handle {
            Some(handle) => rustix::fs::fstat(&handle).ok(),
            // A link at the end is refused above; its own facts need its directory.
            None => {
                let (parent, name) = match rel.iter().rposition(|byte| *byte == b'/') {
                    Some(at) => (rel.get(..at)?, rel.get(at + 1..)?),
                    None => (b".".as_slice(), rel),
                };
                let directory = self.open(parent, DIRECTORY).ok()?;
                rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()
            }
        }
    }
}

fn regular(opened: Result<OwnedFd, Errno>) -> Option<(OwnedFd, Stat)> {
    let file = opened.ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some((file, stat))
}

/// `rel/name`.
pub(super) fn join(rel: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(rel.len() + name.len() + 1);
    path.extend_from_slice(rel);
    if !rel.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use rustix::fs::Mode;

    fn walk(path: &std::path::Path, room: usize) -> (u64, bool) {
        let start = rustix::fs::open(path, DIRECTORY, Mode::empty()).unwrap();
        let mut walk = Walk::new(start, false);
        walk.room = Budget::new(room);
        let mut files = 0;
        walk.each(|entry| {
            files += u64::from(entry.kind == FileType::RegularFile);
            Next::On
        });
        (files, walk.cut)
    }

    #[test]
    fn directories_that_do_not_fit_into_memory_are_left_out_and_told() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..20 {
            let below = dir.path().join(format!("d{number}"));
            std::fs::create_dir(&below).unwrap();
            std::fs::write(below.join("file"), "").unwrap();
        }
        assert_eq!(walk(dir.path(), MAX_HELD), (20, false));
        let (files, cut) = walk(dir.path(), 10 * Budget::cost(b"d12"));
        assert!(cut && (9..=11).contains(&files), "{files}");
    }
}
