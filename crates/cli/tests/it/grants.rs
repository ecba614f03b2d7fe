//! Decisions that reach further than one call, and calls that run otherwise than they were asked for.

use crate::support::{Ran, World};
use serde_json::Value;

const ASK: &str = "  filesystem.write: {tier: approval_required, reason: look first}\n";

/// A gateway with the agent `a`, whose writes the organisation wants to see.
fn world() -> World {
    let world = World::start();
    world.json(&[
        "agent",
        "create",
        "a",
        "--policy-group",
        "personal-permissive",
    ]);
    put(&world, "org.yaml", ASK, "approval_required");
    world
}

/// Writes a policy file and waits until writes have this tier.
fn put(world: &World, file: &str, capabilities: &str, tier: &str) {
    let text = format!("name: x\nversion: \"1.0\"\ncapabilities:\n{capabilities}");
    std::fs::write(world.data_dir().join("policies").join(file), text).unwrap();
    let ask = [
        "config",
        "check-policy",
        "--agent",
        "a",
        "--capability",
        "filesystem.write",
    ];
    let patience = std::time::Instant::now();
    while world.json(&ask)["tier"] != tier {
        assert!(
            patience.elapsed().as_secs() < 20,
            "the policy was not taken over"
        );
    }
}

fn write(world: &World, path: &str, content: &str) -> Ran {
    let (path, content) = (format!("path={path}"), format!("content={content}"));
    world.run(&["call", "filesystem.write", "--agent", "a", &path, &content])
}

/// A write that is held; the id of its request.
fn held(world: &World, path: &str, content: &str) -> String {
    let ran = write(world, path, content);
    assert_eq!(ran.code, 6, "{}{}", ran.stdout, ran.stderr);
    let newest = world.json(&["approve", "list", "--all", "--limit", "1"]);
    assert_eq!(newest[0]["state"], "pending");
    newest[0]["id"].as_str().unwrap().to_owned()
}

fn accept(world: &World, id: &str, options: &[&str]) -> Ran {
    world.run(&[&["--json", "approve", "accept", id], options].concat())
}

fn grants(world: &World) -> Vec<Value> {
    world
        .json(&["approve", "grants"])
        .as_array()
        .unwrap()
        .clone()
}

fn workspace(world: &World, path: &str) -> std::path::PathBuf {
    world.data_dir().join("workspaces/a").join(path)
}

/// Waits for what an accepted request does.
fn until_written(world: &World, path: &str, content: &str) {
    let patience = std::time::Instant::now();
    while std::fs::read_to_string(workspace(world, path))
        .ok()
        .as_deref()
        != Some(content)
    {
        assert!(patience.elapsed().as_secs() < 20, "{path} was not written");
    }
}

