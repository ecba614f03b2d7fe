//! Reading, writing, copying and hashing by handle, each with its bound.

use super::text::hex;
use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::Stat;
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::sync::Mutex;
use std::time::Instant;

/// Bytes moved at once: large enough that system calls do not show, small beside a worker's memory.
const CHUNK: usize = 128 << 10;
/// Checksums remembered: an agent pages through a few large files at a time.
const MAX_SUMS: usize = 32;
/// Hashing a smaller file costs less than remembering it, in bytes.
const WORTH_REMEMBERING: u64 = 1 << 20;

/// Reads up to `length` bytes at `offset`; fewer at the end of the file.
pub(super) fn read_at(file: impl AsFd, offset: u64, length: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = offset.saturating_add(bytes.len() as u64);
        // Into memory that nobody has cleared first: the kernel fills it.
        match rustix::io::pread(file.as_fd(), spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    // An allocator may give more than was asked for.
    bytes.truncate(length);
    Ok(bytes)
}

/// Reads a whole file of which `fstat` said `size`, but no more than `limit` bytes, however it grows
/// meanwhile. `None` if there is more.
pub(super) fn read_whole(file: impl AsFd, size: u64, limit: u64) -> Result<Option<Vec<u8>>, Errno> {
    if size > limit {
        return Ok(None);
    }
    let wanted = usize::try_from(size.saturating_add(1)).unwrap_or(usize::MAX);
    let mut bytes = read_at(file.as_fd(), 0, wanted)?;
    while bytes.len() as u64 > size.min(limit) {
        if bytes.len() as u64 > limit {
            return Ok(None);
        }
        let more = read_at(file.as_fd(), bytes.len() as u64, CHUNK)?;
        if more.is_empty() {
            break;
        }
        bytes.extend_from_slice(&more);
    }
    Ok(Some(bytes))
}

/// Writes all of it.
pub(super) fn write_all(file: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file.as_fd(), bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// How a bounded pass over a file ended.
#[derive(Debug)]
pub(super) enum Pass {
    /// Everything was read: SHA-256 and bytes.
    Whole { sha256: String, size: u64 },
    /// More than the limit, or the deadline came first.
    Stopped,
}

/// Hashes at most `limit` bytes, until `deadline`; each chunk goes to `each` first.
pub(super) fn hash_each(
    file: impl AsFd,
    limit: u64,
    deadline: Option<Instant>,
    mut each: impl FnMut(&[u8]) -> Result<(), Errno>,
) -> Result<Pass, Errno> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut size: u64 = 0;
    loop {
        let count = match rustix::io::pread(file.as_fd(), &mut buffer, size) {
            Ok(0) => break,
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        size += count as u64;
        if size > limit || deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Ok(Pass::Stopped);
        }
        let chunk = buffer.get(..count).unwrap_or_default();
        each(chunk)?;
        hash.update(chunk);
    }
    Ok(Pass::Whole {
        sha256: hex(hash.finalize().as_slice()),
        size,
    })
}

/// SHA-256 of the whole file, `None` beyond `limit`.
pub(super) fn hash_file(
    file: impl AsFd,
    limit: u64,
    deadline: Option<Instant>,
) -> Result<Option<String>, Errno> {
    Ok(match hash_each(file, limit, deadline, |_| Ok(()))? {
        Pass::Whole { sha256, .. } => Some(sha256),
        Pass::Stopped => None,
    })
}

/// Makes `to` share all blocks of `from`, where the file system can.
pub(super) fn clone_whole(from: &OwnedFd, to: &OwnedFd) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

/// Copies `from` into the empty file `to`: by sharing blocks where the file system can.
/// `false` beyond `limit`.
pub(super) fn clone_or_copy(from: &OwnedFd, to: &OwnedFd, limit: u64) -> Result<bool, Errno> {
    if clone_whole(from, to) {
        return Ok(true);
    }
    let pass = hash_each(from, limit, None, |chunk| write_all(to, chunk))?;
    Ok(matches!(pass, Pass::Whole { .. }))
}

/// What tells a file's content apart from any other the kernel has shown us.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

fn identity(stat: &Stat) -> Identity {
    Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: stat.st_size,
        modified: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
        changed: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
    }
}

