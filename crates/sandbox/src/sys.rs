//! The few system calls that no library wraps safely, each behind a safe function.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::process::Child;

/// A result of libc: -1 means errno.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 {
        Err(crate::step::errno_of(&std::io::Error::last_os_error()))
    } else {
        Ok(result)
    }
}

/// Which side of a [`fork`] this is.
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old one, with the new one's pid as this process sees it.
    Parent(i32),
}

/// A copy of this process, in new namespaces by `flags` (`CLONE_NEW*`), in the control group `group`.
///
/// Only for processes with one thread: the copy has nobody else's locks.
pub(crate) fn fork(flags: i32, group: Option<BorrowedFd<'_>>) -> Result<Forked, Errno> {
    let Some(group) = group else {
        let flags = flags | libc::SIGCHLD;
        // SAFETY: without CLONE_VM the child has a copy of the whole address space and goes on with
        // the same stack; null stack, tid and tls pointers are what fork() passes. Arguments of clone
        // are in another order on some architectures, but all but the first are zero here.
        let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })?;
        return Ok(side(pid));
    };
    let arguments = libc::clone_args {
        flags: flags as u64 | CLONE_INTO_CGROUP,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: group.as_raw_fd() as u64,
        // SAFETY: the rest are plain numbers, for which zero is valid and means «none».
        ..unsafe { std::mem::zeroed() }
    };
    // SAFETY: `arguments` is a valid clone_args of the size given; as above, no CLONE_VM.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    })?;
    Ok(side(pid))
}

/// Stack of a child that borrows its parent's memory: it runs a few shallow functions up to its exec.
const BORROWED_STACK: usize = 64 << 10;

/// A new process that has this one's memory, on a stack of its own, until it executes a program or ends;
/// this process waits for that (`vfork(2)`). Nothing is copied, which is most of what a fork costs.
/// Descriptors, signal actions, credentials, filters and the working directory are the child's own.
///
/// Only for processes with one thread. What `child` writes through its references stays; it must drop
/// nothing that the parent still uses. When it returns the process ends with that code.
pub(crate) fn fork_borrowing(mut child: &mut dyn FnMut() -> i32) -> Result<i32, Errno> {
    extern "C" fn enter(argument: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `argument` is the address of `child` below, whose owner is stopped and alive for as
        // long as this runs; nobody else uses it.
        let child = unsafe { &mut *argument.cast::<&mut dyn FnMut() -> i32>() };
        child()
    }
    let mut stack = vec![MaybeUninit::<Line>::uninit(); BORROWED_STACK / size_of::<Line>()];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is aligned, ours alone and outlives the child's use of it, since CLONE_VFORK
    // stops this thread, the only one, until the child has another memory or has ended. `enter` does
    // not unwind: a panic aborts at an `extern "C"` boundary.
    let pid = check(
        unsafe {
            libc::clone(
                enter,
                stack.as_mut_ptr_range().end.cast(),
                flags,
                (&raw mut child).cast(),
            )
        }
        .into(),
    )?;
    drop(stack);
    Ok(pid as i32)
}

/// What a stack is aligned to on every architecture.
#[derive(Clone, Copy)]
#[repr(align(16))]
struct Line {
    _bytes: [u8; 16],
}

/// From linux/sched.h (5.7); libc lacks it on some targets.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

fn side(pid: libc::c_long) -> Forked {
    match i32::try_from(pid) {
        Ok(pid) if pid > 0 => Forked::Parent(pid),
        _ => Forked::Child,
    }
}

/// Ends this process at once; runs no destructors and no `atexit` functions.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Marks every descriptor from `first` on to be closed by the next exec.
pub(crate) fn close_on_exec_from(first: RawFd) -> Result<(), Errno> {
    // SAFETY: changes flags of descriptors only; numbers are passed as the kernel wants them.
    check(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    })
    .map(drop)
}

/// Closes every descriptor from `first` on but `kept` (ascending).
///
/// Values that own one of the closed ones must not be used or dropped any more: callers are processes
/// that were just forked and never return.
pub(crate) fn close_all_but(first: RawFd, kept: &mut [RawFd]) -> Result<(), Errno> {
    kept.sort_unstable();
    let mut from = first;
    for &keep in kept.iter().chain([&RawFd::MAX]) {
        if keep > from {
            let last = if keep == RawFd::MAX { keep } else { keep - 1 };
            // SAFETY: see above; the caller gives up what it held.
            check(unsafe { libc::syscall(libc::SYS_close_range, from, last, 0) })?;
        }
        from = keep.saturating_add(1).max(from);
    }
    Ok(())
}

/// `mount_setattr(2)` on a mount: sets `set`, and the propagation unless it is 0.
pub(crate) fn set_mount(
    mount: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    propagation: u64,
) -> Result<(), Errno> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation,
        userns_fd: 0,
    };
    set_attributes(mount, recursive, &attributes)
}

/// `mount_setattr(2)` on a detached mount: ids are mapped as in `namespace`.
pub(crate) fn map_mount(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: namespace.as_raw_fd() as u64,
    };
    set_attributes(mount, false, &attributes)
}

fn set_attributes(
    mount: BorrowedFd<'_>,
    recursive: bool,
    attributes: &libc::mount_attr,
) -> Result<(), Errno> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: an empty C string and a valid mount_attr of the size given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Takes one capability out of the bounding set; `EINVAL` above the kernel's last.
pub(crate) fn drop_bounding(capability: u64) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }.into()).map(drop)
}

/// Restricts this process by a ruleset.
pub(crate) fn landlock_restrict(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
        .map(drop)
}

