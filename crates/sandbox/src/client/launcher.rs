//! The launcher process, from the gateway.

use super::channel::{self, Channel};
use super::error::BoxError;
use super::stats::Stats;
use crate::protocol::kind;
use crate::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::SocketType;
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, OnceLock, PoisonError};

/// How long the launcher may take to end with its boxes; some milliseconds for each is usual.
const END_PATIENCE: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// The running launcher. All boxes end with it, and it ends with this value,
/// which waits for it.
#[derive(Debug)]
pub struct Launcher {
    socket: Mutex<Option<OwnedFd>>,
    channel: OnceLock<Channel>,
    child: Child,
    stats: Stats,
}

impl Launcher {
    /// Starts the launcher: `command` is a program that calls [`crate::launcher::run`]. Standard input
    /// and output are set here; standard error is left as it is. To be called before the process has
    /// threads, sockets or anything that a child should not have.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(mut command: Command) -> io::Result<Launcher> {
        let (ours, theirs) = channel::pair(SocketType::SEQPACKET)?;
        command
            .env_clear()
            .stdin(theirs)
            .stdout(std::process::Stdio::null());
        let child = command.spawn()?;
        Ok(Launcher {
            socket: Mutex::new(Some(ours)),
            channel: OnceLock::new(),
            child,
            stats: Stats::default(),
        })
    }

    /// The launcher's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs. A gateway whose launcher has gone must say so and stop serving workers'
    /// calls: nothing can be confined any more.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let fd = match (&*socket, self.channel.get()) {
            (Some(socket), _) => socket.as_fd(),
            (None, Some(channel)) => channel.as_fd(),
            (None, None) => return false,
        };
        !has_ended(fd)
    }

    /// Counters of all boxes.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Asks for a box whose control socket is the first of `descriptors`.
    pub(super) async fn open_box(
        &self,
        spec: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), BoxError> {
        let channel = self.channel().map_err(BoxError::Gateway)?;
        channel
            .send(kind::OPEN_BOX, spec, descriptors)
            .await
            .map_err(BoxError::Launcher)
    }

    /// The socket, registered with the runtime that asks first.
    fn channel(&self) -> io::Result<&Channel> {
        if let Some(channel) = self.channel.get() {
            return Ok(channel);
        }
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = socket.take() {
            let channel = Channel::new(socket)?;
            return Ok(self.channel.get_or_init(|| channel));
        }
        self.channel
            .get()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Launcher {
    /// Ends the launcher, and by it all boxes, and waits for it: nothing of theirs outlives the gateway.
    fn drop(&mut self) {
        // Closed, it tells the launcher that nobody is left.
        drop(self.channel.take());
        drop(self.socket.get_mut().map(Option::take));
        // It does at once, unless a process of a box hangs in the kernel.
        if !sys::ends_within(&self.child, END_PATIENCE) {
            // Fails if it has just ended; boxes end without it too.
            let _killed = self.child.kill();
        }
        let _reaped = self.child.wait();
    }
}

/// Whether the process of a pidfd, or the other end of a socket, has gone.
pub(super) fn has_ended(fd: BorrowedFd<'_>) -> bool {
    let mut waited = [PollFd::new(&fd, PollFlags::IN | PollFlags::RDHUP)];
    let now = Timespec::default();
    match poll(&mut waited, Some(&now)) {
        Ok(0) => false,
        Ok(_) => true,
        // Not known; the next step that needs it fails and says why.
        Err(_) => false,
    }
}
