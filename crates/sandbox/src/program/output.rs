//! One output stream of a program: from its pipe to a file, up to a bound; what is beyond is counted and
//! dropped, so that the program never waits for a reader.

use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::io::Errno;

/// Moved at once, in bytes: a pipe's usual capacity.
pub(super) const CHUNK: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Output {
    /// `None` once every writer has closed it.
    pub(super) pipe: Option<OwnedFd>,
    file: OwnedFd,
    room: u64,
    pub(super) total: u64,
}

impl Output {
    /// `pipe` is non-blocking.
    pub(super) fn new(pipe: OwnedFd, file: OwnedFd, bound: u64) -> Output {
        Output {
            pipe: Some(pipe),
            file,
            room: bound,
            total: 0,
        }
    }

    /// Moves what is there, at most the buffer's capacity. `false` when there was nothing.
    pub(super) fn pump(&mut self, buffer: &mut Vec<u8>) -> bool {
        let Some(pipe) = &self.pipe else {
            return false;
        };
        buffer.clear();
        let count = match rustix::io::read(pipe, spare_capacity(buffer)) {
            Ok(0) => {
                self.pipe = None;
                return false;
            }
            Ok(count) => count,
            Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) => return false,
            Err(_) => {
                self.pipe = None;
                return false;
            }
        };
        self.total += count as u64;
        let kept = usize::try_from(self.room).unwrap_or(usize::MAX).min(count);
        if let Some(bytes) = buffer.get(..kept).filter(|bytes| !bytes.is_empty()) {
            self.keep(bytes);
        }
        true
    }

    fn keep(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match rustix::io::write(&self.file, bytes) {
                Ok(count) if count > 0 => {
                    self.room -= count as u64;
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                // A full disk, or the file limit: the program goes on, the rest is dropped.
                Ok(_) | Err(_) => {
                    self.room = 0;
                    return;
                }
            }
        }
    }
}
