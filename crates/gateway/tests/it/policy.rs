//! Policy as an agent meets it, and policy files as an operator does.

use crate::support::World;
use kruxos_catalog::Catalog;
use kruxos_gateway::policy_files::{PolicyFiles, Reload};
use kruxos_policy::{Query, RateCounters};
use kruxos_types::{Interface, Object, Principal, Tier};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

impl World {
    /// A call over MCP: what it answers, or its structured error.
    async fn tool(&self, token: &str, tool: &str, arguments: Value) -> Result<Value, Value> {
        let answer = self
            .ask(
                token,
                "tools/call",
                json!({"name": tool, "arguments": arguments}),
            )
            .await
            .json();
        let result = &answer["result"];
        assert!(result.is_object(), "{answer}");
        let content = result["structuredContent"].clone();
        match result["isError"] == true {
            true => Err(content),
            false => Ok(content),
        }
    }
}

const KEEP_SECRETS: &str = "  filesystem.*:\n    rules:\n      - {condition: {path_prefix: secret}, tier: blocked}\n    tier: autonomous\n";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_copied_or_moved_out_of_a_blocked_directory() {
    let world = World::start().await;
    let token = world.agent("a").await;
    world
        .policy("a", "  filesystem.*: {tier: autonomous}\n")
        .await;
    let write = json!({"path": "secret/key", "content": "k", "create_parents": true});
    world
        .tool(&token, "filesystem__write", write)
        .await
        .unwrap();
    world.policy("a", KEEP_SECRETS).await;
    for tool in ["filesystem__copy", "filesystem__move"] {
        for (source, destination) in [("secret/key", "key"), ("key", "secret/other")] {
            let paths = json!({"source": source, "destination": destination});
            let error = world.tool(&token, tool, paths).await.unwrap_err();
            assert_eq!(error["error_type"], "PolicyDenied", "{error}");
        }
    }
    let stat = world
        .tool(&token, "filesystem__stat", json!({"path": "key"}))
        .await;
    assert_eq!(stat.unwrap()["exists"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_decided_by_where_it_puts_the_file_back() {
    let world = World::start().await;
    let token = world.agent("a").await;
    world
        .policy("a", "  filesystem.*: {tier: autonomous}\n")
        .await;
    let mut trashed = Vec::new();
    for path in ["secret/key", "open/note"] {
        let write = json!({"path": path, "content": "k", "create_parents": true});
        world
            .tool(&token, "filesystem__write", write)
            .await
            .unwrap();
        let gone = world
            .tool(&token, "filesystem__delete", json!({"path": path}))
            .await;
        trashed.push(gone.unwrap()["trash_path"].as_str().unwrap().to_owned());
    }
    world.policy("a", KEEP_SECRETS).await;
    let restore =
        |path: String| world.tool(&token, "filesystem__restore", json!({"trash_path": path}));
    let error = restore(trashed[0].clone()).await.unwrap_err();
    assert_eq!(error["error_type"], "PolicyDenied", "{error}");
    let back = restore(trashed[1].clone()).await.unwrap();
    assert_eq!(back["restored_path"], "/workspace/open/note");

    // Without a sidecar that can be read there is no place to decide about, and nothing is restored.
    let id = trashed[0].rsplit('/').next().unwrap();
    let trash = world.gateway.layout.trash("agent", "a");
    let sidecar = trash.join(format!("{id}.json"));
    assert!(sidecar.is_file());
    std::fs::write(&sidecar, "{}").unwrap();
    for path in [
        trashed[0].clone(),
        "/trash/d0193f2a4b7c-abcdefghij23".to_owned(),
    ] {
        let error = restore(path).await.unwrap_err();
        assert_eq!(error["error_type"], "FileNotFound", "{error}");
    }
    assert!(trash.join(id).is_file(), "the content stays in the trash");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_restore_is_not_carried_out_once_its_place_is_blocked_or_unknown() {
    let world = World::start().await;
    let token = world.agent("a").await;
    for (lost, expected) in [(false, "PolicyDenied"), (true, "FileNotFound")] {
        world
            .policy("a", "  filesystem.*: {tier: autonomous}\n")
            .await;
        let write = json!({"path": "secret/key", "content": "k", "create_parents": true});
        world
            .tool(&token, "filesystem__write", write)
            .await
            .unwrap();
        let gone = world
            .tool(&token, "filesystem__delete", json!({"path": "secret/key"}))
            .await
            .unwrap();
        world
            .policy("a", "  filesystem.*: {tier: approval_required}\n")
            .await;
        let trash_path = gone["trash_path"].as_str().unwrap();
        let params =
            json!({"name": "filesystem__restore", "arguments": {"trash_path": trash_path}});
        let asked = world.ask(&token, "tools/call", params);
        let decided = async {
            let id = world.pending().await;
            if lost {
                let name = format!("{}.json", trash_path.rsplit('/').next().unwrap());
                let trash = world.gateway.layout.trash("agent", "a");
                std::fs::remove_file(trash.join(name)).unwrap();
            } else {
                world.policy("a", KEEP_SECRETS).await;
            }
            world.accept(&id).await;
        };
        let (answer, ()) = tokio::join!(asked, decided);
        assert!(answer.text.contains(expected), "{}", answer.text);
        let workspace = world.gateway.agents.all()[0].workspace.clone();
        assert!(!Path::new(&workspace).join("secret/key").exists());
    }
}

/// An empty data directory with policy files.
fn files(directory: &Path) -> PolicyFiles {
    let none = BTreeMap::new();
    let policies = directory.join("policies");
    PolicyFiles::open(&policies, Catalog::builtin(), none, (0, [0; 32]))
        .unwrap()
        .0
}

/// The tier of a write to `path`.
fn tier(files: &PolicyFiles, path: &str) -> Tier {
    let inputs = json!({"path": path, "content": ""});
    let inputs: Object = serde_json::from_value(inputs).unwrap();
    let query = Query {
        principal: &Principal::agent("a"),
        definition: Catalog::builtin().get("filesystem.write").unwrap(),
        inputs: &inputs,
        interface: Interface::Mcp,
        now: jiff::Timestamp::UNIX_EPOCH,
        workspace: "/srv/a",
        touches: &[],
    };
    files
        .current()
        .explain(&query, &RateCounters::default())
        .tier
}

#[test]
fn of_many_loads_at_once_the_last_text_stays_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let files = files(directory.path());
    let org = directory.path().join("policies/org.yaml");
    // Long ones take longer to compile, so that a short one that was read later overtakes them.
    let long = "  - {capability: git.push, conditions: {path_prefix: some/where}, tier: notify}\n"
        .repeat(400);
    let written = Mutex::new(0);
    let write = || {
        let mut count = written.lock().unwrap();
        *count += 1;
        let padding = if *count % 2 == 0 { long.as_str() } else { "" };
        let text = format!(
            "rules:\n  - {{capability: filesystem.write, conditions: {{path_prefix: n{count}}}, tier: blocked}}\n{padding}"
        );
        let new = org.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &org).unwrap();
    };
    for round in 0..12 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    write();
                    files.reload();
                });
            }
        });
        let last = *written.lock().unwrap();
        for number in last - 3..=last {
            let blocked = tier(&files, &format!("n{number}")) == Tier::Blocked;
            assert_eq!(
                blocked,
                number == last,
                "round {round}: rule {number} of {last}"
            );
        }
    }
}

