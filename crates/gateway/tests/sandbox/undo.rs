//! Undo of a real agent's session, in its box.

use crate::stage::Stage;
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// The one session that changed files so far.
fn session(stage: &mut Stage) -> String {
    let listed = stage.control("GET", "/sessions", None);
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1, "{listed}");
    assert_eq!(sessions[0]["principal"], "agent:default-agent", "{listed}");
    sessions[0]["session"].as_str().unwrap().to_owned()
}

fn undo(stage: &mut Stage, session: &str, options: Value) -> (u16, Value) {
    let mut control = stage.daemon.control().unwrap();
    let path = format!("/sessions/{session}/undo");
    let answer = control.request("POST", &path, Some(&options)).unwrap();
    (answer.status, answer.body)
}

#[test]
fn a_session_is_shown_undone_and_redone() {
    let mut stage = Stage::new();
    let root = stage.workspace();
    let file = |name: &str| root.join(name);
    std::fs::create_dir(file("docs")).unwrap();
    for (name, content) in [
        ("notes.md", "one\ntwo\n"),
        ("docs/old.md", "old\n"),
        ("gone.md", "gone\n"),
        ("log", "first\n"),
    ] {
        std::fs::write(file(name), content).unwrap();
    }
    std::fs::set_permissions(file("notes.md"), std::fs::Permissions::from_mode(0o640)).unwrap();
    // The first call gives the workspace to the agent; from then on it may set times.
    stage.done("filesystem.list", json!({"path": "."}));
    let facts = |name: &str| {
        let facts = std::fs::symlink_metadata(file(name)).unwrap();
        (facts.mode(), facts.mtime(), facts.mtime_nsec())
    };
    let names = ["notes.md", "docs/old.md", "gone.md", "log", "docs", "."];
    let before: Vec<_> = names.iter().map(|name| facts(name)).collect();

    stage.done(
        "filesystem.edit",
        json!({"path": "notes.md", "pattern": "two", "replace": "2"}),
    );
    stage.done(
        "filesystem.write",
        json!({"path": "made/deep/new.md", "content": "new\n", "create_parents": true}),
    );
    stage.done(
        "filesystem.move",
        json!({"source": "docs", "destination": "papers"}),
    );
    stage.done(
        "filesystem.write",
        json!({"path": "papers/old.md", "content": "newer\n"}),
    );
    stage.done(
        "filesystem.append",
        json!({"path": "log", "content": "second\n"}),
    );
    let deleted = stage.done("filesystem.delete", json!({"path": "gone.md"}));
    let session_id = session(&mut stage);

    let trash = stage.control("GET", "/agents/default-agent/trash", None);
    let id = deleted["trash_path"]
        .as_str()
        .unwrap()
        .trim_start_matches("/trash/")
        .to_owned();
    assert_eq!(trash["entries"][0]["id"], *id, "{trash}");

    let diff = stage.control("GET", &format!("/sessions/{session_id}/diff"), None);
    let text = diff["diff"].as_str().unwrap();
    for line in [
        "-two",
        "+2",
        "+newer",
        "-old",
        "+second",
        "-gone",
        "rename directory /workspace/docs to /workspace/papers",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(diff["programs"], json!([]), "{diff}");

    let (status, look) = undo(&mut stage, &session_id, json!({"dry_run": true}));
    assert_eq!(
        (status, &look["refused"], &look["applied"]),
        (200, &json!(0), &json!(false)),
        "{look}"
    );
    assert!(look["diff"].as_str().unwrap().contains("+two"), "{look}");
    assert!(file("papers").exists());

    let (status, report) = undo(&mut stage, &session_id, json!({}));
    assert_eq!(
        (status, &report["applied"]),
        (200, &json!(true)),
        "{report}"
    );
    let after: Vec<_> = names.iter().map(|name| facts(name)).collect();
    assert_eq!(after, before, "{names:?}");
    assert_eq!(
        std::fs::read_to_string(file("notes.md")).unwrap(),
        "one\ntwo\n"
    );
    assert_eq!(
        std::fs::read_to_string(file("docs/old.md")).unwrap(),
        "old\n"
    );
    assert_eq!(std::fs::read_to_string(file("gone.md")).unwrap(), "gone\n");
    assert_eq!(std::fs::read_to_string(file("log")).unwrap(), "first\n");
    assert!(!file("made").exists() && !file("papers").exists());

    let log = stage
        .control("GET", "/audit?kind=system&limit=50", None)
        .to_string();
    assert!(
        log.contains("undo begun")
            && log.contains("undo done")
            && log.contains("/workspace/notes.md"),
        "{log}"
    );

    let recorded = report["recorded_as"].as_str().unwrap().to_owned();
    let (status, redone) = undo(&mut stage, &recorded, json!({}));
    assert_eq!(status, 200, "{redone}");
    assert_eq!(
        std::fs::read_to_string(file("papers/old.md")).unwrap(),
        "newer\n"
    );
    assert_eq!(
        std::fs::read_to_string(file("log")).unwrap(),
        "first\nsecond\n"
    );
    assert!(!file("gone.md").exists());
}

#[test]
fn what_a_program_changed_since_is_refused_and_named() {
    let mut stage = Stage::new();
    let root = stage.workspace();
    stage.done("filesystem.write", json!({"path": "a", "content": "a\n"}));
    stage.done("filesystem.write", json!({"path": "b", "content": "b\n"}));
    stage.done("filesystem.write", json!({"path": "b", "content": "bb\n"}));
    stage.shell("echo theirs >> a");
    let session = session(&mut stage);
    let (status, refused) = undo(&mut stage, &session, json!({}));
    assert_eq!(status, 409, "{refused}");
    assert_eq!(
        refused["context"]["refused"][0]["path"], "/workspace/a",
        "{refused}"
    );
    assert_eq!(
        std::fs::read_to_string(root.join("b")).unwrap(),
        "bb\n",
        "nothing was done"
    );

    let (status, report) = undo(&mut stage, &session, json!({"skip_changed": true}));
    assert_eq!((status, &report["refused"]), (200, &json!(1)), "{report}");
    assert_eq!(report["programs"], json!(["process.run"]), "{report}");
    assert_eq!(
        std::fs::read_to_string(root.join("a")).unwrap(),
        "a\ntheirs\n"
    );
    assert!(!root.join("b").exists());

    let (status, none) = undo(&mut stage, "ses_nothing", json!({}));
    assert_eq!(status, 404, "{none}");
    let hidden =
        stage.shell("ls /.kruxos 2>/dev/null; ls -R / 2>/dev/null | grep -c '^ses_' || true");
    assert_eq!(hidden, "0", "programs see the journals");
}
