use super::command::exhausted;
use super::paths::show;
use super::repository::{About, Repository};
use super::{GitCx, names};
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Files in an answer: what a definition's list may hold. The totals count all.
const MAX_FILES: usize = 10_000;
/// Bytes of one file's diff; a longer one is null. Some two thousand lines.
const MAX_FILE_DIFF: usize = 128 << 10;
/// Bytes of all diffs together.
const MAX_DIFFS: usize = 1 << 20;
/// Bytes of git's answer that are read: a hundred thousand files and the diffs that are answered.
const MAX_OUTPUT: usize = 24 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
    cached: bool,
    commit: Option<String>,
}

pub(super) async fn run(args: Args, cx: &GitCx) -> Result<Value, CallError> {
    if let Some(commit) = &args.commit {
        names::revision("commit", commit)?;
    }
    let repository = Repository::find(cx, &args.path, About::Path).await?;
    let mut command = repository
        .git("diff")
        .args(["--raw", "--numstat", "--patch", "-z", "--no-abbrev"])
        .args([
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--no-relative",
        ])
        .args(["--src-prefix=a/", "--dst-prefix=b/", "--unified=3"])
        .args([
            "--inter-hunk-context=0",
            "--diff-algorithm=myers",
            "-O/dev/null",
        ])
        // More pairs than this are not compared for renames: the time grows with their square.
        .args(["--find-renames", "-l400"])
        .args(["--submodule=short", "--ignore-submodules=dirty"])
        .keeping(MAX_OUTPUT);
    if args.cached {
        command = command.arg("--cached");
    }
    command = match args.commit {
        Some(name) => {
            let commit = repository.commit(&name).await?;
            let commit = commit.ok_or_else(|| {
                let missing = CallError::new(ErrorType::CommitNotFound);
                missing.with("commit", crate::filesystem::quote(&name))
            })?;
            command.args(["--end-of-options", &commit])
        }
        // Of a file in conflict, what was done to our side of it.
        None if !args.cached => command.arg("--ours"),
        None => command,
    };
    let found = command
        .arg("--")
        .args(repository.inside.clone())
        .run()
        .await?;
    if !found.succeeded() {
        return Err(found.broken("the changes cannot be read"));
    }
    let diff = parse(&found.stdout, found.cut)
        .ok_or_else(|| exhausted("changed files in an answer", MAX_OUTPUT as u64))?;
    Ok(answer(diff))
}

fn answer(files: Vec<File<'_>>) -> Value {
    let sum = |of: fn(&File<'_>) -> u64| files.iter().map(of).fold(0, u64::saturating_add);
    let totals = (sum(|file| file.additions), sum(|file| file.deletions));
    let count = files.len();
    let mut room = MAX_DIFFS;
    let changes = files.into_iter().take(MAX_FILES);
    let changes: Vec<Value> = changes.map(|file| file.into_json(&mut room)).collect();
    object([
        ("changes", changes.into()),
        ("total_additions", totals.0.into()),
        ("total_deletions", totals.1.into()),
        ("files_changed", count.into()),
    ])
}

#[derive(Debug, PartialEq)]
struct File<'o> {
    old: Option<&'o [u8]>,
    path: &'o [u8],
    letter: u8,
    additions: u64,
    deletions: u64,
    is_binary: bool,
    /// Where its diff is in the output: none, one, or two if its type has changed.
    patch: Vec<&'o [u8]>,
}

impl File<'_> {
    fn into_json(self, room: &mut usize) -> Value {
        let change = match self.letter {
            b'A' => "added",
            b'D' => "deleted",
            b'R' => "renamed",
            b'C' => "copied",
            b'T' => "type_changed",
            _ => "modified",
        };
        let length: usize = self.patch.iter().map(|part| part.len()).sum();
        let is_answered = !self.is_binary && length > 0 && length <= MAX_FILE_DIFF.min(*room);
        let diff = is_answered.then(|| {
            *room -= length;
            String::from_utf8_lossy(&self.patch.concat()).into_owned()
        });
        let mut entry = Map::from_iter([
            ("path".to_owned(), show(self.path).into()),
            ("change".to_owned(), change.into()),
            ("additions".to_owned(), self.additions.into()),
            ("deletions".to_owned(), self.deletions.into()),
            ("diff".to_owned(), diff.into()),
        ]);
        if let Some(old) = self.old {
            entry.insert("old_path".to_owned(), show(old).into());
        }
        entry.into()
    }
}

