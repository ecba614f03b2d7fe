#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use crate::config::{Config, WebUrl};
use crate::layout::Layout;
use crate::sandbox::Sandbox;
use hmac::{Hmac, KeyInit, Mac};
use kruxos_store::{Decision, NewApproval};
use kruxos_types::{ApprovalId, Clock, Principal, SystemClock};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};
use serde_json::Value;
use sha2::Sha256;
use std::collections::BTreeMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const SECRET: &str = "0123456789abcdef";
const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";
/// What a test waits for takes milliseconds; this only says where it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nothing waits long, and nothing times out that answers.
const HASTY: Timing = Timing {
    timeout: PATIENCE,
    first_wait: Duration::from_millis(1),
};

/// A request as a receiver sees it.
#[derive(Debug)]
struct Got {
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Checks the signature as a receiver in any language would.
    fn is_signed_with(&self, secret: &str) -> bool {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{}.{}", self.headers["x-kruxos-timestamp"], self.body).as_bytes());
        let hex = self.headers["x-kruxos-signature"]
            .strip_prefix("sha256=")
            .unwrap();
        let tag = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        mac.verify_slice(&tag).is_ok()
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Got> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let line = lines.next()?.to_owned();
            let header = |line: &str| {
                let (name, value) = line.split_once(": ").unwrap();
                (name.to_lowercase(), value.to_owned())
            };
            let headers: BTreeMap<String, String> = lines.map(header).collect();
            let length: usize = headers["content-length"].parse().unwrap();
            if body.len() >= length {
                let body = body.to_owned();
                return Some(Got {
                    line,
                    headers,
                    body,
                });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), with: &str) {
    // Who has left wants no answer.
    drop(stream.write_all(with.as_bytes()).await);
    drop(stream.shutdown().await);
}

/// A receiver that answers each request with the next of `answers`, then always the last; an empty one is
/// silence.
async fn receiver(answers: &'static [&'static str]) -> (String, UnboundedReceiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let (out, got) = unbounded_channel();
    drop(tokio::spawn(async move {
        let mut silent = Vec::new();
        for count in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let Some(request) = read(&mut stream).await else {
                continue;
            };
            let with = answers[count.min(answers.len() - 1)];
            if with.is_empty() {
                silent.push(stream);
            } else {
                answer(&mut stream, with).await;
            }
            if out.send(request).is_err() {
                return;
            }
        }
    }));
    (origin, got)
}

fn hook(url: &str) -> Webhook {
    serde_json::from_value(json!({"url": url, "secret": SECRET})).unwrap()
}

fn new_approval(inputs: Value) -> NewApproval {
    NewApproval {
        id: ApprovalId::random(),
        principal: Principal::agent("coder"),
        session_id: "ses_1".to_owned(),
        interface: "mcp".to_owned(),
        capability: "filesystem.delete".to_owned(),
        exact_inputs: Object::new(),
        shown_inputs: inputs,
        digest: "d".to_owned(),
        reason: "look first".to_owned(),
        rule: json!({}),
        preview: json!({"summary": "delete /workspace/x"}),
        risk_notes: vec!["can destroy data".to_owned()],
        expires_at: None,
    }
}

fn message() -> Message {
    Message {
        delivery: "wh_1".to_owned(),
        request_id: "ap_1".to_owned(),
        body: "{}".to_owned(),
    }
}

async fn try_deliver(origin: &str, timing: Timing) -> Result<(), PostError> {
    let hook = hook(&format!("{origin}/in?a=b"));
    let now = || "2026-01-01T00:00:00Z".parse().unwrap();
    deliver(&Poster::default(), &hook, &message(), timing, now).await
}

async fn open(directory: &tempfile::TempDir, hooks: Vec<Webhook>) -> Gateway {
    let mut config = Config::default();
    config.approval.webhooks = hooks;
    config.approval.base_url = Some(WebUrl::parse("https://kruxos.example/").unwrap());
    let layout = Layout::new(directory.path(), None, None);
    let clock = Arc::new(SystemClock);
    Gateway::open(config, layout, clock, Sandbox::absent("a test"))
        .await
        .unwrap()
}

async fn next(got: &mut UnboundedReceiver<Got>) -> Got {
    let next = tokio::time::timeout(PATIENCE, got.recv()).await;
    next.expect("nothing is delivered").unwrap()
}