#[test]
fn a_directory_that_cannot_be_listed_takes_no_rule_away_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let policies = directory.path().join("policies");
    let files = files(directory.path());
    let agents = policies.join("agents");
    std::fs::write(
        agents.join("a.yaml"),
        "rules: [{capability: filesystem.write, tier: blocked}]",
    )
    .unwrap();
    std::fs::write(
        policies.join("org.yaml"),
        "rules: [{capability: git.push, tier: blocked}]",
    )
    .unwrap();
    assert!(matches!(files.reload(), Reload::Applied { .. }));
    for hidden in [agents.clone(), policies.clone()] {
        let aside = directory.path().join("aside");
        std::fs::rename(&hidden, &aside).unwrap();
        std::fs::write(&hidden, "not a directory").unwrap();
        let Reload::Kept { problems, .. } = files.reload() else {
            panic!("{} is gone and nobody says so", hidden.display());
        };
        assert!(
            problems
                .iter()
                .any(|line| line.contains("cannot be listed")),
            "{problems:?}"
        );
        assert_eq!(tier(&files, "x"), Tier::Blocked);
        std::fs::remove_file(&hidden).unwrap();
        // Not there at all is no different.
        assert!(matches!(files.reload(), Reload::Kept { .. }));
        assert_eq!(tier(&files, "x"), Tier::Blocked);
        std::fs::rename(&aside, &hidden).unwrap();
        assert!(matches!(files.reload(), Reload::Applied { .. }));
        assert_eq!(files.diagnostics().0, []);
    }
    // One that lists an agent's file and cannot read it is the same.
    std::fs::remove_file(agents.join("a.yaml")).unwrap();
    std::os::unix::fs::symlink("nowhere", agents.join("a.yaml")).unwrap();
    assert!(matches!(files.reload(), Reload::Kept { .. }));
    assert_eq!(tier(&files, "x"), Tier::Blocked);
    // While a file that was taken away is gone, and does not come back with a broken one of its name.
    std::fs::remove_file(agents.join("a.yaml")).unwrap();
    assert!(matches!(files.reload(), Reload::Applied { .. }));
    assert_eq!(tier(&files, "x"), Tier::Notify);
    std::fs::write(agents.join("a.yaml"), "rules: 7").unwrap();
    assert!(matches!(files.reload(), Reload::Kept { .. }));
    assert_eq!(tier(&files, "x"), Tier::Notify);
}

