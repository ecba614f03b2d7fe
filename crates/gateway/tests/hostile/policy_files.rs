//! What an operator can do wrong to a policy file: the last good version stays in force, and an alert
//! says so.

use crate::stage::Stage;
use kruxos_testkit::Client;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// What no default would say, so that it is seen to hold.
const GOOD: &str =
    "capabilities:\n  '*': {tier: autonomous}\n  filesystem.write: {tier: blocked, reason: kept}\n";
/// How long the daemon has to take notice of a file.
const PATIENCE: Duration = Duration::from_secs(20);
const FILE: &str = "agents/default-agent.yaml";

fn mistakes() -> Vec<(&'static str, Vec<u8>)> {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let refs = vec![format!("*a{}", level - 1); 10].join(",");
        writeln!(bomb, "a{level}: &a{level} [{refs}]").unwrap();
    }
    let deep = format!("capabilities: {}{}", "[".repeat(50_000), "]".repeat(50_000));
    let mut large = String::from(GOOD);
    while large.len() <= 10 * 1024 * 1024 {
        large.push_str("# a comment that makes the file too large to be a policy of anybody\n");
    }
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        (
            "malformed",
            text("capabilities: {filesystem.write: {tier: autonomous}\n"),
        ),
        (
            "a tab",
            text("capabilities:\n\tfilesystem.write: {tier: autonomous}\n"),
        ),
        (
            "a key twice",
            text(
                "capabilities:\n  filesystem.write: {tier: autonomous}\n  filesystem.write: {tier: notify}\n",
            ),
        ),
        ("an alias bomb", text(&bomb)),
        (
            "an anchor of itself",
            text("capabilities: &a {filesystem.write: *a}\n"),
        ),
        ("50,000 levels", text(&deep)),
        (
            "not UTF-8",
            b"capabilities:\n  filesystem.write: {tier: autonomous} # \xff\xfe\n".to_vec(),
        ),
        ("UTF-16", b"\xff\xfec\0a\0p\0".to_vec()),
        ("NUL bytes", b"capabilities: {}\0\0\0".to_vec()),
        ("10 MB", large.into_bytes()),
        (
            "a tag",
            text("capabilities:\n  filesystem.write: {tier: !!python/name:x autonomous}\n"),
        ),
        (
            "a wrong tier",
            text("capabilities: {filesystem.write: {tier: autonomus}}\n"),
        ),
        (
            "an unknown key",
            text("capabilites: {filesystem.write: {tier: autonomous}}\n"),
        ),
        ("a list", text("- filesystem.write\n")),
        ("a number", text("7\n")),
        (
            "two documents",
            text("capabilities: {}\n---\ncapabilities: {}\n"),
        ),
        ("a wrong type", text("capabilities: [filesystem.write]\n")),
    ]
}

