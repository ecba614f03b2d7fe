//! Files that appear whole or not at all: written beside their place, made durable, then put there in
//! one step. A crash leaves the old content or the new, and at most a hidden leftover.

use super::io::write_all;
use super::temporary;
use super::undo::{State, Time, modified, modified_at};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Stat, Uid};
use rustix::io::Errno;

/// A file that is being written.
pub(super) struct Staged<'d> {
    dir: &'d OwnedFd,
    temp: String,
    pub(super) file: OwnedFd,
    live: bool,
    /// The directory's time without and with the unfinished file in it.
    times: (Time, Time),
}

/// What becomes of the name a staged file gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publish {
    /// Nothing may be there; `EEXIST` otherwise.
    New,
    /// What is there is replaced.
    Replace,
}

impl<'d> Staged<'d> {
    /// Starts a file in `dir`. It takes mode and owner from `like`, the file it will replace or copies;
    /// setuid, setgid and sticky bits never. Without one: 0644 less the umask.
    pub(super) fn begin(dir: &'d OwnedFd, like: Option<&Stat>) -> Result<Staged<'d>, Errno> {
        let temp = temporary::name();
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = if like.is_some() { 0o600 } else { 0o644 };
        let before = modified_at(&rustix::fs::fstat(dir)?);
        let file = rustix::fs::openat(dir, temp.as_str(), flags, Mode::from_raw_mode(mode))?;
        let mut staged = Staged {
            dir,
            temp,
            file,
            live: true,
            times: (before, before),
        };
        staged.times.1 = modified_at(&rustix::fs::fstat(dir)?);
        if let Some(like) = like {
            keep_owner(&staged.file, like);
            rustix::fs::fchmod(&staged.file, Mode::from_raw_mode(like.st_mode & 0o777))?;
        }
        Ok(staged)
    }

    /// A file with this content, durable under its temporary name.
    pub(super) fn with_content(
        dir: &'d OwnedFd,
        like: Option<&Stat>,
        content: &[u8],
    ) -> Result<Staged<'d>, Errno> {
        let staged = Staged::begin(dir, like)?;
        write_all(&staged.file, content)?;
        rustix::fs::fsync(&staged.file)?;
        Ok(staged)
    }

    /// What the file is, with the digest of what was written to it.
    pub(super) fn state(&self, sha256: &str) -> Result<State, Errno> {
        let stat = rustix::fs::fstat(&self.file)?;
        Ok(State::of(&stat).with_sha256(Some(sha256.to_owned())))
    }

    /// Closes the file and leaves it under its temporary name, which is answered. What becomes of it
    /// is then the caller's to say, by [`replace`] or [`discard`].
    pub(super) fn leave(mut self) -> String {
        self.live = false;
        std::mem::take(&mut self.temp)
    }

    /// Gives the file its name, in one step, durably.
    ///
    /// A new name comes by a hard link and not by renaming, so that a watcher sees «created» for it
    /// and a move onto an existing name for a replacement.
    pub(super) fn publish(mut self, name: &str, how: Publish) -> Result<(), Errno> {
        match how {
            Publish::Replace => {
                rustix::fs::renameat(self.dir, self.temp.as_str(), self.dir, name)?;
                self.live = false;
            }
            Publish::New => {
                let temp = self.temp.as_str();
                match rustix::fs::linkat(self.dir, temp, self.dir, name, AtFlags::empty()) {
                    Ok(()) => {
                        discard(self.dir, temp);
                        self.live = false;
                    }
                    Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
                        let flags = RenameFlags::NOREPLACE;
                        rustix::fs::renameat_with(self.dir, temp, self.dir, name, flags)?;
                        self.live = false;
                    }
                    Err(errno) => return Err(errno),
                }
            }
        }
        let dir = self.dir;
        drop(self);
        sync_directory(dir)
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if !self.live {
            return;
        }
        let (before, with) = self.times;
        let untouched = rustix::fs::fstat(self.dir).is_ok_and(|stat| modified_at(&stat) == with);
        discard(self.dir, &self.temp);
        if untouched {
            // Nothing else happened here, so nothing has: as far as that goes.
            let _left = rustix::fs::futimens(self.dir, &modified(before));
        }
    }
}

/// Puts a file that was [left](Staged::leave) in the place of `name`, in one step, durably.
pub(super) fn replace(dir: &OwnedFd, temp: &str, name: &str) -> Result<(), Errno> {
    rustix::fs::renameat(dir, temp, dir, name)?;
    sync_directory(dir)
}

/// Removes an unfinished file as far as that goes: a leftover is hidden, harmless, and swept later.
pub(super) fn discard(dir: &OwnedFd, temp: &str) {
    let _left = rustix::fs::unlinkat(dir, temp, AtFlags::empty());
}

/// Gives a file the owner of another, as far as this process may.
pub(super) fn keep_owner(file: &OwnedFd, like: &Stat) {
    let Ok(own) = rustix::fs::fstat(file) else {
        return;
    };
    if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid) {
        let (owner, group) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
        // Only root may give files away; for all others the writer owns what it wrote.
        let _refused = rustix::fs::fchown(file, Some(owner), Some(group));
    }
}

/// Makes a directory's entries durable. File systems that cannot say so are taken at their word.
pub(super) fn sync_directory(dir: impl AsFd) -> Result<(), Errno> {
    match rustix::fs::fsync(dir.as_fd()) {
        Err(Errno::INVAL | Errno::ROFS | Errno::OPNOTSUPP) => Ok(()),
        other => other,
    }
}
