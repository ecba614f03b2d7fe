//! A WebSocket that is opened properly and then misused.

use crate::stage::Stage;
use crate::wire::Connection;

const POLICY: &str = "capabilities:\n  '*': {tier: autonomous}\n";
const MASK: [u8; 4] = [1, 2, 3, 4];

fn upgrade(token: &str) -> Vec<u8> {
    format!(
        "GET /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: mcp\r\n\r\n"
    )
    .into_bytes()
}

/// A masked frame: first byte (FIN and opcode) and payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        middle @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b));
    bytes
}

fn misuse() -> Vec<(&'static str, Vec<u8>)> {
    let length = |bytes: [u8; 8]| [&[0x81, 0xff][..], &bytes, &MASK, b"{}"].concat();
    let fragments = [frame(0x01, b"{"), frame(0x00, b"\"a\"").repeat(10_000)].concat();
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    vec![
        ("nothing", Vec::new()),
        ("binary", frame(0x82, b"\x00\xff\xfe")),
        (
            "binary that is JSON",
            frame(0x82, br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#),
        ),
        (
            "a frame of 2^63",
            length(0x8000_0000_0000_0000u64.to_be_bytes()),
        ),
        (
            "a frame of 2^63 - 1",
            length(0x7fff_ffff_ffff_ffffu64.to_be_bytes()),
        ),
        (
            "a frame of 17 MB",
            frame(0x81, &vec![b' '; 17 * 1024 * 1024]),
        ),
        ("half a frame", frame(0x81, b"{\"jsonrpc\":")[..6].to_vec()),
        ("an unmasked frame", b"\x81\x02{}".to_vec()),
        ("a reserved opcode", frame(0x83, b"{}")),
        ("reserved bits", frame(0xf1, b"{}")),
        ("text that is not UTF-8", frame(0x81, b"\"\xff\xfe\"")),
        ("text that is no JSON", frame(0x81, b"hello")),
        ("text that is no message", frame(0x81, b"[[],5,null]")),
        ("an empty batch", frame(0x81, b"[]")),
        ("an empty text", frame(0x81, b"")),
        ("100,000 levels", frame(0x81, deep.as_bytes())),
        ("a message in pieces without an end", fragments),
        ("a continuation of nothing", frame(0x80, b"{}")),
        ("a ping that is too long", frame(0x89, &[0; 200])),
        ("a ping in pieces", frame(0x09, b"x")),
        ("1,000 pings", frame(0x89, b"x").repeat(1000)),
        ("a pong nobody asked for", frame(0x8a, b"x")),
        ("a close of one byte", frame(0x88, b"\x03")),
        ("a close with a bad code", frame(0x88, b"\x00\x05")),
        ("a close that is not UTF-8", frame(0x88, b"\x03\xe8\xff")),
        (
            "frames after the close",
            [frame(0x88, b"\x03\xe8"), frame(0x81, b"{}")].concat(),
        ),
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        ("garbage", (0..=255u8).rev().cycle().take(200_000).collect()),
    ]
}

#[test]
fn a_misused_websocket_ends_and_the_daemon_goes_on() {
    let stage = Stage::new(POLICY);
    for (title, bytes) in misuse() {
        let mut opening = upgrade(&stage.token);
        // In one write with the upgrade, as a peer does that does not wait.
        opening.extend(&bytes);
        let answer = Connection::open(stage.address())
            .send_and_drain(&opening)
            .unwrap_or_else(|error| panic!("{title}: the daemon hangs: {error}"));
        assert_upgraded(&answer, title);
        let mut patient = Connection::open(stage.address());
        let answer = patient.exchange(&upgrade(&stage.token)).unwrap();
        assert_eq!(answer.status, 101, "{title}");
        patient
            .send_and_drain(&bytes)
            .unwrap_or_else(|error| panic!("{title}: the daemon hangs: {error}"));
        let mut gone = Connection::open(stage.address());
        assert_eq!(
            gone.exchange(&upgrade(&stage.token)).unwrap().status,
            101,
            "{title}"
        );
        gone.abandon(&bytes);
        drop(gone);
        stage.assert_alive(title);
    }
    stage.assert_untouched("misused WebSockets");
    stage.finish();
}

/// A reset may have taken the answer with it; an answer that is there is the upgrade.
fn assert_upgraded(answer: &[u8], title: &str) {
    let text = String::from_utf8_lossy(&answer[..answer.len().min(300)]);
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 101"),
        "{title}: {text}"
    );
}

#[test]
fn upgrades_that_are_none() {
    let stage = Stage::new(POLICY);
    let good = String::from_utf8(upgrade(&stage.token)).unwrap();
    for (title, request) in [
        (
            "no key",
            good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ),
        ("an old version", good.replace("Version: 13", "Version: 8")),
        ("a POST", good.replace("GET /mcp", "POST /mcp")),
    ] {
        let answer = Connection::open(stage.address())
            .exchange(request.as_bytes())
            .unwrap_or_else(|error| panic!("{title}: no answer: {error}"));
        assert!((400..500).contains(&answer.status), "{title}: {answer:?}");
        stage.assert_alive(title);
    }
    stage.finish();
}
