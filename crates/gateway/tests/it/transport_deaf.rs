//! WebSocket clients that do not read, and clients that do not answer.

use crate::support::{PATIENCE, World, call, initialize};
use futures_util::StreamExt;
use http_body_util::Full;
use hyper::body::Bytes;
use kruxos_store::ApprovalState;
use kruxos_types::{AgentName, Principal};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// More than the kernel keeps for a peer that does not read: 4 MiB of one side and 6 of the other.
const LARGE: usize = 9 * 1024 * 1024;

/// A WebSocket whose client reads when it is told to, byte by byte.
struct Raw(TcpStream);

impl Raw {
    async fn open(world: &World, token: &str) -> Self {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let request = format!(
            "GET /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: mcp\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        Self(stream)
    }

    async fn send(&mut self, message: Value) {
        let text = message.to_string();
        let length = u16::try_from(text.len()).unwrap();
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(length.to_be_bytes());
        // A mask of zeros is a mask.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).await.unwrap();
    }

    /// Opcode and payload of the next frame, which the gateway never masks.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = async {
            let opcode = self.0.read_u8().await? & 0x0f;
            let length = match self.0.read_u8().await? {
                126 => u64::from(self.0.read_u16().await?),
                127 => self.0.read_u64().await?,
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await?;
            std::io::Result::Ok((opcode, payload))
        };
        timeout(PATIENCE, head).await.expect("no frame").unwrap()
    }

    async fn ask(&mut self, message: Value) -> Value {
        self.send(message).await;
        let (opcode, payload) = self.frame().await;
        assert_eq!(opcode, 1);
        serde_json::from_slice(&payload).unwrap()
    }

    /// A client of agent `a` with something large to ask for.
    async fn initialized(world: &World, token: &str) -> Self {
        let file = world.gateway.layout.workspace_root.join("a/large.txt");
        std::fs::write(file, "x".repeat(LARGE)).unwrap();
        let mut client = Self::open(world, token).await;
        client.ask(initialize("2025-11-25")).await;
        client
    }

    /// Reads on until the gateway has closed, in whatever way.
    async fn ends(&mut self) {
        let mut rest = Vec::new();
        let end = self.0.read_to_end(&mut rest);
        drop(timeout(PATIENCE, end).await.expect("it stays open"));
    }

    /// Asks for more than fits between the two, reads until the answer has begun, and no further.
    async fn ask_for_much(&mut self, id: i64) {
        let read = json!({"path": "large.txt", "limit": LARGE});
        self.send(call(id, "filesystem__read", read)).await;
        assert_eq!(
            self.0.read_u8().await.unwrap(),
            0x81,
            "the answer has begun"
        );
    }
}

