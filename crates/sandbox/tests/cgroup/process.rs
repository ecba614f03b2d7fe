//! Children of tests.

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::io::{PipeReader, Read, Write};

/// A child; killed and waited for when it is dropped.
pub(crate) struct Child {
    pub(crate) pid: i32,
    /// What it tells.
    reader: PipeReader,
    is_waited_for: bool,
}

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Exit(i32),
    Signal(i32),
}

/// `CLONE_INTO_CGROUP` of linux/sched.h.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks into new namespaces and into a group. The child runs `body`, whose answer is its exit code;
/// each byte that `body` tells can be waited for.
pub(crate) fn spawn(
    namespaces: i32,
    group: Option<BorrowedFd<'_>>,
    body: impl FnOnce(&mut dyn FnMut()) -> i32,
) -> Result<Child, i32> {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let arguments = libc::clone_args {
        flags: namespaces as u64 | group.map_or(0, |_| INTO_CGROUP),
        exit_signal: libc::SIGCHLD as u64,
        cgroup: group.map_or(0, |group| group.as_raw_fd() as u64),
        // SAFETY: all fields are numbers, for which zero means «none».
        ..unsafe { std::mem::zeroed() }
    };
    // SAFETY: the structure is valid and of the size given; the child gets a copy of everything.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    };
    match pid {
        -1 => Err(std::io::Error::last_os_error().raw_os_error().unwrap()),
        0 => {
            drop(reader);
            let mut tell = || writer.write_all(b".").unwrap();
            let body = std::panic::AssertUnwindSafe(|| body(&mut tell));
            let code = std::panic::catch_unwind(body).unwrap_or(101);
            // SAFETY: ends the child without what the parent registered for its own end.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(Child {
            pid: i32::try_from(pid).unwrap(),
            reader,
            is_waited_for: false,
        }),
    }
}

/// A fork that must work.
pub(crate) fn fork(body: impl FnOnce(&mut dyn FnMut()) -> i32) -> Child {
    spawn(0, None, body).unwrap()
}

impl Child {
    /// Waits for so many bytes; answers how many came before the child and its children ended.
    pub(crate) fn told(&mut self, count: usize) -> usize {
        let mut told = 0;
        while told < count && self.reader.read(&mut [0]).unwrap() == 1 {
            told += 1;
        }
        told
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> Ended {
        let mut status = 0;
        // SAFETY: waits for our own child; `status` is ours.
        let pid = unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL) };
        assert_eq!(pid, self.pid);
        self.is_waited_for = true;
        match libc::WIFSIGNALED(status) {
            true => Ended::Signal(libc::WTERMSIG(status)),
            false => Ended::Exit(libc::WEXITSTATUS(status)),
        }
    }

    /// A handle that means this process and never another.
    pub(crate) fn handle(&self) -> OwnedFd {
        // SAFETY: takes no pointer.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, self.pid, 0) };
        assert!(fd >= 0);
        // SAFETY: the descriptor is new and nobody else's.
        unsafe { OwnedFd::from_raw_fd(fd as i32) }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_waited_for {
            // SAFETY: our own child, which nobody has waited for.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
            self.wait();
        }
    }
}

/// Dies when its parent does, so that a test that fails leaves nothing.
pub(crate) fn die_with_parent() {
    // SAFETY: takes no pointer.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Waits for a signal for ever.
pub(crate) fn pause() -> ! {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::poll(std::ptr::null_mut(), 0, -1) };
    }
}

/// Touches so many bytes of fresh memory, shared with children to come or not, and keeps them.
pub(crate) fn touch(bytes: usize, kind: i32) {
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            kind | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(start, libc::MAP_FAILED);
    for offset in (0..bytes).step_by(4096) {
        // SAFETY: inside the mapping.
        unsafe { start.cast::<u8>().add(offset).write_volatile(1) };
    }
}

/// Becomes another user, without a way back.
pub(crate) fn become_user(id: u32) {
    // SAFETY: take numbers, and null for no groups.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(id, id, id), 0);
        assert_eq!(libc::setresuid(id, id, id), 0);
    }
}
