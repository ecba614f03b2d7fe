//! The audit log through the command line: found, counted, verified, and caught when changed.

use crate::support::{Ran, World, kruxos};

#[test]
fn entries_are_found_counted_and_shown() {
    let world = World::start();
    world.json(&["agent", "create", "a"]);
    world.json(&["call", "system.time", "--agent", "a"]);
    world.run(&[
        "call",
        "filesystem.read",
        "--agent",
        "a",
        "path=missing.txt",
    ]);
    let found = world.json(&[
        "audit",
        "query",
        "--agent",
        "a",
        "--capability",
        "system.*",
        "--last",
        "1h",
    ]);
    let entry = &found[0];
    assert_eq!(
        (&entry["capability"], &entry["status"], &entry["interface"]),
        (&"system.time".into(), &"success".into(), &"cli".into())
    );
    assert_eq!(entry["policy_decision"]["tier"], "autonomous");
    let shown = world.json(&["audit", "show", &entry["seq"].to_string()]);
    assert_eq!(shown["id"], entry["id"]);
    assert_eq!(
        world.json(&["audit", "show", entry["id"].as_str().unwrap()])["seq"],
        entry["seq"]
    );
    assert_eq!(world.run(&["audit", "show", "999999"]).code, 4);
    let errors = world.json(&["audit", "query", "--outcome", "error", "--agent", "a"]);
    assert_eq!(errors.as_array().unwrap().len(), 1);

    let all = world
        .json(&["audit", "query", "--limit", "1000"])
        .as_array()
        .unwrap()
        .len();
    let lines = world.run(&["audit", "query", "--format", "jsonl", "--limit", "2"]);
    assert_eq!(lines.stdout.lines().count(), 2);
    let csv = world.run(&["audit", "query", "--format", "csv", "--limit", "1000"]);
    assert_eq!(csv.stdout.lines().count(), all + 1);
    let stats = world.json(&["audit", "stats", "--last", "24h"]);
    assert!(
        stats["capabilities"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["capability"] == "system.time")
    );
    let human = world.run(&["audit", "stats"]);
    assert!(human.stdout.contains("verified ✓ ("), "{}", human.stdout);
}

#[test]
fn a_flipped_byte_is_named_with_and_without_a_gateway() {
    let world = World::start();
    world.json(&["agent", "create", "victim"]);
    let verified = world.json(&["audit", "verify"]);
    assert_eq!(verified["ok"], true);
    for key in ["entries", "files", "checkpoints", "breaks"] {
        assert!(!verified[key].is_null(), "{key}: {verified}");
    }
    let directory = world.stop();
    let run =
        |arguments: &[&str]| Ran::of(kruxos(directory.path()).args(arguments).output().unwrap());
    let offline = run(&["--json", "audit", "verify"]);
    assert_eq!(offline.code, 0, "{}", offline.stderr);

    let log = std::fs::read_dir(directory.path().join("audit"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let mut files: Vec<_> = log
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    files.sort();
    let mut bytes = std::fs::read(&files[0]).unwrap();
    let at = bytes
        .windows(6)
        .position(|window| window == b"victim")
        .unwrap();
    bytes[at] ^= 1;
    std::fs::write(&files[0], bytes).unwrap();
    let broken = run(&["--json", "audit", "verify"]);
    assert_eq!(broken.code, 1);
    let report: serde_json::Value = serde_json::from_str(&broken.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let file = files[0].file_name().unwrap().to_str().unwrap();
    assert_eq!(report["breaks"][0]["file"], file);
    let human = run(&["audit", "verify"]);
    assert!(
        human.stdout.contains("BROKEN") && human.stdout.contains(file),
        "{}",
        human.stdout
    );
}

#[test]
fn tail_gives_the_last_entries_and_then_new_ones() {
    use std::io::{BufRead, BufReader};
    let world = World::start();
    world.json(&["agent", "create", "a"]);
    world.json(&["call", "system.time", "--agent", "a"]);
    let mut tail = world.spawn(&["--json", "audit", "tail", "--agent", "a", "--kind", "call"]);
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let first = next();
    assert_eq!(first["capability"], "system.time");
    world.json(&["call", "system.info", "--agent", "a"]);
    let second = next();
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert_eq!(second["capability"], "system.info");
    assert!(second["seq"].as_u64() > first["seq"].as_u64());
}
