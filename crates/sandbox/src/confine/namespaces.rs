//! The namespaces of a box, and the maps of its user namespace.

use crate::spec::{BoxSpec, INSIDE_ID, Identity};
use crate::step::errno_of;
use rustix::io::Errno;
use std::fs::OpenOptions;
use std::io::Write;

/// What the first process of a box is cloned with.
pub(crate) fn of_box(spec: &BoxSpec) -> i32 {
    let mut flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID;
    if spec.layers.network {
        flags |= libc::CLONE_NEWNET;
    }
    if spec.layers.ipc {
        flags |= libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
    }
    flags
}

/// Written by the maker of process `pid`, from outside its user namespace: one uid and one gid, no
/// uid 0.
pub(crate) fn write_maps(pid: i32, identity: Identity) -> Result<(), Errno> {
    let (uid, gid) = match identity {
        Identity::Own(id) => (id, id),
        Identity::Caller => {
            // Without privilege the kernel wants group changes forbidden before it takes a gid map.
            write(&format!("/proc/{pid}/setgroups"), "deny")?;
            (
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
            )
        }
    };
    write(
        &format!("/proc/{pid}/gid_map"),
        &format!("{INSIDE_ID} {gid} 1"),
    )?;
    write(
        &format!("/proc/{pid}/uid_map"),
        &format!("{INSIDE_ID} {uid} 1"),
    )
}

/// The map of a namespace that is only for a mount: files of `uid` and `gid` are `id`'s through it.
pub(super) fn write_map(pid: i32, uid: u32, gid: u32, id: u32) -> Result<(), Errno> {
    write(&format!("/proc/{pid}/gid_map"), &format!("{gid} {id} 1"))?;
    write(&format!("/proc/{pid}/uid_map"), &format!("{uid} {id} 1"))
}

/// No process of the box makes another user namespace: a fresh one would be a fresh set of
/// capabilities. The seccomp filters refuse it as well.
pub(crate) fn forbid_nested() -> Result<(), Errno> {
    write("/proc/sys/user/max_user_namespaces", "0")
}

fn write(path: &str, text: &str) -> Result<(), Errno> {
    let mut file = OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(|error| errno_of(&error))?;
    // One write: the maps take no second.
    file.write_all(text.as_bytes())
        .map_err(|error| errno_of(&error))
}
