//! Undo: what a session changed goes back, byte for byte, with permissions and times, unless something
//! else changed it since.

use super::bed::Bed;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

const SESSION: &str = "ses_one";

/// Everything that must come back: kind, permissions, modification time, content or target.
type Snapshot = BTreeMap<String, (u32, (i64, i64), Vec<u8>)>;

fn snapshot(root: &Path) -> Snapshot {
    let mut found = Snapshot::new();
    let mut open = vec![(root.to_path_buf(), String::new())];
    while let Some((path, rel)) = open.pop() {
        let facts = std::fs::symlink_metadata(&path).unwrap();
        let content = if facts.is_dir() {
            for entry in std::fs::read_dir(&path).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                open.push((path.join(&name), format!("{rel}/{name}")));
            }
            Vec::new()
        } else if facts.is_symlink() {
            std::fs::read_link(&path)
                .unwrap()
                .into_os_string()
                .into_encoded_bytes()
        } else {
            std::fs::read(&path).unwrap()
        };
        found.insert(
            rel,
            (facts.mode(), (facts.mtime(), facts.mtime_nsec()), content),
        );
    }
    found
}

#[track_caller]
fn assert_same(now: &Snapshot, then: &Snapshot, what: &str) {
    for (path, before) in then {
        let there = now.get(path);
        let brief = |(mode, time, content): &(u32, (i64, i64), Vec<u8>)| {
            (
                format!("{mode:o}"),
                *time,
                content.len(),
                String::from_utf8_lossy(&content[..content.len().min(40)]).into_owned(),
            )
        };
        assert_eq!(there.map(brief), Some(brief(before)), "{what}: {path:?}");
        assert_eq!(there, Some(before), "{what}: {path:?}");
    }
    let new: Vec<&String> = now
        .keys()
        .filter(|path| !then.contains_key(*path))
        .collect();
    assert!(new.is_empty(), "{what}: {new:?}");
}

/// One call of a session.
#[derive(Debug, Clone)]
enum Op {
    Write(String, Vec<u8>, bool),
    Append(String, String),
    Edit(String, bool),
    Copy(String, String, bool),
    Move(String, String, bool),
    Delete(String),
    Restore(usize, bool),
}

fn name() -> impl Strategy<Value = String> {
    let parts = [
        "f",
        "g",
        "d",
        "d/f",
        "d/g",
        "d/e",
        "d/e/f",
        "d/e/g",
        "x",
        "x/y",
        "x/y/f",
        "link",
        "dirlink/f",
        "dirlink/e/f",
        "abs/f",
        "d/up",
        "dangling",
        "hard",
        "d/../g",
    ];
    prop::sample::select(parts.to_vec()).prop_map(str::to_owned)
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ab\n]{0,40}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..40),
        Just(b"one two\n".repeat(20_000)),
        // Beyond what the store reads into memory at once.
        Just(vec![7; (1 << 20) + 5]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (name(), content(), any::<bool>()).prop_map(|(path, content, parents)| Op::Write(path, content, parents)),
        3 => (name(), "[ab]{0,9}").prop_map(|(path, content)| Op::Append(path, content)),
        2 => (name(), any::<bool>()).prop_map(|(path, tree)| Op::Edit(path, tree)),
        2 => (name(), name(), any::<bool>()).prop_map(|(from, to, over)| Op::Copy(from, to, over)),
        4 => (name(), name(), any::<bool>()).prop_map(|(from, to, over)| Op::Move(from, to, over)),
        4 => name().prop_map(Op::Delete),
        2 => (0usize..8, any::<bool>()).prop_map(|(which, over)| Op::Restore(which, over)),
    ]
}

