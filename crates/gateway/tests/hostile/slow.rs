//! Peers that take their time, on every listener: what they began ends, they are told why where that is
//! possible, and everybody else is served meanwhile.

use kruxos_testkit::{Client, Daemon};
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Far longer than any bound that these tests set; whatever takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two bytes of a peer that trickles.
const DRIP: Duration = Duration::from_millis(100);

/// A daemon with one agent, and how to reach it.
struct Target {
    daemon: Daemon,
    token: String,
    _directory: tempfile::TempDir,
}

/// One of its listeners.
#[derive(Debug, Clone)]
enum Door {
    Agents(String),
    Health(String),
    Control(PathBuf),
}

impl Target {
    fn start(environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let binary = Path::new(env!("CARGO_BIN_EXE_kruxosd"));
        let data = directory.path().join("data");
        let daemon = Daemon::start_with(binary, &data, environment).unwrap();
        Self {
            token: daemon.introduction.agent_token().unwrap().to_owned(),
            daemon,
            _directory: directory,
        }
    }

    fn doors(&self) -> [Door; 3] {
        let introduction = &self.daemon.introduction;
        let place = |url: &str| {
            let url = url.trim_start_matches("http://");
            url.trim_end_matches("/health").to_owned()
        };
        let health = introduction.0["health"].as_str().unwrap();
        [
            Door::Agents(place(introduction.gateway())),
            Door::Health(place(health)),
            Door::Control(introduction.control_socket()),
        ]
    }

    fn agent(&self) -> Client {
        self.daemon.client(&self.token).unwrap()
    }

    /// Somebody else is served.
    fn assert_serves(&self, what: &str) {
        let answer = self.agent().call("system.time", json!({})).unwrap();
        assert!(answer.is_ok(), "{what}: {answer:?}");
    }
}

/// A connection of either kind.
trait Peer: Read + Write + Send {
    fn wait(&self, time: Duration);
}

impl Peer for TcpStream {
    fn wait(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
    }
}

impl Peer for UnixStream {
    fn wait(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
    }
}

impl Door {
    fn open(&self) -> Box<dyn Peer> {
        let peer: Box<dyn Peer> = match self {
            Door::Agents(place) | Door::Health(place) => {
                Box::new(TcpStream::connect(place).unwrap())
            }
            Door::Control(path) => Box::new(UnixStream::connect(path).unwrap()),
        };
        peer.wait(PATIENCE);
        peer
    }

    /// A request that is right.
    fn request(&self) -> &'static str {
        match self {
            Door::Agents(_) => "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
            Door::Health(_) => "GET /health/ready HTTP/1.1\r\nhost: localhost\r\n\r\n",
            Door::Control(_) => "GET /capabilities HTTP/1.1\r\nhost: localhost\r\n\r\n",
        }
    }

    /// The head of a request whose body is still to come.
    fn head_before_body(&self, token: &str) -> String {
        let path = match self {
            Door::Agents(_) => "POST /rpc",
            Door::Health(_) => "GET /health/ready",
            Door::Control(_) => "POST /audit/verify",
        };
        format!(
            "{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: 100000\r\n\r\n"
        )
    }
}

