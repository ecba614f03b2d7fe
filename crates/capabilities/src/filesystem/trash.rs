//! What was deleted or overwritten, kept for a while. Each entry is `<id>` (the file itself, where
//! there is content) and `<id>.json` (the sidecar: where it was, whose, its mode, time and hash).
//!
//! Content that a write replaces is kept by a hard link where possible, so keeping costs no copy.

use super::atomic::{keep_owner, sync_directory};
use super::io::{
    clone_or_copy, hash_file, modified, nanoseconds, read_at, same_content, size_of, write_all,
};
use super::roots::{DIRECTORY, READ, Slot, open_beneath};
use jiff::Timestamp;
use kruxos_types::{Principal, random_base32};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timespec, Timestamps,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// Version of the sidecar's format.
const SIDECAR_VERSION: u32 = 1;
/// Largest sidecar, in bytes: a path of 4,096 bytes, escaped, and small facts.
const MAX_SIDECAR: usize = 64 << 10;
/// Deleted or replaced content larger than this goes unhashed, in bytes: about a second of hashing.
const MAX_HASHED: u64 = 256 << 20;
/// Largest file copied into or out of a trash on another file system, in bytes.
pub(super) const MAX_COPIED: u64 = 2 << 30;
/// Replaced content kept for one principal, in bytes; the oldest goes first. Deleted files do not
/// count and are never pushed out: their time is promised to the caller.
const MAX_KEPT_BYTES: u64 = 1 << 30;
/// Replaced contents kept for one principal.
const MAX_KEPT: usize = 10_000;

/// Why an entry is in the trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cause {
    /// `filesystem.delete`.
    Deleted,
    /// Replaced by other content.
    Overwritten,
    /// Grown by an append: the first `size` bytes are the earlier content; nothing else is kept.
    Appended,
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
    sha256: Option<String>,
    /// Of the content that replaced it, to tell later whether the file changed since.
    after_sha256: Option<String>,
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
    /// Replaced contents, oldest first; read from the directory when first needed.
    kept: Mutex<Option<VecDeque<(String, u64)>>>,
}

