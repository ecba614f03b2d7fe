//! A refusal says what was wrong and what to do next, whatever the door and however early.

use crate::support::{Answer, MODERN, World, initialize, modern_body};
use http::Method;
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};

/// The shape of every error, everywhere (spec: `{error_type, description, …}`).
fn assert_structured(error: &Value, what: &str) {
    for key in ["error_type", "description", "agent_description"] {
        let text = error[key].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{what}: no {key} in {error}");
    }
    let recovery = error["recovery_actions"].as_array();
    assert!(
        recovery.is_some_and(|all| !all.is_empty()),
        "{what}: {error}"
    );
    assert!(error["retryable"].is_boolean(), "{what}: {error}");
    assert!(error["context"].is_object(), "{what}: {error}");
}

/// What every door answers to one text.
async fn everywhere(world: &World, token: &str, session: &str, text: &str) -> Vec<(String, Value)> {
    let modern = [("mcp-protocol-version", MODERN)];
    let legacy = [("mcp-session-id", session)];
    let mut all = Vec::new();
    for (door, path, headers) in [
        ("rpc", "/rpc", &[][..]),
        ("modern", "/mcp", &modern),
        ("legacy", "/mcp", &legacy),
    ] {
        let answer = world
            .send(world.post(path, token, headers, text.to_owned()))
            .await;
        all.push((door.to_owned(), answer.json()["error"].clone()));
    }
    let mut socket = world.socket(token).await;
    socket.ask(initialize("2025-11-25")).await;
    socket.text(text.to_owned()).await;
    all.push(("websocket".to_owned(), socket.next().await["error"].clone()));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_fault_carries_the_same_structured_error_on_every_door() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let (session, _) = world.initialize(&token, "2025-11-25").await;
    for (text, code, field) in [
        ("{", -32700, "message"),
        ("nonsense", -32700, "message"),
        ("7", -32600, "message"),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#,
            -32600,
            "message",
        ),
        (
            r#"{"jsonrpc":"2.0","id":{},"method":"a"}"#,
            -32600,
            "message",
        ),
    ] {
        let all = everywhere(&world, &token, &session, text).await;
        for (door, error) in &all {
            let what = format!("{door}: {text}");
            assert_eq!(error["code"], code, "{what}: {error}");
            assert_structured(&error["data"], &what);
            assert_eq!(error["data"]["error_type"], "InvalidInput", "{what}");
            assert_eq!(error["data"]["context"]["field"], field, "{what}");
            assert_eq!(*error, all[0].1, "{what}: the doors differ");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_method_is_told_which_there_are() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let (session, _) = world.initialize(&token, "2025-11-25").await;
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "no/such"});
    let headers = [("mcp-protocol-version", MODERN), ("mcp-method", "no/such")];
    let modern = modern_body(1, "no/such", json!({})).to_string();
    let rpc = world.post("/rpc", &token, &[], message.to_string());
    for (door, answer, known) in [
        ("rpc", world.send(rpc).await, "capabilities.invoke"),
        (
            "legacy",
            world.on(&token, &session, message).await,
            "logging/setLevel",
        ),
        (
            "modern",
            world
                .send(world.post("/mcp", &token, &headers, modern))
                .await,
            "server/discover",
        ),
    ] {
        assert_eq!(answer.code(), -32601, "{door}");
        let data = &answer.json()["error"]["data"];
        assert_structured(data, door);
        assert_eq!(data["context"]["field"], "method", "{door}");
        let expected = data["context"]["expected"].as_str().unwrap();
        assert!(expected.contains(known), "{door}: {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_revision_wants_in_data_stands_beside_the_structured_error() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let lost = world
        .ask(&token, "tasks/get", json!({"taskId": "task_none"}))
        .await;
    let data = &lost.json()["error"]["data"];
    assert_eq!(lost.code(), -32021);
    assert_structured(data, "a capability that was not declared");
    let tasks = "io.modelcontextprotocol/tasks";
    assert!(
        data["requiredCapabilities"]["extensions"][tasks].is_object(),
        "{data}"
    );
    let bare = world.ask(&token, "tools/call", json!({})).await;
    assert_eq!(bare.code(), -32602);
    assert_structured(&bare.json()["error"]["data"], "missing parameters");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_says_how_to_go_on() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let answer = world.on(&token, "nosuchsession", ping).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (404, -32600));
    let data = &answer.json()["error"]["data"];
    assert_structured(data, "an unknown session");
    assert_eq!(data["error_type"], "SessionExpired");
    assert_eq!(data["context"]["session_id"], "nosuchsession");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_http_itself_is_refused_for_is_structured_too() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let bearer = format!("Bearer {token}");
    let plain = |method: Method, path: &str, kind: &str| {
        world
            .request(method, path)
            .header("authorization", &bearer)
            .header("content-type", kind)
            .body(Full::new(Bytes::from("{}")))
            .unwrap()
    };
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let upgrade = world
        .request(Method::GET, "/mcp")
        .header("authorization", &bearer)
        .header("upgrade", "websocket")
        .body(Full::default())
        .unwrap();
    for (what, request, status, field) in [
        ("no such path", plain(Method::GET, "/x", json), 404, "path"),
        (
            "a form for /rpc",
            plain(Method::POST, "/rpc", form),
            415,
            "Content-Type",
        ),
        (
            "a form for /mcp",
            plain(Method::POST, "/mcp", form),
            415,
            "Content-Type",
        ),
        ("GET /rpc", plain(Method::GET, "/rpc", json), 405, "method"),
        ("PUT /mcp", plain(Method::PUT, "/mcp", json), 405, "method"),
        ("half a handshake", upgrade, 426, "Upgrade"),
    ] {
        let answer: Answer = world.send(request).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
        assert_structured(&answer.json(), what);
        assert_eq!(answer.json()["context"]["field"], field, "{what}");
        assert_eq!(
            status == 405,
            answer.headers.contains_key("allow"),
            "{what}"
        );
    }
}
