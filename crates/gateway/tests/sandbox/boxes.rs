//! What works in a box, and what it does not reach.

use crate::stage::{Stage, until};
use serde_json::json;

#[test]
fn files_and_programs_see_one_workspace_and_nothing_of_the_host() {
    let mut stage = Stage::new();
    stage.done(
        "filesystem.write",
        json!({"path": "a.txt", "content": "from a worker\n"}),
    );
    assert_eq!(stage.shell("cat a.txt"), "from a worker");
    stage.shell("echo from a program > b.txt");
    let read = stage.done("filesystem.read", json!({"path": "b.txt"}));
    assert_eq!(read["content"], "from a program\n");
    let real = stage.workspace();
    assert_eq!(
        stage.shell(&format!("cat {}/a.txt", real.display())),
        "from a worker"
    );
    assert_eq!(stage.shell("id -u; hostname"), "1000\ndefault-agent");
    // Named outright it would be refused by policy already.
    let look = format!("ls -d {}/d*/*", stage.directory.path().display());
    let root = real.parent().unwrap().display().to_string();
    assert_eq!(
        stage.shell(&look),
        root,
        "more of the data directory than the way to the workspace"
    );
    assert_eq!(
        stage.shell("grep -h CapEff /proc/self/status"),
        "CapEff:\t0000000000000000"
    );
    assert_eq!(stage.shell("test -e /sys/kernel || echo none"), "none");
}

#[test]
fn what_a_person_puts_into_the_workspace_is_the_agents_to_change() {
    let mut stage = Stage::new();
    std::fs::create_dir(stage.workspace().join("project")).unwrap();
    let file = stage.workspace().join("project/notes.md");
    std::fs::write(&file, "one\n").unwrap();
    stage.done(
        "filesystem.edit",
        json!({"path": "project/notes.md", "pattern": "one", "replace": "two"}),
    );
    assert_eq!(std::fs::read_to_string(file).unwrap(), "two\n");
    assert_eq!(
        stage.shell("echo three >> project/notes.md; wc -l < project/notes.md"),
        "2"
    );
}

#[test]
fn a_repository_is_made_and_committed_to() {
    let mut stage = Stage::new();
    stage.done("git.init", json!({"path": "repo"}));
    stage.done(
        "filesystem.write",
        json!({"path": "repo/x.txt", "content": "x\n"}),
    );
    let committed = stage.done(
        "git.commit",
        json!({"path": "repo", "message": "First", "files": ["x.txt"]}),
    );
    let log = stage.done("git.log", json!({"path": "repo"}));
    assert_eq!(log["commits"][0]["hash"], committed["commit_hash"]);
    assert_eq!(log["commits"][0]["author_name"], "default-agent");
}

#[test]
fn a_program_outlives_its_call_and_not_its_session() {
    let mut stage = Stage::new();
    let mark = format!("86{}", std::process::id());
    let started = stage.done(
        "process.run",
        json!({"command": "sleep", "args": [mark], "background": true}),
    );
    let id = started["process_id"].as_str().unwrap().to_owned();
    assert_eq!(started["state"], "running");
    let seen = stage.done("process.monitor", json!({"process_id": id}));
    assert_eq!(seen["state"], "running");
    assert_eq!(Stage::processes(&mark).len(), 1);
    stage.control("POST", "/agents/default-agent/kill", Some(json!({})));
    until("the session ended and its program did not", || {
        Stage::processes(&mark).is_empty()
    });
}

#[test]
fn time_that_is_up_leaves_what_was_printed() {
    let mut stage = Stage::new();
    let answer = stage.done(
        "process.run",
        json!({"command": "sh", "args": ["-c", "echo before; exec sleep 600"], "timeout": 1}),
    );
    assert_eq!(answer["state"], "timed_out");
    assert_eq!(answer["stdout_summary"], "before\n");
}

#[test]
fn the_approver_sees_each_argument_and_the_program_runs_once() {
    let policy = "rules:\n  - match: {capability: process.run}\n    tier: approval_required\n";
    let mut stage = Stage::with_policy(policy);
    let inputs = json!({"command": "sh", "args": ["-c", "echo once >> ran.txt"]});
    let held = stage.refused("process.run", inputs);
    assert_eq!(held["error_type"], "ApprovalPending");
    let waiting = stage.control("GET", "/approvals?state=pending", None);
    let request = &waiting[0];
    assert_eq!(
        request["preview"]["argv"],
        json!(["sh", "-c", "echo once >> ran.txt"]),
        "{waiting}"
    );
    let id = request["id"].as_str().unwrap().to_owned();
    stage.control("POST", &format!("/approvals/{id}/accept"), Some(json!({})));
    let ran = stage.workspace().join("ran.txt");
    until("an approved program did not run", || ran.exists());
}
