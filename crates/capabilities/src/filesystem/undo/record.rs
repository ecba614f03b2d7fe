//! What a journal says of one change: each path before and after, where the earlier content is, and the
//! times of the directories around it.

use super::super::io::{nanoseconds, size_of};
use jiff::Timestamp;
use rustix::fs::{FileType, Stat};
use serde::{Deserialize, Serialize};

/// A file time: seconds and nanoseconds since the epoch.
pub(crate) type Time = (i64, i64);

/// A path below a root: the root's label and the path, links in its directories resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) mount: String,
    pub(crate) path: String,
}

impl Key {
    /// The directory this is in; empty for the root.
    pub(crate) fn parent(&self) -> Key {
        let path = self.path.rsplit_once('/').map_or("", |(parent, _)| parent);
        Key {
            mount: self.mount.clone(),
            path: path.to_owned(),
        }
    }

    /// What follows `other` in this path: empty if they are the same, `None` if this is not below it.
    pub(crate) fn below(&self, other: &Key) -> Option<&str> {
        if self.mount != other.mount {
            return None;
        }
        let rest = self.path.strip_prefix(other.path.as_str())?;
        (rest.is_empty() || rest.starts_with('/') || other.path.is_empty()).then_some(rest)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) kind: Kind,
    /// Of a file's content; absent where it was too large to hash or could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    pub(crate) size: u64,
    /// Permissions with setuid, setgid and sticky bits.
    pub(crate) mode: u32,
    pub(crate) mtime: Time,
    /// Of a symbolic link; absent where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
}

impl State {
    /// Without digest and target, which no `stat` says.
    pub(crate) fn of(stat: &Stat) -> State {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Other,
        };
        State {
            kind,
            sha256: None,
            size: size_of(stat),
            mode: stat.st_mode & 0o7777,
            mtime: modified_at(stat),
            target: None,
        }
    }

    /// A directory that is about to be made.
    pub(crate) fn new_directory() -> State {
        State {
            kind: Kind::Directory,
            sha256: None,
            size: 0,
            mode: 0o755,
            mtime: (0, 0),
            target: None,
        }
    }

    pub(crate) fn with_sha256(self, sha256: Option<String>) -> State {
        State { sha256, ..self }
    }
}

/// The modification time that a `stat` says.
pub(crate) fn modified_at(stat: &Stat) -> Time {
    (stat.st_mtime, nanoseconds(stat.st_mtime_nsec))
}

/// Where what was at a path before is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kept {
    /// It takes no content to bring back: there was nothing, a directory, or a link.
    Nothing,
    /// In the content store, by its digest.
    Object,
    /// The beginning of the file itself, `before.size` bytes.
    Prefix,
    /// An entry of the trash.
    Trash(String),
    /// It went to another path of the same record: the index of that change.
    Moved(usize),
    /// Nowhere.
    Not(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    #[serde(flatten)]
    pub(crate) key: Key,
    pub(crate) before: Option<State>,
    pub(crate) after: Option<State>,
    pub(crate) kept: Kept,
}

/// A directory whose own time the change moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parent {
    #[serde(flatten)]
    pub(crate) key: Key,
    pub(crate) before: Time,
    /// Known once the change is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Time>,
}

/// Another session's change that this one takes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Undoes {
    pub(crate) session: String,
    pub(crate) seq: u64,
}

/// One change, as it is meant: written before anything is touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Grows with each record of a session: where in the journal it stands.
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) capability: String,
    pub(crate) changes: Vec<Change>,
    pub(crate) parents: Vec<Parent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) undoes: Option<Undoes>,
}

/// A line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Line {
    Intent(Record),
    /// It is made. `parents` are the directories' times after it, in the record's order; `states` what
    /// was not known before, by index of the change.
    Done {
        seq: u64,
        parents: Vec<Option<Time>>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        states: Vec<(usize, State)>,
    },
    /// It was not made, or taken back by the call itself.
    Failed {
        seq: u64,
    },
    /// An undo begins to take it back; the directories whose times were still those of the change.
    Undoing {
        seq: u64,
        parents: Vec<bool>,
    },
    /// It was taken back.
    Undone {
        seq: u64,
    },
    /// That was taken back in turn.
    Redone {
        seq: u64,
    },
    /// The journal is at its bound: later changes are not in it.
    Full,
}

