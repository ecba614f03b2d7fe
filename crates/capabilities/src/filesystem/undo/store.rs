//! The content store: earlier content by its digest, each once. A name is `<sha256>`; what is being
//! written has a name of its own kind and is swept when it is left over.

use super::super::atomic::discard;
use super::super::io::{
    Pass, clone_whole, hash_each, read_whole, same_content, size_of, write_all,
};
use super::super::place::Slot;
use super::super::roots::{READ, open_beneath};
use super::super::temporary;
use super::super::text::sha256;
use super::super::trash::MAX_COPIED;
use super::record::Kept;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Content up to this is read into memory to see whether it is kept already, in bytes.
const SMALL: u64 = 1 << 20;
/// Permissions of what is kept.
const PRIVATE: u32 = 0o600;

/// What became of content that was to be kept.
pub(crate) struct Held {
    /// Of the content; absent where it was not read.
    pub(crate) sha256: Option<String>,
    pub(crate) kept: Kept,
    /// Bytes that the store grew by.
    pub(crate) added: u64,
    /// The store's name is the file's own inode, so that its mode is still the file's.
    linked: bool,
}

impl Held {
    fn not(why: &str) -> Held {
        Held {
            sha256: None,
            kept: Kept::Not(why.to_owned()),
            added: 0,
            linked: false,
        }
    }
}

/// Keeps the content of the regular file at `slot`, whose facts were just seen: by a hard link where
/// nobody else has a name for it, by sharing blocks, or by a copy; only the latter two for a file that will
/// change `in_place`. What is larger than `quota`, or cannot be read, is not kept, and the answer says so.
pub(crate) fn keep(
    objects: &OwnedFd,
    slot: &Slot<'_>,
    stat: &Stat,
    quota: u64,
    in_place: bool,
) -> Result<Held, Errno> {
    let size = size_of(stat);
    if size > quota {
        return Ok(Held::not("it was larger than undo.quota_mb"));
    }
    if size > MAX_COPIED {
        return Ok(Held::not("it was larger than what is copied"));
    }
    let file = match slot.open() {
        Ok(file) => file,
        Err(Errno::ACCESS | Errno::PERM) => return Ok(Held::not("it could not be read")),
        Err(Errno::LOOP) => return Err(Errno::AGAIN),
        Err(errno) => return Err(errno),
    };
    if !same_content(&rustix::fs::fstat(&file)?, stat) {
        return Err(Errno::AGAIN);
    }
    if stat.st_nlink == 1
        && !in_place
        && let Some(held) = link(objects, slot, &file, size)?
    {
        return Ok(held);
    }
    copy(objects, &file, size)
}

/// By another name of the same file; `None` where the store is another file system or mount.
fn link(
    objects: &OwnedFd,
    slot: &Slot<'_>,
    file: &OwnedFd,
    size: u64,
) -> Result<Option<Held>, Errno> {
    let temp = temporary::name();
    let name = slot.name.as_str();
    match rustix::fs::linkat(&slot.dir, name, objects, temp.as_str(), AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::ACCESS) => {
            return Ok(None);
        }
        Err(errno) => return Err(errno),
    }
    let named = || {
        let linked = rustix::fs::statat(objects, temp.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        if !same_content(&linked, &rustix::fs::fstat(file)?) {
            return Err(Errno::AGAIN);
        }
        match hash_each(file, MAX_COPIED, None, |_| Ok(()))? {
            Pass::Whole { sha256, .. } if has(objects, &sha256, size) => Ok((sha256, false)),
            Pass::Whole { sha256, .. } => {
                rustix::fs::renameat(objects, temp.as_str(), objects, sha256.as_str())?;
                Ok((sha256, true))
            }
            Pass::Stopped => Err(Errno::FBIG),
        }
    };
    let outcome = named();
    discard(objects, &temp);
    outcome.map(|(sha256, linked)| {
        Some(Held {
            sha256: Some(sha256),
            kept: Kept::Object,
            added: if linked { size } else { 0 },
            linked,
        })
    })
}

fn copy(objects: &OwnedFd, file: &OwnedFd, size: u64) -> Result<Held, Errno> {
    let held = |sha256: String, added: u64| Held {
        sha256: Some(sha256),
        kept: Kept::Object,
        added,
        linked: false,
    };
    if size <= SMALL {
        let content = read_whole(file, size, SMALL)?.ok_or(Errno::AGAIN)?;
        let sum = sha256(&content);
        if has(objects, &sum, content.len() as u64) {
            return Ok(held(sum, 0));
        }
        place(objects, |to| {
            write_all(to, &content)?;
            Ok(sum.clone())
        })?;
        return Ok(held(sum, size));
    }
    let sum = place(objects, |to| {
        let cloned = clone_whole(file, to);
        let write = |chunk: &[u8]| if cloned { Ok(()) } else { write_all(to, chunk) };
        // What a clone holds is hashed, not what the file holds by now.
        let read = if cloned { to } else { file };
        match hash_each(read, MAX_COPIED, None, write)? {
            Pass::Whole { sha256, .. } => Ok(sha256),
            Pass::Stopped => Err(Errno::FBIG),
        }
    })?;
    Ok(held(sum, size))
}

fn has(objects: &OwnedFd, sha256: &str, size: u64) -> bool {
    let there = rustix::fs::statat(objects, sha256, AtFlags::SYMLINK_NOFOLLOW);
    there.is_ok_and(|there| size_of(&there) == size)
}

/// A new object, whose name is known once it is written.
fn place(
    objects: &OwnedFd,
    fill: impl FnOnce(&OwnedFd) -> Result<String, Errno>,
) -> Result<String, Errno> {
    let temp = temporary::name();
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(objects, temp.as_str(), flags, Mode::from_raw_mode(PRIVATE))?;
    let named = fill(&file).and_then(|sum| {
        rustix::fs::renameat(objects, temp.as_str(), objects, sum.as_str())?;
        Ok(sum)
    });
    if named.is_err() {
        discard(objects, &temp);
    }
    named
}

/// Takes a link away again: the file goes on living, and an object must not change with it.
pub(crate) fn unlink(objects: &OwnedFd, held: &Held) {
    if let (true, Some(name)) = (held.linked, held.sha256.as_deref()) {
        discard(objects, name);
    }
}

/// Takes the file's permissions from an object that was its inode, now that the file has another one.
pub(crate) fn settle(objects: &OwnedFd, held: &Held) {
    let (true, Some(name)) = (held.linked, held.sha256.as_deref()) else {
        return;
    };
    let Ok(file) = open(objects, name) else {
        return;
    };
    if rustix::fs::fstat(&file).is_ok_and(|stat| stat.st_nlink == 1) {
        // Its directory is private; the mode is a second lock.
        let _left = rustix::fs::fchmod(&file, Mode::from_raw_mode(PRIVATE));
    }
}

/// Opens an object for reading.
pub(crate) fn open(objects: &OwnedFd, sha256: &str) -> Result<OwnedFd, Errno> {
    if !is_digest(sha256) {
        return Err(Errno::NOENT);
    }
    open_beneath(objects.as_fd(), sha256, READ, ResolveFlags::NO_SYMLINKS)
}

/// Whether a name is one that the store gives.
pub(crate) fn is_digest(name: &str) -> bool {
    name.len() == 64
        && name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
