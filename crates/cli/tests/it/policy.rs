//! Policies tried before they are in force: tested, compared, replayed; and their schema.

use crate::support::{Ran, World, kruxos};
use serde_json::{Value, json};
use std::path::Path;

fn run(directory: &Path, arguments: &[&str]) -> Ran {
    let mut command = kruxos(directory);
    Ran::of(
        command
            .current_dir(directory)
            .args(arguments)
            .output()
            .unwrap(),
    )
}

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

const ORG: &str = "capabilities:\n  git.push: {tier: blocked, reason: Closed}\n";
const CASES: &str = "policies:\n  org: policies/org.yaml\ncases:\n  - {name: pushing, principal: {agent: a}, capability: git.push, expect: blocked}\n  - {name: time, principal: user, capability: system.time, expect: autonomous}\n";

#[test]
fn test_files_run_without_a_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    write(here, "policies/org.yaml", ORG);
    write(here, "cases.yaml", CASES);
    let ran = run(
        here,
        &[
            "policy",
            "test",
            "cases.yaml",
            "--json",
            "--junit",
            "report.xml",
        ],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        told,
        json!({"passed": 2, "failed": 0, "cases": [
            {"name": "pushing", "expected": "blocked", "actual": "blocked", "winner": "organisation"},
            {"name": "time", "expected": "autonomous", "actual": "autonomous", "winner": "definition"},
        ]})
    );
    let report = std::fs::read_to_string(here.join("report.xml")).unwrap();
    assert!(
        report.contains("<testsuites tests=\"2\" failures=\"0\">"),
        "{report}"
    );

    write(
        here,
        "wrong.yaml",
        &CASES.replace("expect: autonomous", "expect: notify"),
    );
    let ran = run(here, &["policy", "test", "cases.yaml", "wrong.yaml"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("FAILED time\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("wrong.yaml:5:68\n"), "{}", ran.stdout);
    let caret = format!("  | {}^\n", " ".repeat(67));
    assert!(ran.stdout.contains(&caret), "{}", ran.stdout);
    assert!(
        ran.stdout.ends_with("3 passed, 1 failed\n"),
        "{}",
        ran.stdout
    );

    write(
        here,
        "broken.yaml",
        "cases:\n  - {name: x, principal: user, capability: git.pusch, expect: notify}\n",
    );
    let ran = run(here, &["policy", "test", "broken.yaml"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("error: unknown capability `git.pusch`; did you mean `git.push`?\n --> broken.yaml:2:44\n"), "{}", ran.stdout);
    assert_eq!(run(here, &["policy", "test", "missing.yaml"]).code, 4);
    assert_eq!(run(here, &["policy", "test"]).code, 2);
}

#[test]
fn two_files_or_two_directories_are_compared() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    write(here, "old/org.yaml", ORG);
    write(here, "old/agents/coder.yaml", "defaults: {tier: notify}\n");
    write(
        here,
        "new/org.yaml",
        "capabilities:\n  git.push: {tier: notify}\n",
    );
    write(
        here,
        "new/agents/coder.yaml",
        "defaults: {tier: notify}\nrules: [{capability: filesystem.read, conditions: {path_prefix: secret}, tier: blocked}]\n",
    );
    let ran = run(here, &["policy", "diff", "old", "new", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    let pairs: Vec<String> = told["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!(
                "{} {} {} {}",
                one["principal"], one["capability"], one["old"]["tier"], one["new"]["tier"]
            )
            .replace('"', "")
        })
        .collect();
    assert_eq!(
        pairs,
        [
            "agent coder filesystem.read notify blocked",
            "agent coder git.push blocked notify",
            "any other agent git.push blocked approval_required",
            "user git.push blocked approval_required",
        ]
    );
    assert_eq!(
        told["differences"][0]["example"]["inputs"],
        json!({"path": "/workspace/secret/probe"})
    );
    let ran = run(here, &["policy", "diff", "old/org.yaml", "new/org.yaml"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("git.push"), "{}", ran.stdout);
    assert!(ran.stdout.contains("old/org.yaml:2"), "{}", ran.stdout);
    assert_eq!(
        run(here, &["policy", "diff", "old", "new/org.yaml"]).code,
        2
    );
    assert_eq!(run(here, &["policy", "diff", "old", "nowhere"]).code, 4);
    write(
        here,
        "new/org.yaml",
        "capabilities:\n  git.pusch: {tier: notify}\n",
    );
    let ran = run(here, &["policy", "diff", "old", "new"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains(":2:3\n"), "{}", ran.stdout);
}

#[test]
fn the_schema_is_printed_as_it_is_in_the_documentation() {
    let directory = tempfile::tempdir().unwrap();
    let ran = run(directory.path(), &["policy", "schema"]);
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.schema.json");
    assert_eq!(ran.stdout, std::fs::read_to_string(kept).unwrap());
}

#[test]
fn recorded_calls_are_replayed_under_another_policy() {
    let world = World::start();
    world.json(&["agent", "create", "a"]);
    world.json(&["agent", "create", "b"]);
    for agent in ["a", "b"] {
        world.json(&["call", "system.time", "--agent", agent]);
        world.json(&[
            "call",
            "filesystem.write",
            "--agent",
            agent,
            "path=secret/x",
            "content=abc",
            "create_parents=true",
        ]);
        world.json(&[
            "call",
            "filesystem.write",
            "--agent",
            agent,
            "path=open",
            "content=abcdefghijkl",
        ]);
    }
    let directory = tempfile::tempdir().unwrap();
    let new = directory.path().join("org.yaml");
    let simulate = |text: &str, more: &[&str]| -> Vec<Value> {
        std::fs::write(&new, text).unwrap();
        let mut arguments = vec![
            "policy",
            "simulate",
            "--json",
            "--policy",
            new.to_str().unwrap(),
            "--last",
            "1h",
        ];
        arguments.extend(more);
        let ran = world.run(&arguments);
        assert_eq!(ran.code, 0, "{} {}", ran.stdout, ran.stderr);
        ran.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let rule = "rules: [{capability: filesystem.write, conditions: {path_prefix: secret}, tier: blocked}]\n";
    let events = simulate(rule, &["--agent", "a"]);
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(
        (&events[0]["capability"], &events[0]["would_be"]["tier"]),
        (&"filesystem.write".into(), &"blocked".into())
    );
    assert_eq!(events[0]["inputs"]["path"], "secret/x");
    assert_eq!(events[0]["would_be"]["line"], 1);
    let summary = &events[1];
    assert_eq!(
        [
            &summary["calls"],
            &summary["same"],
            &summary["differ"],
            &summary["undecided"],
            &summary["truncated"]
        ],
        [&json!(3), &json!(2), &json!(1), &json!(0), &json!(false)]
    );
    assert_eq!(
        simulate(rule, &[]).last().unwrap()["differ"],
        2,
        "of both agents"
    );
    let by_size = "rules: [{capability: filesystem.write, conditions: {content_size_gt: 10}, tier: blocked}]\n";
    assert_eq!(
        simulate(by_size, &["--agent", "a"])[0]["inputs"]["path"],
        "open",
        "sizes are recorded"
    );
    let by_content = "rules: [{capability: filesystem.write, conditions: {input_equals: {content: abc}}, tier: blocked}]\n";
    let events = simulate(by_content, &["--agent", "a"]);
    assert_eq!(
        (&events[0]["type"], &events[0]["not_recorded"]),
        (&"undecided".into(), &json!(["content"]))
    );
    assert_eq!(events.last().unwrap()["undecided"], 2);

    std::fs::write(&new, "rules: [{capability: git.pusch, tier: notify}]\n").unwrap();
    let ran = world.run(&["policy", "simulate", "--policy", new.to_str().unwrap()]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stdout.contains("--> org.yaml:1:22\n"),
        "{} {}",
        ran.stdout,
        ran.stderr
    );
}

#[test]
fn simulating_needs_the_gateway_that_has_the_log() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "org.yaml", ORG);
    assert_eq!(
        run(
            directory.path(),
            &["policy", "simulate", "--policy", "org.yaml"]
        )
        .code,
        5
    );
}

#[test]
fn validating_a_file_tells_what_the_files_beside_it_take_away() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    write(here, "policies/org.yaml", ORG);
    let agent = "capabilities:\n  git.push: {tier: autonomous}\nrules:\n  - {capability: git.log, tier: notify}\n  - {capability: git.log, tier: blocked}\n";
    write(here, "policies/agents/coder.yaml", agent);
    let ran = run(here, &["config", "validate", "policies/agents/coder.yaml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for expected in [
        "coder.yaml:2:3\n  |\n2 |   git.push: {tier: autonomous}\n  |   ^\n",
        "org.yaml:2 enforces `blocked`",
        "coder.yaml:5:5\n  |\n5 |   - {capability: git.log, tier: blocked}\n  |     ^\n",
        "capabilities are named by no rule",
        "3 warnings",
    ] {
        assert!(ran.stdout.contains(expected), "{expected}\n{}", ran.stdout);
    }
}
