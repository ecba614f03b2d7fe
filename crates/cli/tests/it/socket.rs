//! The control socket itself: what its API refuses, and how.

use crate::support::World;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// One raw HTTP exchange.
fn ask(world: &World, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value, String) {
    let mut stream = UnixStream::connect(world.data_dir().join("run/control.sock")).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: k\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    // A server may answer and close before it has read a body that it refuses: what it said counts.
    drop(stream.write_all(request.as_bytes()));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (
        status,
        serde_json::from_str(body).unwrap_or(Value::Null),
        head.to_lowercase(),
    )
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn every_refusal_is_a_structured_error() {
    let world = World::start();
    world.json(&["agent", "create", "a"]);
    for (method, path, headers, body, status) in [
        ("GET", "/nothing", "", "", 404),
        ("PUT", "/status", "", "", 405),
        ("POST", "/agents", "", "{\"name\":\"x\"}", 415),
        ("POST", "/agents", JSON, "{\"name\":\"x\",\"extra\":1}", 400),
        ("POST", "/agents", JSON, "{\"name\":\"../x\"}", 400),
        ("POST", "/agents", JSON, "{\"name\":", 400),
        ("POST", "/agents", JSON, "[]", 400),
        ("GET", "/agents?limit=0", "", "", 400),
        ("GET", "/agents?limit=1001", "", "", 400),
        ("GET", "/agents?unknown=1", "", "", 400),
        ("GET", "/approvals?state=nothing", "", "", 400),
        ("GET", "/audit?status=nothing", "", "", 400),
        ("GET", "/audit?from=yesterday", "", "", 400),
        ("GET", "/state/..%2f..%2fx/keys", "", "", 404),
        (
            "GET",
            "/policies/files/agents/..%2f..%2fconfig",
            "",
            "",
            400,
        ),
        ("GET", "/policies/files/nothing", "", "", 404),
        (
            "POST",
            "/call",
            JSON,
            "{\"capability\":\"system.time\",\"agent\":\"a\",\"wait_seconds\":99999999}",
            400,
        ),
    ] {
        let (found, error, _) = ask(&world, method, path, headers, body);
        assert_eq!(found, status, "{method} {path} {body}: {error}");
        for key in [
            "error_type",
            "description",
            "agent_description",
            "recovery_actions",
            "retryable",
            "context",
        ] {
            assert!(
                error.get(key).is_some(),
                "{method} {path}: no {key} in {error}"
            );
        }
    }
}

#[test]
fn a_body_beyond_the_bound_is_refused() {
    let world = World::start();
    world.json(&["agent", "create", "a"]);
    let body = format!(
        "{{\"value\":\"{}\"}}",
        "x".repeat(kruxos_gateway::api::MAX_BODY_BYTES)
    );
    let (status, error, _) = ask(&world, "PUT", "/state/a/keys/big", JSON, &body);
    assert_eq!(status, 413);
    assert!(error["description"].is_string());
}

#[test]
fn a_policy_file_is_replaced_only_by_who_has_seen_it() {
    let world = World::start();
    let text = |tier: &str| {
        let yaml = format!(
            "name: org\nversion: \"1.0\"\ncapabilities:\n  filesystem.delete: {{tier: {tier}}}\n"
        );
        serde_json::json!({"text": yaml}).to_string()
    };
    let path = "/policies/files/org";
    let (status, made, head) = ask(&world, "PUT", path, JSON, &text("notify"));
    assert_eq!(status, 201, "{made}");
    let etag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap()
        .to_owned();
    assert_eq!(ask(&world, "PUT", path, JSON, &text("blocked")).0, 428);
    let stale = format!("{JSON}If-Match: \"0000\"\r\n");
    assert_eq!(ask(&world, "PUT", path, &stale, &text("blocked")).0, 412);
    let seen = format!("{JSON}If-Match: {etag}\r\n");
    assert_eq!(
        ask(&world, "PUT", path, &seen, &text("no_such_tier")).0,
        400,
        "it must compile"
    );
    assert_eq!(ask(&world, "PUT", path, &seen, &text("blocked")).0, 200);
    world.json(&["agent", "create", "a"]);
    let decision = world.json(&[
        "config",
        "check-policy",
        "--agent",
        "a",
        "--capability",
        "filesystem.delete",
    ]);
    assert_eq!(decision["tier"], "blocked", "in force at once");
    let (_, read, _) = ask(&world, "GET", path, "", "");
    assert!(read["text"].as_str().unwrap().contains("blocked"));
}

#[test]
fn pages_follow_each_other() {
    let world = World::start();
    for name in ["a", "b", "c"] {
        world.json(&["agent", "create", name]);
    }
    let (_, first, _) = ask(&world, "GET", "/agents?limit=2", "", "");
    assert_eq!(first["next_cursor"], "b");
    let (_, second, _) = ask(&world, "GET", "/agents?limit=2&cursor=b", "", "");
    assert_eq!(
        (&second["agents"][0]["name"], &second["next_cursor"]),
        (&"c".into(), &Value::Null)
    );
    let (_, page, _) = ask(&world, "GET", "/audit?limit=1", "", "");
    let newest = page["entries"][0]["seq"].as_u64().unwrap();
    let next = page["next_cursor"].as_u64().unwrap();
    let (_, page, _) = ask(
        &world,
        "GET",
        &format!("/audit?limit=1&cursor={next}"),
        "",
        "",
    );
    assert_eq!(page["entries"][0]["seq"].as_u64(), Some(newest - 1));
}

#[test]
fn shutdown_ends_streams_and_the_gateway() {
    let world = World::start();
    let watch = world.spawn(&["watch"]);
    let (status, answer, _) = ask(&world, "POST", "/shutdown", JSON, "{}");
    assert_eq!((status, &answer["stopping"]), (202, &true.into()));
    let ended = watch.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(5));
    drop(world);
}
