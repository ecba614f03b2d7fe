//! Directories of the host that an agent is given.

use crate::stage::{Stage, until};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".ssh")).unwrap();
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
        Path::new("/etc"),
        Path::new("/usr/share"),
        Path::new("/root"),
        home.path(),
        crate::stage::program().parent().unwrap(),
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

/// Who may write around a source decides what is there when the next box is made.
#[test]
fn a_source_that_became_a_link_is_not_given() {
    let mut stage = Stage::new();
    let given = tempfile::tempdir().unwrap();
    let (stays, goes) = (given.path().join("stays"), given.path().join("goes"));
    for source in [&stays, &goes] {
        std::fs::create_dir(source).unwrap();
    }
    add(&mut stage, "stays", &stays, false);
    add(&mut stage, "goes", &goes, false);
    assert_eq!(stage.shell("ls /mnt"), "goes\nstays");
    std::fs::remove_dir(&goes).unwrap();
    std::os::unix::fs::symlink("/", &goes).unwrap();
    // The box is made anew.
    let relabel = Some(json!({"label": "left"}));
    stage.control("PATCH", &format!("{MOUNTS}/stays"), relabel);
    assert_eq!(
        stage.shell("ls /mnt; ls /mnt/goes 2>/dev/null; true"),
        "left"
    );
    let read = json!({"path": "/mnt/goes/etc/hostname"});
    let error = stage.refused("filesystem.read", read);
    assert_eq!(error["error_type"], "PathOutOfScope", "{error}");
    let alerts = stage.control("GET", "/alerts", None).to_string();
    assert!(alerts.contains("mount 'goes'"), "{alerts}");
}

#[test]
fn a_source_in_or_around_another_is_refused() {
    let mut stage = Stage::new();
    let given = tempfile::tempdir().unwrap();
    let inner = given.path().join("a/b");
    std::fs::create_dir_all(&inner).unwrap();
    add(&mut stage, "middle", &given.path().join("a"), false);
    for source in [given.path(), &inner] {
        let mut control = stage.daemon.control().unwrap();
        let body = json!({"label": "x", "source": source});
        let answer = control.request("POST", MOUNTS, Some(&body)).unwrap();
        assert_eq!(answer.status, 400, "{source:?}: {answer:?}");
        assert!(answer.body.to_string().contains("middle"), "{answer:?}");
    }
    add(&mut stage, "again", &given.path().join("a"), true);
}

#[test]
fn no_program_outlives_the_box_that_a_mount_change_or_a_kill_ended() {
    let mut stage = Stage::new();
    let given = tempfile::tempdir().unwrap();
    add(&mut stage, "data", given.path(), false);
    let mark = format!("{}.98765", std::process::id());
    let token = stage.daemon.introduction.agent_token().unwrap().to_owned();
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let mut other = stage.daemon.client(&token).unwrap();
            let arguments = json!({"command": "sleep", "args": [mark], "timeout": 600});
            let is_over = is_over.clone();
            std::thread::spawn(move || {
                // Each ends with its box, unless that was forgotten.
                while !is_over.load(Ordering::Relaxed) {
                    let _ended = other.call("process.run", arguments.clone()).unwrap();
                }
            })
        })
        .collect();
    for number in 0..60 {
        let toggle = Some(json!({"read_only": number % 2 == 0}));
        stage.control("PATCH", &format!("{MOUNTS}/data"), toggle);
    }
    until("nothing runs", || !Stage::processes(&mark).is_empty());
    is_over.store(true, Ordering::Relaxed);
    stage.control("POST", "/agents/default-agent/kill", Some(json!({})));
    until("programs outlive their box", || {
        Stage::processes(&mark).is_empty()
    });
    for client in clients {
        client.join().unwrap();
    }
}