/// Waits for the alert; the gateway raises it a moment after the last try.
async fn alert(gateway: &Gateway, wanted_count: u64) -> kruxos_store::Alert {
    let found = async {
        loop {
            let (alerts, _) = gateway
                .store
                .alerts(None, Some(SOURCE), None, 10)
                .await
                .unwrap();
            match alerts.into_iter().find(|alert| alert.count >= wanted_count) {
                Some(alert) => return alert,
                None => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .expect("no alert")
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_decisions_arrive_signed_and_in_order() {
    let (origin, mut got) = receiver(&[OK]).await;
    let directory = tempfile::tempdir().unwrap();
    let gateway = open(&directory, vec![hook(&format!("{origin}/in"))]).await;
    let made = gateway
        .store
        .create_approval(new_approval(json!({"path": "x"})))
        .await
        .unwrap();
    gateway.announce_approval(EventType::ApprovalRequested, &made);
    let reject = Decision::Reject {
        by: "alice".to_owned(),
        reason: Some("no".to_owned()),
    };
    gateway.decide(&made.id, reject).await.unwrap();

    let asked = next(&mut got).await;
    assert!(asked.is_signed_with(SECRET) && !asked.is_signed_with("another"));
    assert_eq!(asked.line, "POST /in HTTP/1.1");
    assert_eq!(asked.headers["content-type"], "application/json");
    let body = asked.json();
    assert_eq!(
        asked.headers["x-kruxos-delivery"],
        body["delivery"].as_str().unwrap()
    );
    let id = made.id.as_str();
    for (field, value) in [
        ("event", json!("approval_requested")),
        ("id", json!(id)),
        ("agent", json!("coder")),
        ("capability", json!("filesystem.delete")),
        ("tier", json!("approval_required")),
        ("reason", json!("look first")),
        ("risk_notes", json!(["can destroy data"])),
        ("inputs", json!({"path": "x"})),
        ("expires_at", Value::Null),
        ("state", json!("pending")),
        ("decided_by", Value::Null),
        (
            "link",
            json!(format!("https://kruxos.example/approvals/{id}")),
        ),
    ] {
        assert_eq!(body[field], value, "{field}");
    }
    let decided = next(&mut got).await;
    assert!(decided.is_signed_with(SECRET));
    let body = decided.json();
    let told = (
        &body["event"],
        &body["state"],
        &body["decided_by"],
        &body["decision_reason"],
    );
    let expected = (
        &json!("approval_resolved"),
        &json!("rejected"),
        &json!("alice"),
        &json!("no"),
    );
    assert_eq!(told, expected);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_beyond_the_bound_stay_here() {
    let (origin, mut got) = receiver(&[OK]).await;
    let directory = tempfile::tempdir().unwrap();
    let gateway = open(&directory, vec![hook(&origin)]).await;
    let large = new_approval(json!({"content": "x".repeat(16 << 10)}));
    let made = gateway.store.create_approval(large).await.unwrap();
    gateway.announce_approval(EventType::ApprovalRequested, &made);
    let body = next(&mut got).await.json();
    assert_eq!(
        (&body["inputs"], &body["inputs_omitted"]),
        (&Value::Null, &json!(true))
    );
    assert!(body["inputs_bytes"].as_u64() > Some(16 << 10));
    gateway.stop().await;
}

#[tokio::test]
async fn a_server_that_fails_is_tried_again_under_the_same_delivery_id() {
    const BUSY: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
    let (origin, mut got) = receiver(&[BUSY, BUSY, OK]).await;
    try_deliver(&origin, HASTY).await.unwrap();
    for _ in 0..3 {
        let got = next(&mut got).await;
        assert_eq!(got.headers["x-kruxos-delivery"], "wh_1");
        assert!(got.is_signed_with(SECRET));
    }
    assert!(got.try_recv().is_err());
}

#[tokio::test]
async fn a_server_that_only_fails_is_given_up_after_five_tries() {
    let (origin, mut got) = receiver(&["HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"]).await;
    let error = try_deliver(&origin, HASTY).await.unwrap_err();
    assert!(
        matches!(error, PostError::Status(status) if status == 503),
        "{error}"
    );
    for _ in 0..TRIES {
        next(&mut got).await;
    }
    assert!(got.try_recv().is_err());
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let (origin, _got) = receiver(&[""]).await;
    let timing = Timing {
        timeout: Duration::from_millis(20),
        first_wait: Duration::from_millis(1),
    };
    let error = try_deliver(&origin, timing).await.unwrap_err();
    assert!(matches!(error, PostError::TimedOut), "{error}");
}

#[tokio::test]
async fn a_redirect_is_neither_followed_nor_tried_again() {
    let (elsewhere, mut misled) = receiver(&[OK]).await;
    let redirect = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {elsewhere}/\r\n\r\n");
    let redirect: &'static str = Box::leak(redirect.into_boxed_str());
    let answers: &'static [&'static str] = Box::leak(Box::new([redirect]));
    let (origin, mut got) = receiver(answers).await;
    let error = try_deliver(&origin, HASTY).await.unwrap_err();
    assert!(matches!(error, PostError::Redirect(_)), "{error}");
    next(&mut got).await;
    assert!(got.try_recv().is_err() && misled.try_recv().is_err());
}

#[tokio::test]
async fn a_refusal_is_final_and_its_message_keeps_the_path_to_itself() {
    let (origin, mut got) =
        receiver(&["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]).await;
    let error = try_deliver(&origin, HASTY).await.unwrap_err().to_string();
    assert_eq!(error, "it answered 404 Not Found");
    next(&mut got).await;
    assert!(got.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_fold_into_one_alert_without_secrets() {
    let (origin, _got) = receiver(&["HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"]).await;
    let directory = tempfile::tempdir().unwrap();
    let gateway = open(&directory, vec![hook(&format!("{origin}/s3cr3t-path"))]).await;
    let made = gateway
        .store
        .create_approval(new_approval(json!({})))
        .await
        .unwrap();
    for _ in 0..3 {
        gateway.announce_approval(EventType::ApprovalRequested, &made);
    }
    let alert = alert(&gateway, 3).await;
    assert_eq!(alert.severity, Severity::Warning);
    assert_eq!(
        alert.message,
        format!("The webhook {origin} does not take approval events.")
    );
    let shown = json!(alert).to_string();
    assert!(
        !shown.contains("s3cr3t") && !shown.contains(SECRET),
        "{shown}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_delays_nobody_and_loses_the_oldest() {
    let (origin, mut got) = receiver(&[""]).await;
    let directory = tempfile::tempdir().unwrap();
    let gateway = open(&directory, vec![hook(&origin)]).await;
    let made = gateway
        .store
        .create_approval(new_approval(json!({})))
        .await
        .unwrap();
    gateway.announce_approval(EventType::ApprovalRequested, &made);
    // The courier has this one and waits for its answer.
    next(&mut got).await;
    for _ in 0..MAX_WAITING + 2 {
        gateway.announce_approval(EventType::ApprovalResolved, &made);
    }
    assert_eq!(
        gateway.webhooks.0[0].waiting.lock().unwrap().len(),
        MAX_WAITING
    );
    let alert = alert(&gateway, 2).await;
    assert!(alert.message.contains("dropped"), "{}", alert.message);
    tokio::time::timeout(PATIENCE, gateway.stop())
        .await
        .expect("it keeps the gateway from stopping");
}

#[tokio::test]
async fn https_needs_a_certificate_that_is_trusted() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (out, mut got) = unbounded_channel();
    drop(tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust us hangs up here.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            if let Some(request) = read(&mut stream).await {
                answer(&mut stream, OK).await;
                drop(out.send(request));
            }
        }
    }));
    let now = || SystemClock.now();
    let url = format!("https://localhost:{port}/in");
    let stranger = Poster::trusting(RootCertStore::empty());
    let refused = deliver(&stranger, &hook(&url), &message(), HASTY, now).await;
    assert!(matches!(refused, Err(PostError::Connect(_))), "{refused:?}");
    assert!(got.try_recv().is_err());
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let friend = Poster::trusting(roots);
    deliver(&friend, &hook(&url), &message(), HASTY, now)
        .await
        .unwrap();
    assert!(next(&mut got).await.is_signed_with(SECRET));
    let elsewhere = format!("https://127.0.0.1:{port}/in");
    let refused = deliver(&friend, &hook(&elsewhere), &message(), HASTY, now).await;
    assert!(refused.is_err(), "the certificate is another name's");
}
