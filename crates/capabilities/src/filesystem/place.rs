//! A path below a root, and what it leads to: a handle, or a name in an opened directory.

use super::fault;
use super::roots::{DIRECTORY, READ, Root, Roots, open_beneath};
use kruxos_types::CallError;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Symbolic links followed to find where a write must go: the kernel's own limit.
pub(super) const MAX_LINKS: usize = 40;

/// A path below a root, not yet opened.
#[derive(Clone)]
pub(super) struct Place<'r> {
    roots: &'r Roots,
    pub(super) root: &'r Root,
    /// Below the root, single slashes, without `.`; empty for the root itself.
    rel: String,
    given: String,
}

impl<'r> Place<'r> {
    /// `rel` is below `root`, as [`components`] writes it; `given` is what the agent wrote.
    pub(super) fn new(roots: &'r Roots, root: &'r Root, rel: String, given: String) -> Place<'r> {
        Place {
            roots,
            root,
            rel,
            given,
        }
    }

    /// As the agent sees it.
    pub(super) fn show(&self) -> String {
        self.root.show(&without_dots(&self.rel))
    }

    /// As the agent wrote it.
    pub(super) fn given(&self) -> &str {
        &self.given
    }

    /// Whether this is the root directory itself, going by the text; the kernel has the last word.
    pub(super) fn is_root(&self) -> bool {
        let mut depth = 0_i32;
        for part in self.rel.split('/').filter(|part| !part.is_empty()) {
            depth += if part == ".." { -1 } else { 1 };
            if depth < 0 {
                return false;
            }
        }
        depth == 0
    }

    fn rel_or_dot(&self) -> &str {
        if self.rel.is_empty() { "." } else { &self.rel }
    }

    /// Opens what the path leads to, following links that stay inside.
    pub(super) fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.root.open(self.rel_or_dot().as_bytes(), flags)
    }

    /// Opens an entry of this directory by its raw name, following links that stay inside the root.
    pub(super) fn open_entry(&self, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut path = self.rel_or_dot().as_bytes().to_vec();
        path.push(b'/');
        path.extend_from_slice(name);
        self.root.open(&path, flags)
    }

    /// Opens a regular file for reading, with its facts.
    pub(super) fn open_file(&self, operation: &'static str) -> Result<(OwnedFd, Stat), CallError> {
        let file = self
            .open(READ)
            .map_err(|errno| self.fault(errno, operation))?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| self.fault(errno, operation))?;
        self.require_regular(&stat, operation)?;
        Ok((file, stat))
    }

    /// Refuses what is not a regular file, and hard links to files of somebody else: they may lie
    /// anywhere on the same file system.
    pub(super) fn require_regular(
        &self,
        stat: &Stat,
        operation: &'static str,
    ) -> Result<(), CallError> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            other => return Err(fault::not_regular(&self.given, other)),
        }
        if stat.st_nlink > 1 && stat.st_uid != self.root.owner {
            return Err(fault::permission(&self.given, operation)
                .detail("It is a hard link to a file of another owner."));
        }
        Ok(())
    }

    /// Opens a directory for reading.
    pub(super) fn open_directory(&self) -> Result<OwnedFd, Errno> {
        self.open(DIRECTORY)
    }

    /// The directory that holds the path's last component, and that component, links in it not
    /// followed. `EISDIR` for the root itself and for paths that end in `..`.
    pub(super) fn slot(self) -> Result<Slot<'r>, (Errno, Place<'r>)> {
        let (parent, name) = match self.rel.rsplit_once('/') {
            Some((parent, name)) => (parent, name),
            None => (".", self.rel.as_str()),
        };
        if name.is_empty() || name == ".." {
            let errno = self.open(OFlags::PATH).err().unwrap_or(Errno::ISDIR);
            return Err((errno, self));
        }
        match self.root.open(parent.as_bytes(), DIRECTORY) {
            Ok(dir) => {
                let name = name.to_owned();
                Ok(Slot {
                    dir,
                    name,
                    place: self,
                })
            }
            Err(errno) => Err((errno, self)),
        }
    }

    /// Like [`Place::slot`], but where the last component is a link, the slot of what it points to:
    /// a write then replaces the target and leaves the link.
    pub(super) fn target_slot(self) -> Result<Slot<'r>, (Errno, Place<'r>)> {
        let mut slot = self.slot()?;
        for _ in 0..MAX_LINKS {
            let target = match rustix::fs::readlinkat(&slot.dir, slot.name.as_str(), Vec::new()) {
                Ok(target) => target,
                // Not a link, or nothing there yet: the slot is found.
                Err(Errno::INVAL | Errno::NOENT) => return Ok(slot),
                Err(errno) => return Err((errno, slot.place)),
            };
            let Ok(target) = target.into_string() else {
                return Err((Errno::ILSEQ, slot.place));
            };
            let mut place = slot.place;
            let Some(rel) = place.root.follow(&place.rel, &target) else {
                return Err((Errno::XDEV, place));
            };
            place.rel = rel;
            slot = place.slot()?;
        }
        Err((Errno::LOOP, slot.place))
    }

    /// Like [`Place::slot`], but no link is followed on the way either: `ELOOP` for one.
    pub(super) fn slot_without_links(self) -> Result<Slot<'r>, Errno> {
        let (parent, name) = self
            .rel
            .rsplit_once('/')
            .unwrap_or((".", self.rel.as_str()));
        if name.is_empty() || name == ".." {
            return Err(Errno::ISDIR);
        }
        let flags = ResolveFlags::NO_SYMLINKS;
        let dir = open_beneath(self.root.dir.as_fd(), parent, DIRECTORY, flags)?;
        let name = name.to_owned();
        Ok(Slot {
            dir,
            name,
            place: self,
        })
    }

    /// The directories above the last component that are not there, outermost first.
    pub(super) fn missing_parents(&self) -> Vec<String> {
        let Some((parents, _)) = self.rel.rsplit_once('/') else {
            return Vec::new();
        };
        let missing = |path: &str| {
            let found = self.root.open(path.as_bytes(), OFlags::PATH);
            found.err() == Some(Errno::NOENT)
        };
        if !missing(parents) {
            return Vec::new();
        }
        let ends = parents
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([parents.len()]);
        let prefixes = ends.filter_map(|end| parents.get(..end));
        prefixes
            .filter(|prefix| missing(prefix))
            .map(str::to_owned)
            .collect()
    }

    /// Makes the directories that are missing above the last component, mode 0755 less the umask.
    /// On failure those already made are taken away again.
    pub(super) fn make_parents(&self) -> Result<(), Errno> {
        let Some((parents, _)) = self.rel.rsplit_once('/') else {
            return Ok(());
        };
        let mut made: Vec<(OwnedFd, String)> = Vec::new();
        let outcome = self.make_each(parents, &mut made);
        if outcome.is_err() {
            for (dir, name) in made.iter().rev() {
                // Best effort: an empty directory left behind harms nobody.
                let _left = rustix::fs::unlinkat(dir, name.as_str(), AtFlags::REMOVEDIR);
            }
        }
        outcome
    }

    fn make_each(&self, parents: &str, made: &mut Vec<(OwnedFd, String)>) -> Result<(), Errno> {
        let open = |path: &str| self.root.open(path.as_bytes(), DIRECTORY);
        // The usual case: they are all there.
        match open(parents) {
            Err(Errno::NOENT) => {}
            other => return other.map(drop),
        }
        let mut above = open(".")?;
        for (end, _) in parents.match_indices('/').chain([(parents.len(), "")]) {
            let prefix = parents.get(..end).unwrap_or(parents);
            let name = prefix.rsplit('/').next().unwrap_or(prefix);
            above = match open(prefix) {
                Ok(dir) => dir,
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
                        Ok(()) => made.push((above, name.to_owned())),
                        Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    open(prefix)?
                }
                Err(errno) => return Err(errno),
            };
        }
        Ok(())
    }

    /// What a failed system call on this path means to the caller.
    pub(super) fn fault(&self, errno: Errno, operation: &'static str) -> CallError {
        if errno == Errno::XDEV {
            return self.roots.outside(&self.given, Some(self.root));
        }
        fault::from_errno(errno, operation, &self.given)
    }
}

