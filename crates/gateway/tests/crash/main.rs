//! kill -9 in the middle of load, again and again on one data directory: no acknowledged write is lost,
//! the chain verifies, no approved call runs twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test; it prints how much it did"
)]

use kruxos_testkit::{Client, Daemon};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const WRITERS: u64 = 4;
/// Rounds unless KRUXOS_CRASH_ROUNDS says otherwise; the Makefile's `test-crash` runs 50.
const ROUNDS: u64 = 5;

/// Writes that were acknowledged: key → value.
type Acknowledged = Mutex<BTreeMap<String, u64>>;

struct Load {
    acknowledged: Acknowledged,
    /// Lines whose approved append was answered.
    appended: Mutex<HashSet<String>>,
    count: AtomicU64,
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_runs_twice() {
    let binary = Path::new(env!("CARGO_BIN_EXE_kruxosd"));
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let rounds = std::env::var("KRUXOS_CRASH_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let load = Load {
        acknowledged: Mutex::default(),
        appended: Mutex::default(),
        count: AtomicU64::new(0),
    };
    let mut daemon = Daemon::start(binary, &data_dir).unwrap();
    let token = daemon.introduction.agent_token().unwrap().to_owned();
    let policy = "capabilities:\n  filesystem.append: {tier: approval_required}\n  '*': {tier: autonomous}\n";
    let mut control = daemon.control().unwrap();
    let put = json!({"text": policy});
    let answer = control
        .request("PUT", "/policies/files/agents/default-agent", Some(&put))
        .unwrap();
    assert!(answer.status < 300, "{answer:?}");
    std::fs::write(daemon.introduction.workspace().join("ledger.txt"), "").unwrap();
    let mut longest_start = Duration::ZERO;
    for round in 0..rounds {
        // Deterministic and different each time: the kill lands at another point of the load.
        let until = load.count.load(Ordering::Relaxed) + 10 + (round * 7919) % 90;
        daemon = crash_under_load(
            daemon,
            &token,
            &load,
            round,
            until,
            binary,
            &data_dir,
            &mut longest_start,
        );
        check(&daemon, &token, &load);
    }
    assert_each_approval_ran_at_most_once(&daemon, &load);
    let report = daemon
        .control()
        .unwrap()
        .request("POST", "/audit/verify", Some(&json!({})))
        .unwrap();
    assert_eq!(report.body["ok"], true, "{report:?}");
    assert_eq!(daemon.stop().unwrap(), Some(0));
    let writes = load.acknowledged.lock().unwrap().len();
    let appends = load.appended.lock().unwrap().len();
    println!(
        "{rounds} crashes, {writes} acknowledged writes kept, {appends} approved calls answered, longest start {longest_start:?}"
    );
    assert!(writes > 0 && appends > 0, "the load never got anywhere");
}

#[allow(clippy::too_many_arguments, reason = "one call site")]
fn crash_under_load(
    daemon: Daemon,
    token: &str,
    load: &Load,
    round: u64,
    until: u64,
    binary: &Path,
    data_dir: &Path,
    longest_start: &mut Duration,
) -> Daemon {
    let address = daemon.introduction.gateway().to_owned();
    let socket = daemon.introduction.control_socket();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let address = address.clone();
            scope.spawn(move || write_until_it_breaks(&address, token, load, writer));
        }
        scope.spawn(|| append_until_it_breaks(&address, token, load, round));
        scope.spawn(|| accept_until_it_breaks(&socket));
        let started = Instant::now();
        let appends = load.appended.lock().unwrap().len() + 1 + usize::try_from(round % 3).unwrap();
        let reached = || {
            load.count.load(Ordering::Relaxed) >= until
                && load.appended.lock().unwrap().len() >= appends
        };
        while !reached() {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "the load stands still"
            );
            std::thread::park_timeout(Duration::from_micros(200));
        }
        daemon.kill().unwrap();
    });
    let started = Instant::now();
    let daemon = Daemon::start(binary, data_dir).unwrap();
    *longest_start = (*longest_start).max(started.elapsed());
    daemon
}

fn write_until_it_breaks(address: &str, token: &str, load: &Load, writer: u64) {
    let Ok(mut client) = Client::tcp(address, token) else {
        return;
    };
    for n in 0.. {
        let key = format!("w{writer}-{}", n % 40);
        let value = load.count.fetch_add(1, Ordering::Relaxed);
        match client.call("state.persistent.set", json!({"key": key, "value": value})) {
            Ok(Ok(_)) => drop(load.acknowledged.lock().unwrap().insert(key, value)),
            Ok(Err(error)) => panic!("a write was refused: {error}"),
            Err(_) => {
                // Unknown: it may have been written or not, so this key promises nothing any more.
                load.acknowledged.lock().unwrap().remove(&key);
                return;
            }
        }
    }
}

/// The agent's side: each call is held until the operator's side accepts it.
fn append_until_it_breaks(address: &str, token: &str, load: &Load, round: u64) {
    let Ok(mut agent) = Client::tcp(address, token) else {
        return;
    };
    for n in 0.. {
        let line = format!("round {round} line {n}");
        let arguments = json!({"path": "ledger.txt", "content": format!("{line}\n")});
        match agent.call("filesystem.append", arguments) {
            Ok(Ok(_)) => drop(load.appended.lock().unwrap().insert(line)),
            // Requests that a crash left behind fill the queue until the operator has decided them.
            Ok(Err(error)) if error["error_type"] == "ResourceExhausted" => {}
            Ok(Err(error)) => panic!("a held call was refused: {error}"),
            Err(_) => return,
        }
    }
}

/// The operator's side: accepts whatever waits.
fn accept_until_it_breaks(socket: &Path) {
    let Ok(mut operator) = Client::control(socket) else {
        return;
    };
    loop {
        let Ok(waiting) = operator.request("GET", "/approvals?state=pending", None) else {
            return;
        };
        for request in waiting.body.as_array().unwrap() {
            let path = format!("/approvals/{}/accept", request["id"].as_str().unwrap());
            let Ok(decided) = operator.request("POST", &path, Some(&json!({}))) else {
                return;
            };
            assert_eq!(decided.status, 200, "{decided:?}");
        }
    }
}

/// Every acknowledged write is there.
fn check(daemon: &Daemon, token: &str, load: &Load) {
    let mut client = daemon.client(token).unwrap();
    for (key, value) in &*load.acknowledged.lock().unwrap() {
        let found = client
            .call("state.persistent.get", json!({"key": key}))
            .unwrap()
            .unwrap();
        assert_eq!(found["value"], *value, "{key}: {found}");
    }
}

/// A line is in the ledger once or not at all; one whose call was answered is there.
fn assert_each_approval_ran_at_most_once(daemon: &Daemon, load: &Load) {
    let ledger =
        std::fs::read_to_string(daemon.introduction.workspace().join("ledger.txt")).unwrap();
    let lines: Vec<&str> = ledger.lines().collect();
    let distinct: HashSet<&str> = lines.iter().copied().collect();
    assert_eq!(lines.len(), distinct.len(), "an approved call ran twice");
    for line in &*load.appended.lock().unwrap() {
        assert!(
            distinct.contains(line.as_str()),
            "{line:?} was acknowledged and is not in the ledger"
        );
    }
    let mut control = daemon.control().unwrap();
    let executed = control
        .request("GET", "/approvals?state=executed&limit=1000", None)
        .unwrap()
        .body;
    assert!(
        executed.as_array().unwrap().len() <= lines.len(),
        "executed requests without an effect"
    );
}
