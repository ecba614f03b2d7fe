//! Revisions that begin with `initialize`, over HTTP.

use crate::support::{World, call, initialize};
use http::Method;
use http_body_util::Full;
use serde_json::{Value, json};

fn ping(id: i64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "ping"})
}

async fn delete(world: &World, token: &str, session: &str) -> u16 {
    let request = world
        .request(Method::DELETE, "/mcp")
        .header("authorization", format!("Bearer {token}"))
        .header("mcp-session-id", session);
    world
        .send(request.body(Full::default()).unwrap())
        .await
        .status
        .as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_agreed_on_and_works() {
    let world = World::start().await;
    let token = world.agent("a").await;
    for (asked, agreed) in [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("nonsense", "2025-11-25"),
    ] {
        let (session, result) = world.initialize(&token, asked).await;
        assert_eq!(result["protocolVersion"], agreed);
        assert!(
            result["instructions"]
                .as_str()
                .unwrap()
                .contains("ApprovalPending")
        );
        let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let accepted = world.on(&token, &session, note).await;
        assert_eq!(
            (accepted.status.as_u16(), accepted.text.as_str()),
            (202, "")
        );
        assert_eq!(
            world.on(&token, &session, ping(2)).await.json()["result"],
            json!({})
        );
        let time = world
            .on(&token, &session, call(3, "system__time", json!({})))
            .await
            .json();
        assert_eq!(time["result"]["isError"], false);
        assert_eq!(
            time["result"].get("structuredContent").is_some(),
            agreed != "2025-03-26"
        );
        assert!(time["result"].get("resultType").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_tokens_alone_and_ends_with_delete() {
    let world = World::start().await;
    let (alice, bob) = (world.agent("alice").await, world.agent("bob").await);
    let (session, _) = world.initialize(&alice, "2025-11-25").await;
    assert_eq!(world.on(&bob, &session, ping(2)).await.status, 404);
    assert_eq!(delete(&world, &bob, &session).await, 404);
    assert_eq!(world.on(&alice, "made-up", ping(2)).await.status, 404);
    let none = world
        .send(world.post("/mcp", &alice, &[], ping(2).to_string()))
        .await;
    assert_eq!(none.status, 400);
    assert_eq!(world.on(&alice, &session, ping(2)).await.status, 200);
    assert_eq!(delete(&world, &alice, &session).await, 204);
    assert_eq!(delete(&world, &alice, &session).await, 404);
    assert_eq!(world.on(&alice, &session, ping(2)).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_methods_are_answers() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let (session, _) = world.initialize(&token, "2025-11-25").await;
    let method = |name: &str, params: Value| json!({"jsonrpc": "2.0", "id": 7, "method": name, "params": params});
    for (message, code) in [
        (method("unknown/method", json!({})), -32601),
        (method("tasks/get", json!({"taskId": "x"})), -32601),
        (method("logging/setLevel", json!({"level": "loud"})), -32602),
        (method("tools/call", json!({"name": 7})), -32602),
        (initialize("2025-11-25"), -32600),
    ] {
        let answer = world.on(&token, &session, message.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (200, code),
            "{message}"
        );
        assert_eq!(answer.json()["id"], message["id"]);
    }
    let fine = world
        .on(
            &token,
            &session,
            method("logging/setLevel", json!({"level": "error"})),
        )
        .await;
    assert_eq!(fine.json()["result"], json!({}));
    let headers = [
        ("mcp-session-id", session.as_str()),
        ("mcp-protocol-version", "1999-01-01"),
    ];
    assert_eq!(
        world
            .send(world.post("/mcp", &token, &headers, ping(8).to_string()))
            .await
            .status,
        400
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_for_the_one_revision_that_has_them() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let batch = json!([
        ping(1),
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}},
        {"jsonrpc": "2.0", "id": 2, "method": "nothing"},
        7,
        call(3, "system__time", json!({})),
    ]);
    let (old, _) = world.initialize(&token, "2025-03-26").await;
    let answers = world.on(&token, &old, batch.clone()).await.json();
    let ids: Vec<_> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].clone())
        .collect();
    assert_eq!(ids, [json!(1), json!(2), Value::Null, json!(3)]);
    assert_eq!(world.on(&token, &old, json!([])).await.code(), -32600);
    let notes = json!([{"jsonrpc": "2.0", "method": "notifications/initialized"}]);
    assert_eq!(world.on(&token, &old, notes).await.status, 202);
    let (new, _) = world.initialize(&token, "2025-06-18").await;
    let refused = world.on(&token, &new, batch).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (400, -32600));
}

#[tokio::test(flavor = "multi_thread")]
async fn older_clients_get_no_priming_event_and_no_event_ids() {
    let world = World::start().await;
    let token = world.agent("a").await;
    for version in ["2025-03-26", "2025-06-18"] {
        let (session, _) = world.initialize(&token, version).await;
        let mut events = world.listen(&token, &session, None).await;
        let tier = if version == "2025-03-26" {
            "notify"
        } else {
            "blocked"
        };
        world
            .policy("a", &format!("  system.time: {{tier: {tier}}}\n"))
            .await;
        let first = events.block().await.unwrap();
        assert!(
            first.contains("notifications/tools/list_changed"),
            "{version}: {first}"
        );
        assert!(
            !first.contains("id: ") && !first.contains("retry:"),
            "{version}: {first}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_2025_11_25_is_taken_up_where_it_broke() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let (session, _) = world.initialize(&token, "2025-11-25").await;
    let mut events = world.listen(&token, &session, None).await;
    let priming = events.block().await.unwrap();
    assert!(
        priming.starts_with("id: ") && priming.contains("retry:"),
        "{priming}"
    );
    assert_eq!(priming.lines().last(), Some("data:"));
    world.policy("a", "  system.time: {tier: notify}\n").await;
    let (id, first) = events.message().await;
    assert_eq!(first["method"], "notifications/tools/list_changed");
    drop(events);
    world.policy("a", "  system.time: {tier: blocked}\n").await;
    world
        .policy("a", "  system.time: {tier: autonomous}\n")
        .await;
    let mut again = world.listen(&token, &session, id.as_deref()).await;
    let (second, _) = again.message().await;
    let (third, _) = again.message().await;
    assert!(id != second && second != third && third.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_listening_stream_of_a_session_ends_the_first() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let (session, _) = world.initialize(&token, "2025-06-18").await;
    let mut first = world.listen(&token, &session, None).await;
    let _second = world.listen(&token, &session, None).await;
    let (_, why) = first.message().await;
    assert_eq!(
        why["params"]["data"]["closing"],
        "another listening stream of this session"
    );
    assert!(first.block().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_change_is_a_log_message_unless_the_client_wants_less() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let (session, _) = world.initialize(&token, "2025-11-25").await;
    let mut events = world.listen(&token, &session, None).await;
    let watch = call(2, "filesystem__watch", json!({"path": "/workspace"}));
    assert_eq!(
        world.on(&token, &session, watch).await.json()["result"]["isError"],
        false
    );
    let write = |name: &str| {
        call(
            3,
            "filesystem__write",
            json!({"path": name, "content": "x"}),
        )
    };
    world.on(&token, &session, write("one.txt")).await;
    let (_, message) = events.message().await;
    assert_eq!(message["method"], "notifications/message");
    assert_eq!(message["params"]["logger"], "kruxos.filesystem.watch");
    assert_eq!(message["params"]["data"]["path"], "/workspace/one.txt");
    let quiet = json!({"jsonrpc": "2.0", "id": 4, "method": "logging/setLevel", "params": {"level": "error"}});
    world.on(&token, &session, quiet).await;
    world.policy("a", "  system.time: {tier: notify}\n").await;
    loop {
        let (_, message) = events.message().await;
        if message["method"] == "notifications/tools/list_changed" {
            return;
        }
        assert_eq!(
            message["params"]["data"]["path"], "/workspace/one.txt",
            "said before the level was set"
        );
    }
}