/// Sets what a signal does to its default, or to being ignored.
pub(crate) fn set_signal(signal: i32, ignored: bool) {
    let action = if ignored {
        libc::SIG_IGN
    } else {
        libc::SIG_DFL
    };
    // SAFETY: neither action runs code of ours. Fails only for numbers that are no signals.
    unsafe { libc::signal(signal, action) };
}

/// Blocks or unblocks one signal.
pub(crate) fn block_signal(signal: i32, blocked: bool) -> Result<(), Errno> {
    let set = signal_set(signal);
    let how = if blocked {
        libc::SIG_BLOCK
    } else {
        libc::SIG_UNBLOCK
    };
    // SAFETY: `set` is initialised; the old mask is not asked for.
    check(unsafe { libc::sigprocmask(how, &raw const set, std::ptr::null_mut()) }.into()).map(drop)
}

fn signal_set(signal: i32) -> libc::sigset_t {
    // SAFETY: sigset_t is plain bits, for which zero is valid; sigemptyset and sigaddset initialise it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        set
    }
}

/// A descriptor that is readable while `signal` is pending. Non-blocking, closed by exec.
pub(crate) fn signal_fd(signal: i32) -> Result<OwnedFd, Errno> {
    let set = signal_set(signal);
    // SAFETY: `set` is initialised.
    let fd = check(
        unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) }
            .into(),
    )?;
    Ok(adopt(fd as RawFd))
}

/// A descriptor the kernel has just given us.
fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: callers pass what a successful system call returned; nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Standard stream `number` (0, 1, 2) becomes a copy of `from`.
pub(crate) fn set_stream(from: BorrowedFd<'_>, number: RawFd) -> Result<(), Errno> {
    // SAFETY: replaces a standard stream, which is open in every process of ours.
    check(unsafe { libc::dup2(from.as_raw_fd(), number) }.into()).map(drop)
}

/// Sends a signal: to a process, to a group (negative), or to all in sight (-1).
pub(crate) fn kill(whom: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    check(unsafe { libc::kill(whom, signal) }.into()).map(drop)
}

/// A child that ended.
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    /// As of `wait(2)`.
    pub(crate) status: i32,
}

/// Reaps one child of any; `None` when none has ended yet and `block` is false. `ECHILD` when there
/// is none left.
pub(crate) fn reap(block: bool) -> Result<Option<Reaped>, Errno> {
    let options = libc::__WALL | if block { 0 } else { libc::WNOHANG };
    let mut status = 0;
    loop {
        // SAFETY: `status` is valid for writing.
        let pid = check(unsafe { libc::waitpid(-1, &raw mut status, options) }.into());
        match pid {
            Ok(0) => return Ok(None),
            Ok(pid) => {
                return Ok(Some(Reaped {
                    pid: pid as i32,
                    status,
                }));
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// What all reaped children used.
pub(crate) fn children_usage() -> libc::rusage {
    // SAFETY: rusage is plain numbers, for which zero is valid; getrusage fills it and cannot fail with
    // these arguments.
    unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    }
}

/// Argument and environment vectors of an exec, made before it.
pub(crate) struct Vector {
    // Owns what `pointers` point to.
    _strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Vector {
    pub(crate) fn new(strings: Vec<CString>) -> Vector {
        let ends = [std::ptr::null()];
        let pointers = strings
            .iter()
            .map(|text| text.as_ptr())
            .chain(ends)
            .collect();
        Vector {
            _strings: strings,
            pointers,
        }
    }
}

/// Executes a program; comes back only with an error.
pub(crate) fn execute(program: &CStr, arguments: &Vector, environment: &Vector) -> Errno {
    // SAFETY: both vectors end in a null pointer and own the strings they point to.
    unsafe {
        libc::execve(
            program.as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
        )
    };
    crate::step::errno_of(&std::io::Error::last_os_error())
}

/// Brings up the loopback of this network namespace.
pub(crate) fn loopback_up() -> Result<(), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: ifreq is plain bytes and numbers, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    // `IFF_UP` and `IFF_RUNNING` fit the field; the cast is what the C macro does.
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads a valid ifreq.
    check(
        unsafe {
            libc::ioctl(
                socket.as_fd().as_raw_fd(),
                libc::SIOCSIFFLAGS,
                &raw const request,
            )
        }
        .into(),
    )
    .map(drop)
}

/// The Landlock ABI of this kernel.
pub(crate) fn landlock_abi() -> Result<u32, Errno> {
    /// `LANDLOCK_CREATE_RULESET_VERSION` of linux/landlock.h.
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag and no attributes the kernel only answers a number.
    let abi = check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0,
            VERSION,
        )
    })?;
    Ok(abi as u32)
}

/// Executes the program that is open at `program`; comes back only with an error.
pub(crate) fn execute_open(program: RawFd, arguments: &Vector, environment: &Vector) -> Errno {
    // SAFETY: as in `execute`; the path is an empty C string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program,
            c"".as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    crate::step::errno_of(&std::io::Error::last_os_error())
}

/// Moves a descriptor to a number of our choice that nothing has, closed by exec.
pub(crate) fn move_to(from: OwnedFd, number: RawFd) -> Result<(), Errno> {
    // SAFETY: plain numbers; callers pick a number above all descriptors of theirs.
    check(unsafe { libc::dup3(from.as_raw_fd(), number, libc::O_CLOEXEC) }.into()).map(drop)
}

/// Waits until a child has ended, which is not reaped yet; `false` when it has not in this time, or when
/// that cannot be known.
pub(crate) fn ends_within(child: &Child, patience: Timespec) -> bool {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let Some(pidfd) = pidfd else { return false };
    let mut waited = [PollFd::new(&pidfd, PollFlags::IN)];
    loop {
        match poll(&mut waited, Some(&patience)) {
            Err(Errno::INTR) => {}
            other => return other.is_ok_and(|count| count > 0),
        }
    }
}