/// Whether two looks at a name saw the same content of the same file.
pub(super) fn same_content(one: &Stat, other: &Stat) -> bool {
    let (one, other) = (identity(one), identity(other));
    // The change time moves with a new hard link, which leaves the content alone.
    (one.device, one.inode, one.size, one.modified)
        == (other.device, other.inode, other.size, other.modified)
}

/// A file time's part below the second; the field's type differs between architectures.
pub(super) fn nanoseconds(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(0)
}

/// A file's size; the kernel never says less than nothing.
pub(super) fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// When a file was last modified.
pub(super) fn modified(stat: &Stat) -> jiff::Timestamp {
    super::text::instant(stat.st_mtime, nanoseconds(stat.st_mtime_nsec))
}

/// Checksums of large files, so that reading one page by page hashes it once.
#[derive(Default)]
pub(super) struct Sums(Mutex<Vec<(Identity, String)>>);

impl Sums {
    /// SHA-256 of an open file, `None` beyond `limit`. Only what has rested for two seconds is
    /// remembered: within one tick of the kernel's clock a change need not show in the times.
    pub(super) fn of(
        &self,
        file: &OwnedFd,
        stat: &Stat,
        limit: u64,
        now: jiff::Timestamp,
    ) -> Result<Option<String>, Errno> {
        if size_of(stat) > limit {
            return Ok(None);
        }
        let rested = now.as_second().saturating_sub(stat.st_ctime) > 2;
        let remember = size_of(stat) >= WORTH_REMEMBERING && rested;
        let key = identity(stat);
        if remember && let Some((_, sum)) = self.lock().iter().find(|(known, _)| *known == key) {
            return Ok(Some(sum.clone()));
        }
        let sum = hash_file(file, limit, None)?;
        if remember && let Some(sum) = &sum {
            let mut sums = self.lock();
            if sums.len() >= MAX_SUMS {
                sums.remove(0);
            }
            sums.push((key, sum.clone()));
        }
        Ok(sum)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Identity, String)>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Hashes of files that grow by appends, so that not every append reads all that was there before.
#[derive(Default)]
pub(super) struct Grown(Mutex<Vec<(Identity, Sha256)>>);

/// Larger files are appended to without a digest, in bytes: hashing this much takes a tenth of a second.
const MAX_GROWN: u64 = 64 << 20;

impl Grown {
    /// The hash of a file's content so far; `None` if it is too large. `open` opens it for reading.
    pub(super) fn of(
        &self,
        stat: &Stat,
        open: impl FnOnce() -> Result<OwnedFd, Errno>,
    ) -> Result<Option<Sha256>, Errno> {
        let size = size_of(stat);
        if size > MAX_GROWN {
            return Ok(None);
        }
        let key = identity(stat);
        let known = self
            .lock()
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, hash)| hash.clone());
        if known.is_some() {
            return Ok(known);
        }
        let file = open()?;
        let mut hash = Sha256::new();
        let mut at = 0;
        while at < size {
            let wanted = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
            let chunk = read_at(&file, at, wanted)?;
            if chunk.is_empty() {
                return Err(Errno::AGAIN);
            }
            hash.update(&chunk);
            at += chunk.len() as u64;
        }
        Ok(Some(hash))
    }

    /// Keeps the hash of a file that is now as `stat` says. A change within the same tick of the kernel's
    /// clock is not seen; the digests that follow are then wrong, and undo refuses the file as changed.
    pub(super) fn remember(&self, stat: &Stat, hash: Sha256) {
        let mut known = self.lock();
        known.retain(|(known, _)| (known.device, known.inode) != (stat.st_dev, stat.st_ino));
        if known.len() >= MAX_SUMS {
            known.remove(0);
        }
        known.push((identity(stat), hash));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Identity, Sha256)>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What a hash says of all it was given, as hex.
pub(super) fn digest_of(hash: &Sha256) -> String {
    hex(hash.clone().finalize().as_slice())
}
