//! What works, and what is said, when no gateway runs.

use crate::support::{Ran, kruxos};

fn run(directory: &std::path::Path, arguments: &[&str]) -> Ran {
    Ran::of(kruxos(directory).args(arguments).output().unwrap())
}

#[test]
fn commands_that_need_a_gateway_say_why_there_is_none() {
    let directory = tempfile::tempdir().unwrap();
    for command in [
        &["status"][..],
        &["agent", "list"],
        &["watch"],
        &["call", "system.time"],
    ] {
        let ran = run(directory.path(), command);
        assert_eq!(ran.code, 5, "{command:?}");
        assert!(ran.stdout.is_empty());
        assert!(
            ran.stderr.contains("control.sock does not exist"),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains(" up"), "{}", ran.stderr);
    }
}

#[test]
fn a_gateway_elsewhere_is_pointed_at() {
    let home = tempfile::tempdir().unwrap();
    let other = home.path().join(".local/share/kruxos/run");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("control.sock"), "").unwrap();
    let here = tempfile::tempdir().unwrap();
    let ran = Ran::of(
        kruxos(here.path())
            .env("HOME", home.path())
            .arg("status")
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, 5);
    assert!(
        ran.stderr.contains(".local/share/kruxos status"),
        "{}",
        ran.stderr
    );
}

#[test]
fn usage_mistakes_have_their_own_code() {
    let directory = tempfile::tempdir().unwrap();
    for command in [
        &["agnet"][..],
        &["agent", "create"],
        &["audit", "query", "--last", "1"],
        &["agent", "edit", "a"],
    ] {
        assert_eq!(run(directory.path(), command).code, 2, "{command:?}");
    }
    let ran = run(directory.path(), &["agnet"]);
    assert!(
        ran.stderr.contains("agent"),
        "names the nearest: {}",
        ran.stderr
    );
}

#[test]
fn version_and_completions_and_pages() {
    let directory = tempfile::tempdir().unwrap();
    let ran = run(directory.path(), &["--json", "version"]);
    let version: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (version["kruxos"].as_str(), version["gateway"].is_null()),
        (Some(env!("CARGO_PKG_VERSION")), true)
    );
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(directory.path(), &["completions", shell]);
        assert!(ran.code == 0 && ran.stdout.contains("kruxos"), "{shell}");
    }
    let page = run(directory.path(), &["man", "agent", "create"]);
    assert!(
        page.code == 0 && page.stdout.contains("kruxos-agent-create"),
        "{}",
        page.stdout
    );
    assert_eq!(run(directory.path(), &["man", "nothing"]).code, 4);
}

#[test]
fn a_policy_file_is_checked_without_a_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("org.yaml");
    std::fs::write(
        &file,
        "name: org\nversion: \"1.0\"\ncapabilities:\n  filesystem.write: {tier: notify}\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let ran = run(directory.path(), &["config", "validate", path]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    std::fs::write(
        &file,
        "name: org\nversion: \"1.0\"\ncapabilities:\n  filesystem.write: {teir: notify}\n",
    )
    .unwrap();
    let ran = run(directory.path(), &["config", "validate", path]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stdout.contains("org.yaml:4:") && ran.stdout.contains("tier"),
        "{}",
        ran.stdout
    );
    let ran = run(directory.path(), &["--json", "config", "validate", path]);
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&found["ok"], &found["diagnostics"][0]["line"]),
        (&false.into(), &4.into())
    );
    assert_eq!(
        run(
            directory.path(),
            &["config", "validate", "/nonexistent.yaml"]
        )
        .code,
        4
    );
}

#[test]
fn a_log_that_is_not_there_is_not_found() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(run(directory.path(), &["audit", "verify"]).code, 4);
    let ran = run(directory.path(), &["--json", "verify"]);
    assert_eq!(ran.code, 5);
    let list: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&list["ok"], &list["checks"][0]["name"]),
        (&false.into(), &"gateway".into())
    );
}