fn timed_out(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Sends one byte after the other for ever, until the other side ends it. Answers what it said.
fn trickle(peer: &mut dyn Peer, bytes: &[u8]) -> String {
    peer.wait(DRIP);
    let begun = Instant::now();
    let mut said = Vec::new();
    for byte in bytes.iter().cycle() {
        assert!(begun.elapsed() < PATIENCE, "it is waited for without end");
        let mut part = [0; 4096];
        match peer.read(&mut part) {
            Ok(0) => break,
            Ok(read) => said.extend_from_slice(&part[..read]),
            Err(error) if timed_out(&error) => {
                if peer.write_all(&[*byte]).is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    String::from_utf8(said).unwrap()
}

/// Reads to the end.
fn told(peer: &mut dyn Peer) -> String {
    let mut all = Vec::new();
    if let Err(error) = peer.read_to_end(&mut all) {
        assert!(!timed_out(&error), "it stays open: {error}");
    }
    String::from_utf8(all).unwrap()
}

/// The status of one answer, which is read to its end and no further.
fn answer(peer: &mut dyn Peer) -> u16 {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        peer.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap_or_else(|| panic!("no length: {head}"));
    let mut body = vec![0; length.parse().unwrap()];
    peer.read_exact(&mut body).unwrap();
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

fn body(answer: &str) -> Value {
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {answer:?}"));
    serde_json::from_str(body).unwrap()
}

#[test]
fn a_head_that_trickles_in_is_not_waited_for() {
    let target = Target::start(&[("KRUXOS_SERVER__HEAD_TIMEOUT_SECONDS", "1")]);
    std::thread::scope(|scope| {
        for door in target.doors() {
            scope.spawn(move || {
                let mut peer = door.open();
                peer.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ")
                    .unwrap();
                trickle(&mut *peer, b"a");
                // A second request on a connection that was good has no more time.
                let mut peer = door.open();
                peer.write_all(door.request().as_bytes()).unwrap();
                let said = trickle(
                    &mut *peer,
                    b"GET / HTTP/1.1\r\nx-slow: aaaaaaaaaaaaaaaaaaaaa",
                );
                assert!(said.starts_with("HTTP/1.1 200"), "{door:?}: {said}");
                // Nor has one that says nothing.
                let mut silent = door.open();
                assert_eq!(told(&mut *silent), "", "{door:?}");
            });
        }
    });
    target.assert_serves("trickling heads");
    assert_eq!(target.daemon.stop().unwrap(), Some(0));
}

#[test]
fn a_body_that_trickles_in_is_not_waited_for() {
    let target = Target::start(&[("KRUXOS_SERVER__BODY_TIMEOUT_SECONDS", "1")]);
    std::thread::scope(|scope| {
        for door in target.doors() {
            let head = door.head_before_body(&target.token);
            scope.spawn(move || {
                let mut peer = door.open();
                peer.write_all(head.as_bytes()).unwrap();
                let said = trickle(&mut *peer, b" ");
                if let Door::Health(_) = door {
                    // It needs no body, so it does not wait for one.
                    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
                    return;
                }
                assert!(said.starts_with("HTTP/1.1 408"), "{door:?}: {said}");
                let error = body(&said);
                assert_eq!(error["context"]["field"], "body", "{door:?}: {error}");
                let reason = error["context"]["reason"].as_str().unwrap();
                assert!(reason.contains("server.body_timeout_seconds"), "{reason}");
            });
        }
    });
    target.assert_serves("trickling bodies");
    assert_eq!(target.daemon.stop().unwrap(), Some(0));
}

#[test]
fn idle_connections_up_to_the_bound_keep_nobody_out_who_is_in() {
    let bound = [("KRUXOS_SERVER__MAX_CONNECTIONS", "8")];
    let target = Target::start(&bound);
    for (door, (bound, named)) in target.doors().iter().zip([
        (8, "server.max_connections"),
        (64, "the health port"),
        (128, "the control socket"),
    ]) {
        let mut inside = door.open();
        let ask = |peer: &mut dyn Peer| {
            peer.write_all(door.request().as_bytes()).unwrap();
            answer(peer)
        };
        assert_eq!(ask(&mut *inside), 200, "{door:?}");
        let idle: Vec<Box<dyn Peer>> = (1..bound).map(|_| door.open()).collect();
        let refusal = told(&mut *door.open());
        assert!(refusal.starts_with("HTTP/1.1 503"), "{door:?}: {refusal}");
        assert!(
            refusal.contains("retry-after: 1\r\n"),
            "{door:?}: {refusal}"
        );
        let error = body(&refusal);
        assert_eq!(error["error_type"], "ServiceUnavailable", "{error}");
        let reason = error["context"]["reason"].as_str().unwrap();
        let expected = format!("at most {bound} at once ({named})");
        assert!(reason.ends_with(&expected), "{door:?}: {reason}");
        // Who speaks at once is told too, not reset.
        let mut eager = door.open();
        eager.write_all(door.request().as_bytes()).unwrap();
        assert!(told(&mut *eager).starts_with("HTTP/1.1 503"), "{door:?}");
        assert_eq!(ask(&mut *inside), 200, "{door:?}");
        // Places that become free are given away again.
        drop(idle);
        let begun = Instant::now();
        loop {
            let mut peer = door.open();
            // Refused unread, it may be closed already.
            peer.write_all(door.request().as_bytes()).ok();
            let mut status = [0; 12];
            if peer.read_exact(&mut status).is_ok() && status == *b"HTTP/1.1 200" {
                break;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{door:?}: no place becomes free"
            );
        }
    }
    target.assert_serves("idle connections");
    assert_eq!(target.daemon.stop().unwrap(), Some(0));
}

#[test]
fn an_answer_that_nobody_takes_holds_its_place_for_a_while_only() {
    let target = Target::start(&[
        ("KRUXOS_SERVER__MAX_CONNECTIONS", "1"),
        ("KRUXOS_SERVER__WRITE_TIMEOUT_SECONDS", "1"),
    ]);
    let large = 9 * 1024 * 1024;
    let file = target.daemon.introduction.workspace().join("large.txt");
    std::fs::write(file, "x".repeat(large)).unwrap();
    let [agents, ..] = target.doors();
    let mut deaf = agents.open();
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "capabilities.invoke", "params":
        {"capability": "filesystem.read", "arguments": {"path": "large.txt", "limit": large}}});
    let request = crate::wire::post("/rpc", &target.token, &[], message.to_string().as_bytes());
    deaf.write_all(&request).unwrap();
    let mut status = [0; 12];
    deaf.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    let begun = Instant::now();
    loop {
        let mut next = agents.open();
        // Refused unread, it may be closed already.
        next.write_all(agents.request().as_bytes()).ok();
        let mut status = [0; 12];
        if next.read_exact(&mut status).is_ok() && status == *b"HTTP/1.1 200" {
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "the deaf client keeps its place"
        );
    }
    let rest = told(&mut *deaf);
    assert!(rest.len() < large, "it was all there: nothing was held up");
    assert_eq!(target.daemon.stop().unwrap(), Some(0));
}
