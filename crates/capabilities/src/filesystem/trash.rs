//! What was deleted, kept for a while. Each entry is `<id>` (the file itself, where there is content)
//! and `<id>.json` (the sidecar: where it was, whose, its mode, time and hash). What was overwritten is
//! the business of [`super::undo`], whose files lie beside it.

mod cleaning;
mod room;

use super::atomic::{keep_owner, sync_directory};
use super::io::{
    clone_or_copy, hash_file, modified, nanoseconds, read_at, same_content, size_of, write_all,
};
use super::place::Slot;
use super::roots::{DIRECTORY, READ, open_beneath};
use super::undo::{Kind, State};
pub use cleaning::{TrashEntry, clean, list};
use jiff::Timestamp;
use kruxos_types::{Principal, random_base32};
use room::Room;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timespec,
    Timestamps,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

/// Version of the sidecar's format.
const SIDECAR_VERSION: u32 = 1;
/// Largest sidecar, in bytes: a path of 4,096 bytes, escaped, and small facts.
const MAX_SIDECAR: usize = 64 << 10;
/// Deleted content larger than this goes unhashed, in bytes: about a second of hashing.
const MAX_HASHED: u64 = 256 << 20;
/// Largest file copied into or out of a trash on another file system, in bytes.
pub(super) const MAX_COPIED: u64 = 2 << 30;
/// Deleted files kept for one principal, in bytes on disk; the oldest goes first, also before its time
/// is over, but never the one just deleted. Room for a day's work; as much as the largest file that can
/// be copied here.
const MAX_DELETED_BYTES: u64 = MAX_COPIED;
/// Deleted files kept for one principal: a large source tree, deleted file by file.
const MAX_DELETED: usize = 50_000;
/// Longest id of an entry, in bytes.
const MAX_ID: usize = 64;

/// Why an entry is in the trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cause {
    /// `filesystem.delete`.
    Deleted,
}

/// The facts beside an entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sidecar {
    version: u32,
    pub(super) id: String,
    pub(super) cause: Cause,
    capability: String,
    session: Option<String>,
    principal: Principal,
    /// Label of the root, and the path below it.
    pub(super) mount: String,
    pub(super) path: String,
    /// `file`, `directory`, `symlink`, …
    pub(super) kind: String,
    pub(super) mode: u32,
    uid: u32,
    gid: u32,
    modified: Timestamp,
    pub(super) size: u64,
    /// Of the content kept; absent for what has none or is too large.
    pub(super) sha256: Option<String>,
    trashed_at: Timestamp,
    pub(super) until: Timestamp,
}

/// Who does what: goes into the sidecar.
#[derive(Debug, Clone, Copy)]
pub(super) struct By<'a> {
    pub(super) capability: &'a str,
    pub(super) session: Option<&'a str>,
    pub(super) principal: &'a Principal,
    pub(super) now: Timestamp,
}

/// One principal's trash.
pub(super) struct Trash {
    dir: OwnedFd,
    keep: Duration,
    deleted: Room,
}

/// Keeps the principal's other workers from replacing files; ends with the process at the latest.
pub(super) struct Lock<'a>(&'a OwnedFd);

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // What is not unlocked here is when the handle closes.
        let _unlocked = rustix::fs::flock(self.0, FlockOperation::Unlock);
    }
}