#[test]
fn an_extended_file_keeps_its_last_good_version_across_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let policies = directory.path().join("policies");
    {
        let files = files(directory.path());
        std::fs::write(
            policies.join("base.yaml"),
            "rules: [{capability: filesystem.write, tier: blocked}]",
        )
        .unwrap();
        std::fs::write(policies.join("agents/a.yaml"), "extends: base.yaml").unwrap();
        assert!(matches!(files.reload(), Reload::Applied { .. }));
        assert_eq!(tier(&files, "x"), Tier::Blocked);
        std::fs::write(
            policies.join("base.yaml"),
            "rules: [{capability: filesystem.write, tier: never}]",
        )
        .unwrap();
        let Reload::Kept { problems, .. } = files.reload() else {
            panic!()
        };
        assert!(problems[0].starts_with("base.yaml:1:"), "{problems:?}");
        assert_eq!(tier(&files, "x"), Tier::Blocked);
    }
    let again = files(directory.path());
    assert_eq!(tier(&again, "x"), Tier::Blocked);
    assert_eq!(again.diagnostics().0[0].file, "base.yaml");
    // Taken away altogether, the file that needs it stays as it was.
    std::fs::remove_file(policies.join("base.yaml")).unwrap();
    assert!(matches!(again.reload(), Reload::Kept { .. }));
    assert_eq!(tier(&again, "x"), Tier::Blocked);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_entry_tells_what_a_policy_in_shadow_mode_would_have_decided() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let org = "mode: shadow\nrules:\n  - {capability: filesystem.write, conditions: {path_prefix: secret}, tier: blocked, reason: Closed soon}\n";
    let directory = world.gateway.policy.directory().to_owned();
    std::fs::write(directory.join("org.yaml"), org).unwrap();
    let reload = world.gateway.reload_policy().await;
    assert!(matches!(reload, Reload::Applied { .. }), "{reload:?}");
    for path in ["secret/key", "open/key", "secret/other"] {
        let write = json!({"path": path, "content": "k", "create_parents": true});
        world
            .tool(&token, "filesystem__write", write)
            .await
            .unwrap();
    }
    world.gateway.audit.flush().await.unwrap();
    let wanted = kruxos_audit::Query {
        capability: Some("filesystem.write".to_owned()),
        status: Some(kruxos_audit::Status::Success),
        limit: 10,
        newest_first: false,
        ..kruxos_audit::Query::default()
    };
    let page = world.gateway.audit.query(&wanted).unwrap();
    let shadows: Vec<Value> = page
        .entries
        .iter()
        .map(|entry| entry.policy_decision.as_ref().unwrap()["shadow"].clone())
        .collect();
    let blocked = json!({
        "tier": "blocked", "winner": "organisation", "file": "org.yaml", "line": 3,
        "rule": "rules[filesystem.write]", "reason": "Closed soon",
    });
    assert_eq!(shadows, [blocked.clone(), Value::Null, blocked]);
}
