//! From the path an agent writes to a handle: the roots it may use and the kernel's own resolution
//! below them. No decision here or elsewhere rests on comparing path strings: the text only picks the
//! root, and `openat2` with `RESOLVE_BENEATH` keeps everything below it, whatever changes meanwhile.

use super::fault;
use super::text::quote;
use kruxos_types::CallError;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::path::Path;

/// Longest path an agent may write, in bytes: the kernel's `PATH_MAX`.
pub(super) const MAX_PATH: usize = 4096;
/// The kernel answers `EAGAIN` while directories above are being moved. Under a mover that never
/// rests a handful of tries was enough in measurements (spec/attacks.md, row 6).
const MAX_RESOLVE_TRIES: usize = 64;
/// Symbolic links followed to find where a write must go: the kernel's own limit.
const MAX_LINKS: usize = 40;

/// The roots of one principal; the first is the workspace.
pub(super) struct Roots {
    roots: Vec<Root>,
}

/// A directory that paths are resolved below.
pub(super) struct Root {
    /// `workspace`, or the label of a mount.
    pub(super) label: String,
    /// How the agent sees it: `/workspace`, `/mnt/<label>`.
    shown: String,
    /// Absolute spellings that mean this root, without the leading slash.
    spellings: Vec<String>,
    dir: OwnedFd,
    /// Who owns the directory: hard links to files of others are refused.
    owner: u32,
}

impl Root {
    /// A root that the agent sees at `shown`; its real path is understood too.
    pub(super) fn open(label: &str, shown: &str, real: &Path) -> std::io::Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(real, flags, Mode::empty())?;
        let owner = rustix::fs::fstat(&dir)?.st_uid;
        let mut spellings = vec![components(shown)];
        for path in [real.to_path_buf(), real.canonicalize()?] {
            // A root at `/` has no spelling of its own: every absolute path would be below it.
            if let Some(text) = path
                .to_str()
                .map(components)
                .filter(|text| !text.is_empty())
            {
                spellings.push(text);
            }
        }
        spellings.dedup();
        Ok(Root {
            label: label.to_owned(),
            shown: shown.to_owned(),
            spellings,
            dir,
            owner,
        })
    }

    /// `rel` as the agent sees it.
    pub(super) fn show(&self, rel: &str) -> String {
        if rel.is_empty() || rel == "." {
            self.shown.clone()
        } else {
            format!("{}/{rel}", self.shown)
        }
    }
}

/// Joins a path's components with single slashes, leaving out empty ones and `.`.
fn components(path: &str) -> String {
    let mut joined = String::with_capacity(path.len());
    for part in path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
    {
        if !joined.is_empty() {
            joined.push('/');
        }
        joined.push_str(part);
    }
    joined
}

impl Roots {
    pub(super) fn new(workspace: Root) -> Roots {
        Roots {
            roots: vec![workspace],
        }
    }

    /// The root with this label.
    pub(super) fn by_label(&self, label: &str) -> Option<&Root> {
        self.roots.iter().find(|root| root.label == label)
    }

    /// Understands a path as an agent writes it: relative to the workspace, `/workspace/…`, or the
    /// root's real absolute path. `field` names the argument in errors.
    pub(super) fn locate<'r>(&'r self, field: &str, given: &str) -> Result<Place<'r>, CallError> {
        const EXPECTED: &str =
            "a path relative to the workspace, or /workspace/…, of 1 to 4096 bytes";
        if given.is_empty() {
            return Err(CallError::invalid_input(field, "it is empty", EXPECTED));
        }
        if given.len() > MAX_PATH {
            return Err(CallError::invalid_input(
                field,
                "it is longer than 4096 bytes",
                EXPECTED,
            ));
        }
        if given.contains('\0') {
            return Err(CallError::invalid_input(
                field,
                "it contains a NUL byte",
                EXPECTED,
            ));
        }
        let path = components(given);
        if !given.starts_with('/') {
            let Some(root) = self.roots.first() else {
                return Err(self.outside(given, None));
            };
            return Ok(Place {
                roots: self,
                root,
                rel: path,
                given: given.to_owned(),
            });
        }
        for root in &self.roots {
            for spelling in &root.spellings {
                let Some(rest) = path.strip_prefix(spelling.as_str()) else {
                    continue;
                };
                if rest.is_empty() || rest.starts_with('/') {
                    let rel = rest.trim_start_matches('/').to_owned();
                    return Ok(Place {
                        roots: self,
                        root,
                        rel,
                        given: given.to_owned(),
                    });
                }
            }
        }
        Err(self.outside(given, None))
    }

    /// A place that the product itself noted earlier.
    pub(super) fn place<'r>(&'r self, root: &'r Root, rel: &str) -> Place<'r> {
        Place {
            roots: self,
            root,
            rel: rel.to_owned(),
            given: root.show(rel),
        }
    }

    /// `PathOutOfScope`. `escaped` is the root whose inside leads out, by `..` or a link.
    pub(super) fn outside(&self, given: &str, escaped: Option<&Root>) -> CallError {
        let mut allowed: Vec<String> = Vec::new();
        for root in &self.roots {
            allowed.push(root.shown.clone());
            let real = root
                .spellings
                .iter()
                .skip(1)
                .map(|spelling| format!("/{spelling}"));
            allowed.extend(real.take(1));
        }
        let detail = format!("Allowed roots: {}.", allowed.join(", "));
        let error = fault::of(kruxos_types::ErrorType::PathOutOfScope, given)
            .with("allowed_roots", allowed)
            .detail(detail);
        match escaped {
            Some(root) => error.with("escape", true).with("mount", root.label.clone()),
            None => error,
        }
    }
}