impl Trash {
    /// Opens it, mode 0700, making it where missing.
    pub(super) fn open(path: &Path, keep: Duration) -> std::io::Result<Trash> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)?;
        let dir = rustix::fs::open(path, DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Trash {
            dir,
            keep,
            deleted: Room::new(&['d'], MAX_DELETED_BYTES, MAX_DELETED),
        })
    }

    /// Waits for the lock; `None` on a file system that has none.
    pub(super) fn lock(&self) -> Option<Lock<'_>> {
        loop {
            match rustix::fs::flock(&self.dir, FlockOperation::LockExclusive) {
                Ok(()) => return Some(Lock(&self.dir)),
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// An id: cause, time in milliseconds as hex, and 60 random bits. Sorts by age within a cause.
    fn new_id(cause: Cause, now: Timestamp) -> String {
        let letter = match cause {
            Cause::Deleted => 'd',
        };
        format!(
            "{letter}{:011x}-{}",
            now.as_millisecond().max(0),
            random_base32(12)
        )
    }

    fn sidecar(&self, cause: Cause, slot: &Slot<'_>, stat: &Stat, by: By<'_>) -> Sidecar {
        let until = by.now.saturating_add(self.keep).unwrap_or(Timestamp::MAX);
        Sidecar {
            version: SIDECAR_VERSION,
            id: Trash::new_id(cause, by.now),
            cause,
            capability: by.capability.to_owned(),
            session: by.session.map(str::to_owned),
            principal: by.principal.clone(),
            mount: slot.place.root.label.clone(),
            path: slot.rel(),
            kind: super::fault::type_name(FileType::from_raw_mode(stat.st_mode)).to_owned(),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            modified: modified(stat),
            size: size_of(stat),
            sha256: None,
            trashed_at: by.now,
            until,
        }
    }

    /// The directory itself: [`super::undo`] has its area in it.
    pub(super) fn directory(&self) -> &OwnedFd {
        &self.dir
    }

    /// An entry for what is at the slot, not yet on disk.
    pub(super) fn entry(&self, slot: &Slot<'_>, stat: &Stat, by: By<'_>) -> Sidecar {
        let mut sidecar = self.sidecar(Cause::Deleted, slot, stat, by);
        // What cannot be read (mode 0000, say) can be deleted all the same, only without a hash.
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && size_of(stat) <= MAX_HASHED
            && let Ok(file) = slot.open()
        {
            sidecar.sha256 = hash_file(&file, MAX_HASHED, None).unwrap_or(None);
        }
        sidecar
    }

    /// What an entry will be once it is put back.
    pub(super) fn state(&self, entry: &Sidecar) -> Result<State, Errno> {
        if entry.kind == "directory" {
            return Ok(State {
                kind: Kind::Directory,
                sha256: None,
                size: 0,
                mode: entry.mode & 0o777,
                mtime: (
                    entry.modified.as_second(),
                    nanoseconds(entry.modified.subsec_nanosecond()),
                ),
                target: None,
            });
        }
        let id = entry.id.as_str();
        let stat = rustix::fs::statat(&self.dir, id, AtFlags::SYMLINK_NOFOLLOW)?;
        let mut state = State::of(&stat).with_sha256(entry.sha256.clone());
        if state.kind == Kind::Symlink {
            let target = rustix::fs::readlinkat(&self.dir, id, Vec::new())?;
            state.target = target.into_string().ok();
        }
        Ok(state)
    }

    /// Opens an entry's content, a regular file.
    pub(super) fn open_content(&self, id: &str) -> Result<OwnedFd, Errno> {
        if !is_id(id) {
            return Err(Errno::NOENT);
        }
        open_beneath(self.dir.as_fd(), id, READ, ResolveFlags::NO_SYMLINKS)
    }

    /// Moves a file, link or empty directory here. `ENOTEMPTY` for other directories, which the
    /// kernel decides in the same step.
    pub(super) fn take(
        &self,
        sidecar: &Sidecar,
        slot: &Slot<'_>,
        stat: &Stat,
    ) -> Result<(), Errno> {
        self.write_sidecar(sidecar)?;
        let moved = self.take_content(slot, stat, &sidecar.id);
        if let Err(errno) = moved {
            self.forget(&sidecar.id);
            return Err(errno);
        }
        sync_directory(&slot.dir)?;
        sync_directory(&self.dir)?;
        if let Err(errno) = self.deleted.add(&self.dir, &sidecar.id) {
            // The file is gone from its place, which is what was asked; the next deletion counts anew.
            tracing::error!(%errno, "deleted files are not counted");
        }
        Ok(())
    }

    fn take_content(&self, slot: &Slot<'_>, stat: &Stat, id: &str) -> Result<(), Errno> {
        let name = slot.name.as_str();
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return rustix::fs::unlinkat(&slot.dir, name, AtFlags::REMOVEDIR);
        }
        match rustix::fs::renameat_with(&slot.dir, name, &self.dir, id, RenameFlags::NOREPLACE) {
            Ok(()) => {
                let moved = rustix::fs::statat(&self.dir, id, AtFlags::SYMLINK_NOFOLLOW)?;
                if same_content(&moved, stat) {
                    return Ok(());
                }
                // Somebody put another file there since: give it back.
                let flags = RenameFlags::NOREPLACE;
                rustix::fs::renameat_with(&self.dir, id, &slot.dir, name, flags)?;
                Err(Errno::AGAIN)
            }
            Err(Errno::XDEV) => {
                self.copy_in(slot, stat, id)?;
                rustix::fs::unlinkat(&slot.dir, name, AtFlags::empty())
            }
            Err(errno) => Err(errno),
        }
    }

    /// Drops an entry.
    pub(super) fn forget(&self, id: &str) {
        forget(&self.dir, id);
    }

    /// Copies content in from another file system, with mode, owner and times.
    fn copy_in(&self, slot: &Slot<'_>, stat: &Stat, id: &str) -> Result<(), Errno> {
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            let target = rustix::fs::readlinkat(&slot.dir, slot.name.as_str(), Vec::new())?;
            return rustix::fs::symlinkat(target.as_c_str(), &self.dir, id);
        }
        let from = slot.open()?;
        let stat = rustix::fs::fstat(&from)?;
        if let Err(errno) = copy_to(&from, &stat, &self.dir, id) {
            self.forget(id);
            return Err(errno);
        }
        Ok(())
    }

    fn write_sidecar(&self, sidecar: &Sidecar) -> Result<(), Errno> {
        let text = serde_json::to_vec(sidecar).map_err(|_| Errno::INVAL)?;
        let name = format!("{}.json", sidecar.id);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name.as_str(), flags, Mode::from_raw_mode(0o600))?;
        let synced = write_all(&file, &text).and_then(|()| rustix::fs::fsync(&file));
        if synced.is_err() {
            self.forget(&sidecar.id);
        }
        synced
    }

    /// The sidecar of an entry; `None` if there is none that can be read.
    pub(super) fn find(&self, id: &str) -> Option<Sidecar> {
        find(&self.dir, id)
    }

    /// Puts an entry's content at `slot`. With `replace` it replaces a file there, otherwise `EEXIST`.
    pub(super) fn put(
        &self,
        sidecar: &Sidecar,
        slot: &Slot<'_>,
        replace: bool,
    ) -> Result<(), Errno> {
        let name = slot.name.as_str();
        let id = sidecar.id.as_str();
        if sidecar.kind == "directory" {
            rustix::fs::mkdirat(&slot.dir, name, Mode::from_raw_mode(0o700))?;
            let made = open_beneath(slot.dir.as_fd(), name, DIRECTORY, ResolveFlags::NO_SYMLINKS)?;
            rustix::fs::fchmod(&made, Mode::from_raw_mode(sidecar.mode & 0o777))?;
            rustix::fs::futimens(&made, &times(sidecar.modified))?;
        } else {
            let flags = if replace {
                RenameFlags::empty()
            } else {
                RenameFlags::NOREPLACE
            };
            match rustix::fs::renameat_with(&self.dir, id, &slot.dir, name, flags) {
                Err(Errno::XDEV) => self.copy_out(id, slot, replace)?,
                other => other?,
            }
        }
        sync_directory(&slot.dir)?;
        self.forget(id);
        Ok(())
    }

    fn copy_out(&self, id: &str, slot: &Slot<'_>, replace: bool) -> Result<(), Errno> {
        let stat = rustix::fs::statat(&self.dir, id, AtFlags::SYMLINK_NOFOLLOW)?;
        let flags = if replace {
            RenameFlags::empty()
        } else {
            RenameFlags::NOREPLACE
        };
        let temp = super::temporary::name();
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            let target = rustix::fs::readlinkat(&self.dir, id, Vec::new())?;
            rustix::fs::symlinkat(target.as_c_str(), &slot.dir, temp.as_str())?;
        } else {
            let from = open_beneath(self.dir.as_fd(), id, READ, ResolveFlags::NO_SYMLINKS)?;
            if let Err(errno) = copy_to(&from, &stat, &slot.dir, &temp) {
                // Best effort: a leftover is hidden and harmless.
                let _left = rustix::fs::unlinkat(&slot.dir, temp.as_str(), AtFlags::empty());
                return Err(errno);
            }
        }
        let renamed = rustix::fs::renameat_with(
            &slot.dir,
            temp.as_str(),
            &slot.dir,
            slot.name.as_str(),
            flags,
        );
        if renamed.is_err() {
            // Best effort: a leftover is hidden and harmless.
            let _left = rustix::fs::unlinkat(&slot.dir, temp.as_str(), AtFlags::empty());
        }
        renamed
    }
}

