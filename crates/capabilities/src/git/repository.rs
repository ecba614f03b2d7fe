//! From a path to the repository it is in.

use super::GitCx;
use super::command::{Command, Output, Setting};
use super::place::Place;
use super::shield::{self, MAX_LISTING, Unmasked};
use kruxos_types::{CallError, ErrorType};

/// Directories looked at from a path that is not there up to one that is.
const MAX_CLIMB: usize = 64;
/// Stands between two answers of `rev-parse`, which prints what it does not know.
const BETWEEN: &str = "--kruxos-next";
/// Branches have this before their name.
pub(super) const HEADS: &str = "refs/heads/";

/// A repository with a work tree, all of it where the agent may reach.
#[derive(Debug)]
pub(super) struct Repository<'a> {
    pub(super) cx: &'a GitCx,
    /// The directory that git starts in.
    at: String,
    /// What of it was asked for, from `at`; `None` for all.
    pub(super) inside: Option<String>,
    /// Where git keeps its files, as the box sees it.
    pub(super) git_dir: String,
    /// The top of its work tree.
    pub(super) top: Place,
    masks: Vec<Setting>,
}

/// Whether a call is about a path in a repository, which need not be there any more, or about the
/// repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Path,
    Repository,
}

impl<'a> Repository<'a> {
    /// Finds the repository that a path is in.
    ///
    /// # Errors
    /// `PathOutOfScope`, `NotARepository`, or a common error.
    pub(super) async fn find(
        cx: &'a GitCx,
        given: &str,
        about: About,
    ) -> Result<Repository<'a>, CallError> {
        let place = Place::of(cx, given)?;
        let mut at = place.clone();
        for _ in 0..MAX_CLIMB {
            let answer = Command::git(cx, &at.argument(), "rev-parse")
                .args(["--show-prefix", BETWEEN, "--absolute-git-dir", BETWEEN])
                .arg("--show-toplevel")
                .run()
                .await?;
            if answer.succeeded() {
                return Self::open(cx, &place, &at, &answer).await;
            }
            // What is not a directory is a file, or a path that is gone: the repository is above.
            let said = answer.stderr();
            let climbs = said.starts_with("fatal: cannot change to")
                && (about == About::Path || said.contains("Not a directory"));
            at = match at.parent().filter(|_| climbs) {
                Some(above) => above,
                None => return Err(not_one(&place, &answer)),
            };
        }
        Err(CallError::new(ErrorType::NotARepository)
            .with("path", place.given())
            .detail("There is nothing at it."))
    }

    async fn open(
        cx: &'a GitCx,
        place: &Place,
        at: &Place,
        answer: &Output,
    ) -> Result<Repository<'a>, CallError> {
        let (prefix, git_dir, top) =
            three(&answer.stdout).ok_or_else(|| answer.broken("the repository was not found"))?;
        if !Place::reaches(cx, git_dir) || !Place::reaches(cx, top) {
            return Err(place.leads_out(cx));
        }
        let not_shown = || {
            CallError::new(ErrorType::NotARepository)
                .with("path", place.given())
                .detail("Its path is not UTF-8.")
        };
        let git_dir = std::str::from_utf8(git_dir).map_err(|_| not_shown())?;
        let inside = match place.relative_to(at) {
            Some(rest) if !rest.is_empty() => Some(rest),
            _ => (!prefix.is_empty()).then(|| ".".to_owned()),
        };
        let mut repository = Repository {
            cx,
            at: at.argument(),
            inside,
            git_dir: git_dir.to_owned(),
            top: Place::answered(cx, top).ok_or_else(not_shown)?,
            masks: Vec::new(),
        };
        repository.masks = repository.masks_of_settings(place).await?;
        Ok(repository)
    }

    async fn masks_of_settings(&self, place: &Place) -> Result<Vec<Setting>, CallError> {
        let listing = self
            .git("config")
            .args(["--list", "--name-only", "--null", "--includes"])
            .keeping(MAX_LISTING)
            .run()
            .await?;
        if !listing.succeeded() {
            return Err(not_one(place, &listing));
        }
        let refused = |unmasked: &Unmasked| {
            CallError::new(ErrorType::PermissionDenied)
                .with("path", place.given())
                .with("operation", "use the repository")
                .detail(format!("{unmasked}; see its .git/config."))
        };
        if listing.cut {
            return Err(refused(&Unmasked::TooMany));
        }
        let network = self.cx.network.as_ref();
        let proxy = network.and_then(|network| network.proxy.as_deref());
        shield::masks(&listing.stdout, proxy.unwrap_or_default())
            .map_err(|unmasked| refused(&unmasked))
    }

    /// A command of git in this repository, where it was asked for.
    pub(super) fn git(&self, subcommand: &str) -> Command<'a> {
        Command::git(self.cx, &self.at, subcommand).settings(&self.masks)
    }

    /// A command of git at the top of the work tree.
    pub(super) fn git_at_top(&self, subcommand: &str) -> Command<'a> {
        Command::git(self.cx, &self.top.argument(), subcommand).settings(&self.masks)
    }

    /// The current branch; `None` if none is checked out.
    pub(super) async fn branch(&self) -> Result<Option<String>, CallError> {
        let answer = self.git("symbolic-ref").args(["--quiet", "HEAD"]).run();
        let answer = answer.await?;
        let head = answer.stdout.strip_suffix(b"\n").unwrap_or_default();
        let branch = head.strip_prefix(HEADS.as_bytes());
        Ok(branch.map(super::paths::show))
    }

    /// The commit that a name stands for; `None` if there is none. The name was checked.
    pub(super) async fn commit(&self, name: &str) -> Result<Option<String>, CallError> {
        let answer = self
            .git("rev-parse")
            .args(["--verify", "--quiet", "--end-of-options"])
            .arg(format!("{name}^{{commit}}"))
            .run();
        Ok(answer.await?.hash())
    }
}

