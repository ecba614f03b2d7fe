//! The uid of a box, and who owns its files on the host.

use crate::spec::{INSIDE_ID, Identity};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Directories below one another that are given to an agent: more means somebody plays games.
const MAX_DEPTH: usize = 256;
/// Entries looked at for each box: about half a second.
const MAX_ENTRIES: usize = 200_000;

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

/// Gives a directory and what is in it to the agent's own uid: also what a person put there since the
/// last box, as root most often. Runs as host root before anything of the box does. Links are not
/// followed, and files with several names are left alone: another name may be somebody else's.
pub(crate) fn give(directory: BorrowedFd<'_>, identity: Identity) -> Result<(), Errno> {
    let Identity::Own(id) = identity else {
        return Ok(());
    };
    let root = rustix::fs::openat(directory, ".", DIRECTORY, Mode::empty())?;
    let mut giving = Giving {
        id,
        left: MAX_ENTRIES,
    };
    giving.below(root.as_fd(), 0)?;
    giving.hand_over(root.as_fd())
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

const ENTRY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

struct Giving {
    id: u32,
    /// Entries still looked at.
    left: usize,
}

impl Giving {
    fn below(&mut self, directory: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // What is beyond the bounds keeps its owner; an agent cannot shut itself out by it.
            let Some(left) = self.left.checked_sub(1) else {
                return Ok(());
            };
            self.left = left;
            // By a handle, so that what is looked at is what changes hands.
            let handle = match rustix::fs::openat(directory, name, ENTRY, Mode::empty()) {
                Ok(handle) => handle,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            };
            if entry.file_type() == FileType::Directory && depth < MAX_DEPTH {
                let opened = rustix::fs::openat(directory, name, DIRECTORY, Mode::empty());
                match opened {
                    Ok(below) => self.below(below.as_fd(), depth + 1)?,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                    Err(errno) => return Err(errno),
                }
            }
            self.hand_over(handle.as_fd())?;
        }
        Ok(())
    }

    fn hand_over(&self, handle: BorrowedFd<'_>) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(handle)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if stat.st_uid == self.id || (!is_directory && stat.st_nlink > 1) {
            return Ok(());
        }
        let owner = (Some(Uid::from_raw(self.id)), Some(Gid::from_raw(self.id)));
        rustix::fs::chownat(handle, "", owner.0, owner.1, AtFlags::EMPTY_PATH)
    }
}
