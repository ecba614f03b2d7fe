//! A packet socket on tokio.

use crate::protocol::{self, Packet};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::io;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Our end of a packet socket.
#[derive(Debug)]
pub(super) struct Channel(AsyncFd<OwnedFd>);

/// A pair of connected sockets: ours does not block, the other's does.
pub(super) fn pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// A descriptor on the runtime, watched for `interest` and nothing else.
pub(super) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd answers the same open descriptor for as long as it lives, which is as long as
    // the AsyncFd that owns it.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(io::Error::from)
}

impl Channel {
    pub(super) fn new(ours: OwnedFd) -> io::Result<Channel> {
        Ok(Channel(watch(
            ours,
            Interest::READABLE.add(Interest::WRITABLE),
        )?))
    }

    /// Our end and the other.
    pub(super) fn pair() -> io::Result<(Channel, OwnedFd)> {
        let (ours, theirs) = pair(SocketType::SEQPACKET)?;
        Ok((Channel::new(ours)?, theirs))
    }

    /// Sends one packet.
    pub(super) async fn send(
        &self,
        kind: u32,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        loop {
            match protocol::send(self.0.get_ref(), kind, body, descriptors) {
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
            self.0.writable().await?.clear_ready();
        }
    }

    /// Sends one packet now or not at all.
    pub(super) fn send_now(&self, kind: u32, body: &[u8]) -> io::Result<()> {
        Ok(protocol::send(self.0.get_ref(), kind, body, &[])?)
    }

    /// The next packet of a process that is not trusted; `None` once it has gone.
    pub(super) async fn receive(&self) -> io::Result<Option<Packet>> {
        loop {
            match protocol::receive_small(self.0.get_ref()) {
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
            self.0.readable().await?.clear_ready();
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