/// The three answers, with their line ends taken off. A path may hold line ends of its own.
fn three(stdout: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let between = format!("\n{BETWEEN}\n");
    let split = |bytes: &'_ [u8]| {
        let at = bytes
            .windows(between.len())
            .position(|window| window == between.as_bytes())?;
        Some((at, at + between.len()))
    };
    let (end, next) = split(stdout)?;
    let (prefix, rest) = (stdout.get(..end)?, stdout.get(next..)?);
    let (end, next) = split(rest)?;
    let (git_dir, top) = (rest.get(..end)?, rest.get(next..)?);
    Some((prefix, git_dir, top.strip_suffix(b"\n")?))
}

/// `NotARepository`. What git says may quote files that it took for settings: that is for the log only.
fn not_one(place: &Place, answer: &Output) -> CallError {
    let error = CallError::new(ErrorType::NotARepository)
        .with("path", place.given())
        .internal(answer.stderr());
    let said = answer.stderr();
    if said.contains("cannot change to") {
        error.detail("There is nothing at it.")
    } else if said.contains("bare repository") || said.contains("must be run in a work tree") {
        error.detail("It is a bare repository, which has no files to work on.")
    } else if said.contains("not a git repository (or any") {
        error
    } else {
        error.detail(
            "There is something of a repository, but git cannot use it; look at its .git/config.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_line_ends_are_told_apart() {
        let answer = format!("a\nb/\n{BETWEEN}\n/w/x\ny/.git\n{BETWEEN}\n/w/x\ny\n");
        let parts = three(answer.as_bytes());
        assert_eq!(
            parts,
            Some((&b"a\nb/"[..], &b"/w/x\ny/.git"[..], &b"/w/x\ny"[..]))
        );
        assert_eq!(three(b""), None);
        assert_eq!(three(b"x\n"), None);
    }
}
