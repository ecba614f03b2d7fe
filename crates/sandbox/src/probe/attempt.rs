//! Trying something in a child that ends afterwards, whatever it did to itself.

use crate::step::errno_of;
use crate::sys::{Forked, exit, fork};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::fs;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};

/// A child that has not answered by then never will.
const PATIENCE: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};
/// The longest answer of a child, in bytes: a step's name and a number.
const LONGEST: u64 = 256;

/// Which step failed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) what: String,
    pub(super) errno: Errno,
}

impl Failure {
    pub(super) fn new(what: &str, errno: Errno) -> Failure {
        Failure {
            what: what.to_owned(),
            errno,
        }
    }
}

/// Names the step that an error came from.
pub(super) trait Named<T> {
    fn named(self, what: &str) -> Result<T, Failure>;
}

impl<T> Named<T> for Result<T, Errno> {
    fn named(self, what: &str) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(what, errno))
    }
}

impl<T> Named<T> for std::io::Result<T> {
    fn named(self, what: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(what, errno_of(&error)))
    }
}

/// The step was made and had not the effect that it should have.
pub(super) fn demand(holds: bool, what: &str) -> Result<(), Failure> {
    match holds {
        true => Ok(()),
        false => Err(Failure::new(what, Errno::PROTO)),
    }
}

/// Runs `body` in a child in new namespaces (`CLONE_NEW*`), in this control group. In a new user
/// namespace the child has this process's uid and gid, under the number 1000.
pub(super) fn attempt(
    namespaces: i32,
    group: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (reader, writer) = pipe().named("pipe")?;
    let (start, release) = pipe().named("pipe")?;
    match fork(namespaces, group).named("clone")? {
        Forked::Child => {
            drop((reader, release));
            child(start, writer, body)
        }
        Forked::Parent(pid) => {
            drop((start, writer));
            let answer = parent(pid, namespaces, reader, release);
            // The child has answered or never will; either way nothing of it stays.
            if let Some(pid) = Pid::from_raw(pid) {
                kill_process(pid, Signal::KILL).named("kill")?;
                waitpid(Some(pid), WaitOptions::empty()).named("waitpid")?;
            }
            answer
        }
    }
}

fn child(
    mut start: PipeReader,
    mut writer: PipeWriter,
    body: impl FnOnce() -> Result<(), Failure>,
) -> ! {
    // A parent that dies before the maps are written closes the pipe.
    let released = start.read_exact(&mut [0]);
    let answer = match released.named("wait for the maps").and_then(|()| body()) {
        Ok(()) => "0 ".to_owned(),
        Err(failure) => format!("{} {}", failure.errno.raw_os_error(), failure.what),
    };
    exit(i32::from(writer.write_all(answer.as_bytes()).is_err()))
}

fn parent(
    pid: i32,
    namespaces: i32,
    reader: PipeReader,
    mut release: PipeWriter,
) -> Result<(), Failure> {
    if namespaces & libc::CLONE_NEWUSER != 0 {
        write_maps(pid)?;
    }
    release.write_all(&[0]).named("start")?;
    let ready = poll(
        &mut [PollFd::new(&reader.as_fd(), PollFlags::IN)],
        Some(&PATIENCE),
    );
    if ready.named("wait")? == 0 {
        return Err(Failure::new("answer in time", Errno::TIMEDOUT));
    }
    let mut answer = String::new();
    reader
        .take(LONGEST)
        .read_to_string(&mut answer)
        .named("answer")?;
    match answer.split_once(' ') {
        Some(("0", _)) => Ok(()),
        Some((errno, what)) => {
            let errno = errno.parse().unwrap_or(libc::EPROTO);
            Err(Failure::new(what, Errno::from_raw_os_error(errno)))
        }
        // A signal ended it, such as that of a filter.
        None => Err(Failure::new("survive", Errno::CHILD)),
    }
}

fn write_maps(pid: i32) -> Result<(), Failure> {
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    let inside = crate::spec::INSIDE_ID;
    for (name, text) in [
        ("setgroups", "deny".to_owned()),
        ("gid_map", format!("{inside} {group} 1")),
        ("uid_map", format!("{inside} {user} 1")),
    ] {
        fs::write(format!("/proc/{pid}/{name}"), text).named(name)?;
    }
    Ok(())
}
