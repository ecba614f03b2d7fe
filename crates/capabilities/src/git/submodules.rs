//! Submodules in a commit. `git add` would look into each for changes of its own, which runs what the
//! submodule's settings name (a filter, a monitor) without our masks: they do not reach into it. So it is
//! told to leave submodules out, and the commit that each has checked out is staged by itself.

use super::command::{Command, Output, exhausted};
use super::paths::ended_by_nul;
use super::repository::Repository;
use kruxos_types::CallError;

/// Bytes of the list of tracked files that are read: a million of them.
const MAX_LISTING: usize = 64 << 20;
/// Submodules of one repository: each costs an argument.
const MAX_SUBMODULES: usize = 1000;
/// The mode of a submodule in the index (gitformat-index(5)).
const MODE: &[u8] = b"160000 ";
/// What stands before a path from the top that is nothing but a path.
pub(super) const LITERAL: &str = ":(top,literal)";

/// The submodules among `files`, or all, by their paths from the top on.
pub(super) async fn named(
    repository: &Repository<'_>,
    files: Option<&[String]>,
) -> Result<Vec<String>, CallError> {
    let mut list = repository.git_at_top("ls-files").args(["--stage", "-z"]);
    if let Some(files) = files {
        list = list.arg("--").args(files.to_vec());
    }
    let listing = list.keeping(MAX_LISTING).run().await?;
    if listing.cut {
        return Err(exhausted("bytes of file names", MAX_LISTING as u64));
    }
    let names = paths(&listing.stdout)
        .ok_or_else(|| exhausted("submodules with UTF-8 names", MAX_SUBMODULES as u64))?;
    Ok(names)
}

/// The paths of submodules in `ls-files --stage -z`: `mode hash stage TAB path NUL`. `None` if they are
/// too many or one's name is not UTF-8.
fn paths(listing: &[u8]) -> Option<Vec<String>> {
    let records = ended_by_nul(listing).filter(|record| record.starts_with(MODE));
    let mut paths = Vec::new();
    for record in records {
        let path = record.splitn(2, |&byte| byte == b'\t').nth(1)?;
        let path = std::str::from_utf8(path).ok()?;
        if paths.last().is_none_or(|last| last != path) {
            paths.push(path.to_owned());
        }
        if paths.len() > MAX_SUBMODULES {
            return None;
        }
    }
    Some(paths)
}

/// `files`, or everything, without the submodules, as magic paths; `None` if nothing is left.
pub(super) fn left_out(files: Option<&[String]>, submodules: &[String]) -> Option<Vec<String>> {
    let everything = [".".to_owned()];
    let chosen = files.unwrap_or(&everything).iter();
    let chosen = chosen.filter(|file| !submodules.contains(file));
    // The top itself has no literal form.
    let magic = |file: &String| match file.as_str() {
        "." => ":(top)".to_owned(),
        file => format!("{LITERAL}{file}"),
    };
    let mut paths: Vec<String> = chosen.map(magic).collect();
    if paths.is_empty() {
        return None;
    }
    let without = submodules.iter();
    paths.extend(without.map(|path| format!(":(exclude,top,literal){path}")));
    Some(paths)
}

/// Stages the commits that the submodules have checked out, and the absence of those that are gone.
///
/// # Errors
/// The inner error: git refused.
pub(super) async fn stage(
    repository: &Repository<'_>,
    submodules: &[String],
) -> Result<Result<(), Output>, CallError> {
    if submodules.is_empty() {
        return Ok(Ok(()));
    }
    let mut names = submodules.join("\0").into_bytes();
    names.push(0);
    let update: Command<'_> = repository.git_at_top("update-index");
    let answer = update
        .args(["--remove", "--replace", "-z", "--stdin"])
        .stdin(names)
        .run()
        .await?;
    Ok(if answer.succeeded() {
        Ok(())
    } else {
        Err(answer)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn submodules_are_found_among_files() {
        let listing =
            b"100644 aa 0\ta\x00160000 bb 0\tsub\tx\x00160000 bb 2\tsub\tx\x00120000 cc 0\tl\x00";
        assert_eq!(paths(listing), Some(vec!["sub\tx".to_owned()]));
        assert_eq!(paths(b"160000 bb 0\t\xff\0"), None);
        assert_eq!(
            left_out(None, &["s".to_owned()]).unwrap_or_default(),
            [":(top)", ":(exclude,top,literal)s"]
        );
        let sub = ["s".to_owned()];
        assert_eq!(left_out(Some(&sub), &sub), None);
    }

    proptest! {
        #[test]
        fn no_listing_breaks_it(listing in prop::collection::vec(any::<u8>(), 0..200)) {
            let listing = [MODE, &listing].concat();
            for path in paths(&listing).unwrap_or_default() {
                prop_assert!(!path.contains('\0'));
            }
        }
    }
}
