//! The uid of a box, and who owns its files on the host.

use crate::spec::{INSIDE_ID, Identity};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Directories below one another that are given to an agent: more means somebody plays games.
const MAX_DEPTH: usize = 256;

/// Takes the uid and gid of the box, in its user namespace. Capabilities stay: uid 0 is not mapped, so
/// the kernel sees no change from root.
pub(crate) fn take(identity: Identity) -> Result<(), Errno> {
    if let Identity::Own(_) = identity {
        set_thread_groups(&[])?;
    }
    let (uid, gid) = (Uid::from_raw(INSIDE_ID), Gid::from_raw(INSIDE_ID));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

/// Gives a directory and what is in it to the agent's own uid, unless the directory already is its.
/// Runs as host root before anything of the agent does. Links are not followed, and files with
/// several names are left alone: another name may be somebody else's.
pub(crate) fn give(directory: BorrowedFd<'_>, identity: Identity) -> Result<(), Errno> {
    let Identity::Own(id) = identity else {
        return Ok(());
    };
    let root = rustix::fs::openat(directory, ".", DIRECTORY, Mode::empty())?;
    if rustix::fs::fstat(&root)?.st_uid == id {
        return Ok(());
    }
    give_below(root.as_fd(), id, 0)?;
    // Last: a tree half given is taken up again next time.
    rustix::fs::fchown(&root, Some(Uid::from_raw(id)), Some(Gid::from_raw(id)))
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn give_below(directory: BorrowedFd<'_>, id: u32, depth: usize) -> Result<(), Errno> {
    if depth > MAX_DEPTH {
        return Err(Errno::LOOP);
    }
    let owner = (Some(Uid::from_raw(id)), Some(Gid::from_raw(id)));
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory {
            let below = rustix::fs::openat(directory, name, DIRECTORY, Mode::empty())?;
            give_below(below.as_fd(), id, depth + 1)?;
        } else if stat.st_nlink > 1 {
            continue;
        }
        rustix::fs::chownat(directory, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}