#[test]
fn a_grant_is_shown_first_covers_what_it_says_and_can_be_taken_back() {
    let world = world();
    let id = held(&world, "x.txt", "1");
    let unseen = accept(&world, &id, &["--scope", "session"]);
    assert_eq!(unseen.code, 6, "nobody said yes: {}", unseen.stderr);
    assert_eq!(world.json(&["approve", "show", &id])["state"], "pending");
    let shown = world.run(&[
        "approve", "accept", &id, "--scope", "session", "--any", "content", "--yes",
    ]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(
        shown.stdout.contains("x.txt") && shown.stdout.contains("0 of"),
        "{}",
        shown.stdout
    );
    until_written(&world, "x.txt", "1");

    assert_eq!(write(&world, "x.txt", "2").code, 0);
    let id = held(&world, "y.txt", "2");
    world.json(&["approve", "reject", &id]);
    let [grant] = grants(&world).try_into().unwrap();
    assert_eq!(
        (&grant["used"], &grant["scope"]),
        (&1.into(), &"session".into())
    );
    let entries = world.json(&[
        "audit",
        "query",
        "--capability",
        "filesystem.write",
        "--limit",
        "50",
    ]);
    let cited = entries.as_array().unwrap().iter().find(|entry| {
        entry["metadata"]["grant_id"] == grant["id"] && !entry["policy_decision"].is_null()
    });
    assert_eq!(
        cited.unwrap()["policy_decision"]["tier"],
        "approval_required"
    );

    let id = grant["id"].as_str().unwrap();
    world.json(&["approve", "revoke", id]);
    assert_eq!(world.run(&["approve", "revoke", id]).code, 4);
    held(&world, "x.txt", "3");
}

#[test]
fn the_narrow_grant_is_for_the_same_call_only_and_counts_down() {
    let world = world();
    let id = held(&world, "x.txt", "1");
    assert_eq!(
        accept(&world, &id, &["--scope", "task", "--uses", "1", "--yes"]).code,
        0
    );
    until_written(&world, "x.txt", "1");
    for other in [
        &["content=2"][..],
        &["content=1", "create_parents=true"],
        &["content=1", "encoding=base64"],
    ] {
        let call = ["call", "filesystem.write", "--agent", "a", "path=x.txt"];
        let ran = world.run(&[&call[..], other].concat());
        assert_ne!(ran.code, 0, "{other:?}");
    }
    assert_eq!(write(&world, "x.txt", "1").code, 0);
    assert!(grants(&world).is_empty(), "it was for one call");
}

#[test]
fn a_condition_of_policy_means_the_same_in_a_grant() {
    let world = world();
    std::fs::create_dir_all(workspace(&world, "notes")).unwrap();
    let id = held(&world, "notes/a.txt", "1");
    let any = ["--any", "path", "--any", "content", "--yes"];
    let elsewhere = ["--scope", "task", "--when", "path_prefix=/workspace/other"];
    let refused = accept(&world, &id, &[&elsewhere[..], &any].concat());
    assert_eq!(
        refused.code, 2,
        "it does not cover its own call: {}",
        refused.stderr
    );
    let typo = ["--scope", "task", "--when", "path_prefiks=notes"];
    let refused = accept(&world, &id, &[&typo[..], &any].concat());
    assert!(refused.stderr.contains("path_prefix"), "{}", refused.stderr);
    let notes = ["--scope", "task", "--when", "path_prefix=/workspace/notes"];
    let accepted = accept(&world, &id, &[&notes[..], &any].concat());
    assert_eq!(accepted.code, 0, "{}", accepted.stderr);
    assert_eq!(write(&world, "notes/b.txt", "2").code, 0);
    for outside in ["notes/../c.txt", "notesx/c.txt", "c.txt"] {
        assert_eq!(write(&world, outside, "2").code, 6, "{outside}");
    }
}

#[test]
fn a_grant_ends_when_policy_says_something_else() {
    let world = world();
    let id = held(&world, "x.txt", "1");
    assert_eq!(
        accept(
            &world,
            &id,
            &["--scope", "task", "--any", "content", "--yes"]
        )
        .code,
        0
    );
    assert_eq!(write(&world, "x.txt", "2").code, 0);
    let stricter =
        "  filesystem.write: {tier: notify}\n  filesystem.*: {tier: approval_required}\n";
    put(
        &world,
        "system.yaml",
        "  filesystem.write: {tier: approval_required}\n",
        "approval_required",
    );
    // Both files ask now, which is not what was said when the grant was given.
    let patience = std::time::Instant::now();
    while write(&world, "x.txt", "3").code == 0 {
        assert!(
            patience.elapsed().as_secs() < 20,
            "the policy was not taken over"
        );
    }
    put(
        &world,
        "system.yaml",
        "  filesystem.write: {tier: blocked}\n",
        "blocked",
    );
    assert_eq!(write(&world, "x.txt", "2").code, 6);
    put(&world, "system.yaml", stricter, "approval_required");
}

#[test]
fn always_shows_the_diff_writes_one_rule_and_never_goes_below_a_ceiling() {
    let world = world();
    let id = held(&world, "x.txt", "1");
    let always = ["--scope", "always", "--any", "content", "--yes"];
    let refused = accept(&world, &id, &always);
    assert_eq!(refused.code, 6);
    assert!(refused.stderr.contains("org.yaml:4"), "{}", refused.stderr);
    assert_eq!(world.json(&["approve", "show", &id])["state"], "pending");
    assert!(!world.data_dir().join("policies/agents/a.yaml").exists());

    put(&world, "agents/a.yaml", ASK, "approval_required");
    std::fs::remove_file(world.data_dir().join("policies/org.yaml")).unwrap();
    let sole = [
        "config",
        "check-policy",
        "--agent",
        "a",
        "--capability",
        "filesystem.write",
    ];
    let patience = std::time::Instant::now();
    while world.json(&sole)["winner"] != "agent" {
        assert!(patience.elapsed().as_secs() < 20);
    }
    let accepted = world.run(&[&["approve", "accept", &id], &always[..]].concat());
    assert_eq!(accepted.code, 0, "{}", accepted.stderr);
    assert!(
        accepted.stdout.contains("+rules:") && accepted.stdout.contains("agents/a.yaml"),
        "{}",
        accepted.stdout
    );
    let text = std::fs::read_to_string(world.data_dir().join("policies/agents/a.yaml")).unwrap();
    assert!(text.contains(ASK), "what was there stays: {text}");
    assert_eq!(write(&world, "x.txt", "2").code, 0);
    held(&world, "y.txt", "2");
}

#[test]
fn what_an_operator_edits_runs_in_the_place_of_what_was_asked_for() {
    let world = world();
    let id = held(&world, "x.txt", "1");
    let out = accept(&world, &id, &["--set", "path=/etc/passwd"]);
    assert_eq!(out.code, 6, "policy has its say: {}", out.stderr);
    let bad = accept(&world, &id, &["--set", "paht=x"]);
    assert_eq!(bad.code, 2, "{}", bad.stderr);
    assert_eq!(world.json(&["approve", "show", &id])["state"], "pending");
    let accepted = accept(&world, &id, &["--set", "path=safe.txt"]);
    assert_eq!(accepted.code, 0, "{}", accepted.stderr);
    until_written(&world, "safe.txt", "1");
    assert!(!workspace(&world, "x.txt").exists());
    let decided = world.json(&["approve", "show", &id]);
    assert_eq!(decided["edited_inputs"]["path"], "safe.txt");
    assert_eq!(decided["inputs"]["path"], "x.txt");
    let entries = world.json(&["audit", "query", "--kind", "decision", "--limit", "1"]);
    let facts = &entries[0]["metadata"];
    assert_eq!(facts["asked_inputs"]["path"], "x.txt");
    assert_eq!(facts["edited_inputs"]["path"], "safe.txt");
}

#[test]
fn several_are_decided_at_once_each_for_itself() {
    let world = world();
    let (first, second) = (held(&world, "x.txt", "1"), held(&world, "y.txt", "1"));
    world.json(&["approve", "reject", &second]);
    let ran = world.run(&["--json", "approve", "accept", &first, &second, "ap_nothing"]);
    assert_eq!(ran.code, 6);
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(answer["decided"][0]["state"], "approved");
    assert!(
        answer["decided"][1]["error"]
            .as_str()
            .unwrap()
            .contains("rejected"),
        "{answer}"
    );
    assert!(answer["decided"][2]["error"].is_string());
    until_written(&world, "x.txt", "1");
}

#[test]
fn a_request_whose_target_has_changed_says_so() {
    let world = world();
    std::fs::create_dir_all(workspace(&world, "")).unwrap();
    std::fs::write(workspace(&world, "x.txt"), "before\n").unwrap();
    let id = held(&world, "x.txt", "after");
    assert_eq!(world.json(&["approve", "show", &id])["stale"], false);
    std::fs::write(workspace(&world, "x.txt"), "changed meanwhile\n").unwrap();
    let shown = world.json(&["approve", "show", &id]);
    assert_eq!(shown["stale"], true);
    assert!(
        shown["preview_now"]["diff"]
            .as_str()
            .unwrap()
            .contains("-changed meanwhile")
    );
    let text = world.run(&["approve", "show", &id]).stdout;
    assert!(text.contains("has changed since"), "{text}");
}