/// Makes a call; one that the files do not allow may fail. `trashed` are the entries so far.
fn make(bed: &Bed, op: &Op, trashed: &mut Vec<Value>) -> bool {
    let (name, inputs) = match op {
        Op::Write(path, content, parents) => {
            let content = data_encoding::BASE64.encode(content);
            (
                "write",
                json!({"path": path, "content": content, "encoding": "base64", "create_parents": parents}),
            )
        }
        Op::Append(path, content) => ("append", json!({"path": path, "content": content})),
        Op::Edit(path, true) => {
            let dir = path.split('/').next().unwrap();
            (
                "edit",
                json!({"path": dir, "include_all": true, "pattern": "a", "replace": "bb", "replace_all": true}),
            )
        }
        Op::Edit(path, false) => (
            "edit",
            json!({"path": path, "pattern": "b", "replace": "", "replace_all": true}),
        ),
        Op::Copy(from, to, over) => (
            "copy",
            json!({"source": from, "destination": to, "overwrite": over}),
        ),
        Op::Move(from, to, over) => (
            "move",
            json!({"source": from, "destination": to, "overwrite": over}),
        ),
        Op::Delete(path) => ("delete", json!({"path": path})),
        Op::Restore(which, over) => {
            let Some(entry) = trashed.get(*which) else {
                return false;
            };
            ("restore", json!({"trash_path": entry, "overwrite": over}))
        }
    };
    match bed.call(name, inputs) {
        Ok(answer) => {
            if let Some(entry) = answer.get("trash_path") {
                trashed.push(entry.clone());
            }
            true
        }
        Err(error) => {
            assert!(
                error.error_type() != kruxos_types::ErrorType::Internal,
                "{op:?}: {error:?}"
            );
            false
        }
    }
}

/// A tree with all that can be in the way.
fn grown(elsewhere: Option<&Path>, seed: u64) -> Bed {
    let bed = Bed::with_trash(elsewhere).in_session(SESSION);
    for (at, path) in ["f", "g", "d/f", "d/g", "d/e/f", "d/e/g"]
        .iter()
        .enumerate()
    {
        if seed >> at & 1 == 0 {
            bed.put(path, &format!("a line of {path}\nab\n"));
            let mode = [0o644, 0o600, 0o755, 0o664][at % 4];
            std::fs::set_permissions(bed.path(path), std::fs::Permissions::from_mode(mode))
                .unwrap();
        }
    }
    bed.make_dir("d/e");
    bed.put("target", "what the link means\n");
    std::fs::hard_link(bed.path("target"), bed.path("hard")).unwrap();
    symlink("target", bed.path("link")).unwrap();
    symlink("d", bed.path("dirlink")).unwrap();
    symlink("/workspace/d", bed.path("abs")).unwrap();
    symlink("..", bed.path("d/up")).unwrap();
    symlink("nothing", bed.path("dangling")).unwrap();
    let mut old = 1_000_000_000;
    for rel in [
        "f", "g", "d/f", "d/g", "d/e/f", "d/e/g", "target", "d/e", "d", ".",
    ] {
        if bed.path(rel).exists() {
            old += 1_000;
            super::bed::data::set_modified(&bed.path(rel), old);
        }
    }
    bed
}

fn there_and_back(bed: &Bed, ops: &[Op]) {
    let root = bed.path(".");
    let before = snapshot(&root);
    let mut trashed = Vec::new();
    let made = ops.iter().filter(|op| make(bed, op, &mut trashed)).count();
    let after = snapshot(&root);
    if made == 0 {
        assert_same(&after, &before, "nothing was done");
        return;
    }
    let look = bed.look(SESSION, false);
    assert_eq!(
        (look.refused, look.not_kept, look.applied),
        (0, 0, false),
        "{look:#?}"
    );
    assert_same(&snapshot(&root), &after, "a look changes nothing");

    let report = bed.undo(SESSION, "undo_1", false).unwrap();
    assert!(report.applied);
    assert_same(&snapshot(&root), &before, "undone");
    let again = bed.look(SESSION, false);
    assert_eq!((again.undo, again.refused), (0, 0), "{again:#?}");

    bed.undo("undo_1", "undo_2", false).unwrap();
    assert_same(&snapshot(&root), &after, "the undo undone");
    bed.undo(SESSION, "undo_3", false).unwrap();
    assert_same(&snapshot(&root), &before, "undone again");
    bed.undo("undo_3", "undo_4", false).unwrap();
    bed.undo("undo_4", "undo_5", false).unwrap();
    assert_same(&snapshot(&root), &before, "an undo of an undo of an undo");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_a_session_did_goes_back(ops in prop::collection::vec(op(), 1..14), seed: u64) {
        there_and_back(&grown(None, seed), &ops);
    }

    /// As in a box, where nothing can be linked or moved between workspace and trash.
    #[test]
    fn with_the_trash_elsewhere_too(ops in prop::collection::vec(op(), 1..14), seed: u64) {
        let shm = Path::new("/dev/shm");
        let other = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        let other = other.unwrap();
        there_and_back(&grown(Some(other.path()), seed), &ops);
    }
}