async fn rpc(world: &World, token: &str, capability: &str, arguments: Value) -> Value {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "capabilities.invoke",
        "params": {"capability": capability, "arguments": arguments}});
    let request: http::Request<Full<Bytes>> = world.post("/rpc", token, &[], message.to_string());
    world.send(request).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_does_not_hold_up_its_own_calls() {
    let world = World::with(|config| {
        config.approval.hold_seconds = 3600;
        config.server.write_timeout_seconds = 3600;
    })
    .await;
    let token = world.agent("a").await;
    world
        .policy(
            "a",
            "  system.time: {tier: approval_required}\n  '*': {tier: autonomous}\n",
        )
        .await;
    let mut deaf = Raw::initialized(&world, &token).await;
    deaf.send(call(2, "system__time", json!({}))).await;
    let id = world.pending().await;
    deaf.ask_for_much(3).await;

    world.accept(&id).await;
    // The held call ends and takes its result, although nothing of its answer can be written.
    let principal = Principal::agent("a");
    let begun = "2020-01-01T00:00:00Z".parse().unwrap();
    let store = &world.gateway.store;
    let taken = async {
        loop {
            let approval = store.approval(&id).await.unwrap().unwrap();
            let waits = store
                .matching_approval(&principal, &approval.digest, begun)
                .await;
            if approval.state == ApprovalState::Executed && waits.unwrap().is_none() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, taken)
        .await
        .expect("the call stands still");

    // What it did not read is still there, in order.
    let mut rest = [0; 9];
    deaf.0.read_exact(&mut rest).await.unwrap();
    assert_eq!(rest[0], 127);
    let length = u64::from_be_bytes(rest[1..].try_into().unwrap());
    let mut large = vec![0; usize::try_from(length).unwrap()];
    timeout(PATIENCE, deaf.0.read_exact(&mut large))
        .await
        .unwrap()
        .unwrap();
    let large: Value = serde_json::from_slice(&large).unwrap();
    assert_eq!(large["id"], 3);
    let (_, held) = deaf.frame().await;
    let held: Value = serde_json::from_slice(&held).unwrap();
    assert_eq!(
        (&held["id"], &held["result"]["isError"]),
        (&json!(2), &json!(false))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_given_up_with_a_reason() {
    let world = World::with(|config| config.server.write_timeout_seconds = 1).await;
    let token = world.agent("a").await;
    let mut deaf = Raw::initialized(&world, &token).await;
    let mut events = world.gateway.events.subscribe();
    deaf.ask_for_much(2).await;
    let reason = async {
        loop {
            let event = events.recv().await.unwrap();
            if event.data["event"] == "connection closed" {
                return event.data["reason"].as_str().unwrap().to_owned();
            }
        }
    };
    let reason = timeout(PATIENCE, reason).await.expect("it is waited for");
    assert_eq!(
        reason,
        "nothing was read for 1 s (server.write_timeout_seconds)"
    );
    // The connection ends; its client may call again on another.
    deaf.ends().await;
    let answer = rpc(&world, &token, "system.time", json!({})).await;
    assert!(answer["result"].is_object(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_is_not_given_up() {
    let world = World::with(|config| config.server.write_timeout_seconds = 2).await;
    let token = world.agent("a").await;
    let mut slow = Raw::initialized(&world, &token).await;
    slow.ask_for_much(2).await;
    assert_eq!(slow.0.read_u8().await.unwrap(), 127);
    let length = slow.0.read_u64().await.unwrap();
    // A sixth of it each half second takes longer than a client may be deaf.
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    let mut part = vec![0; usize::try_from(length / 6).unwrap()];
    for _ in 0..6 {
        ticks.tick().await;
        timeout(PATIENCE, slow.0.read_exact(&mut part))
            .await
            .unwrap()
            .unwrap();
    }
    let mut rest = vec![0; usize::try_from(length % 6).unwrap()];
    slow.0.read_exact(&mut rest).await.unwrap();
    let pong = slow
        .ask(json!({"jsonrpc": "2.0", "id": 3, "method": "ping"}))
        .await;
    assert_eq!(pong["id"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_is_gone_at_once_though_its_client_does_not_read() {
    let world = World::with(|config| config.server.write_timeout_seconds = 3600).await;
    let token = world.agent("a").await;
    let mut deaf = Raw::initialized(&world, &token).await;
    deaf.ask_for_much(2).await;
    let name = AgentName::new("a").unwrap();
    world
        .gateway
        .supervise_agent(
            &name,
            kruxos_gateway::agents::Supervision::Kill,
            &kruxos_gateway::operator::Operator::gateway(),
        )
        .await
        .unwrap();
    deaf.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_pinged_and_stays_while_it_answers() {
    let world = World::with(|config| {
        config.server.ping_seconds = 1;
        config.server.pong_seconds = 5;
    })
    .await;
    let token = world.agent("a").await;
    let mut socket = world.socket(&token).await;
    socket.ask(initialize("2025-11-25")).await;
    for _ in 0..3 {
        let frame = timeout(PATIENCE, socket.0.next()).await.expect("no ping");
        assert!(matches!(frame.unwrap().unwrap(), Message::Ping(_)));
    }
    let ping = json!({"jsonrpc": "2.0", "id": 9, "method": "ping"});
    assert_eq!(socket.ask(ping).await["id"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_client_is_closed_after_one_ping() {
    let world = World::with(|config| {
        config.server.ping_seconds = 1;
        config.server.pong_seconds = 1;
    })
    .await;
    let token = world.agent("a").await;
    let mut dead = Raw::open(&world, &token).await;
    dead.ask(initialize("2025-11-25")).await;
    assert_eq!(dead.frame().await, (9, Vec::new()));
    let (opcode, payload) = dead.frame().await;
    assert_eq!(opcode, 8);
    assert_eq!(payload[..2], 1001u16.to_be_bytes());
    assert_eq!(&payload[2..], b"no answer to a ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_do_not_buy_an_unproved_client_more_time() {
    let world = World::with(|config| config.server.head_timeout_seconds = 1).await;
    let mut stream = Raw(TcpStream::connect(world.address).await.unwrap());
    let request = "GET /mcp HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.0.write_all(request.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.0.into_split();
    let pings = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        loop {
            ticks.tick().await;
            if writing.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    let mut all = Vec::new();
    let ended = async {
        tokio::select! {
            () = pings => {}
            end = reading.read_to_end(&mut all) => drop(end),
        }
    };
    timeout(PATIENCE, ended).await.expect("it goes on for ever");
    assert!(all.starts_with(b"HTTP/1.1 101"));
}
