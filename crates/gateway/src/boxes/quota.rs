//! What a workspace may hold. The kernel's own quotas need a file system that is made for them, so it is
//! measured: before a call that may add to it, and every few seconds while a program runs. Between two
//! looks more can be written; the next one finds it.

use kruxos_types::{CallError, ErrorType};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a running program's workspace is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A measurement counts this long.
const FRESH: Duration = Duration::from_secs(5);
/// And this many times as long as it took, so that measuring is a twentieth of the work at most.
const WORTH: u32 = 20;
/// Entries that are counted; a workspace with more is said to be over.
const MAX_ENTRIES: u64 = 2_000_000;
/// Levels that are gone down; a workspace with more is said to be over.
const MAX_DEPTH: usize = 512;
/// What agents leave free of a disk, for the gateway's own data and everybody else's: this many bytes, or
/// this part of a small disk. What no walk finds, as a file that is mapped and has no name, ends here.
const KEPT_FREE: u64 = 512 << 20;
const KEPT_PART: u64 = 20;
/// `st_blocks` is in units of this many bytes (stat(3type)).
const BLOCK: u64 = 512;

/// One workspace's bound.
#[derive(Debug)]
pub(super) struct Quota {
    workspace: PathBuf,
    /// Bytes; `None` without a bound.
    limit: Option<u64>,
    last: Mutex<Option<Measured>>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    at: Instant,
    took: Duration,
    bytes: u64,
}

impl Quota {
    /// `megabytes` 0 is no bound.
    pub(super) fn new(workspace: &Path, megabytes: u64) -> Quota {
        Quota {
            workspace: workspace.to_owned(),
            limit: (megabytes > 0).then(|| megabytes.saturating_mul(1 << 20)),
            last: Mutex::default(),
        }
    }

    /// The bound that is passed: the workspace's, with `besides` added to what is in it, or the disk's.
    pub(super) async fn passed(&self, besides: u64) -> Option<Full> {
        if let Some(limit) = self.limit
            && self.bytes(limit).await.saturating_add(besides) >= limit
        {
            return Some(Full::Workspace(limit));
        }
        let (free, kept) = free(&self.workspace)?;
        (free < kept).then_some(Full::Disk(kept))
    }

    /// The disk of a workspace that has a bound (`st_dev`): what a program holds there without a name counts.
    pub(super) fn disk(&self) -> Option<u64> {
        self.limit?;
        rustix::fs::stat(&self.workspace)
            .ok()
            .map(|stat| stat.st_dev)
    }

    /// Refuses what may add to a workspace that is full.
    ///
    /// # Errors
    /// `ResourceExhausted` with the bound.
    pub(super) async fn check(&self) -> Result<(), CallError> {
        let (resource, limit, way_out) = match self.passed(0).await {
            None => return Ok(()),
            Some(Full::Workspace(limit)) => (
                "bytes in the workspace",
                limit,
                "Delete what is not needed, or ask the operator for more (sandbox.workspace_mb).",
            ),
            Some(Full::Disk(kept)) => (
                "bytes that stay free on the disk",
                kept,
                "Delete what is not needed; the operator may have to make room on the disk.",
            ),
        };
        Err(CallError::new(ErrorType::ResourceExhausted)
            .with("resource", resource)
            .with("limit", limit)
            .detail(way_out))
    }

    async fn bytes(&self, limit: u64) -> u64 {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last {
            // Who has just made room shall not wait for it.
            let good_for = match last.bytes >= limit {
                true => last.took * 2,
                false => FRESH.max(last.took * WORTH),
            };
            if last.at.elapsed() < good_for {
                return last.bytes;
            }
        }
        let workspace = self.workspace.clone();
        let started = Instant::now();
        let measured = tokio::task::spawn_blocking(move || measure(&workspace));
        // A workspace that is closed to us, as by its mode, is closed to the count: too much.
        let bytes = measured.await.ok().and_then(Result::ok).unwrap_or(u64::MAX);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Measured {
            at: Instant::now(),
            took: started.elapsed(),
            bytes,
        });
        bytes
    }
}

/// A bound that is passed, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// What the workspace may hold.
    Workspace(u64),
    /// What stays free on its disk.
    Disk(u64),
}

impl Full {
    pub(super) fn bytes(self) -> u64 {
        match self {
            Full::Workspace(bytes) | Full::Disk(bytes) => bytes,
        }
    }
}

/// What is free on the disk of a directory, and what has to stay so.
fn free(directory: &Path) -> Option<(u64, u64)> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    let all = disk.f_blocks.saturating_mul(disk.f_frsize);
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    Some((free, KEPT_FREE.min(all / KEPT_PART)))
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Bytes on disk below a directory, links not followed and other file systems left out.
fn measure(workspace: &Path) -> Result<u64, Errno> {
    let root = rustix::fs::open(workspace, DIRECTORY, Mode::empty())?;
    let device = rustix::fs::fstat(&root)?.st_dev;
    let mut left = MAX_ENTRIES;
    below(root.as_fd(), device, &mut left, 0)
}

fn below(
    directory: BorrowedFd<'_>,
    device: u64,
    left: &mut u64,
    depth: usize,
) -> Result<u64, Errno> {
    let mut bytes = 0_u64;
    for entry in Dir::read_from(directory)?.flatten() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Some(fewer) = left.checked_sub(1) else {
            return Ok(u64::MAX);
        };
        *left = fewer;
        let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
            // It has just gone.
            continue;
        };
        bytes = bytes.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK);
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !is_directory || stat.st_dev != device {
            continue;
        }
        let inner = match rustix::fs::openat(directory, name, DIRECTORY, Mode::empty()) {
            Ok(inner) if depth < MAX_DEPTH => inner,
            // It has just gone.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            // What is hidden from the count, by depth or by its mode, counts as too much.
            Ok(_) | Err(_) => return Ok(u64::MAX),
        };
        bytes = bytes.saturating_add(below(inner.as_fd(), device, left, depth + 1)?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_lies_below_is_counted_and_links_are_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("large"), vec![1; 4 << 20]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("a/b")).unwrap();
        std::fs::write(directory.path().join("a/b/file"), vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink(outside.path(), directory.path().join("link")).unwrap();
        let bytes = measure(directory.path()).unwrap();
        assert!((1 << 20..2 << 20).contains(&bytes), "{bytes}");
    }

    #[test]
    fn what_is_hidden_from_the_count_is_too_much() {
        let directory = tempfile::tempdir().unwrap();
        let mut deep = rustix::fs::open(directory.path(), DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..MAX_DEPTH {
            rustix::fs::mkdirat(&deep, "d", Mode::RWXU).unwrap();
            deep = rustix::fs::openat(&deep, "d", DIRECTORY, Mode::empty()).unwrap();
        }
        assert!(measure(directory.path()).unwrap() < u64::MAX);
        rustix::fs::mkdirat(&deep, "d", Mode::RWXU).unwrap();
        assert_eq!(measure(directory.path()).unwrap(), u64::MAX);
    }

    #[tokio::test]
    async fn a_full_workspace_is_refused_and_no_bound_is_none() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), vec![1; 2 << 20]).unwrap();
        assert!(Quota::new(directory.path(), 1).check().await.is_err());
        assert!(Quota::new(directory.path(), 8).check().await.is_ok());
        assert!(Quota::new(directory.path(), 0).check().await.is_ok());
    }
}
