//! What a repository is in the middle of.

use super::command::Command;
use super::paths::ended_by_nul;
use super::repository::Repository;
use kruxos_types::CallError;

/// Something that was begun and waits for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Rebasing,
    Merging,
    CherryPicking,
    Reverting,
    Bisecting,
}

/// The file or directory that git keeps while it does something. A rebase may stop in the middle of a
/// cherry-pick, so it comes first.
const SIGNS: [(&str, Doing); 6] = [
    ("rebase-merge", Doing::Rebasing),
    ("rebase-apply", Doing::Rebasing),
    ("MERGE_HEAD", Doing::Merging),
    ("CHERRY_PICK_HEAD", Doing::CherryPicking),
    ("REVERT_HEAD", Doing::Reverting),
    ("BISECT_LOG", Doing::Bisecting),
];

impl Doing {
    /// As `git.status` answers it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Doing::Rebasing => "rebasing",
            Doing::Merging => "merging",
            Doing::CherryPicking => "cherry_picking",
            Doing::Reverting => "reverting",
            Doing::Bisecting => "bisecting",
        }
    }

    /// In a sentence.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Doing::Rebasing => "a rebase",
            Doing::Merging => "a merge",
            Doing::CherryPicking => "a cherry-pick",
            Doing::Reverting => "a revert",
            Doing::Bisecting => "a bisection",
        }
    }
}

/// What the repository is in the middle of, by the files of its git directory.
pub(super) async fn of(repository: &Repository<'_>) -> Result<Option<Doing>, CallError> {
    let paths = SIGNS.map(|(name, _)| format!("{}/{name}", repository.git_dir));
    let answer = Command::tool(repository.cx, "stat")
        .args(["--printf=%n\\0", "--"])
        .args(paths)
        .run()
        .await?;
    let there: Vec<&[u8]> = ended_by_nul(&answer.stdout).collect();
    let is_there = |name: &str| {
        let is_it = |path: &&[u8]| path.rsplit(|&b| b == b'/').next() == Some(name.as_bytes());
        there.iter().any(is_it)
    };
    let found = SIGNS.iter().find(|(name, _)| is_there(name));
    Ok(found.map(|&(_, doing)| doing))
}

/// Paths with conflicts, at most `limit`.
pub(super) async fn conflicts(
    repository: &Repository<'_>,
    limit: usize,
) -> Result<Vec<String>, CallError> {
    let answer = repository.git("ls-files").args(["--unmerged", "-z"]).run();
    Ok(unmerged(&answer.await?.stdout, limit))
}

/// The paths of `ls-files --unmerged -z`: `mode hash stage TAB path NUL`, once for each stage.
fn unmerged(listing: &[u8], limit: usize) -> Vec<String> {
    let mut paths: Vec<&[u8]> = Vec::new();
    for record in ended_by_nul(listing) {
        let path = record.splitn(2, |&byte| byte == b'\t').nth(1);
        if let Some(path) = path.filter(|path| paths.last() != Some(path)) {
            if paths.len() == limit {
                break;
            }
            paths.push(path);
        }
    }
    paths.into_iter().map(super::paths::show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_in_conflict_is_named_once() {
        let listing = b"100644 aa 1\ta\tb\n\x00100644 bb 2\ta\tb\n\x00100644 cc 2\tz\x00";
        assert_eq!(unmerged(listing, 9), ["a\tb\n", "z"]);
        assert_eq!(unmerged(listing, 1).len(), 1);
    }

    proptest! {
        #[test]
        fn no_listing_breaks_it(listing in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(unmerged(&listing, 3).len() <= 3);
        }
    }
}