fn get(control: &mut Client, path: &str) -> Value {
    let answer = control.request("GET", path, None).unwrap();
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

fn wait_for(what: &str, mut probe: impl FnMut() -> bool) {
    let started = Instant::now();
    while !probe() {
        assert!(started.elapsed() < PATIENCE, "{what} did not happen");
        // The reload is seen only through the socket, so it is asked again and again.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// How often the alert was raised: identical ones fold into one with a count.
fn alerts(control: &mut Client) -> u64 {
    let shown = get(control, "/alerts?source=policy");
    let count = |alert: &Value| alert["count"].as_u64().unwrap();
    shown["alerts"].as_array().unwrap().iter().map(count).sum()
}

fn tier(control: &mut Client) -> Value {
    let question = json!({
        "capability": "filesystem.write", "agent": "default-agent",
        "inputs": {"path": "a", "content": ""},
    });
    let answer = control
        .request("POST", "/check-policy", Some(&question))
        .unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["tier"].clone()
}

/// As an editor does it: the new file takes the old one's place.
fn replace(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn a_broken_policy_file_keeps_the_last_good_one_and_alerts() {
    let stage = Stage::new(GOOD);
    let mut control = stage.daemon.control().unwrap();
    let path = stage.data_dir().join("policies").join(FILE);
    assert_eq!(tier(&mut control), "blocked");
    for (title, content) in mistakes() {
        let before = alerts(&mut control);
        replace(&path, &content);
        wait_for(&format!("the alert for {title}"), || {
            alerts(&mut control) > before
        });
        assert_eq!(tier(&mut control), "blocked", "{title}");
        let problems = get(&mut control, "/policies")["problems"].clone();
        let first = problems[0].clone();
        assert_eq!(first["file"], FILE, "{title}: {problems}");
        assert!(
            !first["message"].as_str().unwrap().is_empty(),
            "{title}: {problems}"
        );
        stage.assert_alive(title);
        replace(&path, GOOD.as_bytes());
        wait_for(&format!("the good file after {title}"), || {
            get(&mut control, "/policies")["problems"] == json!([])
        });
    }
    // What is no file at all is not read either.
    let before = alerts(&mut control);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    wait_for("the alert for a device", || alerts(&mut control) > before);
    assert_eq!(tier(&mut control), "blocked");
    stage.finish();
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_way_out() {
    let stage = Stage::new(GOOD);
    let mut control = stage.daemon.control().unwrap();
    let path = stage.data_dir().join("policies").join(FILE);
    let place = "/policies/files/agents/default-agent";
    let not_text = || fs::write(&path, b"name: \xff\xfe").unwrap();
    let no_file = || {
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
    };
    for spoil in [&not_text as &dyn Fn(), &no_file] {
        spoil();
        let shown = path.display().to_string();
        for (method, body) in [("GET", None), ("PUT", Some(json!({"text": GOOD})))] {
            let answer = control.request(method, place, body.as_ref()).unwrap();
            let error = &answer.body;
            assert_eq!(error["error_type"], "IoError", "{method}: {error}");
            let described = error["description"].as_str().unwrap();
            assert!(described.contains(&shown), "{method}: {described}");
            let way_out = error["recovery_actions"][0]["description"]
                .as_str()
                .unwrap();
            assert!(way_out.contains(&shown), "{method}: {error}");
        }
        let listed = get(&mut control, "/policies");
        let files = listed["files"].as_array().unwrap();
        let row = files.iter().find(|row| row["file"] == FILE).unwrap();
        assert!(row["error"].as_str().unwrap().contains(&shown), "{row}");
    }
    assert_eq!(tier(&mut control), "blocked");
    fs::remove_dir(&path).unwrap();
    stage.finish();
}

#[test]
fn the_directory_of_agents_taken_away_takes_no_rule_away() {
    let stage = Stage::new(GOOD);
    let mut control = stage.daemon.control().unwrap();
    let agents = stage.data_dir().join("policies/agents");
    let aside = stage.data_dir().join("aside");
    let before = alerts(&mut control);
    fs::rename(&agents, &aside).unwrap();
    wait_for("the alert", || alerts(&mut control) > before);
    assert_eq!(tier(&mut control), "blocked");
    let problems = get(&mut control, "/policies")["problems"].clone();
    assert_eq!(problems[0]["file"], "agents", "{problems}");
    fs::rename(&aside, &agents).unwrap();
    wait_for("the directory back", || {
        get(&mut control, "/policies")["problems"] == json!([])
    });
    assert_eq!(tier(&mut control), "blocked");
    stage.finish();
}

#[test]
fn the_explanation_of_a_call_with_two_paths_names_the_one_that_decides() {
    let rules = "capabilities:\n  filesystem.*:\n    rules:\n      - {condition: {path_prefix: secret}, tier: blocked}\n    tier: autonomous\n";
    let stage = Stage::new(rules);
    let mut control = stage.daemon.control().unwrap();
    let mut ask = |capability: &str, inputs: Value| {
        let question =
            json!({"capability": capability, "agent": "default-agent", "inputs": inputs});
        control
            .request("POST", "/check-policy", Some(&question))
            .unwrap()
    };
    for (source, destination, tier, path) in [
        ("secret/a", "b", "blocked", json!("source")),
        ("a", "secret/b", "blocked", json!("destination")),
        ("secret/a", "secret/b", "blocked", Value::Null),
        ("a", "b", "autonomous", Value::Null),
    ] {
        let inputs = json!({"source": source, "destination": destination});
        let told = ask("filesystem.copy", inputs).body;
        assert_eq!(told["tier"], tier, "{told}");
        let layers = told["layers"].as_array().unwrap();
        let own = layers
            .iter()
            .find(|layer| layer["layer"] == "agent")
            .unwrap();
        assert_eq!(own["path"], path, "{told}");
    }
    let lost = json!({"trash_path": "/trash/d0193f2a4b7c-abcdefghij23"});
    let answer = ask("filesystem.restore", lost);
    assert_eq!(answer.body["error_type"], "FileNotFound", "{answer:?}");
    assert_eq!(ask("filesystem.restore", json!({})).status, 200);
    stage.finish();
}
