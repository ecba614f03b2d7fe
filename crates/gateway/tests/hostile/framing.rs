//! Requests that are no HTTP, or HTTP around no JSON-RPC. Whatever comes, the next good request is
//! answered.

use crate::answers::assert_fault;
use crate::cases::nested;
use crate::stage::Stage;
use crate::wire::{Connection, post};
use serde_json::{Value, json};

const POLICY: &str = "capabilities:\n  '*': {tier: autonomous}\n";

fn raw(stage: &Stage) -> Vec<(&'static str, Vec<u8>)> {
    let token = &stage.token;
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"capabilities.invoke","params":{"capability":"system.time"}}"#;
    let good = post("/rpc", token, &[], body);
    let head = format!(
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    );
    let with = |rest: &[u8]| [head.as_bytes(), rest].concat();
    let mut many = head.clone();
    for number in 0..5000 {
        many.push_str(&format!("X-{number}: y\r\n"));
    }
    let pipelined = [&good[..], &good, b"\x16\x03\x01 garbage\r\n\r\n", &good].concat();
    vec![
        ("nothing", Vec::new()),
        ("one byte", b"P".to_vec()),
        ("a request line alone", b"POST /rpc HTTP/1.1\r\n".to_vec()),
        ("a head without an end", head.clone().into_bytes()),
        ("half a body", good[..good.len() - 20].to_vec()),
        (
            "a body that is too short",
            with(b"Content-Length: 5000\r\n\r\n{}"),
        ),
        (
            "a body that is too long",
            with(b"Content-Length: 2\r\n\r\n{}{}{}"),
        ),
        ("a negative length", with(b"Content-Length: -1\r\n\r\n{}")),
        ("a length in hex", with(b"Content-Length: 0x2\r\n\r\n{}")),
        (
            "an enormous length",
            with(b"Content-Length: 99999999999999999999999\r\n\r\n{}"),
        ),
        (
            "more than a message may have",
            with(b"Content-Length: 1099511627776\r\n\r\n{}"),
        ),
        (
            "two lengths",
            with(b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"),
        ),
        (
            "a length and chunks",
            with(b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            "a chunk without a size",
            with(b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "a negative chunk",
            with(b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "an enormous chunk",
            with(b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "an endless chunk extension",
            with(
                &[
                    b"Transfer-Encoding: chunked\r\n\r\n2;".to_vec(),
                    vec![b'x'; 300_000],
                ]
                .concat(),
            ),
        ),
        (
            "chunks that stop",
            with(b"Transfer-Encoding: chunked\r\n\r\n40\r\n{}"),
        ),
        (
            "an unknown encoding",
            with(b"Transfer-Encoding: gzip, banana\r\n\r\n{}"),
        ),
        (
            "a header of 1 MB",
            with(
                &[
                    b"X-Long: ".to_vec(),
                    vec![b'a'; 1 << 20],
                    b"\r\n\r\n".to_vec(),
                ]
                .concat(),
            ),
        ),
        ("5,000 headers", many.into_bytes()),
        (
            "a header with NUL",
            with(b"X-Bad: a\0b\r\nContent-Length: 0\r\n\r\n"),
        ),
        (
            "a header without a name",
            with(b": x\r\nContent-Length: 0\r\n\r\n"),
        ),
        (
            "a folded header",
            with(b"X-A: 1\r\n two\r\nContent-Length: 0\r\n\r\n"),
        ),
        (
            "a bare LF",
            b"POST /rpc HTTP/1.1\nHost: localhost\n\n".to_vec(),
        ),
        (
            "a long target",
            [
                b"GET /".to_vec(),
                vec![b'a'; 200_000],
                b" HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            ]
            .concat(),
        ),
        (
            "HTTP/9",
            b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        (
            "HTTP/2 by prior knowledge",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        ),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ),
        ("only line ends", b"\r\n".repeat(1000)),
        ("binary", (0..=255u8).cycle().take(100_000).collect()),
        (
            "CONNECT",
            b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        (
            "an unknown method",
            b"BREW /rpc HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        (
            "an expectation never met",
            with(b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n"),
        ),
        ("garbage after good ones", pipelined),
    ]
}

#[test]
fn requests_that_are_no_http() {
    let stage = Stage::new(POLICY);
    for (title, bytes) in raw(&stage) {
        let answer = Connection::open(stage.address())
            .send_and_drain(&bytes)
            .unwrap_or_else(|error| panic!("{title}: the daemon hangs: {error}"));
        let text = String::from_utf8_lossy(&answer);
        for line in text.split("HTTP/1.1 ").skip(1) {
            assert!(!line.starts_with('5'), "{title}: {text}");
        }
        // An agent that goes away in the middle: nobody reads the answer.
        let mut gone = Connection::open(stage.address());
        gone.abandon(&bytes);
        drop(gone);
        stage.assert_alive(title);
    }
    stage.assert_untouched("bad framing");
    stage.finish();
}

fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let call = |id: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"capabilities.invoke","params":{{"capability":"system.time"}}}}"#
        )
    };
    let batch = |count: usize| format!("[{}]", vec![call("1"); count].join(",")).into_bytes();
    let text = |text: &str| text.as_bytes().to_vec();
    let huge_id = format!("\"{}\"", "i".repeat(1 << 20));
    vec![
        ("nothing", Vec::new()),
        ("an empty batch", text("[]")),
        ("a batch of 10,000", batch(10_000)),
        ("a batch of 101", batch(101)),
        ("a batch of nonsense", text("[1,null,\"x\",[],{},[{}]]")),
        (
            "a batch of a batch",
            [b"[".to_vec(), batch(2), b"]".to_vec()].concat(),
        ),
        ("an open batch", text("[{}")),
        ("a number", text("5")),
        ("a string", text("\"x\"")),
        ("null", text("null")),
        ("true", text("true")),
        ("an empty object", text("{}")),
        ("two values", text("{} {}")),
        ("white space", text("  \r\n\t ")),
        (
            "a byte order mark",
            [b"\xef\xbb\xbf".to_vec(), call("1").into_bytes()].concat(),
        ),
        (
            "not UTF-8",
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}".to_vec(),
        ),
        ("UTF-16", b"\xff\xfe{\0}\0".to_vec()),
        ("100,000 levels", nested(100_000).into_bytes()),
        ("100,000 open", "[".repeat(100_000).into_bytes()),
        ("100,000 objects", "{\"a\":".repeat(100_000).into_bytes()),
        ("an id that is an object", call("{}").into_bytes()),
        ("an id that is a list", call("[1]").into_bytes()),
        ("an id that is true", call("true").into_bytes()),
        ("an id of 1 MB", call(&huge_id).into_bytes()),
        (
            "two ids",
            text(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"session.create"}"#),
        ),
        (
            "two methods",
            text(r#"{"jsonrpc":"2.0","id":1,"method":"session.create","method":"x"}"#),
        ),
        ("no version", text(r#"{"id":1,"method":"session.create"}"#)),
        (
            "another version",
            text(r#"{"jsonrpc":"1.0","id":1,"method":"session.create"}"#),
        ),
        (
            "a version that is a number",
            text(r#"{"jsonrpc":2.0,"id":1,"method":"session.create"}"#),
        ),
        ("no method", text(r#"{"jsonrpc":"2.0","id":1}"#)),
        (
            "a method that is a number",
            text(r#"{"jsonrpc":"2.0","id":1,"method":7}"#),
        ),
        (
            "an unknown method",
            text(r#"{"jsonrpc":"2.0","id":1,"method":"../../x"}"#),
        ),
        (
            "params that are a string",
            text(r#"{"jsonrpc":"2.0","id":1,"method":"capabilities.invoke","params":"x"}"#),
        ),
        (
            "params that are a list",
            text(r#"{"jsonrpc":"2.0","id":1,"method":"capabilities.invoke","params":[1]}"#),
        ),
        (
            "no params",
            text(r#"{"jsonrpc":"2.0","id":1,"method":"capabilities.invoke"}"#),
        ),
        (
            "a capability that is a number",
            text(
                r#"{"jsonrpc":"2.0","id":1,"method":"capabilities.invoke","params":{"capability":5}}"#,
            ),
        ),
    ]
}

/// Ids that JSON-RPC allows come back as they were sent; `null` is answered in one way or another.
const IDS: &[&str] = &[
    "0",
    "-1",
    "1.5",
    "18446744073709551616",
    "1e400",
    "\"\"",
    "\"\\u0000\"",
    "\"ü\"",
];

fn ask(stage: &Stage, path: &str, title: &str, body: &[u8]) -> Value {
    let request = post(path, &stage.token, &[], body);
    let answer = Connection::open(stage.address())
        .exchange(&request)
        .unwrap_or_else(|error| panic!("{title}: no answer: {error}"));
    assert!(answer.status < 500, "{title}: {}", answer.status);
    if answer.body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{title}: no JSON: {error}"))
}

#[test]
fn bodies_that_are_no_json_rpc() {
    let stage = Stage::new(POLICY);
    for (title, body) in bodies() {
        let answer = ask(&stage, "/rpc", title, &body);
        let all = match &answer {
            Value::Array(all) => all.clone(),
            one => vec![one.clone()],
        };
        for one in &all {
            assert_fault(&one["error"], title);
        }
        // The same on /mcp, of which only the answer's existence and shape are claimed here.
        let answer = ask(&stage, "/mcp", title, &body);
        assert!(answer.get("result").is_none(), "{title}: {answer}");
        stage.assert_alive(title);
    }
    stage.assert_untouched("bad bodies");
    stage.finish();
}

#[test]
fn ids_of_every_kind() {
    let stage = Stage::new(POLICY);
    for id in IDS {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"session.create"}}"#);
        let request = post("/rpc", &stage.token, &[], body.as_bytes());
        let answer = Connection::open(stage.address())
            .exchange(&request)
            .unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.contains(&format!("\"id\":{id}")), "{id}: {text}");
        assert!(text.contains("\"result\""), "{id}: {text}");
    }
    let null = ask(
        &stage,
        "/rpc",
        "null",
        br#"{"jsonrpc":"2.0","id":null,"method":"session.create"}"#,
    );
    assert!(null["id"].is_null(), "{null}");
    // Requests of one batch may have the same id: each is answered.
    let twice = br#"[{"jsonrpc":"2.0","id":1,"method":"session.create"},{"jsonrpc":"2.0","id":1,"method":"session.create"}]"#;
    let answers = ask(&stage, "/rpc", "the same id twice", twice);
    let ids: Vec<&Value> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, [&json!(1), &json!(1)]);
    stage.finish();
}
