//! What undo makes of a journal that stops in the middle: the process is ended, as by a kill, at each
//! point between the intent of a change and its end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::filesystem::{Files, FilesOptions, UndoOptions, execute, undo};
use kruxos_types::{Principal, SystemClock};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Tells the test binary, run again, which workspace and which call or undo to die in.
const CHILD: &str = "KRUXOS_TEST_CRASH_CHILD";
const POINT: &str = "KRUXOS_TEST_CRASH";
const SESSION: &str = "ses_crash";

fn open(dir: &Path) -> Files {
    let options = FilesOptions {
        principal: Principal::agent("tester"),
        workspace: dir.join("ws"),
        trash: dir.join("trash"),
        trash_keep: Duration::from_secs(3600),
        undo_quota: 1 << 30,
        max_watches: 1,
        mounts: Vec::new(),
    };
    Files::open(options, Arc::new(SystemClock), Arc::new(|_| {})).unwrap()
}

fn call(files: &Files, name: &str, inputs: &Value) -> Result<Value, kruxos_types::CallError> {
    let inputs = inputs.as_object().unwrap().clone();
    execute(&format!("filesystem.{name}"), inputs, files, Some(SESSION))
}

fn take_back(files: &Files, recorded_as: &str) -> Result<u64, kruxos_types::CallError> {
    let options = UndoOptions {
        session: SESSION.to_owned(),
        recorded_as: Some(recorded_as.to_owned()),
        skip_changed: false,
        forward: false,
    };
    undo(&options, files).map(|report| report.refused)
}

/// Kinds, permissions, times and contents; without what a crash leaves unfinished.
fn snapshot(root: &Path, times: bool) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![(root.to_path_buf(), String::new())];
    while let Some((path, rel)) = open.pop() {
        if rel.rsplit('/').next().unwrap().starts_with(".kruxos-tmp-") {
            continue;
        }
        let facts = std::fs::symlink_metadata(&path).unwrap();
        let mut content = String::new();
        if facts.is_dir() {
            for entry in std::fs::read_dir(&path).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                open.push((path.join(&name), format!("{rel}/{name}")));
            }
        } else {
            content = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        }
        let time = if times || !facts.is_dir() {
            (facts.mtime(), facts.mtime_nsec())
        } else {
            (0, 0)
        };
        found.insert(rel, format!("{:o} {time:?} {content}", facts.mode()));
    }
    found
}

fn calls() -> [(&'static str, Value); 8] {
    [
        ("write", json!({"path": "d/f", "content": "new"})),
        ("write", json!({"path": "d/made", "content": "new"})),
        (
            "write",
            json!({"path": "d/x/y/made", "content": "new", "create_parents": true}),
        ),
        ("append", json!({"path": "d/f", "content": " and more"})),
        (
            "edit",
            json!({"path": "d", "include_all": true, "pattern": "old", "replace": "new", "replace_all": true}),
        ),
        (
            "copy",
            json!({"source": "d/f", "destination": "d/g", "overwrite": true}),
        ),
        ("move", json!({"source": "d", "destination": "e"})),
        ("delete", json!({"path": "d/f"})),
    ]
}

fn prepare(dir: &Path) -> Files {
    let files = open(dir);
    let root = dir.join("ws");
    std::fs::create_dir(root.join("d")).unwrap();
    for name in ["d/f", "d/g", "other"] {
        std::fs::write(root.join(name), format!("old {name}")).unwrap();
        let file = std::fs::File::options()
            .write(true)
            .open(root.join(name))
            .unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
            .unwrap();
    }
    files
}

/// What the child does: call number N, or the undo.
fn child(what: &str) {
    let (dir, what) = what.split_once('|').unwrap();
    super::crash::POINT
        .set(std::env::var_os(POINT).unwrap().into_string().unwrap())
        .unwrap();
    let files = open(Path::new(dir));
    match what.parse::<usize>() {
        Ok(number) => {
            let (name, inputs) = &calls()[number];
            call(&files, name, inputs).unwrap();
        }
        Err(_) => {
            take_back(&files, "undo_died").unwrap();
        }
    }
}

/// Runs this test again, in a process that dies at `point`.
fn die_at(point: &str, dir: &Path, what: &str) {
    #[expect(clippy::disallowed_methods, reason = "the test runs itself")]
    let outcome = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "filesystem::undo::tests::a_death_between_any_two_steps_is_undone",
        ])
        .env(CHILD, format!("{}|{what}", dir.display()))
        .env(POINT, point)
        .output()
        .unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&outcome.status);
    assert_eq!(signal, Some(6), "{what} did not reach '{point}'");
}

#[test]
fn a_death_between_any_two_steps_is_undone() {
    if let Some(what) = std::env::var_os(CHILD) {
        child(what.to_str().unwrap());
        return;
    }
    for point in ["after the intent", "after the change"] {
        for number in 0..calls().len() {
            let dir = tempfile::tempdir().unwrap();
            let files = prepare(dir.path());
            let root = dir.path().join("ws");
            let before = snapshot(&root, false);
            call(
                &files,
                "write",
                &json!({"path": "other", "content": "first"}),
            )
            .unwrap();
            die_at(point, dir.path(), &number.to_string());
            let refused = take_back(&files, "undo_after").unwrap();
            assert_eq!(refused, 0, "{number} {point}");
            assert_eq!(snapshot(&root, false), before, "{number} {point}");
        }
    }
    // The undo itself dies after its first change, and is asked again.
    for number in 0..calls().len() {
        let dir = tempfile::tempdir().unwrap();
        let files = prepare(dir.path());
        let root = dir.path().join("ws");
        let before = snapshot(&root, true);
        call(
            &files,
            "write",
            &json!({"path": "other", "content": "first"}),
        )
        .unwrap();
        let (name, inputs) = &calls()[number];
        call(&files, name, inputs).unwrap();
        die_at("after an undo's change", dir.path(), "undo");
        take_back(&files, "undo_again").unwrap();
        assert_eq!(snapshot(&root, true), before, "{number}: the undo died");
    }
}
