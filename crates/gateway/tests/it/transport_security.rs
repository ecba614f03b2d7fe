//! What is refused before anybody reads it.

use crate::support::{World, modern_body};
use http::Method;
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn an_evil_origin_alone_is_refused_on_every_path() {
    let world = World::start().await;
    let token = world.agent("a").await;
    for path in ["/mcp", "/rpc", "/"] {
        let method = if path == "/" {
            Method::GET
        } else {
            Method::POST
        };
        let request = world
            .request(method, path)
            .header("origin", "http://evil.example")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"));
        let answer = world.send(request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(answer.json()["error_type"], "PermissionDenied");
    }
    let own = format!("http://{}", world.address);
    let body = modern_body(1, "server/discover", json!({})).to_string();
    let headers = [
        ("origin", own.as_str()),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "server/discover"),
    ];
    assert_eq!(
        world
            .send(world.post("/mcp", &token, &headers, body))
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evil_host_alone_is_refused() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let request = http::Request::builder()
        .method("POST")
        .uri("/mcp")
        .header("host", "evil.example")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"))
        .body(Full::new(Bytes::from("{}")))
        .unwrap();
    assert_eq!(world.send(request).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evil_origin_gets_no_websocket() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let request = world
        .request(Method::GET, "/mcp")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("origin", "https://evil.example")
        .header("authorization", format!("Bearer {token}"));
    assert_eq!(
        world
            .send(request.body(Full::default()).unwrap())
            .await
            .status,
        403
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_json_is_32700_on_every_http_door() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let (session, _) = world.initialize(&token, "2025-11-25").await;
    let modern = [("mcp-protocol-version", "2026-07-28")];
    let legacy = [("mcp-session-id", session.as_str())];
    for bad in [
        &b"{"[..],
        b"",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}",
        b"nonsense",
    ] {
        for headers in [&modern[..], &legacy[..], &[]] {
            let answer = world
                .send(world.post("/mcp", &token, headers, bad.to_vec()))
                .await;
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (400, -32700),
                "{bad:?} {headers:?}"
            );
            assert!(answer.json()["id"].is_null());
        }
        assert_eq!(
            world
                .send(world.post("/rpc", &token, &[], bad.to_vec()))
                .await
                .code(),
            -32700
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nesting_without_end_is_refused() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = modern_body(
        1,
        "tools/call",
        json!({"name": "system__time", "arguments": "DEEP"}),
    )
    .to_string()
    .replace("\"DEEP\"", &deep);
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "system__time"),
    ];
    let answer = world.send(world.post("/mcp", &token, &headers, body)).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, -32602));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_and_must_be_json() {
    let world = World::with(|config| config.server.max_message_bytes = 64 * 1024).await;
    let token = world.agent("a").await;
    let large = world
        .send(world.post("/mcp", &token, &[], "x".repeat(64 * 1024 + 1)))
        .await;
    assert_eq!(large.status, 413);
    assert!(
        large.text.contains("server.max_message_bytes"),
        "{}",
        large.text
    );
    let form = world
        .request(Method::POST, "/mcp")
        .header("content-type", "text/plain")
        .header("authorization", format!("Bearer {token}"))
        .body(Full::new(Bytes::from("{}")))
        .unwrap();
    assert_eq!(world.send(form).await.status, 415);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so() {
    let world = World::with(|config| config.server.max_connections = 1).await;
    let mut first = tokio::net::TcpStream::connect(world.address).await.unwrap();
    first
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut some = [0u8; 15];
    first.read_exact(&mut some).await.unwrap();
    assert_eq!(&some, b"HTTP/1.1 200 OK");
    let mut second = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let mut told = String::new();
    second.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    let (_, body) = told.split_once("\r\n\r\n").unwrap();
    let error: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(error["error_type"], "ServiceUnavailable", "{error}");
    let reason = error["context"]["reason"].as_str().unwrap();
    assert!(reason.ends_with("(server.max_connections)"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_what_the_port_is() {
    let world = World::start().await;
    let answer = world
        .send(
            world
                .request(Method::GET, "/")
                .body(Full::default())
                .unwrap(),
        )
        .await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains("/mcp"), "{}", answer.text);
    let nowhere = world
        .request(Method::GET, "/x")
        .body(Full::default())
        .unwrap();
    assert_eq!(world.send(nowhere).await.status, 404);
}
