use super::command::{Command, Output};
use super::place::Place;
use super::repository::HEADS;
use super::{GitCx, Network, names, remote, trouble};
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::Value;

/// Directories looked at from the new one up to one that is there.
const MAX_CLIMB: usize = 64;
/// What the unfinished clone's name begins with; it lies beside where it will be.
const UNFINISHED: &str = ".kruxos-clone-";
/// Characters that tell unfinished clones apart, 80 bits.
const SERIAL: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    url: String,
    path: String,
    branch: Option<String>,
    depth: Option<u32>,
}

pub(super) async fn run(args: Args, cx: &GitCx) -> Result<Value, CallError> {
    if let Some(branch) = &args.branch {
        names::branch("branch", branch)?;
    }
    let place = Place::of(cx, &args.path)?;
    let network = remote::admit(cx, &args.url)
        .map_err(|refused| trouble::refuse(&refused, |reason| failed(&args.url, reason)))?;
    let base = base(cx, &place).await?;
    let name = format!("{UNFINISHED}{}", kruxos_types::random_base32(SERIAL));
    let unfinished = base.entry(&name);
    let made = make(&args, cx, network, &place, &unfinished).await;
    if made.is_err() {
        remove(cx, &unfinished).await;
    }
    let (branch, head) = made?;
    Ok(object([
        ("path", place.show().into()),
        ("default_branch", branch.into()),
        ("head_commit", head.into()),
    ]))
}

/// The nearest directory above the new one that is there.
async fn base(cx: &GitCx, place: &Place) -> Result<Place, CallError> {
    let exists = || CallError::new(ErrorType::DestinationExists).with("path", place.given());
    if place.is_root() {
        return Err(exists());
    }
    let above: Vec<Place> = std::iter::successors(place.parent(), Place::parent)
        .take(MAX_CLIMB)
        .collect();
    // With `/.` behind it only a directory is there, or a link to one.
    let found = Command::tool(cx, "stat")
        .args(["--printf=%n\\0", "--"])
        .arg(place.argument())
        .args(above.iter().map(|above| format!("{}/.", above.argument())))
        .run()
        .await?;
    let there: Vec<&[u8]> = super::paths::ended_by_nul(&found.stdout).collect();
    if there.contains(&place.argument().as_bytes()) {
        return Err(exists());
    }
    let is_there = |above: &Place| there.contains(&format!("{}/.", above.argument()).as_bytes());
    above.into_iter().find(is_there).ok_or_else(|| {
        CallError::new(ErrorType::FileNotFound)
            .with("path", place.given())
            .detail("None of the directories above it is there.")
    })
}

/// Clones into `unfinished` and gives it its name. Answers the branch and its commit.
async fn make(
    args: &Args,
    cx: &GitCx,
    network: &Network,
    place: &Place,
    unfinished: &Place,
) -> Result<(String, String), CallError> {
    let refusal = |answer: &Output| trouble::explain(answer, |reason| failed(&args.url, reason));
    let mut clone = Command::git(cx, ".", "clone")
        .args([
            "--quiet",
            "--template=",
            "--no-hardlinks",
            "--origin=origin",
        ])
        .args(["--no-recurse-submodules", "--upload-pack=git-upload-pack"])
        .remote(network);
    if let Some(branch) = &args.branch {
        clone = clone.arg(format!("--branch={branch}"));
    }
    if let Some(depth) = args.depth {
        clone = clone.arg(format!("--depth={depth}"));
    }
    let cloned = clone
        .args(["--", &args.url, &unfinished.argument()])
        .run()
        .await?;
    if !cloned.succeeded() {
        return Err(refusal(&cloned));
    }
    let (branch, head) = head(cx, unfinished).await?;
    if let Some(parent) = place.parent() {
        let made = Command::tool(cx, "mkdir")
            .args(["-p", "--", &parent.argument()])
            .run()
            .await?;
        if !made.succeeded() {
            return Err(refusal(&made));
        }
    }
    // Fails if anything but an empty directory has come there meanwhile.
    let moved = Command::tool(cx, "mv")
        .args(["-T", "--", &unfinished.argument(), &place.argument()])
        .run()
        .await?;
    if !moved.succeeded() {
        return Err(refusal(&moved));
    }
    let detached = args.branch.clone().unwrap_or_else(|| "HEAD".to_owned());
    Ok((branch.unwrap_or(detached), head))
}

/// The branch that was checked out, and its commit; an empty repository has a branch without commits.
async fn head(cx: &GitCx, clone: &Place) -> Result<(Option<String>, String), CallError> {
    let at = clone.argument();
    let branch = Command::git(cx, &at, "symbolic-ref").args(["--quiet", "HEAD"]);
    let branch = branch.run().await?;
    let commit = Command::git(cx, &at, "rev-parse").args(["--verify", "--quiet", "HEAD"]);
    let commit = commit.run().await?.hash().unwrap_or_default();
    let name = branch.line().and_then(|line| line.strip_prefix(HEADS));
    Ok((name.map(str::to_owned), commit))
}

async fn remove(cx: &GitCx, unfinished: &Place) {
    let removed = Command::tool(cx, "rm")
        .args(["-rf", "--", &unfinished.argument()])
        .run()
        .await;
    let problem = match removed {
        Ok(answer) if answer.succeeded() => return,
        Ok(answer) => answer.reason(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(path = %unfinished.show(), problem, "an unfinished clone could not be removed");
}

fn failed(url: &str, reason: &str) -> CallError {
    CallError::new(ErrorType::CloneFailed)
        .with("url", remote::show(url))
        .with("reason", reason)
}
