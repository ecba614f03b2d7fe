//! One call of a worker on its stream socket: a big-endian length of what follows (u32), the call's
//! number (u64), the body. The answer carries the number of the call.

use super::wire::Malformed;
use crate::step::{Failure, Step};
use rustix::io::Errno;
use std::io::{self, Read, Write};

/// Largest request, in bytes: the largest message the gateway takes (16 MiB) and its envelope.
pub const MAX_REQUEST: usize = 17 << 20;
/// Largest answer, in bytes.
pub const MAX_ANSWER: usize = 64 << 20;
/// Bytes before the body.
pub(crate) const HEADER: usize = 12;
/// The number's share of the length.
const NUMBER: usize = 8;

/// Why a frame is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum FrameError {
    #[error("a message shorter than its own header")]
    TooShort,
    #[error("a message of {0} bytes is above the limit of {1}")]
    TooLong(usize, usize),
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) number: u64,
    /// Bytes of the body.
    pub(crate) length: usize,
}

impl Header {
    /// Reads a header; `max` bounds the body.
    pub(crate) fn parse(bytes: [u8; HEADER], max: usize) -> Result<Header, FrameError> {
        let [a, b, c, d, number @ ..] = bytes;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let length = length.checked_sub(NUMBER).ok_or(FrameError::TooShort)?;
        if length > max {
            return Err(FrameError::TooLong(length, max));
        }
        Ok(Header {
            number: u64::from_be_bytes(number),
            length,
        })
    }

    /// The header's bytes; the length was checked against a bound far below 4 GiB.
    pub(crate) fn bytes(self) -> [u8; HEADER] {
        let length = u32::try_from(self.length + NUMBER).unwrap_or(u32::MAX);
        let mut bytes = [0; HEADER];
        let (head, tail) = bytes.split_at_mut(4);
        head.copy_from_slice(&length.to_be_bytes());
        tail.copy_from_slice(&self.number.to_be_bytes());
        bytes
    }
}

/// What a worker says first, once: a byte that carries its pidfd, if it came so far, and how its
/// confinement went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Greeting(pub(crate) Result<(), Failure>);

impl Greeting {
    /// The byte that carries the descriptor.
    pub(crate) const FIRST: u8 = b'H';
    /// Bytes after the first.
    pub(crate) const LENGTH: usize = 8;

    pub(crate) fn bytes(self) -> [u8; Self::LENGTH] {
        let (step, errno) = match self.0 {
            Ok(()) => (0, 0),
            Err(failure) => (failure.step as u32, failure.errno.raw_os_error()),
        };
        let mut bytes = [0; Self::LENGTH];
        let (head, tail) = bytes.split_at_mut(4);
        head.copy_from_slice(&step.to_be_bytes());
        tail.copy_from_slice(&errno.to_be_bytes());
        bytes
    }

    #[cfg_attr(not(feature = "client"), allow(dead_code))]
    pub(crate) fn parse(bytes: [u8; Self::LENGTH]) -> Result<Greeting, Malformed> {
        let [a, b, c, d, errno @ ..] = bytes;
        let (step, errno) = (u32::from_be_bytes([a, b, c, d]), i32::from_be_bytes(errno));
        match (step, errno) {
            (0, 0) => Ok(Greeting(Ok(()))),
            // The kernel's error numbers end at 4095.
            (step, 1..4096) => Ok(Greeting(Err(Failure {
                step: Step::from_number(step).ok_or(Malformed)?,
                errno: Errno::from_raw_os_error(errno),
            }))),
            _ => Err(Malformed),
        }
    }
}

/// The worker's side: waits for the next request; `None` when the gateway has closed the socket.
pub(crate) fn read_request(socket: &mut impl Read, body: &mut Vec<u8>) -> io::Result<Option<u64>> {
    let mut header = [0; HEADER];
    match socket.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let header = Header::parse(header, MAX_REQUEST).map_err(io::Error::other)?;
    body.clear();
    body.resize(header.length, 0);
    socket.read_exact(body)?;
    Ok(Some(header.number))
}

/// The worker's side: one answer. Too long a one becomes an error before anything is sent.
pub(crate) fn write_answer(socket: &mut impl Write, number: u64, body: &[u8]) -> io::Result<()> {
    if body.len() > MAX_ANSWER {
        return Err(io::Error::other(FrameError::TooLong(
            body.len(),
            MAX_ANSWER,
        )));
    }
    let header = Header {
        number,
        length: body.len(),
    };
    let mut all = Vec::with_capacity(HEADER + body.len());
    all.extend_from_slice(&header.bytes());
    all.extend_from_slice(body);
    socket.write_all(&all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(bytes: [u8; HEADER]) {
            match Header::parse(bytes, MAX_ANSWER) {
                Ok(header) => {
                    prop_assert!(header.length <= MAX_ANSWER);
                    prop_assert_eq!(header.bytes(), bytes);
                }
                Err(FrameError::TooShort) => prop_assert!(bytes[..4] < [0, 0, 0, 8][..]),
                Err(FrameError::TooLong(length, _)) => prop_assert!(length > MAX_ANSWER),
            }
        }

        #[test]
        fn what_is_written_is_read(number: u64, body: Vec<u8>) {
            let mut stream = Vec::new();
            write_answer(&mut stream, number, &body).unwrap();
            let mut read = Vec::new();
            let mut from = stream.as_slice();
            prop_assert_eq!(read_request(&mut from, &mut read).unwrap(), Some(number));
            prop_assert_eq!(read, body);
            prop_assert!(from.is_empty());
        }

        #[test]
        fn a_torn_stream_is_an_end_or_an_error(stream in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut body = Vec::new();
            // Whatever it is, it neither panics nor invents bytes.
            if let Ok(Some(_)) = read_request(&mut stream.as_slice(), &mut body) {
                prop_assert!(body.len() + HEADER <= stream.len());
            }
        }
    }
}
