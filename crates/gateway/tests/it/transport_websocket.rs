//! MCP over WebSocket.

use crate::support::{World, call, initialize};
use futures_util::SinkExt;
use kruxos_gateway::config::OnConflict;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message};

fn ping(id: i64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "ping"})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_legacy_revision_is_spoken_and_bad_json_keeps_the_connection() {
    let world = World::start().await;
    let token = world.agent("a").await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut socket = world.socket(&token).await;
        assert_eq!(
            socket.ask(initialize(version)).await["result"]["protocolVersion"],
            version
        );
        socket.text("{nonsense".to_owned()).await;
        let fault = socket.next().await;
        assert_eq!(
            (&fault["error"]["code"], &fault["id"]),
            (&json!(-32700), &Value::Null)
        );
        assert_eq!(socket.ask(ping(3)).await["result"], json!({}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_as_they_are_ready() {
    let world = World::with(|config| config.approval.hold_seconds = 3600).await;
    let token = world.agent("a").await;
    world
        .policy("a", "  system.time: {tier: approval_required}\n")
        .await;
    let mut socket = world.socket(&token).await;
    socket.ask(initialize("2025-11-25")).await;
    socket.send(call(2, "system__time", json!({}))).await;
    assert_eq!(
        socket.ask(call(3, "system__info", json!({}))).await["id"],
        3
    );
    world.accept(&world.pending().await).await;
    assert_eq!(socket.next().await["id"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_closes_with_1009() {
    let world = World::with(|config| config.server.max_message_bytes = 64 * 1024).await;
    let token = world.agent("a").await;
    let mut socket = world.socket(&token).await;
    // The gateway may close before all of it is written.
    drop(
        socket
            .0
            .send(Message::text("x".repeat(64 * 1024 + 1)))
            .await,
    );
    let (code, reason) = socket.closed().await;
    assert_eq!(code, 1009);
    assert!(reason.contains("server.max_message_bytes"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_frames_are_not_messages() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let mut socket = world.socket(&token).await;
    socket
        .0
        .send(Message::binary(ping(1).to_string().into_bytes()))
        .await
        .unwrap();
    assert_eq!(socket.closed().await.0, 1003);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_client_of_the_same_agent_replaces_the_older() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let mut events = world.gateway.events.subscribe();
    let mut older = world.socket(&token).await;
    older.ask(initialize("2025-11-25")).await;
    let mut newer = world.socket(&token).await;
    let (code, reason) = older.closed().await;
    assert_eq!(code, 4009);
    assert!(
        reason.starts_with("replaced by a new session of the same agent from 127.0.0.1:"),
        "{reason}"
    );
    assert!(newer.ask(initialize("2025-11-25")).await["result"].is_object());
    let replaced = loop {
        let event = events.recv().await.unwrap();
        if event.data["event"] == "connection replaced" {
            break event.data.clone();
        }
    };
    assert!(
        reason.ends_with(replaced["new_peer"].as_str().unwrap()),
        "{replaced}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_refuses_the_newer_and_share_keeps_both() {
    for (mode, refused) in [(OnConflict::Reject, true), (OnConflict::Share, false)] {
        let world = World::with(|config| config.session.on_conflict = mode).await;
        let token = world.agent("a").await;
        let mut older = world.socket(&token).await;
        older.ask(initialize("2025-11-25")).await;
        match world.try_socket("/mcp", &token).await {
            Err(Error::Http(response)) if refused => {
                assert_eq!(response.status(), 409);
                let body: Value =
                    serde_json::from_slice(response.body().as_ref().unwrap()).unwrap();
                assert_eq!(body["error_type"], "session.limit");
            }
            Ok(mut newer) if !refused => {
                newer.ask(initialize("2025-11-25")).await;
            }
            other => panic!("{mode:?}: {:?}", other.err()),
        }
        assert_eq!(older.ask(ping(5)).await["id"], 5, "{mode:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn initialize_may_bring_the_token() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let mut message = initialize("2025-11-25");
    message["params"]["_meta"] = json!({"kruxos/auth": {"agent": "a", "token": token}});
    let mut socket = world.socket("").await;
    assert!(socket.ask(message.clone()).await["result"].is_object());
    assert_eq!(
        socket.ask(call(2, "system__time", json!({}))).await["result"]["isError"],
        false
    );
    let large = "x".repeat(100_000);
    let answer = socket
        .ask(call(
            3,
            "filesystem__write",
            json!({"path": "large", "content": large}),
        ))
        .await;
    assert_eq!(
        answer["result"]["isError"], false,
        "the limit is lifted once the sender is proved"
    );

    message["params"]["_meta"]["kruxos/auth"]["token"] = json!("0".repeat(64));
    let mut stranger = world.socket("").await;
    let refused = stranger.ask(message).await;
    assert_eq!(
        refused["error"]["data"]["error_type"],
        "auth.invalid_credentials"
    );
    assert_eq!(stranger.closed().await.0, 1008);

    let mut silent = world.socket("").await;
    let first = silent.ask(ping(1)).await;
    assert_eq!(
        first["error"]["data"]["error_type"],
        "auth.invalid_credentials"
    );
    assert_eq!(silent.closed().await.0, 1008);
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_an_agent_closes_its_connection_and_answers_what_it_held() {
    let world = World::with(|config| config.approval.hold_seconds = 3600).await;
    let token = world.agent("a").await;
    world
        .policy("a", "  system.time: {tier: approval_required}\n")
        .await;
    let mut socket = world.socket(&token).await;
    socket.ask(initialize("2025-11-25")).await;
    socket.send(call(2, "system__time", json!({}))).await;
    world.pending().await;
    let name = kruxos_types::AgentName::new("a").unwrap();
    world
        .gateway
        .supervise_agent(
            &name,
            kruxos_gateway::agents::Supervision::Kill,
            &kruxos_gateway::operator::Operator::gateway(),
        )
        .await
        .unwrap();
    let answer = socket.next().await;
    assert_eq!(
        answer["result"]["structuredContent"]["error_type"],
        "ApprovalPending"
    );
    assert_eq!(socket.closed().await.0, 4001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_gateway_says_goodbye() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let mut socket = world.socket(&token).await;
    socket.ask(initialize("2025-11-25")).await;
    let gateway = world.gateway.clone();
    let stopping = tokio::spawn(async move { gateway.stop().await });
    assert_eq!(socket.closed().await.0, 1001);
    drop(socket);
    tokio::time::timeout(crate::support::PATIENCE, stopping)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_client_is_told_when_its_tools_change() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let mut socket = world.socket(&token).await;
    socket.ask(initialize("2025-11-25")).await;
    socket
        .send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
    socket.ask(ping(2)).await;
    world.policy("a", "  system.time: {tier: blocked}\n").await;
    assert_eq!(
        socket.next().await["method"],
        "notifications/tools/list_changed"
    );
}