/// Whether a name is one that [`Trash::new_id`] could have made.
fn is_id(id: &str) -> bool {
    let known = id.starts_with(['d', 'o', 'a']) && id.len() <= MAX_ID;
    known
        && made_at(id).is_some()
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// When an id was made, in milliseconds since the epoch.
fn made_at(id: &str) -> Option<i64> {
    id.get(1..12)
        .and_then(|hex| i64::from_str_radix(hex, 16).ok())
}

/// The sidecar of an entry of an opened trash; `None` if there is none that can be read.
fn find(dir: &OwnedFd, id: &str) -> Option<Sidecar> {
    if !is_id(id) {
        return None;
    }
    let name = format!("{id}.json");
    let flags = ResolveFlags::NO_SYMLINKS;
    let file = open_beneath(dir.as_fd(), name.as_str(), READ, flags).ok()?;
    let bytes = read_at(&file, 0, MAX_SIDECAR).ok()?;
    let sidecar: Sidecar = serde_json::from_slice(&bytes).ok()?;
    (sidecar.version == SIDECAR_VERSION && sidecar.id == id).then_some(sidecar)
}

/// Drops an entry of an opened trash.
fn forget(dir: &OwnedFd, id: &str) {
    for name in [id.to_owned(), format!("{id}.json")] {
        match rustix::fs::unlinkat(dir, name.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => tracing::warn!(%errno, name, "an entry of the trash stays"),
        }
    }
}

/// The ids of an opened trash, of entries and of what a crash left of them; in no order. Names that
/// are none of ours are left out.
fn ids(dir: &OwnedFd) -> Result<BTreeSet<String>, Errno> {
    let mut ids = BTreeSet::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        let id = name.strip_suffix(".json").unwrap_or(name);
        if is_id(id) {
            ids.insert(id.to_owned());
        }
    }
    Ok(ids)
}

/// Copies an open file to a new name, with mode (never setuid or setgid), owner and times. `EFBIG`
/// beyond [`MAX_COPIED`].
fn copy_to(from: &OwnedFd, stat: &Stat, dir: &OwnedFd, name: &str) -> Result<(), Errno> {
    if size_of(stat) > MAX_COPIED {
        return Err(Errno::FBIG);
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600))?;
    let whole = clone_or_copy(from, &to, MAX_COPIED)?;
    if !whole {
        return Err(Errno::FBIG);
    }
    keep_owner(&to, stat);
    rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o777))?;
    rustix::fs::futimens(&to, &times(modified(stat)))?;
    rustix::fs::fsync(&to)
}

/// Access and modification time both set to `instant`.
fn times(instant: Timestamp) -> Timestamps {
    let time = Timespec {
        tv_sec: instant.as_second(),
        tv_nsec: nanoseconds(instant.subsec_nanosecond()),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
