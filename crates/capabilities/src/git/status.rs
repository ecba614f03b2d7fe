use super::command::exhausted;
use super::paths::show;
use super::repository::{About, Repository};
use super::{GitCx, state};
use crate::shapes::object;
use kruxos_types::CallError;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Paths of one kind in an answer: what a definition's list may hold.
const MAX_PATHS: usize = 10_000;
/// Bytes of git's answer that are read: ten thousand paths of three kinds with room to spare.
const MAX_OUTPUT: usize = 16 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
}

pub(super) async fn run(args: Args, cx: &GitCx) -> Result<Value, CallError> {
    let repository = Repository::find(cx, &args.path, About::Repository).await?;
    // Every new file by its name, unless there are too many: then new directories as a whole.
    let status = match look(&repository, "all").await? {
        Some(status) => status,
        None => look(&repository, "normal").await?.ok_or_else(|| {
            exhausted("changed paths in an answer", MAX_PATHS as u64)
                .detail("Too much has changed here to list it; commit or ignore directories of it.")
        })?,
    };
    let state = match state::of(&repository).await? {
        Some(doing) => doing.name(),
        None if status.is_clean() => "clean",
        None => "dirty",
    };
    Ok(object([
        ("branch", status.branch.into()),
        ("staged", status.staged.into()),
        ("unstaged", status.unstaged.into()),
        ("untracked", status.untracked.into()),
        ("conflicted", status.conflicted.into()),
        ("upstream", status.upstream.into()),
        ("ahead", status.ahead.into()),
        ("behind", status.behind.into()),
        ("state", state.into()),
    ]))
}

/// `None` if there is more than an answer holds.
async fn look(repository: &Repository<'_>, untracked: &str) -> Result<Option<Status>, CallError> {
    let answer = repository
        .git("status")
        .args(["--porcelain=v2", "--branch", "-z", "--ahead-behind"])
        .args(["--find-renames", "--ignore-submodules=dirty"])
        .arg(format!("--untracked-files={untracked}"))
        .keeping(MAX_OUTPUT)
        .run()
        .await?;
    if !answer.succeeded() {
        return Err(answer.broken("the state of the repository cannot be read"));
    }
    let status = parse(&answer.stdout);
    Ok((!answer.cut && status.fits()).then_some(status))
}

#[derive(Debug, Default, PartialEq)]
struct Status {
    branch: Option<String>,
    staged: Vec<Value>,
    unstaged: Vec<Value>,
    untracked: Vec<Value>,
    conflicted: Vec<Value>,
    upstream: Option<String>,
    ahead: u64,
    behind: u64,
}

impl Status {
    fn lists(&self) -> [&Vec<Value>; 4] {
        [
            &self.staged,
            &self.unstaged,
            &self.untracked,
            &self.conflicted,
        ]
    }

    fn is_clean(&self) -> bool {
        self.lists().iter().all(|list| list.is_empty())
    }

    fn fits(&self) -> bool {
        self.lists().iter().all(|list| list.len() <= MAX_PATHS)
    }
}

/// Reads `status --porcelain=v2 --branch -z` (git-status(1), Porcelain Format Version 2).
fn parse(output: &[u8]) -> Status {
    let mut status = Status::default();
    let mut records = output.split(|&byte| byte == 0);
    while let Some(record) = records.next() {
        match record.split_first() {
            Some((b'#', header)) => status.header(&show(header)),
            Some((b'1', entry)) => status.changed(entry, 7, None),
            Some((b'2', entry)) => status.changed(entry, 8, records.next()),
            Some((b'u', entry)) => {
                if let Some((_, path)) = fields(entry, 9) {
                    status.conflicted.push(show(path).into());
                }
            }
            Some((b'?', path)) => {
                let path = path.strip_prefix(b" ").unwrap_or(path);
                status.untracked.push(show(path).into());
            }
            _ => {}
        }
    }
    status
}

