//! Calls through the pipeline, approvals, and what is seen live.

use crate::support::World;
use std::io::{BufRead, BufReader};

#[test]
fn a_call_runs_as_an_agent_and_a_bad_one_says_what_is_wrong() {
    let world = World::start();
    world.json(&[
        "agent",
        "create",
        "a",
        "--policy-group",
        "personal-permissive",
    ]);
    let now = world.json(&["call", "system.time", "--agent", "a"]);
    assert!(now.is_object(), "{now}");
    world.json(&[
        "call",
        "filesystem.write",
        "--agent",
        "a",
        "path=x.txt",
        "content=42",
    ]);
    let read = world.json(&["call", "filesystem.read", "--agent", "a", "path=x.txt"]);
    assert_eq!(read["content"], "42", "a string input stays text");

    let unknown = world.run(&["call", "filesystem.raed", "--agent", "a"]);
    assert_eq!(unknown.code, 4);
    let bad = world.run(&[
        "--json",
        "call",
        "filesystem.read",
        "--agent",
        "a",
        "paht=x",
    ]);
    assert_eq!(bad.code, 2);
    let error: serde_json::Value = serde_json::from_str(&bad.stderr).unwrap();
    assert_eq!(error["error_type"], "InvalidInput");
    assert_eq!(
        world
            .run(&["call", "system.time", "--agent", "nobody"])
            .code,
        4
    );
    world.json(&["pause", "a"]);
    assert_eq!(world.run(&["call", "system.time", "--agent", "a"]).code, 6);
}

#[test]
fn a_held_call_is_shown_decided_once_and_handed_over() {
    let world = World::start();
    world.json(&["agent", "create", "a"]);
    let policy = "name: org\nversion: \"1.0\"\ncapabilities:\n  filesystem.write: {tier: approval_required, reason: look first}\n";
    std::fs::write(world.data_dir().join("policies/org.yaml"), policy).unwrap();
    let tier = || {
        world.json(&[
            "config",
            "check-policy",
            "--agent",
            "a",
            "--capability",
            "filesystem.write",
        ])
    };
    // The file watch settles within a second.
    let patience = std::time::Instant::now();
    while tier()["tier"] != "approval_required" {
        assert!(
            patience.elapsed().as_secs() < 20,
            "the policy was not taken over"
        );
    }
    let write = [
        "call",
        "filesystem.write",
        "--agent",
        "a",
        "path=x.txt",
        "content=new",
    ];
    assert_eq!(world.run(&write).code, 6);
    let list = world.json(&["approve", "list"]);
    let id = list[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (&list[0]["state"], &list[0]["capability"]),
        (&"pending".into(), &"filesystem.write".into())
    );
    let shown = world.run(&["approve", "show", &id]);
    assert!(
        shown.stdout.contains("look first") && shown.stdout.contains("new"),
        "{}",
        shown.stdout
    );

    assert_eq!(world.json(&["approve", "accept", &id])["state"], "approved");
    let again = world.run(&["--json", "approve", "reject", &id]);
    assert_eq!(again.code, 6);
    let error: serde_json::Value = serde_json::from_str(&again.stderr).unwrap();
    assert_ne!(error["status"], "pending");
    assert!(error["status"].is_string(), "{error}");
    let done = world.run(&[&write[..], &["--wait", "20s"]].concat());
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(
        world.json(&["approve", "list"]).as_array().unwrap().len(),
        0
    );
    assert_eq!(
        world
            .json(&["approve", "list", "--all"])
            .as_array()
            .unwrap()
            .len(),
        1,
        "it ran once"
    );

    world.run(&[
        "call",
        "filesystem.write",
        "--agent",
        "a",
        "path=y.txt",
        "content=no",
    ]);
    let id = world.json(&["approve", "list"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        world.json(&["approve", "reject", &id, "--reason", "not now"])["state"],
        "rejected"
    );
    assert_eq!(world.run(&["approve", "show", "ap_nothing"]).code, 4);

    world.run(&["call", "filesystem.write", "path=own.txt", "content=mine"]);
    let id = world.json(&["approve", "list"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let own = world.run(&["approve", "accept", &id]);
    assert_eq!(
        own.code, 6,
        "nobody approves their own call: {}",
        own.stderr
    );
    assert_eq!(world.json(&["approve", "show", &id])["state"], "pending");
}

#[test]
fn watch_shows_calls_as_they_happen() {
    let world = World::start();
    world.json(&["agent", "create", "a"]);
    world.json(&["agent", "create", "b"]);
    let mut watch = world.spawn(&[
        "--json",
        "watch",
        "--agent",
        "a",
        "--capability",
        "system.*",
    ]);
    let mut notes = BufReader::new(watch.stderr.take().unwrap()).lines();
    assert!(notes.next().unwrap().unwrap().contains("watching"));
    world.json(&["call", "system.time", "--agent", "b"]);
    world.json(&["call", "system.time", "--agent", "a"]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let event: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(
        (&event["agent"], &event["data"]["capability"]),
        (&"a".into(), &"system.time".into())
    );
    let wrong = world.run(&["watch", "--type", "no_such_type"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
}

#[test]
fn status_and_verify_and_alerts() {
    let world = World::start();
    world.json(&["agent", "create", "a"]);
    let status = world.json(&["status"]);
    assert_eq!(
        (&status["agents"], status["pid"].as_u64()),
        (&1.into(), Some(u64::from(std::process::id())))
    );
    let human = world.run(&["status"]);
    assert!(
        human.stdout.contains("http://127.0.0.1:7700/mcp"),
        "{}",
        human.stdout
    );
    let verified = world.json(&["verify"]);
    assert_eq!(verified["ok"], true, "{verified}");
    let names: Vec<_> = verified["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["name"].clone())
        .collect();
    for part in ["gateway", "audit chain", "policy", "control socket"] {
        assert!(names.contains(&part.into()), "{part}: {names:?}");
    }
    world.json(&[
        "call",
        "alerts.send",
        "--agent",
        "a",
        "--input",
        "{\"severity\": \"warning\", \"message\": \"look here\"}",
    ]);
    let alerts = world.json(&["alerts", "--last", "1h", "--severity", "warning"]);
    let id = alerts[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(alerts[0]["message"], "look here");
    assert_eq!(
        world.json(&["alerts", "list", "--severity", "critical"]),
        serde_json::json!([])
    );
    assert_eq!(
        world.json(&["alerts", "ack", &id])["status"],
        "acknowledged"
    );
    assert_eq!(world.json(&["alerts"]), serde_json::json!([]));
    assert_eq!(world.run(&["alerts", "ack", "none"]).code, 4);
}
