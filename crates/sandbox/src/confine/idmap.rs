//! A mount through which an agent with a uid of its own sees the files of whoever owns the directory as
//! its own (`mount_setattr(2)`, `MOUNT_ATTR_IDMAP`). What it makes there belongs to that owner on the host.

use super::namespaces;
use crate::sys::{self, Forked};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Signal, set_parent_process_death_signal};

/// Maps the owner of a detached mount's root to `id`. `false` where the file system knows no such
/// mapping: its files keep the permissions that they have for others.
pub(crate) fn to_owner(mount: BorrowedFd<'_>, id: u32) -> Result<bool, Errno> {
    let owner = rustix::fs::fstat(mount)?;
    let namespace = mapping(owner.st_uid, owner.st_gid, id)?;
    match sys::map_mount(mount, namespace.as_fd()) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// A user namespace that means nothing but a mapping. No process stays in it.
fn mapping(uid: u32, gid: u32, id: u32) -> Result<OwnedFd, Errno> {
    let pid = match sys::fork(libc::CLONE_NEWUSER, None)? {
        Forked::Child => {
            if set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
                sys::exit(1);
            }
            loop {
                // Until it is killed, a few lines below.
                let _waited = rustix::event::poll(&mut [], None);
            }
        }
        Forked::Parent(pid) => pid,
    };
    let made = namespaces::write_map(pid, uid, gid, id).and_then(|()| {
        let path = format!("/proc/{pid}/ns/user");
        rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    });
    let _gone = sys::kill(pid, libc::SIGKILL);
    made
}
