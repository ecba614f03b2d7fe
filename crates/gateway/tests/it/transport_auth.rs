//! Who may ask at all.

use crate::support::{World, call, initialize, modern_body};
use http::Method;
use http_body_util::Full;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nothing_is_answered() {
    let world = World::start().await;
    let body = modern_body(1, "server/discover", json!({})).to_string();
    for (path, code) in [("/mcp", None), ("/rpc", Some(-32003))] {
        let answer = world.send(world.post(path, "", &[], body.clone())).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(
            answer.headers["www-authenticate"]
                .to_str()
                .unwrap()
                .starts_with("Bearer")
        );
        match code {
            None => assert_eq!(answer.json()["error_type"], "auth.invalid_credentials"),
            Some(code) => assert_eq!(answer.code(), code),
        }
    }
    for method in [Method::GET, Method::DELETE] {
        let request = world.request(method, "/mcp").header("mcp-session-id", "x");
        assert_eq!(
            world
                .send(request.body(Full::default()).unwrap())
                .await
                .status,
            401
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_token_is_told_so_and_the_eleventh_failure_waits() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let ask = |token: String| {
        world.post(
            "/mcp",
            &token,
            &[],
            modern_body(1, "server/discover", json!({})).to_string(),
        )
    };
    let answer = world.send(ask(token[..63].to_owned())).await;
    assert!(
        answer.json()["description"]
            .as_str()
            .unwrap()
            .contains("got 63"),
        "{}",
        answer.text
    );
    for _ in 1..10 {
        assert_eq!(world.send(ask("0".repeat(64))).await.status, 401);
    }
    let limited = world.send(ask("0".repeat(64))).await;
    assert_eq!(limited.status, 429);
    assert_eq!(limited.json()["error_type"], "auth.rate_limited");
    assert!(
        limited.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    let good = world
        .ask(&format!(" {token}"), "server/discover", json!({}))
        .await;
    assert_eq!(
        good.status, 200,
        "a right token is never refused for its neighbour's failures"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_query_needs_the_switch() {
    for allowed in [false, true] {
        let world = World::with(|config| config.server.allow_query_token = allowed).await;
        let token = world.agent("a").await;
        let path = format!("/rpc?token={token}");
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "session.create"}).to_string();
        let answer = world.send(world.post(&path, "", &[], body)).await;
        assert_eq!(
            answer.status,
            if allowed { 200 } else { 401 },
            "allowed: {allowed}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn initialize_may_bring_the_token_and_its_session_then_stands_for_it() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let mut message = initialize("2025-11-25");
    message["params"]["_meta"] = json!({"kruxos/auth": {"agent": "a", "token": token}});
    let answer = world
        .send(world.post("/mcp", "", &[], message.to_string()))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let session = answer.headers["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let time = world
        .on("", &session, call(2, "system__time", json!({})))
        .await;
    assert_eq!(time.json()["result"]["isError"], false, "{}", time.text);

    let (by_header, _) = world.initialize(&token, "2025-11-25").await;
    let stolen = world
        .on("", &by_header, call(2, "system__time", json!({})))
        .await;
    assert_eq!(
        stolen.status, 401,
        "a session made with a header is no credential"
    );

    message["params"]["_meta"]["kruxos/auth"]["agent"] = json!("b");
    let other = world
        .send(world.post("/mcp", "", &[], message.to_string()))
        .await;
    assert_eq!(other.status, 401);
    message["params"]["padding"] = json!("x".repeat(64 * 1024));
    message["params"]["_meta"]["kruxos/auth"]["agent"] = json!("a");
    let large = world
        .send(world.post("/mcp", "", &[], message.to_string()))
        .await;
    assert_eq!(
        large.status, 401,
        "an unproved body is read no further than 64 KiB"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_ends_its_sessions() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let (session, _) = world.initialize(&token, "2025-11-25").await;
    let name = kruxos_types::AgentName::new("a").unwrap();
    let rotated = world
        .gateway
        .rotate_agent(&name, &kruxos_gateway::operator::Operator::gateway())
        .await
        .unwrap();
    let ping = json!({"jsonrpc": "2.0", "id": 3, "method": "ping"});
    assert_eq!(world.on(&token, &session, ping.clone()).await.status, 401);
    assert_eq!(world.on(&rotated.token, &session, ping).await.status, 404);
}

/// The interim answer to «Expect: 100-continue» comes when the body is asked for: after the token of the
/// head was accepted.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_goes_between_head_and_body_carries_no_call() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::start().await;
    let token = world.agent("a").await;
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "system.time", "params": {}}).to_string();
    let head = format!(
        "POST /rpc HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\
         connection: close\r\n\r\n",
        world.address,
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100 Continue"));

    let name = kruxos_types::AgentName::new("a").unwrap();
    let operator = kruxos_gateway::operator::Operator::gateway();
    world.gateway.rotate_agent(&name, &operator).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("auth.invalid_credentials"), "{answer}");
    assert!(world.gateway.sessions.all().is_empty());
}
