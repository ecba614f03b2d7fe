use super::remote::{self, Way};
use super::repository::{About, HEADS, Repository};
use super::{GitCx, names, paths, trouble};
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::Value;

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
    let branch = match args.branch {
        Some(branch) => branch,
        None => {
            let current = repository.branch().await?;
            current.ok_or_else(|| failed("no branch is checked out"))?
        }
    };
    let reference = format!("{HEADS}{branch}");
    let commit = repository.commit(&reference).await?;
    let commit = commit.ok_or_else(|| {
        failed(&format!(
            "the branch '{branch}' is not there or has no commits"
        ))
    })?;
    let network = remote::admit_named(&repository, &args.remote, Way::Push).await?;
    let network = network.map_err(|refused| trouble::refuse(&refused, failed))?;
    // The commit by its id: what is answered is what was sent, whatever happens to the branch meanwhile.
    let pushed = repository
        .git_at_top("push")
        .args([
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            "--no-signed",
        ])
        .args([
            "--no-force-with-lease",
            "--no-force-if-includes",
            "--no-progress",
        ])
        .args(["--recurse-submodules=no", "--receive-pack=git-receive-pack"])
        .args(["--", &args.remote])
        .arg(format!("{commit}:{reference}"))
        .remote(network)
        .run()
        .await?;
    let results = parse(&pushed.stdout);
    for result in &results {
        match result.refusal() {
            Some(Refusal::Behind) => {
                return Err(CallError::new(ErrorType::PushRejected).with("branch", branch));
            }
            Some(Refusal::Other(reason)) => return Err(failed(&reason).internal(pushed.stderr())),
            None => {}
        }
    }
    if !pushed.succeeded() {
        return Err(trouble::explain(&pushed, failed));
    }
    let moved = results.iter().filter(|result| result.flag != b'=');
    let moved: Vec<Value> = moved.map(|result| result.to.clone().into()).collect();
    Ok(object([
        ("pushed_refs", moved.into()),
        ("head_commit", commit.into()),
    ]))
}

fn failed(reason: &str) -> CallError {
    CallError::new(ErrorType::PushFailed).with("reason", reason)
}

/// What became of one reference.
#[derive(Debug, PartialEq)]
struct Pushed {
    flag: u8,
    to: String,
    summary: String,
}

#[derive(Debug, PartialEq)]
enum Refusal {
    /// The remote has commits that are not here.
    Behind,
    Other(String),
}

impl Pushed {
    fn refusal(&self) -> Option<Refusal> {
        if self.flag != b'!' {
            return None;
        }
        let is_local = self.summary.starts_with("[rejected]");
        if is_local || self.summary.contains("non-fast-forward") {
            return Some(Refusal::Behind);
        }
        let reason = self.summary.trim_start_matches("[remote rejected]").trim();
        let reason = reason.trim_start_matches('(').trim_end_matches(')');
        Some(Refusal::Other(format!(
            "the remote refused it: {}",
            crate::filesystem::quote(reason)
        )))
    }
}

/// Reads `push --porcelain` (git-push(1), OUTPUT): `flag TAB from:to TAB summary`.
fn parse(output: &[u8]) -> Vec<Pushed> {
    let line = |line: &[u8]| {
        let mut fields = line.splitn(3, |&byte| byte == b'\t');
        let (flag, refs, summary) = (fields.next()?, fields.next()?, fields.next()?);
        let &[flag] = flag else {
            return None;
        };
        let to = refs.rsplit(|&byte| byte == b':').next()?;
        Some(Pushed {
            flag,
            to: paths::show(to),
            summary: paths::show(summary),
        })
    };
    output
        .split(|&byte| byte == b'\n')
        .filter_map(line)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refusals_are_told_apart() {
        let output = b"To https://x\n \tabc:refs/heads/a\t1..2\n!\tabc:refs/heads/b\t[rejected] (fetch first)\n\
            !\tabc:refs/heads/c\t[remote rejected] (pre-receive hook declined)\n=\tabc:refs/heads/d\t[up to date]\nDone\n";
        let results = parse(output);
        let refusals: Vec<_> = results.iter().map(Pushed::refusal).collect();
        let declined = "the remote refused it: pre-receive hook declined".to_owned();
        assert_eq!(
            refusals,
            [
                None,
                Some(Refusal::Behind),
                Some(Refusal::Other(declined)),
                None
            ]
        );
        assert_eq!(
            results.first().map(|result| result.to.as_str()),
            Some("refs/heads/a")
        );
    }

    proptest! {
        #[test]
        fn no_output_breaks_it(output in prop::collection::vec(prop_oneof![Just(b'\t'), Just(b'\n'), Just(b'!'), any::<u8>()], 0..200)) {
            for result in parse(&output) {
                prop_assert!(result.flag != b'!' || result.refusal().is_some());
            }
        }
    }
}
