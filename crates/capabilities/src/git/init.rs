use super::command::Command;
use super::place::Place;
use super::{GitCx, names};
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
    initial_branch: String,
}

pub(super) async fn run(args: Args, cx: &GitCx) -> Result<Value, CallError> {
    names::branch("initial_branch", &args.initial_branch)?;
    let place = Place::of(cx, &args.path)?;
    if is_repository(cx, &place).await? {
        return Err(CallError::new(ErrorType::DestinationExists)
            .with("path", place.given())
            .detail("It is a repository already."));
    }
    let made = Command::git(cx, ".", "init")
        .args(["--quiet", "--template="])
        .arg(format!("--initial-branch={}", args.initial_branch))
        .arg("--")
        .arg(place.argument())
        .run()
        .await?;
    if !made.succeeded() {
        return Err(CallError::new(ErrorType::InitFailed)
            .with("path", place.given())
            .with("reason", made.reason())
            .internal(made.stderr()));
    }
    Ok(object([
        ("path", place.show().into()),
        ("branch", args.initial_branch.into()),
    ]))
}

/// Whether the directory has a `.git` of its own, or is the inside of a repository. `git init` would
/// take both for something to repair.
async fn is_repository(cx: &GitCx, place: &Place) -> Result<bool, CallError> {
    let own = place.entry(".git").argument();
    let found = Command::tool(cx, "stat")
        .args(["--printf=%F", "--", &own])
        .run()
        .await?;
    if found.succeeded() {
        return Ok(true);
    }
    let bare = ["HEAD", "objects", "refs"].map(|name| place.entry(name).argument());
    let parts = Command::tool(cx, "stat")
        .args(["--printf=%F", "--"])
        .args(bare);
    Ok(parts.run().await?.succeeded())
}
