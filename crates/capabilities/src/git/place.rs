//! Paths as an agent writes them. `..` is taken by the text, and what leads out by it is refused; where
//! links lead is for the box, and for the look at where a repository really is.

use super::{GitCx, WORKSPACE};
use crate::filesystem::quote;
use kruxos_types::{CallError, ErrorType};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Longest path, in bytes: the kernel's `PATH_MAX`.
const MAX_PATH: usize = 4096;
/// Where mounts are.
const MOUNTS: &str = "/mnt";

/// A path below the workspace or a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `/workspace` or `/mnt/<label>`.
    root: String,
    /// Its parts below the root.
    parts: Vec<String>,
    given: String,
}

impl Place {
    /// Understands a path relative to the workspace, `/workspace/…`, `/mnt/<label>/…`, or the
    /// workspace's real absolute path.
    pub(super) fn of(cx: &GitCx, given: &str) -> Result<Place, CallError> {
        Self::from(cx, "path", given, None)
    }

    /// The same, relative to another place. `field` names the argument in errors.
    pub(super) fn below(&self, cx: &GitCx, field: &str, given: &str) -> Result<Place, CallError> {
        Self::from(cx, field, given, Some(self))
    }

    fn from(
        cx: &GitCx,
        field: &str,
        given: &str,
        base: Option<&Place>,
    ) -> Result<Place, CallError> {
        let refuse = |reason: &str| {
            Err(CallError::invalid_input(
                field,
                reason,
                "a path relative to the workspace, or /workspace/…, of 1 to 4096 bytes",
            ))
        };
        if given.is_empty() {
            return refuse("it is empty");
        }
        if given.len() > MAX_PATH {
            return refuse("it is longer than 4096 bytes");
        }
        if given.contains('\0') {
            return refuse("it contains a NUL byte");
        }
        let (root, start, rest) = match (given.starts_with('/'), base) {
            (true, _) => {
                let (root, rest) = root_of(cx, given).ok_or_else(|| outside(cx, given))?;
                (root, Vec::new(), rest)
            }
            (false, Some(base)) => (base.root.clone(), base.parts.clone(), given.to_owned()),
            (false, None) => (WORKSPACE.to_owned(), Vec::new(), given.to_owned()),
        };
        let mut parts = start;
        for part in names(&rest) {
            match part {
                ".." if parts.pop().is_none() => return Err(escape(cx, given, &root)),
                ".." => {}
                part => parts.push(part.to_owned()),
            }
        }
        Ok(Place {
            root,
            parts,
            given: given.to_owned(),
        })
    }

    /// As the agent sees it.
    pub(super) fn show(&self) -> String {
        let parts = self.parts.iter().map(String::as_str);
        let all: Vec<&str> = std::iter::once(self.root.as_str()).chain(parts).collect();
        all.join("/")
    }

    /// As the agent wrote it, for errors.
    pub(super) fn given(&self) -> String {
        quote(&self.given)
    }

    /// As an argument of a program that starts in the workspace. Never begins with a dash.
    pub(super) fn argument(&self) -> String {
        if self.root != WORKSPACE {
            return self.show();
        }
        let parts = self.parts.iter().map(String::as_str);
        let all: Vec<&str> = std::iter::once(".").chain(parts).collect();
        all.join("/")
    }

    pub(super) fn is_root(&self) -> bool {
        self.parts.is_empty()
    }

    /// The directory above; the root itself has none.
    pub(super) fn parent(&self) -> Option<Place> {
        let (_, above) = self.parts.split_last()?;
        Some(self.with(above.to_vec()))
    }

    /// An entry of this directory.
    pub(super) fn entry(&self, name: &str) -> Place {
        let mut parts = self.parts.clone();
        parts.push(name.to_owned());
        self.with(parts)
    }

    fn with(&self, parts: Vec<String>) -> Place {
        Place {
            root: self.root.clone(),
            parts,
            given: self.given.clone(),
        }
    }

    /// What follows `above` in this path; `None` if it is not below it.
    pub(super) fn relative_to(&self, above: &Place) -> Option<String> {
        let rest = self.parts.strip_prefix(above.parts.as_slice())?;
        (self.root == above.root).then(|| rest.join("/"))
    }

    /// A path that a program in the box answered; `None` if it is outside everything the agent has.
    pub(super) fn answered(cx: &GitCx, path: &[u8]) -> Option<Place> {
        let path = std::str::from_utf8(path).ok()?;
        Self::of(cx, path).ok()
    }

    /// Whether a path that a program in the box answered is one the agent may reach.
    pub(super) fn reaches(cx: &GitCx, path: &[u8]) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        let mut roots = cx.mounts.iter().map(|label| Path::new(MOUNTS).join(label));
        path.starts_with(WORKSPACE)
            || path.starts_with(&cx.workspace)
            || roots.any(|root| path.starts_with(root))
    }

    /// `PathOutOfScope` for a place that turned out to lead elsewhere.
    pub(super) fn leads_out(&self, cx: &GitCx) -> CallError {
        escape(cx, &self.given, &self.root)
    }
}

/// The parts of a path.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !matches!(*part, "" | "."))
}

/// The root that an absolute path is below, going by its first parts, and what follows them.
fn root_of(cx: &GitCx, given: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = names(given).collect();
    let below = |root: &str| {
        let root: Vec<&str> = names(root).collect();
        let rest = parts.strip_prefix(root.as_slice())?;
        (!root.is_empty()).then(|| rest.join("/"))
    };
    let mounts = cx.mounts.iter().map(|label| format!("{MOUNTS}/{label}"));
    let mut shown = std::iter::once(WORKSPACE.to_owned()).chain(mounts);
    shown
        .find_map(|root| Some((root.clone(), below(&root)?)))
        .or_else(|| Some((WORKSPACE.to_owned(), below(cx.workspace.to_str()?)?)))
}

fn outside(cx: &GitCx, given: &str) -> CallError {
    let mut allowed = vec![WORKSPACE.to_owned()];
    allowed.extend(cx.mounts.iter().map(|label| format!("{MOUNTS}/{label}")));
    let detail = format!("Allowed roots: {}.", allowed.join(", "));
    CallError::new(ErrorType::PathOutOfScope)
        .with("path", quote(given))
        .with("allowed_roots", allowed)
        .detail(detail)
}

/// A path that begins inside and leads out.
fn escape(cx: &GitCx, given: &str, root: &str) -> CallError {
    let mount = match root.rsplit_once('/') {
        Some((MOUNTS, label)) => label,
        _ => "workspace",
    };
    outside(cx, given).with("escape", true).with("mount", mount)
}
