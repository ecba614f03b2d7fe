//! From the path an agent writes to a handle: the roots it may use and the kernel's own resolution
//! below them. No decision here or elsewhere rests on comparing path strings: the text only picks the
//! root, and `openat2` with `RESOLVE_BENEATH` keeps everything below it, whatever changes meanwhile.

use super::place::Place;
use super::temporary::is_temporary;
use super::text::quote;
use super::{fault, links};
use kruxos_types::CallError;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::path::Path;

/// Longest path an agent may write, in bytes: the kernel's `PATH_MAX`.
pub(super) const MAX_PATH: usize = 4096;
/// The kernel answers `EAGAIN` while directories above are being moved. Under a mover that never
/// rests a handful of tries was enough in measurements (spec/attacks.md, row 6).
const MAX_RESOLVE_TRIES: usize = 64;

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
    pub(super) dir: OwnedFd,
    /// Who owns the directory: hard links to files of others are refused.
    pub(super) owner: u32,
}

impl Root {
    /// A root that the agent sees at `shown`; its real path is understood too.
    pub(super) fn at(label: &str, shown: &str, real: &Path) -> std::io::Result<Root> {
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

    /// Opens a path below this root, following links that stay below it: relative ones by the kernel,
    /// absolute ones, which it refuses here, by [`links::open`].
    pub(super) fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        match open_beneath(self.dir.as_fd(), path, flags, ResolveFlags::empty()) {
            Err(Errno::XDEV) => links::open(self, path, flags),
            answer => answer,
        }
    }

    /// What follows one of this root's spellings in an absolute path; `None` if none begins it. The
    /// text only picks the root here: what comes out is opened below it like any other path.
    pub(super) fn below(&self, absolute: &str) -> Option<String> {
        let path = components(absolute);
        self.spellings.iter().find_map(|spelling| {
            let rest = path.strip_prefix(spelling.as_str())?;
            (rest.is_empty() || rest.starts_with('/'))
                .then(|| rest.trim_start_matches('/').to_owned())
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
pub(super) fn components(path: &str) -> String {
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

    /// One more, after the workspace.
    pub(super) fn add(&mut self, root: Root) {
        self.roots.push(root);
    }

    /// The root with this label.
    pub(super) fn by_label(&self, label: &str) -> Option<&Root> {
        self.roots.iter().find(|root| root.label == label)
    }

    /// Understands a path as an agent writes it: relative to the workspace, `/workspace/…`, or the
    /// root's real absolute path. `field` names the argument in errors.
    pub(super) fn locate<'r>(&'r self, field: &str, given: &str) -> Result<Place<'r>, CallError> {
        const EXPECTED: &str =
            "a path relative to the workspace, /workspace/… or /mnt/LABEL/…, of 1 to 4096 bytes";
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
        if given.split('/').any(|part| is_temporary(part.as_bytes())) {
            return Err(CallError::invalid_input(
                field,
                "names that kruxos gives to unfinished files are not for others",
                "another name",
            ));
        }
        let found = if given.starts_with('/') {
            self.roots
                .iter()
                .find_map(|root| Some((root, root.below(given)?)))
        } else {
            self.roots.first().map(|root| (root, components(given)))
        };
        match found {
            Some((root, rel)) => Ok(Place::new(self, root, rel, given.to_owned())),
            None => Err(self.outside(given, None)),
        }
    }

    /// A place that the product itself noted earlier.
    pub(super) fn place<'r>(&'r self, root: &'r Root, rel: &str) -> Place<'r> {
        Place::new(self, root, rel.to_owned(), root.show(rel))
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
        let why = match escaped {
            Some(_) => "A '..' or a symbolic link in it leads out. ",
            None => "",
        };
        let detail = format!("{why}Allowed roots: {}.", allowed.join(", "));
        let error = fault::of(kruxos_types::ErrorType::PathOutOfScope, given)
            .with("allowed_roots", allowed)
            .detail(detail);
        match escaped {
            Some(root) => error.with("escape", true).with("mount", root.label.clone()),
            None => error,
        }
    }
}

/// `openat2` below `dir`. Relative links that stay below work, also through `..`; all others end in
/// `EXDEV`.
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

/// Quotes a raw name: lossy where it is not UTF-8. The flag says that it was not.
pub(super) fn show_name(raw: &[u8]) -> (String, bool) {
    match std::str::from_utf8(raw) {
        Ok(name) => (name.to_owned(), false),
        Err(_) => (quote(&String::from_utf8_lossy(raw)), true),
    }
}
