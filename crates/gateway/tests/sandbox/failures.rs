//! What goes wrong in one box costs its own agent one structured error and nobody else anything.

use crate::stage::{Stage, until};
use serde_json::json;
use std::process::Command;

/// Pids of the workers and zygotes below a daemon.
fn jail_processes(daemon: u32) -> Vec<u32> {
    let jails = Stage::processes("kruxos-jail");
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let below = |pid: &u32| {
        let mut at = *pid;
        while let Some(above) = parent(at).filter(|above| *above > 1) {
            if above == daemon {
                return true;
            }
            at = above;
        }
        false
    };
    jails.into_iter().filter(below).collect()
}

#[test]
fn a_box_that_is_killed_is_made_again() {
    let mut stage = Stage::new();
    stage.done("filesystem.write", json!({"path": "a", "content": "1"}));
    let all = jail_processes(stage.daemon.pid());
    let launcher = *all.iter().min().unwrap();
    let inside: Vec<String> = all
        .iter()
        .filter(|pid| **pid != launcher)
        .map(u32::to_string)
        .collect();
    assert!(!inside.is_empty(), "no worker");
    // With the first one the others may go by themselves.
    let killed = Command::new("kill").arg("-9").args(&inside).status();
    assert!(killed.is_ok());
    until("killed processes stay", || {
        let left = jail_processes(stage.daemon.pid());
        !left.iter().any(|pid| inside.contains(&pid.to_string()))
    });
    // The one that was idle may be found dead only by its next call; no call may be lost to it.
    let read = stage.done("filesystem.read", json!({"path": "a"}));
    assert_eq!(read["content"], "1");
}

#[test]
fn without_its_launcher_nothing_runs_unconfined() {
    let mut stage = Stage::new();
    stage.done("filesystem.write", json!({"path": "a", "content": "1"}));
    let launcher = jail_processes(stage.daemon.pid())
        .into_iter()
        .min()
        .unwrap();
    let killed = Command::new("kill")
        .args(["-9", &launcher.to_string()])
        .status();
    assert!(killed.unwrap().success());
    // Its boxes end with it, each as soon as it looks; until then calls run in them.
    until("a box outlives its launcher", || {
        let answer = stage.agent.call("filesystem.read", json!({"path": "a"}));
        answer.unwrap().is_err()
    });
    let error = stage.refused("filesystem.read", json!({"path": "a"}));
    assert_eq!(error["error_type"], "ServiceUnavailable", "{error}");
    let health = stage.control("GET", "/health", None);
    let services = health["services"].as_array().unwrap();
    let sandbox = services
        .iter()
        .find(|one| one["name"] == "sandbox")
        .unwrap();
    assert_eq!(sandbox["status"], "critical", "{sandbox}");
    // What needs no box goes on.
    stage.done("system.time", json!({}));
}

#[test]
fn floods_and_bombs_are_bounded_and_reported() {
    let mut stage = Stage::with_environment(&[("KRUXOS_SANDBOX__MEMORY_MB", "64")]);
    let flood = "yes | head -c 100000000";
    let answer = stage.done(
        "process.run",
        json!({"command": "sh", "args": ["-c", flood], "stdout_lines": 1}),
    );
    let logs = stage.done(
        "process.logs",
        json!({"process_id": answer["process_id"], "stream": "stdout"}),
    );
    assert!(logs.to_string().len() < 2_000_000, "logs are paged");
    let bomb = "x=0; while :; do x=$x$x; done";
    let error = stage.refused(
        "process.run",
        json!({"command": "sh", "args": ["-c", bomb], "timeout": 60}),
    );
    assert_eq!(error["error_type"], "ResourceLimitExceeded", "{error}");
    assert_eq!(error["context"]["resource"], "memory", "{error}");
    let health = stage.control("GET", "/health", None);
    assert_ne!(health["status"], "critical");
}

#[test]
fn files_without_a_name_count_too() {
    let mut stage = Stage::with_environment(&[("KRUXOS_SANDBOX__WORKSPACE_MB", "4")]);
    let line = "exec 3>big; rm big; head -c 100000000 /dev/zero >&3; exec sleep 600";
    let inputs = json!({"command": "sh", "args": ["-c", line], "timeout": 100});
    let error = stage.refused("process.run", inputs);
    assert_eq!(error["error_type"], "ResourceLimitExceeded", "{error}");
    assert_eq!(error["context"]["resource"], "disk", "{error}");
    stage.done("filesystem.write", json!({"path": "a", "content": "a"}));
}

#[test]
fn a_full_workspace_takes_no_more_until_something_is_deleted() {
    let mut stage = Stage::with_environment(&[("KRUXOS_SANDBOX__WORKSPACE_MB", "4")]);
    let line = "head -c 100000000 /dev/zero > big; exec sleep 600";
    let inputs = json!({"command": "sh", "args": ["-c", line], "timeout": 100});
    let error = stage.refused("process.run", inputs);
    assert_eq!(error["error_type"], "ResourceLimitExceeded", "{error}");
    assert_eq!(error["context"]["resource"], "disk", "{error}");
    let error = stage.refused("filesystem.write", json!({"path": "a", "content": "a"}));
    assert_eq!(error["error_type"], "ResourceExhausted", "{error}");
    stage.done("filesystem.delete", json!({"path": "big"}));
    let write = |stage: &mut Stage| {
        let inputs = json!({"path": "a", "content": "a"});
        stage
            .agent
            .call("filesystem.write", inputs)
            .unwrap()
            .is_ok()
    };
    until("there is room and nothing can be written", || {
        write(&mut stage)
    });
}
