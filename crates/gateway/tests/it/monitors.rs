//! What a monitor asks on the health port: true, and without a cost to the disk.

use kruxos_audit::{Durability, Kind, Record, Status};
use kruxos_gateway::config::Config;
use kruxos_gateway::gateway::Gateway;
use kruxos_gateway::layout::Layout;
use kruxos_gateway::serve::Listening;
use kruxos_store::NewApproval;
use kruxos_types::{ApprovalId, Clock, FakeClock, Object, Principal};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Watched {
    gateway: Gateway,
    listening: Listening,
    clock: Arc<FakeClock>,
    directory: tempfile::TempDir,
}

impl Watched {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.port = 0;
        config.server.health_port = 0;
        config.audit.segment_bytes = 64 * 1024;
        let clock = Arc::new(FakeClock::new("2026-05-01T00:00:00Z".parse().unwrap()));
        let layout = Layout::new(directory.path(), None, None);
        kruxos_gateway::metrics::recorder().unwrap();
        let gateway = Gateway::open(
            config,
            layout,
            clock.clone(),
            kruxos_gateway::sandbox::Sandbox::absent("a test"),
        )
        .await
        .unwrap();
        let listening = kruxos_gateway::serve::start(&gateway).await.unwrap();
        Self {
            gateway,
            listening,
            clock,
            directory,
        }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.listening.health).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    async fn get_json(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.get(path).await;
        (status, serde_json::from_str(&body).unwrap())
    }
}

fn entry(metadata: Object) -> Record {
    Record {
        metadata,
        ..Record::new(Kind::Policy, Principal::system(), Status::Success)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_audit_log_has_stopped_is_not_ready() {
    let watched = Watched::start().await;
    assert_eq!(
        watched.get_json("/health/ready").await,
        (200, json!({"ready": true}))
    );
    assert_eq!(watched.get("/health").await.0, 200);

    // The next segment cannot be made: the directory is gone.
    let away = watched.directory.path().join("away");
    std::fs::rename(watched.gateway.layout.audit(), away).unwrap();
    let filling: Object = (0..64)
        .map(|n| (format!("fact{n}"), json!("x".repeat(1000))))
        .collect();
    let mut appended = 0;
    while watched.gateway.audit.stopped().is_none() {
        let record = entry(filling.clone());
        drop(
            watched
                .gateway
                .audit
                .append(record, Durability::Waited)
                .await,
        );
        appended += 1;
        assert!(appended < 5000, "the log never needed a new segment");
    }

    let (status, ready) = watched.get_json("/health/ready").await;
    assert_eq!((status, &ready["ready"]), (503, &json!(false)), "{ready}");
    let reason = ready["reason"].as_str().unwrap();
    assert!(reason.contains("audit"), "{reason}");
    let (status, health) = watched.get_json("/health").await;
    assert_eq!(
        (status, &health["status"]),
        (503, &json!("critical")),
        "{health}"
    );
    assert_eq!(watched.get("/metrics").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_health_writes_nothing() {
    let watched = Watched::start().await;
    // An entry that nobody waits for rests for some milliseconds before it is written. If asking
    // hurried it along, it would be on disk after every single question.
    let left_alone = async {
        loop {
            let record = entry(Object::new());
            let appended = watched.gateway.audit.append(record, Durability::Soon).await;
            let seq = appended.unwrap().seq;
            let health = watched.gateway.health_report().await;
            assert_eq!(health["services"][1]["status"], "healthy", "{health}");
            if watched.gateway.audit.durable_seq() < Some(seq) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), left_alone)
        .await
        .expect("asking for health wrote to the disk each time");
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_requests_are_counted_and_those_that_are_over_are_not() {
    let watched = Watched::start().await;
    let expires_at = watched
        .clock
        .now()
        .saturating_add(Duration::from_secs(60))
        .unwrap();
    for expires_at in [Some(expires_at), None] {
        let id = ApprovalId::random();
        let new = NewApproval {
            digest: id.as_str().to_owned(),
            id,
            principal: Principal::agent("a"),
            session_id: "ses_1".to_owned(),
            interface: "rpc".to_owned(),
            capability: "system.time".to_owned(),
            exact_inputs: Object::new(),
            shown_inputs: json!({}),
            reason: "a test".to_owned(),
            rule: json!({}),
            preview: Value::Null,
            risk_notes: Vec::new(),
            expires_at,
        };
        watched.gateway.store.create_approval(new).await.unwrap();
    }
    let gauge = |text: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("kruxos_approvals_pending "));
        line.unwrap_or_else(|| panic!("no gauge in {text}"))
            .to_owned()
    };
    assert_eq!(gauge(&watched.get("/metrics").await.1), "2");
    watched.clock.advance(Duration::from_secs(61));
    assert_eq!(gauge(&watched.get("/metrics").await.1), "1");
    let (_, health) = watched.get_json("/health").await;
    assert_eq!(
        health["agent_metrics"]["approval_queue_depth"], 1,
        "{health}"
    );
}