/// Reads `diff --raw --numstat --patch -z` (git-diff(1), «Raw output format» and below). `None` if the
/// output ends before the patches begin.
fn parse(output: &[u8], cut: bool) -> Option<Vec<File<'_>>> {
    let mut rest = Fields(output);
    let mut files: Vec<File<'_>> = Vec::new();
    while rest.0.first() == Some(&b':') {
        let facts = rest.next()?;
        let letter = *facts.rsplit(|&byte| byte == b' ').next()?.first()?;
        let first = rest.next()?;
        let (old, path) = match letter {
            b'R' | b'C' => (Some(first), rest.next()?),
            _ => (None, first),
        };
        files.push(File {
            old,
            path,
            letter,
            additions: 0,
            deletions: 0,
            is_binary: false,
            patch: Vec::new(),
        });
    }
    for file in &mut files {
        let counts = rest.next()?;
        let mut parts = counts.splitn(3, |&byte| byte == b'\t');
        let (added, deleted, path) = (parts.next()?, parts.next()?, parts.next()?);
        file.is_binary = added == b"-";
        (file.additions, file.deletions) = (number(added), number(deleted));
        if path.is_empty() {
            rest.next()?;
            rest.next()?;
        }
    }
    let patches = match rest.0.split_first() {
        Some((0, patches)) => patches,
        _ => rest.0,
    };
    if cut && patches.is_empty() {
        return None;
    }
    // A file in conflict comes twice: as such, and as what was done to it.
    let done: Vec<&[u8]> = files
        .iter()
        .filter(|f| f.letter != b'U')
        .map(|f| f.path)
        .collect();
    let done: std::collections::HashSet<&[u8]> = done.into_iter().collect();
    files.retain(|file| file.letter != b'U' || !done.contains(file.path));
    assign(patches, cut, &mut files);
    Some(files)
}

/// Fields that end in NUL.
struct Fields<'o>(&'o [u8]);

impl<'o> Fields<'o> {
    fn next(&mut self) -> Option<&'o [u8]> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        let field = self.0.get(..end)?;
        self.0 = self.0.get(end + 1..)?;
        Some(field)
    }
}

fn number(digits: &[u8]) -> u64 {
    let text = std::str::from_utf8(digits).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Gives each file its part of the patches, by the line that each part begins with. No line of content
/// can look like one: content is behind a sign.
fn assign<'o>(patches: &'o [u8], cut: bool, files: &mut [File<'o>]) {
    const START: &[u8] = b"diff --git ";
    let by_header: HashMap<Vec<u8>, usize> = files
        .iter()
        .enumerate()
        .map(|(at, file)| (header(file.old.unwrap_or(file.path), file.path), at))
        .collect();
    let mut starts = Vec::new();
    let mut at = 0;
    for line in patches.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(START) {
            starts.push((at, line));
        }
        at += line.len();
    }
    for (index, &(start, line)) in starts.iter().enumerate() {
        let next = starts.get(index + 1).map(|&(start, _)| start);
        let end = match next {
            Some(next) => next,
            // The rest of it is missing.
            None if cut => continue,
            None => patches.len(),
        };
        let file = by_header.get(line.strip_suffix(b"\n").unwrap_or(line));
        let part = patches.get(start..end);
        if let (Some(file), Some(part)) = (file.and_then(|&at| files.get_mut(at)), part) {
            file.patch.push(part);
        }
    }
}

/// The first line of a file's diff.
fn header(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut line = b"diff --git ".to_vec();
    quoted(&mut line, b"a/", old);
    line.push(b' ');
    quoted(&mut line, b"b/", new);
    line
}

