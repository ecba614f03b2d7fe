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
/// Levels that are gone down; the handlers refuse paths far shorter.
const MAX_DEPTH: usize = 512;
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

    /// The bound, if it is passed.
    pub(super) async fn passed(&self) -> Option<u64> {
        let limit = self.limit?;
        (self.bytes(limit).await >= limit).then_some(limit)
    }

    /// Refuses what may add to a workspace that is full.
    ///
    /// # Errors
    /// `ResourceExhausted` with the bound.
    pub(super) async fn check(&self) -> Result<(), CallError> {
        let Some(limit) = self.passed().await else {
            return Ok(());
        };
        Err(CallError::new(ErrorType::ResourceExhausted)
            .with("resource", "bytes in the workspace")
            .with("limit", limit)
            .detail(
                "Delete what is not needed, or ask the operator for more (sandbox.workspace_mb).",
            ))
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
        // What cannot be looked at is not grown by us: the call itself says why.
        let bytes = measured.await.ok().and_then(Result::ok).unwrap_or(0);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Measured {
            at: Instant::now(),
            took: started.elapsed(),
            bytes,
        });
        bytes
    }
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
        if is_directory
            && stat.st_dev == device
            && depth < MAX_DEPTH
            && let Ok(inner) = rustix::fs::openat(directory, name, DIRECTORY, Mode::empty())
        {
            bytes = bytes.saturating_add(below(inner.as_fd(), device, left, depth + 1)?);
        }
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

    #[tokio::test]
    async fn a_full_workspace_is_refused_and_no_bound_is_none() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), vec![1; 2 << 20]).unwrap();
        assert!(Quota::new(directory.path(), 1).check().await.is_err());
        assert!(Quota::new(directory.path(), 8).check().await.is_ok());
        assert!(Quota::new(directory.path(), 0).check().await.is_ok());
    }
}
