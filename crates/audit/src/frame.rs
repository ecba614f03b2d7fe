//! Frames in a segment: 4-byte big-endian length, 4-byte CRC-32C of the payload, payload. Behind the
//! last frame there are only zeros.

use crate::cbor::Reader;
use crate::codec::{self, EntryRef, MAX_ENTRY_BYTES};
use rustix::fs::SeekFrom;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub(crate) const HEADER_BYTES: usize = 8;
/// How much of a segment is read at once when all of it is.
pub(crate) const READ_BYTES: usize = 512 * 1024;
/// A torn write leaves whole sectors of a frame unwritten.
const SECTOR_BYTES: u64 = 512;

/// Puts the header before the payload that `write` appends.
pub(crate) fn append(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    write(out);
    let payload = out.get(start + HEADER_BYTES..).unwrap_or_default();
    let length = (payload.len() as u32).to_be_bytes();
    let crc = crc32c::crc32c(payload).to_be_bytes();
    if let Some(header) = out.get_mut(start..start + HEADER_BYTES) {
        header[..4].copy_from_slice(&length);
        header[4..].copy_from_slice(&crc);
    }
}

fn header(bytes: &[u8]) -> Option<(usize, u32)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, _) = rest.split_first_chunk::<4>()?;
    Some((
        u32::from_be_bytes(*length) as usize,
        u32::from_be_bytes(*crc),
    ))
}

/// What stands at a place in a segment.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    /// A frame whose checksum holds.
    Frame { offset: u64, payload: &'a [u8] },
    /// No frame: the length is zero, or the file ends here.
    End { offset: u64 },
    /// Neither: `kind` is `frame` (length) or `crc`.
    Bad {
        offset: u64,
        kind: &'static str,
        expected: Option<u32>,
        found: Option<u32>,
    },
}

/// Reads a segment from front to back.
#[derive(Debug)]
pub(crate) struct Frames<'f> {
    file: &'f File,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Where `buffer[start]` lies in the file.
    offset: u64,
}

impl<'f> Frames<'f> {
    pub(crate) fn new(file: &'f File, offset: u64, read_bytes: usize) -> Self {
        Self {
            file,
            buffer: vec![0; read_bytes],
            start: 0,
            end: 0,
            offset,
        }
    }

    /// Makes `wanted` bytes available if the file has them; says how many there are.
    fn fill(&mut self, wanted: usize) -> io::Result<usize> {
        if self.end - self.start >= wanted {
            return Ok(self.end - self.start);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        while self.end < wanted {
            let at = self.offset + self.end as u64;
            let space = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.file.read_at(space, at) {
                Ok(0) => break,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.end - self.start)
    }

    /// The next frame. After `End` or `Bad` it stays where it is.
    pub(crate) fn next(&mut self) -> io::Result<Next<'_>> {
        let offset = self.offset;
        let available = self.fill(HEADER_BYTES)?;
        let window = self
            .buffer
            .get(self.start..self.start + available)
            .unwrap_or_default();
        let Some((length, crc)) = header(window) else {
            let empty = window.iter().all(|byte| *byte == 0);
            return Ok(if empty {
                Next::End { offset }
            } else {
                Next::Bad {
                    offset,
                    kind: "frame",
                    expected: None,
                    found: None,
                }
            });
        };
        if length == 0 {
            return Ok(Next::End { offset });
        }
        let total = HEADER_BYTES + length;
        if length > MAX_ENTRY_BYTES || self.fill(total)? < total {
            let (expected, found) = (Some(MAX_ENTRY_BYTES as u32), Some(length as u32));
            return Ok(Next::Bad {
                offset,
                kind: "frame",
                expected,
                found,
            });
        }
        let payload = self.start + HEADER_BYTES..self.start + total;
        let computed = crc32c::crc32c(self.buffer.get(payload.clone()).unwrap_or_default());
        if computed != crc {
            return Ok(Next::Bad {
                offset,
                kind: "crc",
                expected: Some(computed),
                found: Some(crc),
            });
        }
        self.start += total;
        self.offset += total as u64;
        Ok(Next::Frame {
            offset,
            payload: self.buffer.get(payload).unwrap_or_default(),
        })
    }

    /// Looks again at a place; whether a good frame stands there now, which comes next.
    pub(crate) fn good_at(&mut self, offset: u64) -> io::Result<bool> {
        self.jump(offset);
        let good = matches!(self.next()?, Next::Frame { .. });
        self.jump(offset);
        Ok(good)
    }

    /// Goes on elsewhere.
    pub(crate) fn jump(&mut self, offset: u64) {
        self.start = 0;
        self.end = 0;
        self.offset = offset;
    }
}

/// One frame's payload at a known place, as long as it is whole.
pub(crate) fn read_one(file: &File, offset: u64) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0u8; HEADER_BYTES];
    file.read_exact_at(&mut head, offset)?;
    let Some((length, crc)) = header(&head) else {
        return Ok(None);
    };
    if length == 0 || length > MAX_ENTRY_BYTES {
        return Ok(None);
    }
    let mut payload = vec![0; length];
    file.read_exact_at(&mut payload, offset + HEADER_BYTES as u64)?;
    Ok((crc32c::crc32c(&payload) == crc).then_some(payload))
}

