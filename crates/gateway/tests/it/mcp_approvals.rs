//! Held calls as each kind of client sees them.

use crate::support::{PATIENCE, World, call, initialize, modern_body};
use kruxos_store::ApprovalState;
use kruxos_types::ApprovalId;
use serde_json::{Value, json};

const HELD: &str = "  system.time: {tier: approval_required}\n";

async fn world(hold_seconds: u64) -> (World, String) {
    let world = World::with(|config| config.approval.hold_seconds = hold_seconds).await;
    let token = world.agent("a").await;
    world.policy("a", HELD).await;
    (world, token)
}

fn time() -> Value {
    json!({"name": "system__time", "arguments": {}})
}

fn with_tasks(mut params: Value) -> Value {
    params["_meta"] = json!({"io.modelcontextprotocol/clientCapabilities": {
        "extensions": {"io.modelcontextprotocol/tasks": {}}}});
    params
}

async fn until(world: &World, id: &ApprovalId, done: impl Fn(&kruxos_store::Approval) -> bool) {
    let mut changes = world.gateway.approval_changes();
    let wait = async {
        loop {
            changes.borrow_and_update();
            if done(&world.gateway.store.approval(id).await.unwrap().unwrap()) {
                return;
            }
            // The result is taken without a wake-up, so a change is not the only thing to look at.
            tokio::select! {
                changed = changes.changed() => changed.unwrap(),
                () = tokio::task::yield_now() => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("the request did not get there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_gets_the_real_result() {
    let (world, token) = world(3600).await;
    let mut socket = world.socket(&token).await;
    socket.ask(initialize("2025-11-25")).await;
    socket.send(call(2, "system__time", json!({}))).await;
    let id = world.pending().await;
    world.accept(&id).await;
    let answer = socket.next().await;
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    assert!(
        answer["result"]["structuredContent"]
            .get("request_id")
            .is_none(),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_is_a_normal_result_and_the_same_call_later_gets_the_outcome() {
    let (world, token) = world(0).await;
    let other = world.agent("b").await;
    let pending = world.ask(&token, "tools/call", time()).await.json()["result"].clone();
    assert_eq!(pending["isError"], false);
    let facts = &pending["structuredContent"];
    assert_eq!(facts["error_type"], "ApprovalPending");
    let id = facts["context"]["request_id"].as_str().unwrap().to_owned();
    let check = json!({"request_id": id});
    let status = world
        .ask(&token, "kruxos/checkApproval", check.clone())
        .await
        .json();
    assert_eq!(status["result"]["status"], "pending", "{status}");
    assert_eq!(
        world
            .ask(&other, "kruxos/checkApproval", check.clone())
            .await
            .code(),
        -32602
    );
    let id = ApprovalId::from_text(&id);
    world.accept(&id).await;
    until(&world, &id, |one| one.state == ApprovalState::Executed).await;
    let result = world.ask(&token, "tools/call", time()).await.json()["result"].clone();
    assert!(
        result["structuredContent"].get("error_type").is_none(),
        "{result}"
    );
    let status = world
        .ask(&token, "kruxos/checkApproval", check)
        .await
        .json();
    assert_eq!(
        status["result"]["result"], result["structuredContent"],
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_tasks_gets_a_task_that_only_it_can_see() {
    let (world, token) = world(3600).await;
    let made = world
        .ask(&token, "tools/call", with_tasks(time()))
        .await
        .json()["result"]
        .clone();
    assert_eq!(
        (&made["resultType"], &made["status"]),
        (&json!("task"), &json!("working"))
    );
    let task = made["taskId"].as_str().unwrap().to_owned();
    let id = world.pending().await;
    assert!(
        made["statusMessage"]
            .as_str()
            .unwrap()
            .contains(id.as_str()),
        "{made}"
    );
    assert!(
        task.len() > 40 && made["ttlMs"].as_u64().unwrap() > 0,
        "{made}"
    );
    let get = |task: &str| with_tasks(json!({"taskId": task}));
    let working = world.ask(&token, "tasks/get", get(&task)).await.json()["result"].clone();
    assert_eq!(
        (&working["status"], working.get("result")),
        (&json!("working"), None)
    );
    let other = world.agent("b").await;
    for method in ["tasks/get", "tasks/cancel", "tasks/update"] {
        assert_eq!(
            world.ask(&other, method, get(&task)).await.code(),
            -32602,
            "{method}"
        );
        assert_eq!(
            world.ask(&token, method, get(id.as_str())).await.code(),
            -32602,
            "{method}"
        );
        let undeclared = world.ask(&token, method, json!({"taskId": task})).await;
        assert_eq!(
            (undeclared.status.as_u16(), undeclared.code()),
            (400, -32021),
            "{method}"
        );
    }
    let wrong_header = modern_body(1, "tasks/get", get(&task));
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tasks/get"),
        ("mcp-name", "another"),
    ];
    let refused = world
        .send(world.post("/mcp", &token, &headers, wrong_header.to_string()))
        .await;
    assert_eq!(refused.code(), -32020);
    world.accept(&id).await;
    until(&world, &id, |one| one.state == ApprovalState::Executed).await;
    let done = world.ask(&token, "tasks/get", get(&task)).await.json()["result"].clone();
    assert_eq!(
        (&done["status"], &done["result"]["isError"]),
        (&json!("completed"), &json!(false))
    );
    assert!(done["result"]["structuredContent"].is_object(), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_task_is_completed_with_an_error_and_a_withdrawn_one_cancelled() {
    let (world, token) = world(3600).await;
    let make = || async {
        let made = world
            .ask(&token, "tools/call", with_tasks(time()))
            .await
            .json();
        made["result"]["taskId"].as_str().unwrap().to_owned()
    };
    let task = make().await;
    let decision = kruxos_store::Decision::Reject {
        by: "op".to_owned(),
        reason: Some("no".to_owned()),
    };
    world
        .gateway
        .decide(&world.pending().await, decision)
        .await
        .unwrap();
    let get = |task: &str| with_tasks(json!({"taskId": task}));
    let done = world.ask(&token, "tasks/get", get(&task)).await.json()["result"].clone();
    assert_eq!(
        (&done["status"], &done["result"]["isError"]),
        (&json!("completed"), &json!(true))
    );
    assert_eq!(
        done["result"]["structuredContent"]["error_type"],
        "ApprovalRejected"
    );
    world
        .policy(
            "a",
            "  system.time: {tier: approval_required, reason: again}\n",
        )
        .await;
    let task = make().await;
    for _ in 0..2 {
        let answer = world.ask(&token, "tasks/cancel", get(&task)).await.json()["result"].clone();
        assert_eq!(
            (&answer["resultType"], answer.get("taskId")),
            (&json!("complete"), None)
        );
    }
    let gone = world.ask(&token, "tasks/get", get(&task)).await.json();
    assert_eq!(gone["result"]["status"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_request_is_never_answered_and_stays_in_the_queue() {
    let (world, token) = world(3600).await;
    let mut socket = world.socket(&token).await;
    socket.ask(initialize("2025-06-18")).await;
    socket.send(call(2, "system__time", json!({}))).await;
    let id = world.pending().await;
    let twice = socket.ask(call(2, "system__time", json!({}))).await;
    assert_eq!(
        twice["error"]["code"], -32600,
        "an id at work cannot be used again"
    );
    socket
        .send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}))
        .await;
    let next = socket
        .ask(json!({"jsonrpc": "2.0", "id": 3, "method": "ping"}))
        .await;
    assert_eq!(next, json!({"jsonrpc": "2.0", "id": 3, "result": {}}));
    let kept = world.gateway.store.approval(&id).await.unwrap().unwrap();
    assert_eq!(kept.state, ApprovalState::Pending);
    let answered = socket.ask(call(2, "system__info", json!({}))).await;
    assert_eq!(
        answered["id"], 2,
        "the id is free again once the request has ended"
    );
}

/// Leaves while a call is held, lets it be approved, and answers whether somebody took the result.
async fn taken_after_leaving(legacy: bool) -> bool {
    let (world, token) = world(3600).await;
    let request = if legacy {
        let (session, _) = world.initialize(&token, "2025-11-25").await;
        let body = call(2, "system__time", json!({})).to_string();
        world.post(
            "/mcp",
            &token,
            &[("mcp-session-id", session.as_str())],
            body,
        )
    } else {
        world.modern(&token, "tools/call", time())
    };
    let stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let driving = tokio::spawn(connection);
    let asking = tokio::spawn(async move { sender.send_request(request).await.map(drop) });
    let id = world.pending().await;
    let before = world.gateway.tasks.len();
    asking.abort();
    driving.abort();
    // The connection's task ends when the gateway sees it gone; in the modern era the call's does too.
    let gone = if legacy { 1 } else { 2 };
    let left = async {
        while world.gateway.tasks.len() > before - gone {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, left)
        .await
        .expect("the gateway did not notice");
    world.accept(&id).await;
    until(&world, &id, |one| {
        one.state == ApprovalState::Executed && (!legacy || one.result_taken)
    })
    .await;
    world
        .gateway
        .store
        .approval(&id)
        .await
        .unwrap()
        .unwrap()
        .result_taken
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_cancels_in_the_modern_era() {
    assert!(!taken_after_leaving(false).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_cancels_nothing_in_the_legacy_era() {
    assert!(taken_after_leaving(true).await);
}