/// A record, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) record: Record,
    pub(crate) done: bool,
    pub(crate) failed: bool,
    pub(crate) undone: bool,
    /// An undo began it and did not say that it ended.
    pub(crate) undoing: Option<Vec<bool>>,
}

/// A whole journal, oldest record first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    pub(crate) records: Vec<Loaded>,
    /// Changes were made that are not in it.
    pub(crate) full: bool,
}

impl Story {
    /// Reads the lines of a journal. Torn ones, as a crash leaves them, are passed over.
    pub(crate) fn read(bytes: &[u8]) -> Story {
        let mut story = Story::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            if let Ok(line) = serde_json::from_slice::<Line>(line) {
                story.take(line);
            }
        }
        story
    }

    fn take(&mut self, line: Line) {
        let seq = match &line {
            Line::Full => {
                self.full = true;
                return;
            }
            Line::Intent(record) => record.seq,
            Line::Done { seq, .. }
            | Line::Failed { seq }
            | Line::Undoing { seq, .. }
            | Line::Undone { seq }
            | Line::Redone { seq } => *seq,
        };
        let found = self
            .records
            .binary_search_by_key(&seq, |loaded| loaded.record.seq);
        let line = match (line, found) {
            // Ordered by construction; a second one of the same number is not ours.
            (Line::Intent(record), Err(at)) => {
                let loaded = Loaded {
                    record,
                    done: false,
                    failed: false,
                    undone: false,
                    undoing: None,
                };
                self.records.insert(at, loaded);
                return;
            }
            (line, _) => line,
        };
        let Some(loaded) = found.ok().and_then(|at| self.records.get_mut(at)) else {
            return;
        };
        match line {
            Line::Done {
                parents, states, ..
            } => {
                loaded.done = true;
                for (parent, after) in loaded.record.parents.iter_mut().zip(parents) {
                    parent.after = after;
                }
                for (index, state) in states {
                    if let Some(change) = loaded.record.changes.get_mut(index) {
                        change.after = Some(state);
                    }
                }
            }
            Line::Failed { .. } => loaded.failed = true,
            Line::Undoing { parents, .. } => loaded.undoing = Some(parents),
            Line::Undone { .. } => {
                loaded.undone = true;
                loaded.undoing = None;
            }
            Line::Redone { .. } => {
                loaded.undone = false;
                loaded.undoing = None;
            }
            Line::Intent(_) | Line::Full => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn record(seq: u64) -> Line {
        Line::Intent(Record {
            seq,
            at: Timestamp::UNIX_EPOCH,
            capability: "filesystem.write".to_owned(),
            changes: vec![Change {
                key: Key {
                    mount: "workspace".to_owned(),
                    path: "a\nb".to_owned(),
                },
                before: None,
                after: None,
                kept: Kept::Nothing,
            }],
            parents: Vec::new(),
            undoes: None,
        })
    }

    #[test]
    fn a_torn_line_costs_only_itself() {
        let lines = [
            record(0),
            Line::Undone { seq: 0 },
            record(9),
            Line::Redone { seq: 0 },
        ];
        let whole: Vec<Vec<u8>> = lines
            .iter()
            .map(|line| serde_json::to_vec(line).unwrap())
            .collect();
        let mut bytes = whole[0].clone();
        bytes.extend_from_slice(b"\n");
        bytes.extend_from_slice(&whole[1]);
        bytes.extend_from_slice(b"\n{\"intent\":{\"seq\":5,\n");
        bytes.extend_from_slice(&whole[2]);
        let story = Story::read(&bytes);
        assert_eq!(story.records.len(), 2);
        assert!(story.records[0].undone && !story.records[1].undone);
        bytes.push(b'\n');
        bytes.extend_from_slice(&whole[3]);
        assert!(!Story::read(&bytes).records[0].undone);
    }

    #[test]
    fn what_lies_below_is_told_by_whole_names() {
        let key = |path: &str| Key {
            mount: "m".to_owned(),
            path: path.to_owned(),
        };
        assert_eq!(key("a/b").below(&key("a")), Some("/b"));
        assert_eq!(key("a").below(&key("a")), Some(""));
        assert_eq!(key("ab").below(&key("a")), None);
        assert_eq!(key("ab").below(&key("")), Some("ab"));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes: Vec<u8>) {
            let _story = Story::read(&bytes);
        }
    }
}
