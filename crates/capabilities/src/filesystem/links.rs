//! Absolute symbolic links that stay inside a root.
//!
//! An agent sees its workspace at `/workspace` and at its real path, so a link to `/workspace/a` stays
//! inside and works (spec/sandbox.md). The kernel knows nothing of that: below `RESOLVE_BENEATH` it
//! refuses every absolute link. Here such a link is replaced by what it says below the root, and the
//! new path goes to the kernel, which keeps it below the root like the first one. So no decision rests
//! on what was read on the way: whoever swaps a link meanwhile only chooses another path inside.

use super::place::MAX_LINKS;
use super::roots::{Root, components, open_beneath};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens a path that the kernel refused with `EXDEV`. `EXDEV` still, if it does lead out.
pub(super) fn open(root: &Root, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut path = path.to_vec();
    for _ in 0..MAX_LINKS {
        path = without_refused_link(root, &path)?;
        match open_beneath(
            root.dir.as_fd(),
            path.as_slice(),
            flags,
            ResolveFlags::empty(),
        ) {
            Err(Errno::XDEV) => {}
            answer => return answer,
        }
    }
    Err(Errno::LOOP)
}

impl Root {
    /// The path below this root that a link at `link` with this target means; `None` if it is
    /// absolute and not below this root. Relative ones may still lead out: the kernel will tell.
    pub(super) fn follow(&self, link: &str, target: &str) -> Option<String> {
        if target.starts_with('/') {
            return self.below(target);
        }
        let parent = link.rsplit_once('/').map_or("", |(parent, _)| parent);
        Some(components(&format!("{parent}/{target}")))
    }
}

/// `path` with the link that the kernel does not pass replaced by its target.
fn without_refused_link(root: &Root, path: &[u8]) -> Result<Vec<u8>, Errno> {
    let ends: Vec<usize> = path
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| at)
        .chain([path.len()])
        .collect();
    let probe = |end: usize, flags| {
        let beginning = path.get(..end).unwrap_or(path);
        open_beneath(root.dir.as_fd(), beginning, flags, ResolveFlags::empty())
    };
    // Every beginning that reaches past the refused component is refused with it, so halving finds it.
    let refused =
        ends.partition_point(|end| !matches!(probe(*end, OFlags::PATH), Err(Errno::XDEV)));
    // None is refused any more: somebody changed the path meanwhile.
    let end = *ends.get(refused).ok_or(Errno::AGAIN)?;
    let link = probe(end, OFlags::PATH | OFlags::NOFOLLOW)?;
    let target = match rustix::fs::readlinkat(&link, "", Vec::new()) {
        Ok(target) => target,
        // No link: a `..` that leads out.
        Err(Errno::INVAL | Errno::NOENT) => return Err(Errno::XDEV),
        Err(errno) => return Err(errno),
    };
    let (beginning, rest) = path.split_at_checked(end).ok_or(Errno::INVAL)?;
    // The new path must be spelled in text to be compared with the root's own; a link whose target or
    // place is not UTF-8 stays refused.
    let target = target.to_str().map_err(|_| Errno::XDEV)?;
    let place = std::str::from_utf8(beginning).map_err(|_| Errno::XDEV)?;
    let mut followed = root.follow(place, target).ok_or(Errno::XDEV)?.into_bytes();
    if followed.is_empty() {
        followed.push(b'.');
    }
    followed.extend_from_slice(rest);
    Ok(followed)
}