impl Status {
    fn header(&mut self, header: &str) {
        let Some((key, value)) = header.trim_start().split_once(' ') else {
            return;
        };
        match key {
            "branch.head" if value != "(detached)" => self.branch = Some(value.to_owned()),
            "branch.upstream" => self.upstream = Some(value.to_owned()),
            "branch.ab" => {
                let counts = value.split_once(' ');
                let counts =
                    counts.map(|(a, b)| (a.trim_start_matches('+'), b.trim_start_matches('-')));
                if let Some((Ok(ahead), Ok(behind))) = counts.map(|(a, b)| (a.parse(), b.parse())) {
                    (self.ahead, self.behind) = (ahead, behind);
                }
            }
            _ => {}
        }
    }

    /// An entry of ` XY` and so many fields in all before the path.
    fn changed(&mut self, entry: &[u8], before: usize, old: Option<&[u8]>) {
        let Some(([staged, unstaged], path)) = fields(entry, before) else {
            return;
        };
        if let Some(word) = word(staged) {
            let mut entry = change(path, word);
            if let Some(old) = old.filter(|_| matches!(staged, b'R' | b'C')) {
                entry.insert("old_path".to_owned(), show(old).into());
            }
            self.staged.push(entry.into());
        }
        if let Some(word) = word(unstaged) {
            self.unstaged.push(change(path, word).into());
        }
    }
}

/// The two letters, and what follows `before` fields.
fn fields(entry: &[u8], before: usize) -> Option<([u8; 2], &[u8])> {
    let entry = entry.strip_prefix(b" ")?;
    let path = entry.splitn(before + 1, |&byte| byte == b' ').nth(before)?;
    Some(([*entry.first()?, *entry.get(1)?], path))
}

fn change(path: &[u8], word: &str) -> Map<String, Value> {
    Map::from_iter([
        ("path".to_owned(), show(path).into()),
        ("change".to_owned(), word.into()),
    ])
}

fn word(letter: u8) -> Option<&'static str> {
    match letter {
        b'M' => Some("modified"),
        b'T' => Some("type_changed"),
        b'A' => Some("added"),
        b'D' => Some("deleted"),
        b'R' => Some("renamed"),
        b'C' => Some("copied"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn every_kind_of_entry_is_read() {
        let hashes =
            "1111111111111111111111111111111111111111 2222222222222222222222222222222222222222";
        let output = format!(
            "# branch.oid x\0# branch.head fix/a\0# branch.upstream origin/a\0# branch.ab +3 -12\0\
             1 MD N... 100644 100644 000000 {hashes} a b\n\0\
             2 RM N... 100644 100644 100644 {hashes} R100 new name\0old name\0\
             u UU N... 100644 100644 100644 100644 {hashes} 3333 both\0\
             ? x y\0! ignored\0"
        );
        let status = parse(output.as_bytes());
        assert_eq!(status.branch.as_deref(), Some("fix/a"));
        assert_eq!(status.upstream.as_deref(), Some("origin/a"));
        assert_eq!((status.ahead, status.behind), (3, 12));
        let renamed = json!({"path": "new name", "change": "renamed", "old_path": "old name"});
        assert_eq!(
            status.staged,
            [json!({"path": "a b\n", "change": "modified"}), renamed]
        );
        let modified = json!({"path": "new name", "change": "modified"});
        assert_eq!(
            status.unstaged,
            [json!({"path": "a b\n", "change": "deleted"}), modified]
        );
        assert_eq!(status.conflicted, [json!("both")]);
        assert_eq!(status.untracked, [json!("x y")]);
    }

    proptest! {
        #[test]
        fn no_output_breaks_it(
            output in prop::collection::vec(any::<u8>(), 0..300),
            records in prop::collection::vec("[#12u?!] ?[ MTADRCU.N0-9a-z]{0,40}\0?", 0..12),
        ) {
            for output in [output, records.join("\0").into_bytes()] {
                let status = parse(&output);
                let entries: usize = status.lists().iter().map(|list| list.len()).sum();
                prop_assert!(entries <= 2 * output.len());
            }
        }
    }
}
