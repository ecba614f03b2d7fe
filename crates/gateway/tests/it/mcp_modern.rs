//! 2026-07-28 over HTTP and WebSocket.

use crate::support::{Events, MODERN, World, modern_body};
use http::Method;
use http_body_util::Full;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn discover_says_what_there_is_and_nothing_more() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let result = world.ask(&token, "server/discover", json!({})).await.json()["result"].clone();
    assert_eq!(result["supportedVersions"], json!([MODERN]));
    assert_eq!(result["cacheScope"], "private");
    assert!(
        result["instructions"]
            .as_str()
            .unwrap()
            .contains("/workspace")
    );
    assert_eq!(
        result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "kruxos"
    );
    let capabilities = &result["capabilities"];
    assert_eq!(capabilities["tools"]["listChanged"], true);
    assert!(capabilities["extensions"]["io.modelcontextprotocol/tasks"].is_object());
    if !cfg!(feature = "conformance-fixtures") {
        for (absent, method) in [
            ("prompts", "prompts/list"),
            ("resources", "resources/list"),
            ("completions", "completion/complete"),
        ] {
            assert!(capabilities.get(absent).is_none(), "{absent}");
            let answer = world.ask(&token, method, json!({})).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (404, -32601),
                "{method}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_must_be_there_and_agree_with_the_body() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let body = modern_body(
        1,
        "tools/call",
        json!({"name": "system__time", "arguments": {}}),
    )
    .to_string();
    let right = [
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/call"),
        ("mcp-name", "system__time"),
    ];
    let good = world
        .send(world.post("/mcp", &token, &right, body.clone()))
        .await;
    assert_eq!(good.status, 200, "{}", good.text);
    for wrong in [
        &[right[1], right[2]][..],
        &[right[0], right[2]],
        &[right[0], right[1]],
        &[right[0], ("mcp-method", "tools/list"), right[2]],
        &[right[0], ("mcp-method", "TOOLS/CALL"), right[2]],
        &[right[0], right[1], ("mcp-name", "filesystem__read")],
        &[right[0], right[1], ("mcp-name", "=?base64?!!?=")],
    ] {
        let answer = world
            .send(world.post("/mcp", &token, wrong, body.clone()))
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (400, -32020),
            "{wrong:?}"
        );
        assert_eq!(answer.json()["id"], 1);
    }
    let coded = [
        right[0],
        right[1],
        ("mcp-name", "=?base64?c3lzdGVtX190aW1l?="),
    ];
    assert_eq!(
        world
            .send(world.post("/mcp", &token, &coded, body))
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn protocol_faults_have_their_codes_and_statuses() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let unknown = world.ask(&token, "unknown/method", json!({})).await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (404, -32601));
    for removed in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
    ] {
        assert_eq!(
            world.ask(&token, removed, json!({})).await.status,
            404,
            "{removed}"
        );
    }
    let headers = [
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/list"),
    ];
    let bare = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/list", "params": {}}).to_string();
    let answer = world.send(world.post("/mcp", &token, &headers, bare)).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, -32602));
    let mut future = modern_body(6, "tools/list", json!({}));
    future["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2031-01-01");
    let headers = [
        ("mcp-protocol-version", "2031-01-01"),
        ("mcp-method", "tools/list"),
    ];
    let answer = world
        .send(world.post("/mcp", &token, &headers, future.to_string()))
        .await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, -32022));
    let data = &answer.json()["error"]["data"];
    assert_eq!(data["supported"], json!([MODERN]), "{data}");
    assert_eq!(data["requested"], "2031-01-01", "{data}");
    assert_eq!(data["context"]["field"], "protocolVersion", "{data}");
    for method in [Method::GET, Method::DELETE] {
        let request = world
            .request(method, "/mcp")
            .header("authorization", format!("Bearer {token}"))
            .header("mcp-protocol-version", MODERN);
        assert_eq!(
            world
                .send(request.body(Full::default()).unwrap())
                .await
                .status,
            405
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listen_tells_only_what_was_asked_for() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let filter = json!({"notifications": {"toolsListChanged": true, "promptsListChanged": true}});
    let mut events = Events::of(
        world
            .open(world.modern(&token, "subscriptions/listen", filter))
            .await,
    );
    let (id, first) = events.message().await;
    assert_eq!(
        (id, &first["method"]),
        (None, &json!("notifications/subscriptions/acknowledged"))
    );
    assert_eq!(
        first["params"]["notifications"],
        json!({"toolsListChanged": true})
    );
    assert_eq!(
        first["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        1
    );
    world.policy("a", "  system.time: {tier: blocked}\n").await;
    let (_, change) = events.message().await;
    assert_eq!(change["method"], "notifications/tools/list_changed");
    assert_eq!(
        change["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        1
    );
    world
        .gateway
        .end_session(&kruxos_types::Principal::agent("a"), "test")
        .await;
    let (_, last) = events.message().await;
    assert_eq!(
        (&last["id"], &last["result"]["resultType"]),
        (&json!(1), &json!("complete"))
    );
    assert!(events.block().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn listen_tells_of_watched_files() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let filter = json!({"notifications": {"kruxos/fileChanges": true}});
    let mut events = Events::of(
        world
            .open(world.modern(&token, "subscriptions/listen", filter))
            .await,
    );
    let (_, first) = events.message().await;
    assert_eq!(
        first["params"]["notifications"],
        json!({"kruxos/fileChanges": true})
    );
    let tool = |name: &str, arguments: Value| json!({"name": name, "arguments": arguments});
    let watch = tool("filesystem__watch", json!({"path": "/workspace"}));
    let watching = world.ask(&token, "tools/call", watch).await.json();
    assert_eq!(watching["result"]["isError"], false, "{watching}");
    let write = tool(
        "filesystem__write",
        json!({"path": "new.txt", "content": "x"}),
    );
    let written = world.ask(&token, "tools/call", write).await.json();
    assert_eq!(written["result"]["isError"], false, "{written}");
    let (_, change) = events.message().await;
    assert_eq!(change["method"], "notifications/kruxos/file_changed");
    assert_eq!(change["params"]["path"], "/workspace/new.txt");
    assert_eq!(
        change["params"]["watch_id"],
        watching["result"]["structuredContent"]["watch_id"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_speaks_it_too_without_any_handshake() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let mut socket = world.socket(&token).await;
    let answer = socket
        .ask(modern_body(
            9,
            "tools/call",
            json!({"name": "system__time", "arguments": {}}),
        ))
        .await;
    assert_eq!(
        (&answer["id"], &answer["result"]["resultType"]),
        (&json!(9), &json!("complete"))
    );
    let bare = socket
        .ask(json!({"jsonrpc": "2.0", "id": 10, "method": "tools/list"}))
        .await;
    assert_eq!(bare["error"]["code"], -32602);
    let listen = modern_body(
        11,
        "subscriptions/listen",
        json!({"notifications": {"toolsListChanged": true}}),
    );
    assert_eq!(
        socket.ask(listen).await["method"],
        "notifications/subscriptions/acknowledged"
    );
    world.policy("a", "  system.time: {tier: blocked}\n").await;
    assert_eq!(
        socket.next().await["method"],
        "notifications/tools/list_changed"
    );
    socket
        .send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 11}}))
        .await;
    world.policy("a", "  system.time: {tier: notify}\n").await;
    let next = socket
        .ask(modern_body(12, "server/discover", json!({})))
        .await;
    assert_eq!(
        next["id"], 12,
        "a cancelled subscription says nothing more: {next}"
    );
}
