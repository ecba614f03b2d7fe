use super::command::Output;
use super::paths::ended_by_nul;
use super::repository::{About, Repository};
use super::state::{self, Doing};
use super::{GitCx, command, names, submodules};
use crate::filesystem::quote;
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::Value;

/// Bytes of the paths in `files` together: they are arguments of one program.
const MAX_FILES_BYTES: usize = 512 << 10;
/// Bytes of the new commit's list of paths that are read.
const MAX_OUTPUT: usize = 64 << 20;
/// Paths in conflict that an error names.
const MAX_CONFLICTS: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
    message: String,
    files: Option<Vec<String>>,
    author_name: Option<String>,
    author_email: Option<String>,
}

pub(super) async fn run(args: Args, cx: &GitCx) -> Result<Value, CallError> {
    check(&args)?;
    let repository = Repository::find(cx, &args.path, About::Repository).await?;
    let files = match &args.files {
        Some(files) => Some(inside(&repository, files)?),
        None => None,
    };
    let doing = state::of(&repository).await?;
    let branch = repository.branch().await?;
    let branch = branch.ok_or_else(|| failed(&headless(doing)))?;
    stage(&repository, files.as_deref()).await?;
    // What git is in the middle of ends with all that is staged; a part cannot be taken out of it.
    let only = files.as_deref().filter(|_| doing.is_none());
    let own_address = command::address(&cx.agent);
    let author = (
        args.author_name.as_deref().unwrap_or(&cx.agent),
        args.author_email.as_deref().unwrap_or(&own_address),
    );
    let mut commit = repository
        .git_at_top("commit")
        .args(["--quiet", "--file=-", "--cleanup=whitespace", "--no-verify"])
        .args(["--no-gpg-sign", "--no-status", "--no-edit"])
        .committer(Some(author))
        .stdin(args.message.into_bytes());
    if let Some(files) = only {
        commit = commit.args(["--only", "--"]).args(files.to_vec());
    }
    let committed = commit.run().await?;
    if !committed.succeeded() {
        return Err(refusal(&committed, &args.path));
    }
    answer(&repository, branch).await
}

fn check(args: &Args) -> Result<(), CallError> {
    let invalid = |field, reason, expected| Err(CallError::invalid_input(field, reason, expected));
    if args.message.trim().is_empty() {
        return invalid("message", "it is blank", "what was changed, and why");
    }
    if args.message.contains('\0') {
        return invalid("message", "it contains a NUL byte", "text without NUL");
    }
    if let Some(name) = &args.author_name {
        names::person("author_name", name)?;
    }
    if let Some(address) = &args.author_email {
        names::person("author_email", address)?;
    }
    let bytes = args.files.iter().flatten().map(|file| file.len() + 1);
    if bytes.sum::<usize>() > MAX_FILES_BYTES {
        return invalid(
            "files",
            "the paths are too long together",
            "at most 524288 bytes; name directories, or leave files out to commit everything",
        );
    }
    Ok(())
}

/// The given files from the top of the work tree on.
fn inside(repository: &Repository<'_>, files: &[String]) -> Result<Vec<String>, CallError> {
    let top = &repository.top;
    let below = |file: &String| {
        let place = top.below(repository.cx, "files", file)?;
        let path = place
            .relative_to(top)
            .ok_or_else(|| place.leads_out(repository.cx))?;
        Ok(if path.is_empty() {
            ".".to_owned()
        } else {
            path
        })
    };
    files.iter().map(below).collect()
}

/// Stages the files, or everything. Conflicts are taken as solved only where the caller names the file.
async fn stage(repository: &Repository<'_>, files: Option<&[String]>) -> Result<(), CallError> {
    if files.is_none() {
        solved(repository).await?;
    }
    let submodules = submodules::named(repository, files).await?;
    add(repository, files, &submodules).await?;
    submodules::stage(repository, &submodules)
        .await?
        .map_err(|answer| failed(&answer.reason()).internal(answer.stderr()))?;
    if files.is_some() {
        solved(repository).await?;
    }
    Ok(())
}

async fn add(
    repository: &Repository<'_>,
    files: Option<&[String]>,
    submodules: &[String],
) -> Result<(), CallError> {
    let mut add = repository.git_at_top("add").arg("--all");
    if !submodules.is_empty() {
        let Some(paths) = submodules::left_out(files, submodules) else {
            return Ok(());
        };
        add = add.magic_paths().arg("--").args(paths);
    } else if let Some(files) = files {
        add = add.arg("--").args(files.to_vec());
    }
    let added = add.run().await?;
    if added.succeeded() {
        return Ok(());
    }
    Err(no_such_file(&added).unwrap_or_else(|| failed(&added.reason()).internal(added.stderr())))
}

async fn solved(repository: &Repository<'_>) -> Result<(), CallError> {
    let conflicts = state::conflicts(repository, MAX_CONFLICTS).await?;
    if conflicts.is_empty() {
        return Ok(());
    }
    let list = conflicts.iter().map(|path| quote(path));
    let list = list.collect::<Vec<_>>().join(", ");
    Err(failed(&format!("there are conflicts in {list}"))
        .with("files", conflicts)
        .detail("Solve them, then commit with these paths in files."))
}

fn no_such_file(answer: &Output) -> Option<CallError> {
    let said = answer.stderr().strip_prefix("fatal: pathspec '")?;
    let (path, _) = said.rsplit_once("' did not match any files")?;
    let path = path.strip_prefix(submodules::LITERAL).unwrap_or(path);
    let missing = CallError::new(ErrorType::FileNotFound).with("path", quote(path));
    Some(missing.detail("Paths in files are relative to the top of the repository."))
}

fn refusal(answer: &Output, path: &str) -> CallError {
    let said = answer.stderr();
    // git says nothing else when there is nothing new; a directory without files is nothing new either.
    let is_empty = !said.contains("fatal:") && !said.contains("error:");
    if answer.code == 1 && (is_empty || said.contains("did not match any file(s) known to git")) {
        return CallError::new(ErrorType::NothingToCommit).with("path", quote(path));
    }
    failed(&answer.reason()).internal(said)
}

fn failed(reason: &str) -> CallError {
    CallError::new(ErrorType::CommitFailed).with("reason", reason)
}

fn headless(doing: Option<Doing>) -> String {
    match doing {
        Some(doing) => format!("{} is under way and no branch is checked out", doing.noun()),
        None => "no branch is checked out; switch to one with git.branch".to_owned(),
    }
}

async fn answer(repository: &Repository<'_>, branch: String) -> Result<Value, CallError> {
    // The id, then the paths that differ from the (first) parent.
    let listing = repository
        .git_at_top("diff-tree")
        .args(["--root", "-r", "-z", "--name-only"])
        .args(["--diff-merges=first-parent", "--end-of-options", "HEAD"])
        .keeping(MAX_OUTPUT)
        .run()
        .await?;
    let mut parts = ended_by_nul(&listing.stdout);
    let named = parts.next().map(super::paths::show);
    let hash = match named.filter(|_| listing.succeeded()) {
        Some(hash) => hash,
        // A commit without changes against its parent, such as the end of a merge, has no list.
        None => repository
            .commit("HEAD")
            .await?
            .ok_or_else(|| listing.broken("the commit was made but cannot be read"))?,
    };
    Ok(object([
        ("commit_hash", hash.into()),
        ("files_committed", parts.count().into()),
        ("branch", branch.into()),
    ]))
}