/// Content kept before it was replaced.
pub(super) struct Kept {
    pub(super) id: String,
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
            kept: Mutex::new(None),
        })
    }

    /// An id: cause, time in milliseconds as hex, and 60 random bits. Sorts by age within a cause.
    fn new_id(cause: Cause, now: Timestamp) -> String {
        let letter = match cause {
            Cause::Deleted => 'd',
            Cause::Overwritten => 'o',
            Cause::Appended => 'a',
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
            after_sha256: None,
            trashed_at: by.now,
            until,
        }
    }

    /// Moves a file, link or empty directory here. `ENOTEMPTY` for other directories, which the
    /// kernel decides in the same step.
    pub(super) fn take(&self, slot: &Slot<'_>, stat: &Stat, by: By<'_>) -> Result<Sidecar, Errno> {
        let mut sidecar = self.sidecar(Cause::Deleted, slot, stat, by);
        // What cannot be read (mode 0000, say) can be deleted all the same, only without a hash.
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && let Ok(file) = slot.open()
        {
            sidecar.sha256 = hash_file(&file, MAX_HASHED, None).unwrap_or(None);
        }
        self.write_sidecar(&sidecar, true)?;
        let moved = self.take_content(slot, stat, &sidecar.id);
        if let Err(errno) = moved {
            self.forget(&sidecar.id);
            return Err(errno);
        }
        sync_directory(&slot.dir)?;
        sync_directory(&self.dir)?;
        Ok(sidecar)
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

    /// Keeps the content of the regular file at `slot` before it is replaced. Answers `None` where it
    /// is too large to copy from another file system.
    pub(super) fn keep(
        &self,
        slot: &Slot<'_>,
        stat: &Stat,
        after: Option<&str>,
        by: By<'_>,
    ) -> Result<Option<Kept>, Errno> {
        let mut sidecar = self.sidecar(Cause::Overwritten, slot, stat, by);
        sidecar.after_sha256 = after.map(str::to_owned);
        let id = sidecar.id.clone();
        match rustix::fs::linkat(
            &slot.dir,
            slot.name.as_str(),
            &self.dir,
            id.as_str(),
            AtFlags::empty(),
        ) {
            Ok(()) => {
                let linked = rustix::fs::statat(&self.dir, id.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
                if !same_content(&linked, stat) {
                    self.forget(&id);
                    return Err(Errno::AGAIN);
                }
            }
            Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP) => {
                match self.copy_in(slot, stat, &id) {
                    Ok(()) => {}
                    Err(Errno::FBIG) => {
                        tracing::warn!(
                            size = size_of(stat),
                            "earlier content is too large to keep"
                        );
                        return Ok(None);
                    }
                    Err(errno) => return Err(errno),
                }
            }
            Err(errno) => return Err(errno),
        }
        if let Err(errno) = self.write_sidecar(&sidecar, false) {
            self.forget(&id);
            return Err(errno);
        }
        self.make_room(&id, sidecar.size)?;
        Ok(Some(Kept { id }))
    }

    /// Notes that a file is about to grow; its first `size` bytes are the earlier content.
    pub(super) fn note_append(
        &self,
        slot: &Slot<'_>,
        stat: &Stat,
        by: By<'_>,
    ) -> Result<Kept, Errno> {
        let sidecar = self.sidecar(Cause::Appended, slot, stat, by);
        self.write_sidecar(&sidecar, false)?;
        self.make_room(&sidecar.id, 0)?;
        Ok(Kept { id: sidecar.id })
    }

    /// Puts kept content back over what replaced it: the way back when a step of many fails.
    pub(super) fn put_back(&self, kept: &Kept, slot: &Slot<'_>) -> Result<(), Errno> {
        rustix::fs::renameat(&self.dir, kept.id.as_str(), &slot.dir, slot.name.as_str())?;
        self.forget(&kept.id);
        Ok(())
    }

    /// Drops an entry.
    pub(super) fn forget(&self, id: &str) {
        for name in [id.to_owned(), format!("{id}.json")] {
            match rustix::fs::unlinkat(&self.dir, name.as_str(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => tracing::warn!(%errno, name, "an entry of the trash stays"),
            }
        }
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

    fn write_sidecar(&self, sidecar: &Sidecar, durable: bool) -> Result<(), Errno> {
        let text = serde_json::to_vec(sidecar).map_err(|_| Errno::INVAL)?;
        let name = format!("{}.json", sidecar.id);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name.as_str(), flags, Mode::from_raw_mode(0o600))?;
        let written = write_all(&file, &text);
        let synced = written.and_then(|()| {
            if durable {
                rustix::fs::fsync(&file)
            } else {
                Ok(())
            }
        });
        if synced.is_err() {
            self.forget(&sidecar.id);
        }
        synced
    }

    /// The sidecar of an entry; `None` if there is none that can be read.
    pub(super) fn find(&self, id: &str) -> Option<Sidecar> {
        let well_formed = !id.is_empty()
            && id.len() <= 64
            && id
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !well_formed {
            return None;
        }
        let name = format!("{id}.json");
        let file = open_beneath(
            self.dir.as_fd(),
            name.as_str(),
            READ,
            ResolveFlags::NO_SYMLINKS,
        )
        .ok()?;
        let bytes = read_at(&file, 0, MAX_SIDECAR).ok()?;
        let sidecar: Sidecar = serde_json::from_slice(&bytes).ok()?;
        (sidecar.version == SIDECAR_VERSION && sidecar.id == id).then_some(sidecar)
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
        let temp = format!("{}{}", super::atomic::TEMP_PREFIX, random_base32(20));
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

    /// Removes entries whose time is over. Answers how many.
    pub(super) fn clean(&self, now: Timestamp) -> std::io::Result<u64> {
        let names = self.names()?;
        let ids: BTreeSet<&str> = names
            .iter()
            .map(|name| name.strip_suffix(".json").unwrap_or(name))
            .collect();
        let mut gone = 0;
        for id in ids {
            // What lost its sidecar in a crash goes when its time would have been over.
            let over = match self.find(id) {
                Some(sidecar) => sidecar.until <= now,
                None => self.is_old(id, now),
            };
            if over {
                self.forget(id);
                gone += 1;
            }
        }
        if gone > 0 {
            *self.lock_kept() = None;
        }
        Ok(gone)
    }

    /// Judged by the time in the name alone.
    fn is_old(&self, id: &str, now: Timestamp) -> bool {
        let made = id
            .get(1..12)
            .and_then(|hex| i64::from_str_radix(hex, 16).ok());
        let keep = i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX);
        made.is_none_or(|made| made.saturating_add(keep) <= now.as_millisecond())
    }

    fn names(&self) -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.dir)? {
            let entry = entry?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        Ok(names)
    }

    /// Counts a kept content and pushes the oldest out while there is too much.
    fn make_room(&self, id: &str, size: u64) -> Result<(), Errno> {
        let mut kept = self.lock_kept();
        if kept.is_none() {
            *kept = Some(self.read_kept()?);
        } else if let Some(queue) = kept.as_mut() {
            queue.push_back((id.to_owned(), size));
        }
        let Some(queue) = kept.as_mut() else {
            return Ok(());
        };
        let mut bytes: u64 = queue.iter().map(|(_, size)| size).sum();
        while queue.len() > MAX_KEPT || bytes > MAX_KEPT_BYTES {
            match queue.pop_front() {
                Some((oldest, size)) if oldest != id => {
                    self.forget(&oldest);
                    bytes -= size;
                }
                _ => break,
            }
        }
        Ok(())
    }

    fn read_kept(&self) -> Result<VecDeque<(String, u64)>, Errno> {
        let names = self
            .names()
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let mut kept: Vec<(String, u64)> = names
            .iter()
            .filter_map(|name| name.strip_suffix(".json"))
            .filter(|id| id.starts_with(['o', 'a']))
            .map(|id| {
                let stat = rustix::fs::statat(&self.dir, id, AtFlags::SYMLINK_NOFOLLOW);
                (id.to_owned(), stat.map_or(0, |stat| size_of(&stat)))
            })
            .collect();
        kept.sort_by(|(one, _), (other, _)| one.get(1..).cmp(&other.get(1..)));
        Ok(kept.into())
    }

    fn lock_kept(&self) -> std::sync::MutexGuard<'_, Option<VecDeque<(String, u64)>>> {
        self.kept
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
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
