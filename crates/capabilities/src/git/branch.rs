use super::command::Output;
use super::paths::show;
use super::repository::{About, HEADS, Repository};
use super::{GitCx, command, names};
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::Value;

/// Branches in an answer: what a definition's list may hold.
const MAX_BRANCHES: usize = 10_000;
/// Bytes of git's answer that are read: that many long names.
const MAX_OUTPUT: usize = 4 << 20;
/// What `action` may be.
const ACTIONS: [&str; 4] = ["list", "create", "switch", "delete"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
    action: String,
    name: Option<String>,
    start_point: Option<String>,
}

pub(super) async fn run(args: Args, cx: &GitCx) -> Result<Value, CallError> {
    let name = checked(&args)?;
    let repository = Repository::find(cx, &args.path, About::Repository).await?;
    match (args.action.as_str(), name) {
        ("create", Some(name)) => create(&repository, name, args.start_point.as_deref()).await?,
        ("switch", Some(name)) => switch(&repository, name).await?,
        ("delete", Some(name)) => delete(&repository, name).await?,
        _ => {}
    }
    Ok(object([
        ("branches", list(&repository).await?.into()),
        ("current_branch", repository.branch().await?.into()),
    ]))
}

/// The name, if the action needs one.
fn checked(args: &Args) -> Result<Option<&str>, CallError> {
    if !ACTIONS.contains(&args.action.as_str()) {
        return Err(CallError::new(ErrorType::InvalidAction)
            .with("action", crate::filesystem::quote(&args.action))
            .with("allowed", ACTIONS.to_vec()));
    }
    if let Some(start) = &args.start_point {
        names::revision("start_point", start)?;
    }
    if args.action == "list" {
        return Ok(None);
    }
    let Some(name) = args.name.as_deref() else {
        return Err(CallError::invalid_input(
            "name",
            "it is missing",
            "the branch, for create, switch and delete",
        ));
    };
    names::branch("name", name)?;
    Ok(Some(name))
}

async fn list(repository: &Repository<'_>) -> Result<Vec<Value>, CallError> {
    let answer = repository
        .git("for-each-ref")
        .args(["--format=%(refname)", "--sort=refname"])
        .arg(format!("--count={}", MAX_BRANCHES + 1))
        .arg(HEADS)
        .keeping(MAX_OUTPUT)
        .run()
        .await?;
    if !answer.succeeded() {
        return Err(answer.broken("the branches cannot be read"));
    }
    // No name of a branch holds a line end.
    let lines = answer.stdout.split(|&byte| byte == b'\n');
    let names = lines.filter_map(|line| line.strip_prefix(HEADS.as_bytes()));
    let names: Vec<Value> = names.map(|name| show(name).into()).collect();
    if names.len() > MAX_BRANCHES || answer.cut {
        return Err(command::exhausted(
            "branches in an answer",
            MAX_BRANCHES as u64,
        ));
    }
    Ok(names)
}

async fn create(
    repository: &Repository<'_>,
    name: &str,
    start: Option<&str>,
) -> Result<(), CallError> {
    if exists(repository, name).await? {
        return Err(CallError::new(ErrorType::BranchAlreadyExists).with("branch", name));
    }
    let commit = match start {
        None => None,
        Some(start) => {
            let commit = repository.commit(start).await?;
            Some(commit.ok_or_else(|| missing(start))?)
        }
    };
    let switched = repository
        .git_at_top("switch")
        .args([
            "--quiet",
            "--no-guess",
            "--no-track",
            "--no-recurse-submodules",
        ])
        .arg(format!("--create={name}"))
        .args(commit)
        .run()
        .await?;
    done(&switched, name)
}

async fn switch(repository: &Repository<'_>, name: &str) -> Result<(), CallError> {
    if !exists(repository, name).await? {
        // The current branch need not have commits yet.
        if repository.branch().await?.as_deref() == Some(name) {
            return Ok(());
        }
        return Err(not_here(repository, name).await?);
    }
    let switched = repository
        .git_at_top("switch")
        .args(["--quiet", "--no-guess", "--no-recurse-submodules", name])
        .run()
        .await?;
    done(&switched, name)
}

async fn delete(repository: &Repository<'_>, name: &str) -> Result<(), CallError> {
    if !exists(repository, name).await? {
        return Err(missing(name));
    }
    let deleted = repository
        .git_at_top("branch")
        .args(["--quiet", "--delete", "--", name])
        .run()
        .await?;
    done(&deleted, name)
}

async fn exists(repository: &Repository<'_>, name: &str) -> Result<bool, CallError> {
    let answer = repository
        .git("show-ref")
        .args(["--verify", "--quiet", "--"])
        .arg(format!("{HEADS}{name}"))
        .run();
    Ok(answer.await?.succeeded())
}

fn missing(name: &str) -> CallError {
    CallError::new(ErrorType::BranchNotFound).with("branch", crate::filesystem::quote(name))
}

/// `BranchNotFound`, which tells of a branch of that name on a remote.
async fn not_here(repository: &Repository<'_>, name: &str) -> Result<CallError, CallError> {
    let answer = repository
        .git("for-each-ref")
        .args(["--format=%(refname:lstrip=2)", "--count=1"])
        .arg(format!("refs/remotes/*/{name}"))
        .run()
        .await?;
    Ok(match answer.line().map(crate::filesystem::quote) {
        Some(remote) => missing(name).detail(format!(
            "There is {remote}: create the branch with start_point {remote}."
        )),
        None => missing(name),
    })
}

/// What git refuses because something would be lost is a conflict with the state of things.
fn done(answer: &Output, name: &str) -> Result<(), CallError> {
    if answer.succeeded() {
        return Ok(());
    }
    Err(CallError::new(ErrorType::ConflictError)
        .with("resource", name)
        .detail(format!(
            "git refused, and nothing was changed: {}.",
            answer.reason()
        ))
        .internal(answer.stderr()))
}
