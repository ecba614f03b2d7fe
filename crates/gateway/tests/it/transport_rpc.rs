//! JSON-RPC for programs.

use crate::support::World;
use serde_json::{Value, json};

async fn rpc(world: &World, token: &str, body: Value) -> Value {
    let answer = world
        .send(world.post("/rpc", token, &[], body.to_string()))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn ask(id: i64, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_are_listed_described_and_invoked() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let listed = rpc(
        &world,
        &token,
        ask(1, "capabilities.list", json!({"category": "system"})),
    )
    .await;
    let all = listed["result"]["capabilities"].as_array().unwrap().clone();
    assert!(
        all.iter().all(|one| one["category"] == "system") && all.len() == 4,
        "{all:?}"
    );
    let one = rpc(
        &world,
        &token,
        ask(2, "capabilities.describe", json!({"name": "system.time"})),
    )
    .await;
    assert_eq!(one["result"]["input_schema"]["type"], "object");
    for (method, params) in [
        (
            "capabilities.invoke",
            json!({"capability": "system.time", "arguments": {}}),
        ),
        (
            "capabilities.call",
            json!({"name": "system.time", "inputs": {}}),
        ),
        ("capabilities.call", json!({"name": "system.time"})),
    ] {
        let answer = rpc(&world, &token, ask(3, method, params)).await;
        assert!(answer["result"].is_object(), "{answer}");
    }
    let session = rpc(&world, &token, ask(4, "session.create", json!({}))).await;
    assert_eq!(session["result"]["agent"], "a");
    let ended = rpc(&world, &token, ask(5, "session.end", json!({}))).await;
    assert_eq!(
        ended["result"]["session_id"],
        session["result"]["session_id"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_run_and_answered_in_order() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let write = |id: i64, text: &str| {
        ask(
            id,
            "capabilities.invoke",
            json!({"capability": "filesystem.append",
            "arguments": {"path": "log.txt", "content": text}}),
        )
    };
    let mut note = write(0, "b");
    note.as_object_mut().unwrap().remove("id");
    let batch = json!([
        ask(9, "capabilities.invoke", json!({"capability": "filesystem.write",
            "arguments": {"path": "log.txt", "content": "a"}})),
        note,
        write(1, "c"),
        ask(5, "nothing", json!({})),
        {"jsonrpc": "1.0"},
        ask(2, "capabilities.invoke", json!({"capability": "filesystem.read", "arguments": {"path": "log.txt"}})),
    ]);
    let answers = rpc(&world, &token, batch).await;
    let ids: Vec<_> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].clone())
        .collect();
    assert_eq!(ids, [json!(9), json!(1), json!(5), Value::Null, json!(2)]);
    assert_eq!(answers[4]["result"]["content"], "abc", "{answers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_codes_of_the_door_and_the_whole_structured_error() {
    let world = World::with(|config| config.approval.hold_seconds = 0).await;
    let token = world.agent("a").await;
    let rules = "  system.info: {tier: blocked}\n  system.time: {tier: approval_required}\n  \
        system.health: {tier: autonomous, rate_limit: {max: 1, window: 3600}}\n";
    world.policy("a", rules).await;
    let invoke = |name: &str| {
        ask(
            1,
            "capabilities.invoke",
            json!({"capability": name, "arguments": {}}),
        )
    };
    rpc(&world, &token, invoke("system.health")).await;
    for (message, code, error) in [
        (invoke("system.info"), -32001, "PolicyDenied"),
        (invoke("system.time"), -32002, "ApprovalPending"),
        (invoke("system.health"), -32000, "RateLimited"),
        (invoke("no.such"), -32602, "CapabilityNotFound"),
        (invoke("filesystem.read"), -32602, "InvalidInput"),
    ] {
        let answer = rpc(&world, &token, message).await;
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert_eq!(answer["error"]["data"]["error_type"], error, "{answer}");
    }
    for (body, code) in [
        (ask(1, "no.method", json!({})), -32601),
        (
            ask(1, "capabilities.invoke", json!({"capability": 7})),
            -32602,
        ),
        (json!([]), -32600),
        (json!(7), -32600),
    ] {
        assert_eq!(rpc(&world, &token, body).await["error"]["code"], code);
    }
    let pending = rpc(&world, &token, invoke("system.time")).await;
    let id = pending["error"]["data"]["context"]["request_id"].clone();
    let status = rpc(
        &world,
        &token,
        ask(2, "approvals.status", json!({"request_id": id})),
    )
    .await;
    assert_eq!(status["result"]["status"], "pending");
}
