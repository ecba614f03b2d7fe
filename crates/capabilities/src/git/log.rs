use super::paths::show;
use super::repository::{About, HEADS, Repository};
use super::{GitCx, names};
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::{Value, json};

/// Bytes of one commit's message in an answer: real ones have hundreds, the rest is somebody's file.
const MAX_MESSAGE: usize = 16 << 10;
/// Bytes of all messages together: what a reader can still take in.
const MAX_MESSAGES: usize = 1 << 20;
/// Bytes of git's answer that are read. The commits that end in them are answered.
const MAX_OUTPUT: usize = 16 << 20;
/// Id, author, address, date, message, in this order, each ended by a NUL.
const FORMAT: &str = "--format=tformat:%H%x00%an%x00%ae%x00%aI%x00%B";
const FIELDS: usize = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
    limit: u32,
    branch: Option<String>,
    since: Option<jiff::Timestamp>,
    author: Option<String>,
}

pub(super) async fn run(args: Args, cx: &GitCx) -> Result<Value, CallError> {
    if let Some(branch) = &args.branch {
        names::revision("branch", branch)?;
    }
    if args
        .author
        .as_ref()
        .is_some_and(|text| text.chars().any(char::is_control))
    {
        return Err(CallError::invalid_input(
            "author",
            "it has a control character",
            "a part of a name or address",
        ));
    }
    let repository = Repository::find(cx, &args.path, About::Path).await?;
    let (branch, start) = start(&repository, args.branch.as_deref()).await?;
    let Some(start) = start else {
        return Ok(answer(Vec::new(), branch));
    };
    let mut command = repository
        .git("log")
        .args([FORMAT, "-z", "--no-patch", "--no-color", "--no-decorate"])
        .args(["--no-ext-diff", "--no-textconv", "--no-show-signature"])
        .args([
            "--no-notes",
            "--no-mailmap",
            "--no-follow",
            "--encoding=UTF-8",
        ])
        .arg(format!("--max-count={}", args.limit))
        .keeping(MAX_OUTPUT);
    if let Some(since) = args.since {
        // Commits have no dates before the epoch.
        command = command.arg(format!("--max-age={}", since.as_second().max(0)));
    }
    if let Some(author) = args.author {
        command = command
            .args(["--fixed-strings", "--regexp-ignore-case"])
            .arg(format!("--author={author}"));
    }
    command = command.args(["--end-of-options", &start, "--"]);
    let found = command.args(repository.inside.clone()).run().await?;
    if !found.succeeded() {
        return Err(found.broken("the log cannot be read"));
    }
    Ok(answer(parse(&found.stdout, found.cut), branch))
}

/// What the answer calls the branch, and the commit to begin with; none if there are no commits yet.
async fn start(
    repository: &Repository<'_>,
    branch: Option<&str>,
) -> Result<(String, Option<String>), CallError> {
    let Some(name) = branch else {
        let head = repository.commit("HEAD").await?;
        let branch = repository.branch().await?;
        return Ok((branch.unwrap_or_else(|| "HEAD".to_owned()), head));
    };
    // A branch before a tag of the same name.
    for candidate in [&format!("{HEADS}{name}"), name] {
        if let Some(commit) = repository.commit(candidate).await? {
            return Ok((name.to_owned(), Some(commit)));
        }
    }
    let is_current = repository.branch().await?.as_deref() == Some(name);
    if is_current {
        return Ok((name.to_owned(), None));
    }
    let missing = CallError::new(ErrorType::BranchNotFound);
    Err(missing.with("branch", crate::filesystem::quote(name)))
}

fn answer(commits: Vec<Value>, branch: String) -> Value {
    object([
        ("total_returned", commits.len().into()),
        ("commits", commits.into()),
        ("branch", branch.into()),
    ])
}

/// Reads commits of [`FORMAT`]. Of output that was cut, the last commit is left out unless it is the
/// only one.
fn parse(output: &[u8], cut: bool) -> Vec<Value> {
    let fields: Vec<&[u8]> = output.split(|&byte| byte == 0).collect();
    let mut commits = Vec::new();
    let mut bytes = 0;
    for commit in fields.chunks(FIELDS) {
        let [hash, name, address, date, message] = commit else {
            break;
        };
        let is_last = (commits.len() + 1) * FIELDS == fields.len();
        let message = text(message);
        bytes += message.len();
        let is_broken = cut && is_last;
        if !commits.is_empty() && (is_broken || bytes > MAX_MESSAGES) {
            break;
        }
        commits.push(json!({
            "hash": show(hash),
            "author_name": show(name),
            "author_email": show(address),
            "date": show(date),
            "message": message,
        }));
    }
    commits
}

/// A message, without the line end that git adds, cut where it is too long.
fn text(message: &[u8]) -> String {
    let end = message.len().min(MAX_MESSAGE);
    let text = String::from_utf8_lossy(message.get(..end).unwrap_or_default());
    let text = text.trim_end();
    match message.len() - end {
        0 => text.to_owned(),
        more => format!("{text}\n[{more} bytes more]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_messages_are_cut_and_say_so() {
        let long = "x".repeat(MAX_MESSAGE + 7);
        let output = format!("h\0n\0a\0d\0{long}\0h2\0n\0a\0d\0short\n\n\0");
        let commits = parse(output.as_bytes(), false);
        assert_eq!(commits.len(), 2);
        let first = commits[0]["message"].as_str();
        assert!(first.is_some_and(|text| text.ends_with("x\n[7 bytes more]")));
        assert_eq!(commits[1]["message"], "short");
        assert_eq!(parse(b"h\0n\0a\0d\0whole\0h\0n\0a\0d\0par", true).len(), 1);
        assert_eq!(parse(b"h\0n\0a\0d\0par", true).len(), 1);
        assert_eq!(parse(b"", false).len(), 0);
    }

    #[test]
    fn all_messages_together_are_bounded() {
        let commit = format!("h\0n\0a\0d\0{}\0", "y".repeat(MAX_MESSAGE));
        let commits = parse(commit.repeat(200).as_bytes(), false);
        assert_eq!(commits.len(), MAX_MESSAGES / MAX_MESSAGE);
    }

    proptest! {
        #[test]
        fn no_output_breaks_it(output in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..300), cut: bool) {
            prop_assert!(parse(&output, cut).len() <= output.len());
        }
    }
}