/// A path as git writes it into text with `core.quotePath` off.
fn quoted(line: &mut Vec<u8>, prefix: &[u8], path: &[u8]) {
    let special = |byte: &u8| *byte < 0x20 || matches!(byte, 0x7f | b'"' | b'\\');
    if !path.iter().any(special) {
        line.extend_from_slice(prefix);
        line.extend_from_slice(path);
        return;
    }
    line.push(b'"');
    line.extend_from_slice(prefix);
    for &byte in path {
        match byte {
            7 => line.extend_from_slice(b"\\a"),
            8 => line.extend_from_slice(b"\\b"),
            b'\t' => line.extend_from_slice(b"\\t"),
            b'\n' => line.extend_from_slice(b"\\n"),
            11 => line.extend_from_slice(b"\\v"),
            12 => line.extend_from_slice(b"\\f"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            _ if special(&byte) => line.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            _ => line.push(byte),
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    const OUTPUT: &str = ":100644 100644 a b M\0x\ny\0:100644 100644 a b R090\0old\0new\0:100644 000000 a b U\0c\0:100644 100644 a b M\0c\0\
        1\t2\tx\ny\x003\t0\t\0old\0new\x000\t0\tc\x004\t0\tc\0\0\
        diff --git \"a/x\\ny\" \"b/x\\ny\"\n@@ -1 +1 @@\n+diff --git a/c b/c\ndiff --git a/old b/new\nrename\n* Unmerged path c\ndiff --git a/c b/c\n+<<<\n";

    #[test]
    fn each_file_gets_its_own_part() {
        let files = parse(OUTPUT.as_bytes(), false).unwrap();
        let facts: Vec<_> = files
            .iter()
            .map(|f| {
                (
                    show(f.path),
                    f.letter,
                    f.additions,
                    f.deletions,
                    f.patch.len(),
                )
            })
            .collect();
        assert_eq!(
            facts,
            [
                ("x\ny".to_owned(), b'M', 1, 2, 1),
                ("new".to_owned(), b'R', 3, 0, 1),
                ("c".to_owned(), b'M', 4, 0, 1),
            ]
        );
        let answer = answer(files);
        assert_eq!(answer["total_additions"], 8);
        assert!(
            answer["changes"][0]["diff"]
                .as_str()
                .unwrap()
                .ends_with("+diff --git a/c b/c\n")
        );
        assert_eq!(answer["changes"][1]["old_path"], "old");
    }

    #[test]
    fn output_that_was_cut_gives_no_half_diff() {
        let files = parse(OUTPUT.as_bytes(), true).unwrap();
        assert!(files[2].patch.is_empty() && !files[1].patch.is_empty());
        let before_patches = OUTPUT.find("4\t0").unwrap();
        assert_eq!(parse(&OUTPUT.as_bytes()[..before_patches], true), None);
        assert_eq!(parse(b"", false), Some(Vec::new()));
    }

    #[test]
    fn what_is_too_long_is_null() {
        let file = |patch: &'static [u8]| File {
            old: None,
            path: b"p",
            letter: b'M',
            additions: 1,
            deletions: 0,
            is_binary: false,
            patch: vec![patch],
        };
        let mut room = 10;
        assert_eq!(file(b"12345678").into_json(&mut room)["diff"], "12345678");
        assert_eq!(file(b"12345678").into_json(&mut room)["diff"], Value::Null);
        assert_eq!(file(b"12").into_json(&mut room)["diff"], "12");
    }

    proptest! {
        #[test]
        fn no_output_breaks_it(
            noise in prop::collection::vec(any::<u8>(), 0..300),
            cut: bool,
            from in 0usize..OUTPUT.len(),
            length in 0usize..80,
        ) {
            let broken = OUTPUT.as_bytes();
            let broken = [&broken[..from], &noise, &broken[(from + length).min(broken.len())..]].concat();
            for output in [noise, broken] {
                if let Some(files) = parse(&output, cut) {
                    prop_assert!(files.len() <= output.len());
                }
            }
        }

        #[test]
        fn paths_are_quoted_on_one_line(path in prop::collection::vec(any::<u8>(), 1..20)) {
            let line = header(&path, &path);
            prop_assert!(!line.contains(&b'\n'));
        }
    }
}