/// What follows a place where the frames stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Only zeros, or the end of the file.
    Clean,
    /// One write that did not reach the disk whole: `bytes` up to the last one that is not zero.
    Torn { bytes: u64 },
    /// Something was changed; the next good frame, if there is one, starts at `next`.
    Damaged { next: Option<u64> },
}

/// Tells a torn write from damage at `offset`, where no good frame stands.
///
/// A write is torn when nothing good follows and part of the frame is missing: its end, or a whole
/// sector. A frame that is there from its first byte to its last but does not hold was changed.
pub(crate) fn tail(file: &File, offset: u64) -> io::Result<Tail> {
    let rest = read_rest(file, offset)?;
    if rest.is_empty() {
        return Ok(Tail::Clean);
    }
    if let Some(next) = next_good(&rest) {
        return Ok(Tail::Damaged {
            next: Some(offset + next as u64),
        });
    }
    let whole = rest.get(HEADER_BYTES..).is_some_and(holds_an_entry);
    let length = header(&rest)
        .map(|(length, _)| length)
        .filter(|length| (1..=MAX_ENTRY_BYTES).contains(length));
    let extent = length.map_or(rest.len(), |length| HEADER_BYTES + length);
    let complete = rest
        .get(..extent)
        .is_some_and(|frame| length.is_some() && !misses_a_part(frame, offset));
    Ok(if whole || complete {
        Tail::Damaged { next: None }
    } else {
        Tail::Torn {
            bytes: rest.len() as u64,
        }
    })
}

fn misses_a_part(frame: &[u8], offset: u64) -> bool {
    let first = (SECTOR_BYTES - offset % SECTOR_BYTES) as usize;
    let (head, sectors) = frame.split_at(first.min(frame.len()));
    let zero = |part: &[u8]| part.iter().all(|byte| *byte == 0);
    frame.last() == Some(&0) || zero(head) || sectors.chunks(SECTOR_BYTES as usize).any(zero)
}

fn holds_an_entry(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let Ok(entry) = EntryRef::read(&mut reader) else {
        return false;
    };
    let payload = bytes
        .get(..bytes.len() - reader.remaining())
        .unwrap_or_default();
    codec::computed_hash(payload, &entry.previous_hash) == Some(entry.entry_hash)
}

/// The bytes from `offset` to the last one that is not zero. Holes are skipped, not read.
fn read_rest(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    let mut rest = Vec::new();
    let mut chunk = vec![0; READ_BYTES];
    let mut at = offset;
    while at < length {
        at = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => break,
            // A file system that knows no holes: everything is read.
            Err(_) => at,
        };
        let count = match file.read_at(&mut chunk, at) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = chunk.get(..count).unwrap_or_default();
        if let Some(last) = read.iter().rposition(|byte| *byte != 0) {
            rest.resize((at - offset) as usize, 0);
            rest.extend_from_slice(read.get(..=last).unwrap_or_default());
        }
        at += count as u64;
    }
    Ok(rest)
}

/// Where the first good frame behind the start of `rest` begins.
fn next_good(rest: &[u8]) -> Option<usize> {
    // Key 0, version 1, key 1, 16 bytes: how every payload goes on after its first byte.
    const MARK: [u8; 4] = [0x00, codec::SCHEMA_VERSION as u8, 0x01, 0x50];
    let mut from = 0usize;
    loop {
        let found = rest
            .get(from..)?
            .windows(MARK.len())
            .position(|window| window == MARK)?;
        let mark = from + found;
        from = mark + 1;
        let Some(start) = mark
            .checked_sub(HEADER_BYTES + 1)
            .filter(|start| *start > 0)
        else {
            continue;
        };
        let frame = rest.get(start..)?;
        let Some((length, crc)) = header(frame) else {
            continue;
        };
        let payload = frame.get(HEADER_BYTES..HEADER_BYTES + length);
        if length <= MAX_ENTRY_BYTES
            && payload.is_some_and(|payload| crc32c::crc32c(payload) == crc)
        {
            return Some(start);
        }
    }
}
