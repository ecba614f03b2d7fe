//! Heads, headers, chunk extensions and trailers have bounds, and requests at the bounds leave nothing
//! behind.

use crate::stage::Stage;
use crate::wire::{Connection, post};
use std::fs;

const POLICY: &str = "capabilities:\n  '*': {tier: autonomous}\n";
/// docs/mcp.md: a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// docs/mcp.md: headers of one request.
const MAX_HEADERS: usize = 100;
const BODY: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"session.create"}"#;
/// Requests of the long run.
const MANY: usize = 10_000;

/// A request whose head has exactly so many bytes.
fn head_of(bytes: usize, token: &str) -> Vec<u8> {
    let plain = post("/rpc", token, &[("x-fill", "")], BODY).len() - BODY.len();
    let fill = "f".repeat(bytes - plain);
    post("/rpc", token, &[("x-fill", &fill)], BODY)
}

/// A request with so many headers.
fn headers_of(count: usize, token: &str) -> Vec<u8> {
    let own = String::from_utf8(post("/rpc", token, &[], BODY)).unwrap();
    let (head, _) = own.split_once("\r\n\r\n").unwrap();
    let more: Vec<(String, &str)> = (0..count + 1 - head.lines().count())
        .map(|number| (format!("x-{number}"), "y"))
        .collect();
    let more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (&**name, *value)).collect();
    post("/rpc", token, &more, BODY)
}

/// A chunked request, its first chunk with an extension and its end with a trailer of so many bytes.
fn chunked(extension: usize, trailer: usize, token: &str) -> Vec<u8> {
    let mut request = format!(
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x};{}\r\n",
        BODY.len(),
        "e".repeat(extension)
    )
    .into_bytes();
    request.extend_from_slice(BODY);
    request.extend_from_slice(b"\r\n0\r\n");
    if trailer > 0 {
        request.extend_from_slice(format!("x-trailer: {}\r\n", "t".repeat(trailer)).as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    request
}

fn status(stage: &Stage, what: &str, request: &[u8]) -> u16 {
    Connection::open(stage.address())
        .exchange(request)
        .unwrap_or_else(|error| panic!("{what}: no answer: {error}"))
        .status
}

#[test]
fn bounds_of_a_request_are_where_the_documentation_says() {
    let stage = Stage::new(POLICY);
    let token = &stage.token;
    for (what, request, expected) in [
        ("the largest head", head_of(HEAD_BYTES, token), 200),
        (
            "a head of one byte more",
            head_of(HEAD_BYTES + 1, token),
            431,
        ),
        ("the most headers", headers_of(MAX_HEADERS, token), 200),
        ("one header more", headers_of(MAX_HEADERS + 1, token), 431),
        ("an extension", chunked(1024, 0, token), 200),
        ("a large extension", chunked(64 * 1024, 0, token), 400),
        ("a trailer", chunked(1, 1024, token), 200),
        ("a large trailer", chunked(1, 64 * 1024, token), 400),
    ] {
        assert_eq!(status(&stage, what, &request), expected, "{what}");
        stage.assert_alive(what);
    }
    stage.finish();
}

/// Resident memory in KiB.
fn resident(stage: &Stage) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", stage.daemon.pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn ten_thousand_requests_at_the_bounds_leave_nothing_behind() {
    let stage = Stage::new(POLICY);
    let kinds = [
        head_of(HEAD_BYTES, &stage.token),
        headers_of(MAX_HEADERS, &stage.token),
        chunked(8 * 1024, 4 * 1024, &stage.token),
        head_of(HEAD_BYTES + 1, &stage.token),
    ];
    let run = |count: usize| {
        let mut connection = Connection::open(stage.address());
        for number in 0..count {
            let answer = connection.exchange(&kinds[number % kinds.len()]).unwrap();
            if answer.status != 200 {
                assert_eq!(answer.status, 431);
                connection = Connection::open(stage.address());
            }
        }
    };
    run(MANY / 10);
    let before = resident(&stage);
    run(MANY);
    let grown = resident(&stage).saturating_sub(before);
    println!("{MANY} requests at the bounds: {grown} KiB more");
    // One head for each would be 160 MB.
    assert!(grown < 32 * 1024, "{grown} KiB more after {MANY} requests");
    stage.finish();
}
