//! A peer that never finishes what it began does not keep the gateway from stopping.

use kruxos_testkit::Daemon;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

fn tcp(url: &str) -> TcpStream {
    TcpStream::connect(
        url.trim_start_matches("http://")
            .trim_end_matches("/health"),
    )
    .unwrap()
}

/// Connections on every listener, each with a request that is not finished.
fn unfinished(daemon: &Daemon) -> Vec<Box<dyn Write>> {
    let facts = &daemon.introduction.0;
    let token = daemon.introduction.agent_token().unwrap();
    let half_a_body = format!(
        "POST /rpc HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    let half_a_head = "GET /health HTTP/1.1\r\nhost: lo";
    let mut held: Vec<Box<dyn Write>> = vec![
        Box::new(tcp(daemon.introduction.gateway())),
        Box::new(tcp(facts["health"].as_str().unwrap())),
        Box::new(UnixStream::connect(daemon.introduction.control_socket()).unwrap()),
    ];
    for (connection, text) in held
        .iter_mut()
        .zip([&half_a_body, half_a_head, half_a_head])
    {
        connection.write_all(text.as_bytes()).unwrap();
    }
    held.push(Box::new(tcp(daemon.introduction.gateway())));
    held
}

#[test]
fn unfinished_requests_on_every_listener_do_not_hold_up_the_stop() {
    let directory = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_kruxosd"));
    let daemon = Daemon::start(binary, &directory.path().join("data")).unwrap();
    let _held = unfinished(&daemon);
    assert_eq!(daemon.stop().unwrap(), Some(0));
}

#[test]
fn a_second_signal_stops_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_kruxosd"));
    let (log, writer) = std::io::pipe().unwrap();
    let info = [("KRUXOS_LOG__FILTER", "info")];
    let data = directory.path().join("data");
    let daemon = Daemon::start_logging(binary, &data, &info, writer).unwrap();
    let token = daemon.introduction.agent_token().unwrap();
    let mut client = daemon.client(token).unwrap();
    let write = json!({"path": "kept.txt", "content": "kept"});
    assert!(client.call("filesystem.write", write).unwrap().is_ok());
    assert!(client.call("system.time", json!({})).unwrap().is_ok());
    let _held = unfinished(&daemon);
    let mut log = BufReader::new(log);
    let mut kill = Command::new("kill");
    assert!(
        kill.arg(daemon.pid().to_string())
            .status()
            .unwrap()
            .success()
    );
    let mut line = String::new();
    while !line.contains("SIGTERM: stopping") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended silently");
    }
    assert_eq!(daemon.stop().unwrap(), Some(1));
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("second signal"), "{rest}");
    // What was answered is in the log, and the log is whole.
    let report = json!(kruxos_audit::verify(&data.join("audit")).unwrap());
    assert_eq!(report["ok"], true, "{report}");
    let daemon = Daemon::start(binary, &data).unwrap();
    let mut control = daemon.control().unwrap();
    let path = "/audit?kind=call&status=success";
    let found = control.request("GET", path, None).unwrap().body;
    let entries = found["entries"].as_array().unwrap();
    for capability in ["filesystem.write", "system.time"] {
        let known = entries.iter().any(|one| one["capability"] == capability);
        assert!(known, "{capability} is not in {found}");
    }
    assert_eq!(daemon.stop().unwrap(), Some(0));
}

#[test]
fn a_held_call_is_answered_when_the_gateway_stops() {
    let directory = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_kruxosd"));
    let daemon = Daemon::start(binary, &directory.path().join("data")).unwrap();
    let rules = "capabilities:\n  system.time: {tier: approval_required}\n";
    let mut control = daemon.control().unwrap();
    let file = "/policies/files/agents/default-agent";
    let put = control.request("PUT", file, Some(&json!({"text": rules})));
    assert!(put.unwrap().status < 300);
    let token = daemon.introduction.agent_token().unwrap();
    let mut client = daemon.client(token).unwrap();
    std::thread::scope(|scope| {
        let call = scope.spawn(move || client.call("system.time", json!({})));
        loop {
            let waiting = control.request("GET", "/approvals?state=pending", None);
            if waiting.unwrap().body[0]["id"].is_string() {
                break;
            }
        }
        assert_eq!(daemon.stop().unwrap(), Some(0));
        let error = call.join().unwrap().unwrap().unwrap_err();
        assert_eq!(error["error_type"], "ApprovalPending", "{error}");
    });
}
