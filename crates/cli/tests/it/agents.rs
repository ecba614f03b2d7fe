//! Agents and User tokens, from creation to deletion.

use crate::support::World;
use serde_json::json;

#[test]
fn an_agents_whole_life() {
    let world = World::start();
    let made = world.json(&["agent", "create", "helper", "--purpose", "tests"]);
    let keys: Vec<_> = made.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["endpoint", "name", "token", "workspace"]);
    assert_eq!(made["token"].as_str().unwrap().len(), 64);
    assert!(std::path::Path::new(made["workspace"].as_str().unwrap()).is_dir());
    assert_eq!(
        world.run(&["agent", "create", "helper"]).code,
        6,
        "the name is taken"
    );
    world.json(&["agent", "create", "--name", "second"]);

    let all = world.json(&["agent", "list"]);
    let names: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|agent| agent["name"].clone())
        .collect();
    assert_eq!(names, ["helper", "second"]);
    let edited = world.json(&[
        "agent",
        "edit",
        "helper",
        "--policy-group",
        "enterprise-restrictive",
    ]);
    assert_eq!(edited["policy_group"], "enterprise-restrictive");
    assert_eq!(
        world
            .run(&["agent", "edit", "helper", "--policy-group", "none"])
            .code,
        2
    );

    let rotated = world.json(&["agent", "rotate", "helper", "--yes"]);
    assert_ne!(rotated["token"], made["token"]);
    assert_eq!(world.json(&["pause", "helper"])["status"], "paused");
    assert_eq!(world.json(&["resume", "helper"])["status"], "registered");
    assert_eq!(
        world.json(&["agent", "revoke", "helper", "-y"])["status"],
        "revoked"
    );
    for command in [
        &["resume", "helper"][..],
        &["pause", "helper"],
        &["kill", "helper", "--yes"],
    ] {
        let ran = world.run(command);
        assert_eq!(
            ran.code, 6,
            "a revoked agent must not come back by {command:?}"
        );
    }
    assert_eq!(
        world.json(&["agent", "show", "helper"])["status"],
        "revoked"
    );
    assert_eq!(
        world.json(&["agent", "restore", "helper"])["status"],
        "registered"
    );
    assert_eq!(
        world.json(&["agent", "delete", "helper", "--yes"])["deleted"],
        true
    );
    let ran = world.run(&["agent", "show", "helper"]);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
}

#[test]
fn what_destroys_is_refused_where_nobody_can_be_asked() {
    let world = World::start();
    world.json(&["agent", "create", "a"]);
    for command in [
        &["agent", "delete", "a"][..],
        &["agent", "revoke", "a"],
        &["agent", "rotate", "a"],
        &["kill", "a"],
        &["state", "delete", "a", "k"],
        &["user-token", "revoke", "x"],
        &["config", "set", "policy", "team-moderate"],
    ] {
        let ran = world.run(command);
        assert_eq!(ran.code, 6, "{command:?}");
        assert!(ran.stderr.contains("--yes"), "{}", ran.stderr);
    }
    assert_eq!(world.json(&["agent", "show", "a"])["status"], "registered");
}

#[test]
fn a_created_agent_comes_with_client_configs_and_text_is_cleaned() {
    let world = World::start();
    let ran = world.run(&[
        "agent",
        "create",
        "a",
        "--purpose",
        "\u{1b}]0;owned\u{7}red\u{1b}[31m\u{202e}evil",
    ]);
    for part in [
        "mcpServers",
        "claude mcp add --transport http kruxos http://",
        "[mcp_servers.kruxos]",
        "KRUXOS_ENDPOINT=ws://",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    let ran = world.run(&["agent", "show", "a"]);
    assert!(ran.stdout.contains("redevil"), "{}", ran.stdout);
    for ran in [
        ran,
        world.run(&["agent", "list"]),
        world.run(&["--json", "agent", "list"]),
    ] {
        assert!(
            !ran.stdout.contains(['\u{1b}', '\u{202e}', '\u{7}']),
            "{:?}",
            ran.stdout
        );
    }
}

#[test]
fn user_tokens_are_made_listed_and_revoked() {
    let world = World::start();
    let made = world.json(&["user-token", "create", "laptop"]);
    assert!(made["token"].as_str().unwrap().starts_with("krx_user_"));
    assert_eq!(world.run(&["user-token", "create", "bad label"]).code, 2);
    let list = world.json(&["user-token", "list"]);
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert!(list[0].get("token").is_none());
    world.json(&["user-token", "revoke", "laptop", "--yes"]);
    assert!(!world.json(&["user-token", "list"])[0]["revoked_at"].is_null());
    assert_eq!(
        world.run(&["user-token", "revoke", "laptop", "--yes"]).code,
        4
    );
}

#[test]
fn state_is_explored() {
    let world = World::start();
    world.json(&["agent", "create", "a"]);
    world.json(&["state", "set", "a", "notes/x y", "{\"n\": 1}", "--yes"]);
    world.json(&["state", "set", "a", "notes/x y", "plain", "--yes"]);
    assert_eq!(
        world.json(&["state", "get", "a", "notes/x y"])["value"],
        "plain"
    );
    assert_eq!(
        world.json(&["state", "get", "a", "notes/x y", "--version", "1"])["value"],
        json!({"n": 1})
    );
    let keys = world.json(&["state", "list", "a", "--prefix", "notes/"]);
    assert_eq!(
        (&keys["total"], &keys["keys"][0]["key"]),
        (&1.into(), &"notes/x y".into())
    );
    assert_eq!(
        world
            .json(&["state", "history", "a", "notes/x y"])
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(world.json(&["state", "quota", "a"])["keys"], 1);
    world.json(&["state", "delete", "a", "notes/x y", "--yes"]);
    for command in [
        &["state", "get", "a", "notes/x y"][..],
        &["state", "list", "nobody"],
    ] {
        assert_eq!(world.run(command).code, 4, "{command:?}");
    }
}

#[test]
fn an_agent_is_given_a_directory_and_loses_it() {
    let world = World::start();
    world.json(&["agent", "create", "helper"]);
    let given = tempfile::tempdir().unwrap();
    let source = given.path().canonicalize().unwrap();
    let source = source.to_str().unwrap();
    let add = |target: &str| {
        let arguments = [
            "mount", "add", "helper", "--source", source, "--target", target,
        ];
        world.run(&arguments).code
    };
    assert_eq!(add("/data"), 2, "no target of ours");
    assert_eq!(add("/mnt/data"), 0);
    assert_eq!(add("/mnt/data"), 6, "the label is taken");
    let all = world.json(&["mount", "list"]);
    assert_eq!(all[0]["source"], source);
    assert_eq!(all[0]["target"], "/mnt/data");
    world.json(&["mount", "toggle-readonly", "helper", "data"]);
    world.json(&["mount", "relabel", "helper", "data", "docs"]);
    let left = world.json(&["mount", "list", "helper"]);
    assert_eq!(
        (&left[0]["label"], &left[0]["writable"]),
        (&json!("docs"), &json!(false))
    );
    assert_eq!(
        world
            .run(&["mount", "remove", "helper", "data", "--yes"])
            .code,
        4
    );
    world.json(&["mount", "remove", "helper", "docs", "--yes"]);
    assert_eq!(world.json(&["mount", "list", "helper"]), json!([]));
    assert_eq!(world.run(&["mount", "list", "nobody"]).code, 4);
}
