//! The root of a box: an empty, read-only tmpfs in which everything the box sees is placed.

use super::sources::{Source, What};
use crate::step::errno_of;
use crate::sys;
use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, mount, mount_bind,
    mount_change, move_mount, unmount,
};
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// Where the root is put together, before it becomes `/`: any directory that every host has. What
/// the host has there is hidden from this moment on, from this process alone.
const STAGE: &str = "/usr";
/// What programs never see: the trash, and a `/proc` that some kernels ask for before they mount
/// another.
const HIDDEN: &str = "/.kruxos";
/// Nothing is ever placed here.
const EMPTY: &str = "/run";
/// The root holds a few links and small files, in bytes and in files.
const ROOT_SIZE: &str = "mode=0755,size=2m,nr_inodes=2048";

/// Mounts no longer travel between the host and this namespace.
pub(crate) fn make_private() -> Result<(), Errno> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
}

fn tmpfs(target: &Path, flags: MountFlags, options: &str) -> Result<(), Errno> {
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    let flags = flags | MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", target, "tmpfs", flags, options.as_c_str())
}

/// The empty root, and the directories that nothing is placed in later.
pub(crate) fn stage() -> Result<PathBuf, Errno> {
    let root = PathBuf::from(STAGE);
    tmpfs(&root, MountFlags::NOEXEC, ROOT_SIZE)?;
    for name in ["proc", "dev", "tmp", "run", "var", "etc", "mnt", "home"] {
        make_directory(&root.join(name))?;
    }
    link("/tmp", &root.join("var/tmp"))?;
    Ok(root)
}

fn make_directory(path: &Path) -> Result<(), Errno> {
    std::fs::create_dir_all(path).map_err(|error| errno_of(&error))
}

fn link(to: impl AsRef<Path>, at: &Path) -> Result<(), Errno> {
    std::os::unix::fs::symlink(to, at).map_err(|error| errno_of(&error))
}

/// Puts sources into the root.
pub(crate) fn place(root: &Path, sources: Vec<Source>) -> Result<(), Errno> {
    for source in sources {
        let inside = source.target.strip_prefix("/").map_err(|_| Errno::INVAL)?;
        let target = root.join(inside);
        if let Some(parent) = target.parent() {
            make_directory(parent)?;
        }
        match source.what {
            What::Link(to) => link(to, &target)?,
            What::Copy(bytes) => {
                std::fs::write(&target, bytes).map_err(|error| errno_of(&error))?;
            }
            What::Tree { tree, directory } => {
                if directory {
                    make_directory(&target)?;
                } else {
                    make_file(&target)?;
                }
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                move_mount(tree.as_fd(), "", CWD, &target, flags)?;
            }
        }
    }
    Ok(())
}

fn make_file(path: &Path) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o444)).map(drop)
}

/// The links in `/dev`. Shared memory is in `/tmp`, with its bound.
pub(crate) fn device_links(root: &Path) -> Result<(), Errno> {
    let dev = root.join("dev");
    for (name, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("shm", "/tmp"),
    ] {
        link(to, &dev.join(name))?;
    }
    Ok(())
}

/// `/tmp`, of its own size.
pub(crate) fn mount_tmp(root: &Path, bytes: u64, inodes: u64) -> Result<(), Errno> {
    let options = format!("mode=1777,size={bytes},nr_inodes={inodes}");
    tmpfs(&root.join("tmp"), MountFlags::empty(), &options)
}

/// What only workers see.
pub(crate) fn place_hidden(root: &Path, trash: Option<Source>) -> Result<(), Errno> {
    let hidden = root.join(HIDDEN.trim_start_matches('/'));
    make_directory(&hidden)?;
    tmpfs(
        &hidden,
        MountFlags::NOEXEC,
        "mode=0700,size=64k,nr_inodes=16",
    )?;
    // Kernels before 6.13 or so mount a small /proc only where a whole one is in sight already. A host
    // that shows none itself refuses this one, and then perhaps the programs' too: they fail closed.
    let proc = hidden.join("proc");
    make_directory(&proc)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match mount("proc", &proc, "proc", flags, c"hidepid=invisible") {
        Ok(()) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    place(root, trash.into_iter().collect())
}

/// Takes away what only workers see; for programs, in a mount namespace of their own. An empty directory of
/// the root is mounted over it: no path leads below a mount, nothing in the box has it open, and nobody there
/// may unmount. To unmount it here instead would wait for the kernel's other processors (RCU) in each start.
pub(crate) fn hide() -> Result<(), Errno> {
    mount_bind(EMPTY, HIDDEN)
}

/// `/proc` of this pid namespace: processes and nothing of the kernel's.
pub(crate) fn mount_proc() -> Result<(), Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(
        "proc",
        "/proc",
        "proc",
        flags,
        c"subset=pid,hidepid=ptraceable",
    )
}

/// The stage becomes `/`; the host's root lies on top of it until [`detach_host`].
pub(crate) fn pivot(root: &Path) -> Result<(), Errno> {
    rustix::process::chdir(root)?;
    rustix::process::pivot_root(".", ".")
}

/// Lets the host's root go.
pub(crate) fn detach_host() -> Result<(), Errno> {
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

/// Nothing in the root itself changes any more.
pub(crate) fn seal() -> Result<(), Errno> {
    let root = rustix::fs::open(
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    sys::set_mount(root.as_fd(), false, libc::MOUNT_ATTR_RDONLY, 0)
}
