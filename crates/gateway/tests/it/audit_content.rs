//! What the audit log on disk holds of a call: facts, and of content size and SHA-256 only.

use crate::support::World;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Every byte of the log.
async fn log(world: &World) -> Vec<u8> {
    world.gateway.audit.flush().await.unwrap();
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(world.gateway.layout.audit()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            bytes.extend(std::fs::read(path).unwrap());
        }
    }
    bytes
}

fn holds(log: &[u8], text: &str) -> bool {
    log.windows(text.len())
        .any(|window| window == text.as_bytes())
}

fn digest(bytes: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes.as_bytes()))
}

async fn tool(world: &World, token: &str, tool: &str, arguments: Value) -> Value {
    let answer = world
        .ask(
            token,
            "tools/call",
            json!({"name": tool, "arguments": arguments}),
        )
        .await
        .json();
    answer["result"]["structuredContent"].clone()
}

/// Calls whose contents all begin with `needle`.
async fn calls(world: &World, token: &str) {
    let write = json!({"path": "notes.md", "content": "needle-written\n"});
    tool(world, token, "filesystem__write", write).await;
    tool(
        world,
        token,
        "filesystem__read",
        json!({"path": "notes.md"}),
    )
    .await;
    let edit =
        json!({"path": "notes.md", "pattern": "needle-written", "replace": "needle-replaced"});
    let edited = tool(world, token, "filesystem__edit", edit).await;
    assert_eq!(edited["applied"], "applied", "{edited}");
    let broken =
        json!({"path": "notes.md", "pattern": "needle-broken(", "replace": "", "regex": true});
    let error = tool(world, token, "filesystem__edit", broken).await;
    assert_eq!(error["error_type"], "InvalidPattern", "{error}");
    for value in [json!("needle-short"), json!({"deep": ["needle-deep"]})] {
        let set = json!({"key": "greeting", "value": value});
        tool(world, token, "state__session__set", set.clone()).await;
        tool(
            world,
            token,
            "state__session__get",
            json!({"key": "greeting"}),
        )
        .await;
        tool(world, token, "state__persistent__set", set).await;
        tool(
            world,
            token,
            "state__persistent__get",
            json!({"key": "greeting"}),
        )
        .await;
    }
    let alert =
        json!({"message": "needle-alert", "severity": "info", "context": {"why": "needle-why"}});
    tool(world, token, "alerts__send", alert).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_content_of_any_input_or_result_reaches_the_log() {
    let world = World::start().await;
    let token = world.agent("a").await;
    world.policy("a", "  '*': {tier: autonomous}\n").await;
    calls(&world, &token).await;
    // Refused and held calls are recorded too.
    world
        .policy(
            "a",
            "  filesystem.edit: {tier: blocked}\n  filesystem.append: {tier: approval_required}\n",
        )
        .await;
    let edit = json!({"path": "notes.md", "pattern": "needle-blocked", "replace": "needle-too"});
    let error = tool(&world, &token, "filesystem__edit", edit).await;
    assert_eq!(error["error_type"], "PolicyDenied", "{error}");
    let append = json!({"path": "notes.md", "content": "needle-held"});
    let held = tool(&world, &token, "filesystem__append", append);
    let decided = async {
        let id = world.pending().await;
        world.accept(&id).await;
    };
    let (held, ()) = tokio::join!(held, decided);
    assert!(held["new_size"].is_u64(), "{held}");

    let log = log(&world).await;
    assert!(!holds(&log, "needle"), "content is in the log");
    for text in [
        "needle-written\n",
        "needle-written",
        "needle-replaced",
        "needle-broken(",
        "needle-short",
        "{\"deep\":[\"needle-deep\"]}",
        "needle-alert",
        "needle-blocked",
        "needle-held",
    ] {
        assert!(holds(&log, &digest(text)), "no SHA-256 of {text:?}");
    }
    for fact in ["notes.md", "greeting", "InvalidPattern", "PolicyDenied"] {
        assert!(holds(&log, fact), "{fact} is missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_kept_whole_where_the_operator_wants_it() {
    let world = World::with(|config| config.audit.include_content = true).await;
    let token = world.agent("a").await;
    world.policy("a", "  '*': {tier: autonomous}\n").await;
    calls(&world, &token).await;
    let log = log(&world).await;
    for text in [
        "needle-written",
        "needle-replaced",
        "needle-broken(",
        "needle-short",
        "needle-why",
    ] {
        assert!(holds(&log, text), "{text} is missing");
    }
}
