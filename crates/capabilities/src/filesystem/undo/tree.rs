//! Paths of a journal and the files they mean.

use super::super::Files;
use super::super::place::{MAX_LINKS, Slot};
use super::super::roots::{DIRECTORY, Root, components, open_beneath};
use super::record::{Key, Kind, State, Time, modified_at};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, OFlags, ResolveFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use std::collections::VecDeque;

/// The path of a slot without links and `..`, so that one file has one path in a journal. Where that cannot
/// be found out, the path as it is written; undo then finds less, and says so.
pub(crate) fn key(slot: &Slot<'_>) -> Key {
    let root = slot.place.root;
    let written = slot.written();
    let parent = written.rsplit_once('/').map_or("", |(parent, _)| parent);
    let plain =
        (!parent.contains("..") && is_same(root, parent, &slot.dir)).then(|| parent.to_owned());
    let resolved =
        plain.or_else(|| resolve(root, parent).filter(|path| is_same(root, path, &slot.dir)));
    let path = match resolved {
        Some(parent) if parent.is_empty() => slot.name.clone(),
        Some(parent) => format!("{parent}/{}", slot.name),
        None => slot.rel(),
    };
    Key {
        mount: root.label.clone(),
        path,
    }
}

/// Whether a path without links leads to this directory.
fn is_same(root: &Root, path: &str, dir: &OwnedFd) -> bool {
    let found = open(root, path, OFlags::PATH);
    let stats = found.and_then(|found| Ok((rustix::fs::fstat(&found)?, rustix::fs::fstat(dir)?)));
    stats.is_ok_and(|(one, other)| (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

fn open(root: &Root, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { "." } else { path };
    open_beneath(root.dir.as_fd(), path, flags, ResolveFlags::NO_SYMLINKS)
}

/// A path with its links replaced by what they say. What comes out is looked at again before it is used.
fn resolve(root: &Root, path: &str) -> Option<String> {
    let mut rest: VecDeque<String> = path.split('/').map(str::to_owned).collect();
    let mut done: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                done.pop()?;
                continue;
            }
            _ => done.push(part),
        }
        let here = done.join("/");
        let found = open(root, &here, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
        let Ok(target) = rustix::fs::readlinkat(&found, "", Vec::new()) else {
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return None;
        }
        let followed = root.follow(&here, target.to_str().ok()?)?;
        done.clear();
        for part in followed.split('/').rev() {
            rest.push_front(part.to_owned());
        }
    }
    Some(done.join("/"))
}

/// What a slot holds, without a digest.
pub(crate) fn state(slot: &Slot<'_>, stat: &Stat) -> Result<State, Errno> {
    let mut state = State::of(stat);
    if state.kind == Kind::Symlink {
        let target = rustix::fs::readlinkat(&slot.dir, slot.name.as_str(), Vec::new())?;
        state.target = target.into_string().ok();
    }
    Ok(state)
}

/// The slot that a path of a journal means now. `ENOENT` where its directory or mount is gone, `ELOOP`
/// where a link stands in its way.
pub(crate) fn slot<'f>(files: &'f Files, key: &Key) -> Result<Slot<'f>, Errno> {
    let root = files.roots.by_label(&key.mount).ok_or(Errno::NOENT)?;
    // A journal is ours; that its paths are plain is what everything else rests on.
    if components(&key.path) != key.path || key.path.split('/').any(|part| part == "..") {
        return Err(Errno::INVAL);
    }
    files.roots.place(root, &key.path).slot_without_links()
}

/// The path as the agent sees it.
pub(crate) fn show(files: &Files, key: &Key) -> String {
    match files.roots.by_label(&key.mount) {
        Some(root) => root.show(&key.path),
        None => format!("/mnt/{}/{}", key.mount, key.path),
    }
}

/// When a directory was modified; `None` if it is not there.
pub(crate) fn time_of(files: &Files, key: &Key) -> Option<Time> {
    let root = files.roots.by_label(&key.mount)?;
    let dir = open(root, &key.path, OFlags::PATH | OFlags::DIRECTORY).ok()?;
    rustix::fs::fstat(&dir).ok().map(|stat| modified_at(&stat))
}

/// Sets the time of a directory.
pub(crate) fn set_time(files: &Files, key: &Key, time: Time) -> Result<(), Errno> {
    if key.path.is_empty() {
        let root = files.roots.by_label(&key.mount).ok_or(Errno::NOENT)?;
        let dir = open(root, "", DIRECTORY)?;
        return rustix::fs::futimens(&dir, &modified(time));
    }
    let slot = slot(files, key)?;
    touch(&slot.dir, &slot.name, time)
}

/// Sets the time of a name, a link's own for a link.
pub(crate) fn touch(dir: &OwnedFd, name: &str, time: Time) -> Result<(), Errno> {
    rustix::fs::utimensat(dir, name, &modified(time), AtFlags::SYMLINK_NOFOLLOW)
}

/// Access time left alone, modification time set.
pub(crate) fn modified(time: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: time.0,
            tv_nsec: time.1,
        },
    }
}
