//! The files that a program's output is kept in.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One of a program's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Files kept by one box: of the programs that run side by side, mostly.
const MOST_SPARES: usize = 8;
/// Larger ones are let go instead of emptied, in bytes: giving back many blocks takes the disk's time.
const LARGEST_SPARE: u64 = 1 << 20;

/// Output files of one box that no program uses now. To make one takes the file system as long as the
/// rest of a start takes the gateway. Never shared between agents.
#[derive(Debug, Default)]
pub(super) struct Spares(Mutex<Vec<File>>);

impl Spares {
    /// An empty file, from among the spare ones or new in `directory`.
    pub(super) fn take(&self, directory: &Path) -> io::Result<File> {
        let spare = self.files().pop();
        spare.map_or_else(|| file(directory), Ok)
    }

    /// Keeps a file that nobody writes to any more. One that cannot be emptied is let go.
    pub(super) fn keep(&self, file: &File) {
        if let Ok(Some(empty)) = emptied(file) {
            let mut files = self.files();
            if files.len() < MOST_SPARES {
                files.push(empty);
            }
        }
    }

    fn files(&self) -> MutexGuard<'_, Vec<File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another handle of the file, which is empty and at its start; `None` if that takes too long.
fn emptied(file: &File) -> io::Result<Option<File>> {
    match file.metadata()?.len() {
        0 => {}
        1..=LARGEST_SPARE => file.set_len(0)?,
        _ => return Ok(None),
    }
    let mut another = file.try_clone()?;
    another.rewind()?;
    Ok(Some(another))
}

/// A file without a name in `directory`: it is gone with its last handle.
fn file(directory: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::open(directory, flags, mode) {
        Ok(file) => Ok(file.into()),
        // The file system has none; a memory file counts as memory, but is bounded the same.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            let flags = rustix::fs::MemfdFlags::CLOEXEC;
            Ok(rustix::fs::memfd_create(c"kruxos-output", flags)?.into())
        }
        Err(errno) => Err(errno.into()),
    }
}

/// At most `limit` bytes from `offset` on.
pub(super) fn read(file: &File, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
    let there = file.metadata()?.len().saturating_sub(offset);
    let wanted = usize::try_from(there).unwrap_or(usize::MAX).min(limit);
    let mut bytes = vec![0; wanted];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
