//! One worker, from the gateway.

use super::channel;
use super::error::{BoxError, CallFailure};
use super::launcher::has_ended;
use crate::protocol::{FrameError, Greeting, HEADER, Header, MAX_ANSWER, MAX_REQUEST};
use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketType, recvmsg, send,
};
use rustix::process::{Signal, pidfd_send_signal};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::time::Instant;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Read at once, in bytes: most answers are smaller.
const CHUNK: usize = 16 << 10;

/// A warm worker. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct Worker {
    stream: Stream,
    pidfd: OwnedFd,
    pub(super) calls: u32,
    pub(super) used: Instant,
    next: u64,
    buffer: Vec<u8>,
}

/// A socket for a worker to be: ours, and the one it gets.
pub(super) fn socket() -> io::Result<(Stream, OwnedFd)> {
    let (ours, theirs) = channel::pair(SocketType::STREAM)?;
    Ok((Stream::new(ours)?, theirs))
}

/// Our end of a worker's socket. It is watched for reading only: watched for writing too, as tokio's own
/// stream is, it would wake us each time the worker takes a request, a fifth of a call's cost.
#[derive(Debug)]
pub(super) struct Stream(AsyncFd<OwnedFd>);

impl Stream {
    fn new(socket: OwnedFd) -> io::Result<Stream> {
        Ok(Stream(channel::watch(socket, Interest::READABLE)?))
    }

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match send(&self.0, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.writable().await?,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// For the rare request that does not fit the socket's buffer.
    async fn writable(&self) -> io::Result<()> {
        let also = rustix::io::fcntl_dupfd_cloexec(&self.0, 3)?;
        let also = channel::watch(also, Interest::WRITABLE)?;
        also.writable().await.map(drop)
    }

    /// Reads once what is there, up to the spare capacity of `bytes`; 0 at the end.
    async fn read(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|socket| Ok(rustix::io::read(socket, spare_capacity(bytes))?)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(done) => return done,
                Err(_) => {}
            }
        }
    }
}

impl Worker {
    /// Waits for its greeting.
    pub(super) async fn greeted(stream: Stream) -> Result<Worker, BoxError> {
        let pidfd = first(&stream).await.map_err(|_| BoxError::Ended)?;
        let mut bytes = Vec::with_capacity(Greeting::LENGTH);
        while bytes.len() < Greeting::LENGTH {
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return Err(BoxError::Ended),
                Ok(_) => {}
            }
        }
        let bytes = bytes.try_into().map_err(|_| BoxError::Ended)?;
        Greeting::parse(bytes).map_err(|_| BoxError::Ended)?.0?;
        Ok(Worker {
            stream,
            pidfd: pidfd.ok_or(BoxError::Ended)?,
            calls: 0,
            used: Instant::now(),
            next: 1,
            buffer: Vec::new(),
        })
    }

    /// Whether its process runs.
    pub(super) fn is_alive(&self) -> bool {
        !has_ended(self.pidfd.as_fd())
    }

    /// Asks and waits for the answer.
    pub(super) async fn call(&mut self, request: &[u8]) -> Result<Vec<u8>, CallFailure> {
        if request.len() > MAX_REQUEST {
            return Err(CallFailure::TooLarge(request.len(), MAX_REQUEST));
        }
        let number = self.next;
        self.next += 1;
        self.calls += 1;
        let header = Header {
            number,
            length: request.len(),
        };
        self.buffer.clear();
        self.buffer.extend_from_slice(&header.bytes());
        self.buffer.extend_from_slice(request);
        let sent = self.stream.write_all(&self.buffer).await;
        self.buffer = Vec::new();
        sent.map_err(|_| CallFailure::Died)?;
        let answer = self.answer(number).await;
        self.used = Instant::now();
        answer
    }

    /// Memory grows with what has arrived, not with what the header claims.
    async fn answer(&mut self, number: u64) -> Result<Vec<u8>, CallFailure> {
        let mut bytes = Vec::with_capacity(CHUNK);
        let mut expected = None;
        loop {
            if expected.is_none()
                && let Some(header) = bytes.first_chunk::<HEADER>()
            {
                let header = Header::parse(*header, MAX_ANSWER)?;
                if header.number != number {
                    return Err(CallFailure::WrongNumber(number, header.number));
                }
                expected = Some(HEADER + header.length);
            }
            match expected {
                Some(length) if bytes.len() > length => {
                    let surplus = bytes.len() - HEADER;
                    return Err(FrameError::TooLong(surplus, length - HEADER).into());
                }
                Some(length) if bytes.len() == length => {
                    bytes.drain(..HEADER);
                    return Ok(bytes);
                }
                _ => {}
            }
            if bytes.capacity() == bytes.len() {
                bytes.reserve(CHUNK);
            }
            match self.stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return Err(CallFailure::Died),
                Ok(_) => {}
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be busy and not look at its socket.
        let _gone = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

/// The first byte of the greeting and the descriptor on it.
async fn first(stream: &Stream) -> io::Result<Option<OwnedFd>> {
    loop {
        let mut ready = stream.0.readable().await?;
        if let Ok(done) = ready.try_io(|socket| receive_first(socket.as_fd())) {
            return done;
        }
    }
}

fn receive_first(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let carried = ancillary.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut received) => received.next(),
        _ => None,
    });
    if message.bytes != 1 || byte != [Greeting::FIRST] {
        return Err(Errno::BADMSG.into());
    }
    Ok(carried)
}
