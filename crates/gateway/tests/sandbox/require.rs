//! What the operator requires and the host lacks is a refusal to start, with what to do about it.

use crate::stage::{Stage, program};
use serde_json::Value;
use std::process::Command;

/// The daemon, without the variables that tests have and it refuses.
fn daemon() -> Command {
    let mut command = Command::new(program());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KRUXOS_")) {
        command.env_remove(name);
    }
    command
}

fn diagnosis() -> Value {
    let answer = daemon().arg("diagnose").output().unwrap();
    serde_json::from_slice(&answer.stdout).unwrap()
}

#[test]
fn the_daemon_reports_what_the_probe_finds() {
    let mut stage = Stage::new();
    let (mut told, mut found) = (stage.control("GET", "/sandbox", None), diagnosis());
    for answer in [&mut told, &mut found] {
        // What became of the packet filter is known only where a gateway runs.
        answer["layers"]["nftables"]["detail"].take();
    }
    assert_eq!(told, found);
}

#[test]
fn a_required_protection_that_is_missing_keeps_the_gateway_from_starting() {
    let found = diagnosis();
    for (name, layer) in found["layers"].as_object().unwrap() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = daemon();
        command.args(["up", "--quiet", "--port", "70", "--data-dir"]);
        command.arg(directory.path().join("data"));
        command.env("KRUXOS_SANDBOX__REQUIRE", format!("[\"{name}\"]"));
        // An address of nobody's: what starts ends at once with another code.
        command.env("KRUXOS_SERVER__HOST", "203.0.113.1");
        let answer = command.output().unwrap();
        let said = String::from_utf8_lossy(&answer.stderr);
        match layer["state"].as_str().unwrap() {
            "active" => assert_eq!(answer.status.code(), Some(9), "{name}: {said}"),
            _ => {
                assert_eq!(answer.status.code(), Some(10), "{name}: {said}");
                let remedy = layer["remedy"].as_str().unwrap();
                assert!(said.contains(remedy), "{said}");
            }
        }
    }
    let mut command = daemon();
    command.args(["up", "--data-dir", "/nonexistent"]);
    command.env("KRUXOS_SANDBOX__REQUIRE", "[\"selinux\"]");
    let answer = command.output().unwrap();
    assert_eq!(answer.status.code(), Some(2), "an unknown name");
}