/// `openat2` below `dir`. Links that stay below work, also through `..`; all others end in `EXDEV`.
pub(super) fn open_beneath(
    dir: BorrowedFd<'_>,
    path: impl rustix::path::Arg + Copy,
    flags: OFlags,
    more: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | more;
    for _ in 0..MAX_RESOLVE_TRIES {
        match rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
    Err(Errno::AGAIN)
}

/// Flags to open something that should be a regular file: a FIFO or a terminal must not hold us.
pub(super) const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// Flags to open a directory for reading its entries or making them durable.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// A path below a root, not yet opened.
pub(super) struct Place<'r> {
    roots: &'r Roots,
    pub(super) root: &'r Root,
    /// Below the root, single slashes, without `.`; empty for the root itself.
    rel: String,
    given: String,
}

impl<'r> Place<'r> {
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
        open_beneath(
            self.root.dir.as_fd(),
            self.rel_or_dot(),
            flags,
            ResolveFlags::empty(),
        )
    }

    /// Opens an entry of this directory by its raw name, following links that stay inside the root.
    pub(super) fn open_entry(&self, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut path = self.rel_or_dot().as_bytes().to_vec();
        path.push(b'/');
        path.extend_from_slice(name);
        open_beneath(
            self.root.dir.as_fd(),
            path.as_slice(),
            flags,
            ResolveFlags::empty(),
        )
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
        let opened = open_beneath(
            self.root.dir.as_fd(),
            parent,
            DIRECTORY,
            ResolveFlags::empty(),
        );
        match opened {
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
            if target.starts_with('/') {
                return Err((Errno::XDEV, slot.place));
            }
            let mut place = slot.place;
            let parent = place.rel.rsplit_once('/').map_or("", |(parent, _)| parent);
            place.rel = components(&format!("{parent}/{target}"));
            slot = place.slot()?;
        }
        Err((Errno::LOOP, slot.place))
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
        let root = self.root.dir.as_fd();
        // The usual case: they are all there.
        match open_beneath(
            root,
            parents,
            OFlags::PATH | OFlags::DIRECTORY,
            ResolveFlags::empty(),
        ) {
            Err(Errno::NOENT) => {}
            other => return other.map(drop),
        }
        let mut above = open_beneath(root, ".", DIRECTORY, ResolveFlags::empty())?;
        for (end, _) in parents.match_indices('/').chain([(parents.len(), "")]) {
            let prefix = parents.get(..end).unwrap_or(parents);
            let name = prefix.rsplit('/').next().unwrap_or(prefix);
            above = match open_beneath(root, prefix, DIRECTORY, ResolveFlags::empty()) {
                Ok(dir) => dir,
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
                        Ok(()) => made.push((above, name.to_owned())),
                        Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    open_beneath(root, prefix, DIRECTORY, ResolveFlags::empty())?
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

impl Slot<'_> {
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

    /// What a failed system call here means to the caller.
    pub(super) fn fault(&self, errno: Errno, operation: &'static str) -> CallError {
        self.place.fault(errno, operation)
    }
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

/// Quotes a raw name: lossy where it is not UTF-8. The flag says that it was not.
pub(super) fn show_name(raw: &[u8]) -> (String, bool) {
    match std::str::from_utf8(raw) {
        Ok(name) => (name.to_owned(), false),
        Err(_) => (quote(&String::from_utf8_lossy(raw)), true),
    }
}
