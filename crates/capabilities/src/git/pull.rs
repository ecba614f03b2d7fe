use super::command::Output;
use super::paths::ended_by_nul;
use super::remote::{self, Way};
use super::repository::{About, HEADS, Repository};
use super::{GitCx, names, state, trouble};
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::Value;

/// Paths in conflict that an error names.
const MAX_CONFLICTS: usize = 100;
/// Bytes of a list of changed paths that are read.
const MAX_OUTPUT: usize = 64 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
    remote: String,
    branch: Option<String>,
}

pub(super) async fn run(args: Args, cx: &GitCx) -> Result<Value, CallError> {
    names::remote(&args.remote)?;
    if let Some(branch) = &args.branch {
        names::branch("branch", branch)?;
    }
    let repository = Repository::find(cx, &args.path, About::Repository).await?;
    let current = repository.branch().await?;
    let current = current.ok_or_else(|| failed("no branch is checked out"))?;
    if let Some(doing) = state::of(&repository).await? {
        return Err(failed(&format!("{} is under way", doing.noun())));
    }
    let theirs = match args.branch {
        Some(branch) => branch,
        None => followed(&repository, &args.remote, &current).await?,
    };
    let before = repository.commit("HEAD").await?;
    let new = fetch(&repository, &args.remote, &theirs).await?;
    let count = count(&repository, before.as_deref(), &new).await?;
    if count > 0 {
        merge(&repository, &args.remote, &theirs, before.as_deref(), &new).await?;
    }
    let head = repository.commit("HEAD").await?;
    let head = head.ok_or_else(|| failed("the repository has no commit after the merge"))?;
    let files = match count {
        0 => 0,
        _ => changed(&repository, before.as_deref(), &head).await?,
    };
    Ok(object([
        ("new_commits", count.into()),
        ("files_changed", files.into()),
        ("head_commit", head.into()),
        ("up_to_date", (count == 0).into()),
    ]))
}

/// The remote's branch that the current one follows, or else the one of the same name.
async fn followed(
    repository: &Repository<'_>,
    remote: &str,
    current: &str,
) -> Result<String, CallError> {
    let of_branch = |key: &'static str| {
        let name = format!("branch.{current}.{key}");
        repository.git("config").args(["--get", &name]).run()
    };
    if of_branch("remote").await?.line() != Some(remote) {
        return Ok(current.to_owned());
    }
    let merge = of_branch("merge").await?;
    let branch = merge.line().and_then(|line| line.strip_prefix(HEADS));
    let branch = branch.unwrap_or(current);
    names::branch("branch", branch)?;
    Ok(branch.to_owned())
}

/// Fetches a branch; its newest commit.
async fn fetch(
    repository: &Repository<'_>,
    remote: &str,
    branch: &str,
) -> Result<String, CallError> {
    let network = remote::admit_named(repository, remote, Way::Fetch).await?;
    let network = network.map_err(|refused| trouble::refuse(&refused, failed))?;
    let fetched = repository
        .git_at_top("fetch")
        .args([
            "--quiet",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
        ])
        .args(["--upload-pack=git-upload-pack", "--", remote])
        .arg(format!("{HEADS}{branch}"))
        .remote(network)
        .run()
        .await?;
    if !fetched.succeeded() {
        return Err(trouble::explain(&fetched, failed));
    }
    let new = repository.commit("FETCH_HEAD").await?;
    new.ok_or_else(|| failed("the remote answered no commit"))
}

/// How many commits are new.
async fn count(
    repository: &Repository<'_>,
    before: Option<&str>,
    new: &str,
) -> Result<u64, CallError> {
    let mut list = repository.git("rev-list").args(["--count", new]);
    if let Some(before) = before {
        list = list.arg(format!("^{before}"));
    }
    let counted = list.arg("--").run().await?;
    let count = counted.line().and_then(|line| line.parse().ok());
    count.ok_or_else(|| refusal(&counted))
}

/// Merges, or leaves everything as it was.
async fn merge(
    repository: &Repository<'_>,
    remote: &str,
    branch: &str,
    before: Option<&str>,
    new: &str,
) -> Result<(), CallError> {
    let merge = repository
        .git_at_top("merge")
        .args(["--quiet", "--no-edit", "--no-verify", "--no-gpg-sign"])
        .args([
            "--no-stat",
            "--no-log",
            "--no-squash",
            "--commit",
            "--no-autostash",
        ])
        .args(["--no-verify-signatures", "--no-rerere-autoupdate"]);
    let merge = match before {
        Some(_) => merge.arg("--ff").arg(format!(
            "--message=Merge remote-tracking branch '{remote}/{branch}'"
        )),
        // Onto a branch without commits.
        None => merge.arg("--ff-only"),
    };
    let merged = merge
        .committer(None)
        .args(["--end-of-options", new])
        .run()
        .await;
    match merged {
        Ok(answer) if answer.succeeded() => Ok(()),
        Ok(answer) => {
            let conflicts = state::conflicts(repository, MAX_CONFLICTS).await?;
            undo(repository).await?;
            Err(conflict(&answer, conflicts))
        }
        Err(error) => {
            undo(repository).await?;
            Err(error)
        }
    }
}

/// Ends a merge that was begun, with everything as before.
async fn undo(repository: &Repository<'_>) -> Result<(), CallError> {
    if state::of(repository).await?.is_none() {
        return Ok(());
    }
    let undone = repository.git_at_top("merge").arg("--abort").run().await?;
    if undone.succeeded() {
        return Ok(());
    }
    Err(refusal(&undone).detail("The merge could not be undone; look at the repository's state."))
}

/// `MergeConflict` with the files that both have changed, committed or not.
fn conflict(answer: &Output, mut files: Vec<String>) -> CallError {
    if files.is_empty() {
        // Changes that are not committed: git names the files, one on a line behind a tab.
        let named = answer
            .stderr()
            .lines()
            .filter_map(|line| line.strip_prefix('\t'));
        files.extend(named.take(MAX_CONFLICTS).map(crate::filesystem::quote));
    }
    if files.is_empty() {
        return refusal(answer);
    }
    CallError::new(ErrorType::MergeConflict)
        .with("files", files)
        .detail("Everything is as it was before the pull.")
        .internal(answer.stderr())
}

/// How many files differ.
async fn changed(
    repository: &Repository<'_>,
    before: Option<&str>,
    after: &str,
) -> Result<usize, CallError> {
    let listing = match before {
        Some(before) => repository.git_at_top("diff-tree").args([
            "-r",
            "-z",
            "--name-only",
            "--end-of-options",
            before,
            after,
        ]),
        None => {
            repository
                .git_at_top("ls-tree")
                .args(["-r", "-z", "--name-only", "--full-tree", after])
        }
    };
    let listing = listing.keeping(MAX_OUTPUT).run().await?;
    Ok(ended_by_nul(&listing.stdout).count())
}

fn failed(reason: &str) -> CallError {
    CallError::new(ErrorType::PullFailed).with("reason", reason)
}

fn refusal(answer: &Output) -> CallError {
    failed(&answer.reason()).internal(answer.stderr())
}