/// A name in an opened directory: where something is made, replaced, moved or removed.
pub(super) struct Slot<'r> {
    pub(super) dir: OwnedFd,
    pub(super) name: String,
    pub(super) place: Place<'r>,
}

impl<'r> Slot<'r> {
    /// Closes the directory and keeps what it takes to find it again.
    pub(super) fn leave(self) -> Result<Spot<'r>, Errno> {
        let directory = identity(&self.dir)?;
        Ok(Spot {
            place: self.place,
            directory,
        })
    }

    /// The facts of what is there; a link is not followed. `None` if nothing is.
    pub(super) fn stat(&self) -> Result<Option<Stat>, Errno> {
        match rustix::fs::statat(&self.dir, self.name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Opens the regular file that is there for reading; a link is refused with `ELOOP`.
    pub(super) fn open(&self) -> Result<OwnedFd, Errno> {
        open_beneath(
            self.dir.as_fd(),
            self.name.as_str(),
            READ,
            ResolveFlags::NO_SYMLINKS,
        )
    }

    /// Below the root, without `..`: what the trash notes.
    pub(super) fn rel(&self) -> String {
        without_dots(&self.place.rel)
    }

    /// Below the root as it was written, with `..`.
    pub(super) fn written(&self) -> &str {
        &self.place.rel
    }

    /// What a failed system call here means to the caller.
    pub(super) fn fault(&self, errno: Errno, operation: &'static str) -> CallError {
        self.place.fault(errno, operation)
    }
}

/// Where a slot was, without a handle: work on many files must not keep one open for each.
pub(super) struct Spot<'r> {
    pub(super) place: Place<'r>,
    directory: (u64, u64),
}

impl<'r> Spot<'r> {
    /// Opens the slot again, from the root down. `EAGAIN` if its path leads to another directory by
    /// now, or to none.
    pub(super) fn open(&self) -> Result<Slot<'r>, Errno> {
        let slot = match self.place.clone().slot() {
            Ok(slot) => slot,
            Err((Errno::NOENT | Errno::NOTDIR, _)) => return Err(Errno::AGAIN),
            Err((errno, _)) => return Err(errno),
        };
        if identity(&slot.dir)? == self.directory {
            Ok(slot)
        } else {
            Err(Errno::AGAIN)
        }
    }
}

fn identity(directory: &OwnedFd) -> Result<(u64, u64), Errno> {
    rustix::fs::fstat(directory).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Takes `..` out of a path by the text alone. For showing and noting a path, never for access: the
/// kernel's answer differs where a link stands before the `..`.
fn without_dots(rel: &str) -> String {
    if !rel.contains("..") {
        return rel.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    for part in rel.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    kept.join("/")
}
