//! Directories of the host that an agent is given.

use crate::stage::Stage;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const MOUNTS: &str = "/agents/default-agent/mounts";

fn add(stage: &mut Stage, label: &str, source: &Path, read_only: bool) -> Value {
    let body = json!({"label": label, "source": source, "read_only": read_only});
    stage.control("POST", MOUNTS, Some(body))
}

#[test]
fn an_agent_works_in_a_directory_that_it_was_given_and_its_owner_keeps_it() {
    let mut stage = Stage::new();
    let given = tempfile::tempdir().unwrap();
    let file = given.path().join("notes.md");
    std::fs::write(&file, "one\n").unwrap();
    let owner = std::fs::metadata(&file).unwrap().uid();
    // A box stands already: it is made anew.
    assert_eq!(stage.shell("ls /mnt"), "");
    add(&mut stage, "data", given.path(), false);
    let read = stage.done("filesystem.read", json!({"path": "/mnt/data/notes.md"}));
    assert_eq!(read["content"], "one\n");
    stage.done(
        "filesystem.write",
        json!({"path": "/mnt/data/new.md", "content": "new\n"}),
    );
    stage.shell("echo two >> /mnt/data/notes.md; mkdir /mnt/data/made");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\ntwo\n");
    for name in ["new.md", "notes.md", "made"] {
        let uid = std::fs::metadata(given.path().join(name)).unwrap().uid();
        assert_eq!(uid, owner, "{name}");
    }
    stage.done(
        "filesystem.move",
        json!({"source": "/mnt/data/new.md", "destination": "moved.md"}),
    );
    let moved = stage.workspace().join("moved.md");
    assert_eq!(std::fs::read_to_string(moved).unwrap(), "new\n");
    stage.done("filesystem.delete", json!({"path": "/mnt/data/notes.md"}));
    assert!(!file.exists());
}

#[test]
fn read_only_is_so_for_files_and_programs_until_it_is_changed() {
    let mut stage = Stage::new();
    let given = tempfile::tempdir().unwrap();
    std::fs::write(given.path().join("a"), "a\n").unwrap();
    add(&mut stage, "docs", given.path(), true);
    assert_eq!(stage.shell("cat /mnt/docs/a"), "a");
    assert_eq!(
        stage.shell("touch /mnt/docs/b 2>/dev/null || echo refused"),
        "refused"
    );
    for (capability, inputs) in [
        (
            "filesystem.write",
            json!({"path": "/mnt/docs/a", "content": "b"}),
        ),
        ("filesystem.delete", json!({"path": "/mnt/docs/a"})),
    ] {
        let error = stage.refused(capability, inputs);
        assert_eq!(error["error_type"], "PermissionDenied", "{error}");
    }
    stage.control(
        "PATCH",
        &format!("{MOUNTS}/docs"),
        Some(json!({"read_only": false})),
    );
    stage.shell("touch /mnt/docs/b");
    stage.control(
        "PATCH",
        &format!("{MOUNTS}/docs"),
        Some(json!({"label": "papers"})),
    );
    assert_eq!(stage.shell("ls /mnt/papers"), "a\nb");
    stage.control("DELETE", &format!("{MOUNTS}/papers"), None);
    assert_eq!(stage.shell("ls /mnt"), "");
    let error = stage.refused("filesystem.read", json!({"path": "/mnt/papers/a"}));
    assert_eq!(error["error_type"], "PathOutOfScope", "{error}");
    assert!(given.path().join("a").exists());
}

#[test]
fn rules_see_a_mount_by_its_label() {
    let policy = "rules:\n  - match: {capability: \"filesystem.*\"}\n    \
                  conditions: {path_prefix: /mnt/data/secret}\n    tier: blocked\n  \
                  - match: {capability: \"*\"}\n    tier: autonomous\n";
    let mut stage = Stage::with_policy(policy);
    let given = tempfile::tempdir().unwrap();
    std::fs::create_dir(given.path().join("secret")).unwrap();
    std::fs::write(given.path().join("secret/a"), "a").unwrap();
    std::fs::write(given.path().join("b"), "b").unwrap();
    add(&mut stage, "data", given.path(), false);
    stage.done("filesystem.read", json!({"path": "/mnt/data/b"}));
    let error = stage.refused("filesystem.read", json!({"path": "/mnt/data/secret/a"}));
    assert_eq!(error["error_type"], "PolicyDenied", "{error}");
}

#[test]
fn what_no_agent_may_see_is_refused_with_the_reason() {
    let mut stage = Stage::new();
    let given = tempfile::tempdir().unwrap();
    let inner = given.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(inner.join("s")).unwrap();
    let data = stage.directory.path().join("data");
    for source in [
        Path::new("/"),
        Path::new("/proc"),
        Path::new("/run"),
        Path::new("/nonexistent"),
        Path::new("relative"),
        Path::new("/etc/passwd"),
        &data,
        &data.join("audit"),
        stage.directory.path(),
        given.path(),
    ] {
        let mut control = stage.daemon.control().unwrap();
        let body = json!({"label": "x", "source": source});
        let answer = control.request("POST", MOUNTS, Some(&body)).unwrap();
        assert_eq!(answer.status, 400, "{source:?}: {answer:?}");
        assert_eq!(answer.body["context"]["field"], "source", "{answer:?}");
    }
    let list = stage.control("GET", MOUNTS, None);
    assert_eq!(list["mounts"], json!([]));
}
