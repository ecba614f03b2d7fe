//! The proxy with real connections on the loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::sni::tests::client_hello;
use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// No test waits longer for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// An owner that allows one name or address.
struct Owner {
    verdict: Verdict,
    /// What names lead to; no answer ever comes where there is none.
    addresses: Option<Vec<SocketAddr>>,
    denied: Option<SocketAddr>,
    keeps_records: bool,
    records: mpsc::UnboundedSender<Connection>,
}

#[async_trait]
impl Egress for Owner {
    fn judge(&self, target: &Authority) -> Verdict {
        match target.host.to_string().as_str() {
            "git.test" | "127.0.0.1" => self.verdict,
            _ => Verdict::Denied,
        }
    }

    fn denies(&self, address: SocketAddr) -> bool {
        self.denied == Some(address)
    }

    async fn resolve(&self, name: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(
            name, "git.test",
            "a name that is not allowed is not looked up"
        );
        match &self.addresses {
            Some(addresses) => Ok(addresses.clone()),
            None => std::future::pending().await,
        }
    }

    async fn record(&self, connection: &Connection) -> Result<(), NotRecorded> {
        self.records.send(connection.clone()).unwrap();
        if self.keeps_records {
            Ok(())
        } else {
            Err(NotRecorded)
        }
    }
}

struct Bed {
    proxy: SocketAddr,
    server: TcpListener,
    records: mpsc::UnboundedReceiver<Connection>,
    stopping: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

const ALLOWED: Verdict = Verdict::Allowed {
    beyond: Beyond::Any,
    encrypted: false,
};
const ENCRYPTED: Verdict = Verdict::Allowed {
    beyond: Beyond::Any,
    encrypted: true,
};

impl Bed {
    async fn new(verdict: Verdict) -> Bed {
        Bed::with(BOUNDS, |owner| owner.verdict = verdict).await
    }

    async fn with(bounds: Bounds, change: impl FnOnce(&mut Owner)) -> Bed {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        let (sender, records) = mpsc::unbounded_channel();
        let mut owner = Owner {
            verdict: ALLOWED,
            addresses: Some(vec![server.local_addr().unwrap()]),
            denied: None,
            keeps_records: true,
            records: sender,
        };
        change(&mut owner);
        let stopping = CancellationToken::new();
        let serve = serve_within(listener, Arc::new(owner), stopping.clone(), bounds);
        Bed {
            proxy,
            server,
            records,
            stopping,
            serving: tokio::spawn(serve),
        }
    }

    fn port(&self) -> u16 {
        self.server.local_addr().unwrap().port()
    }

    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(self.proxy).await.unwrap();
        client.write_all(bytes).await.unwrap();
        client
    }

    /// A client that asks for a host at the server's port.
    async fn ask(&self, host: &str) -> TcpStream {
        let head = format!("CONNECT {host}:{} HTTP/1.1\r\n\r\n", self.port());
        self.send(head.as_bytes()).await
    }

    /// One that was connected, and the server's end.
    async fn connected(&mut self, host: &str) -> (TcpStream, TcpStream) {
        let mut client = self.ask(host).await;
        let (server, _) = within(self.server.accept()).await.unwrap();
        let mut answer = vec![0; head::CONNECTED.len()];
        within(client.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, head::CONNECTED);
        assert_eq!(self.record().await.stage, Stage::Opened);
        (client, server)
    }

    async fn record(&mut self) -> Connection {
        within(self.records.recv()).await.unwrap()
    }

    /// Nobody has connected to the server.
    async fn is_unreached(&self) {
        let near = TcpStream::connect(self.server.local_addr().unwrap());
        let near = near.await.unwrap().local_addr().unwrap();
        let (_, first) = within(self.server.accept()).await.unwrap();
        assert_eq!(first, near, "the proxy connected");
    }

    /// The status and all that a client is answered, and why it was put on record as refused.
    async fn refused(&mut self, client: TcpStream) -> (String, String) {
        let answer = rest(client).await;
        let record = self.record().await;
        assert_eq!(record.stage, Stage::Refused, "{record:?}");
        assert!(answer.contains(record.reason.as_ref()), "{answer}");
        let status = answer.get(9..12).unwrap_or_default();
        (status.to_owned(), record.reason.into_owned())
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("it takes too long")
}

async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

fn bounds(change: impl FnOnce(&mut Bounds)) -> Bounds {
    let mut bounds = BOUNDS;
    change(&mut bounds);
    bounds
}

#[tokio::test]
async fn what_is_allowed_is_copied_both_ways_and_on_record() {
    for host in ["git.test", "127.0.0.1"] {
        let mut bed = Bed::new(ALLOWED).await;
        let head = format!("CONNECT {host}:{} HTTP/1.1\r\n\r\nearly ", bed.port());
        let mut client = bed.send(head.as_bytes()).await;
        let (mut server, _) = within(bed.server.accept()).await.unwrap();
        let opened = bed.record().await;
        assert_eq!(opened.stage, Stage::Opened);
        assert_eq!(opened.address, Some(bed.server.local_addr().unwrap()));
        assert_eq!(opened.target.unwrap().host.to_string(), host);
        client.write_all(b"late").await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = String::new();
        within(server.read_to_string(&mut heard)).await.unwrap();
        assert_eq!(heard, "early late");
        server.write_all(b"answer").await.unwrap();
        drop(server);
        let answer = rest(client).await;
        assert!(answer.ends_with("\r\n\r\nanswer"), "{answer}");
        let closed = bed.record().await;
        assert_eq!(
            (closed.stage, closed.reason.as_ref()),
            (Stage::Closed, "closed")
        );
        assert_eq!((closed.sent, closed.received, closed.missed), (10, 6, 0));
    }
}

#[tokio::test]
async fn what_is_not_allowed_is_neither_looked_up_nor_reached() {
    let mut bed = Bed::new(ALLOWED).await;
    let client = bed.ask("evil.test").await;
    let (status, reason) = bed.refused(client).await;
    assert_eq!(status, "403");
    assert!(reason.contains("evil.test") && reason.contains("network.allow"));
    let mut bed = Bed::new(Verdict::Denied).await;
    let client = bed.ask("127.0.0.1").await;
    assert_eq!(bed.refused(client).await.0, "403");
    bed.is_unreached().await;
}

#[tokio::test]
async fn no_name_leads_to_a_private_address_unless_that_is_allowed() {
    let public: SocketAddr = "198.41.0.4:443".parse().unwrap();
    // A name with allow_private may lead into a network, not to this host.
    for (also, beyond) in [
        (None, Beyond::Nothing),
        (Some(public), Beyond::Nothing),
        (None, Beyond::Private),
    ] {
        let mut bed = Bed::with(BOUNDS, |owner| {
            owner.verdict = Verdict::Allowed {
                beyond,
                encrypted: false,
            };
            let private = owner.addresses.take().unwrap();
            owner.addresses = Some(also.into_iter().chain(private).collect());
        })
        .await;
        let client = bed.ask("git.test").await;
        let (status, reason) = bed.refused(client).await;
        assert_eq!(status, "403");
        assert!(reason.contains("loopback") && reason.contains("list the address itself"));
        bed.is_unreached().await;
    }
    let mut bed = Bed::with(BOUNDS, |owner| {
        owner.denied = owner.addresses.as_ref().unwrap().first().copied();
    })
    .await;
    let client = bed.ask("git.test").await;
    assert!(bed.refused(client).await.1.contains("policy denies"));
    bed.is_unreached().await;
}

#[tokio::test]
async fn tls_for_the_target_passes_unchanged() {
    for (host, name) in [
        ("git.test", Some("Git.Test")),
        ("127.0.0.1", None),
        ("127.0.0.1", Some("127.0.0.1")),
    ] {
        let mut bed = Bed::new(ENCRYPTED).await;
        let (mut client, mut server) = bed.connected(host).await;
        let hello = client_hello(name);
        let (first, second) = hello.split_at(7);
        client.write_all(first).await.unwrap();
        client.flush().await.unwrap();
        client.write_all(second).await.unwrap();
        let mut heard = vec![0; hello.len()];
        within(server.read_exact(&mut heard)).await.unwrap();
        assert_eq!(heard, hello);
        server.write_all(b"x").await.unwrap();
        assert_eq!(within(client.read_u8()).await.unwrap(), b'x');
    }
}

#[tokio::test]
async fn nothing_but_tls_for_the_target_is_sent_on() {
    for (host, first, reason) in [
        (
            "git.test",
            client_hello(Some("evil.test")),
            "another server",
        ),
        (
            "git.test",
            client_hello(Some("git.test.")),
            "another server",
        ),
        ("git.test", client_hello(None), "no server by name"),
        (
            "127.0.0.1",
            client_hello(Some("git.test")),
            "another server",
        ),
        ("git.test", b"SSH-2.0-x\r\n".to_vec(), "no TLS"),
        ("git.test", b"GET / HTTP/1.1\r\n\r\n".to_vec(), "no TLS"),
    ] {
        let mut bed = Bed::new(ENCRYPTED).await;
        let (mut client, server) = bed.connected(host).await;
        client.write_all(&first).await.unwrap();
        let record = bed.record().await;
        assert_eq!((record.stage, record.sent), (Stage::Refused, 0));
        assert!(record.reason.contains(reason), "{}", record.reason);
        assert!(record.address.is_some());
        assert_eq!(rest(server).await, "");
    }
    let bounds = bounds(|bounds| bounds.times.hello = Duration::from_millis(50));
    let mut bed = Bed::with(bounds, |owner| owner.verdict = ENCRYPTED).await;
    let (_client, server) = bed.connected("git.test").await;
    assert!(bed.record().await.reason.contains("in time"));
    assert_eq!(rest(server).await, "");
}

#[tokio::test]
async fn what_is_no_connect_is_told_so() {
    let mut bed = Bed::new(ALLOWED).await;
    for (request, status) in [
        (
            "GET http://git.test/ HTTP/1.1\r\nHost: git.test\r\n\r\n".to_owned(),
            "405",
        ),
        ("CONNECT git.test HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("CONNECT 2130706433:80 HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("\x16\x03\x01 hello\r\n\r\n".to_owned(), "400"),
        (
            format!("CONNECT git.test:1 HTTP/1.1\r\nX: {}", "y".repeat(9000)),
            "431",
        ),
    ] {
        let client = bed.send(request.as_bytes()).await;
        assert_eq!(bed.refused(client).await.0, status, "{request}");
    }
    let mut client = bed.send(b"CONNECT git.test").await;
    client.shutdown().await.unwrap();
    assert_eq!(bed.refused(client).await.0, "400");
    bed.is_unreached().await;
}

#[tokio::test]
async fn a_slow_head_and_a_slow_resolver_end() {
    let bounds = bounds(|bounds| {
        bounds.times.head = Duration::from_millis(50);
        bounds.times.resolve = Duration::from_millis(50);
    });
    let mut bed = Bed::with(bounds, |owner| owner.addresses = None).await;
    let client = bed.send(b"CONNECT git.test:443 HTTP/1.1\r\n").await;
    assert_eq!(bed.refused(client).await.0, "408");
    let client = bed.ask("git.test").await;
    assert_eq!(bed.refused(client).await.0, "504");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_has_no_address_is_told() {
    let mut bed = Bed::with(BOUNDS, |owner| owner.addresses = Some(Vec::new())).await;
    let client = bed.ask("git.test").await;
    assert_eq!(bed.refused(client).await.0, "502");
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let mut bed = Bed::with(BOUNDS, |owner| owner.addresses = Some(vec![address])).await;
    let client = bed.ask("git.test").await;
    let (status, reason) = bed.refused(client).await;
    assert_eq!(status, "502");
    assert!(reason.contains("refuses connections"), "{reason}");
}

#[tokio::test]
async fn a_hanging_server_is_left() {
    let bounds = bounds(|bounds| bounds.times.idle = Duration::from_millis(80));
    let mut bed = Bed::with(bounds, |_| {}).await;
    let (client, server) = bed.connected("git.test").await;
    let record = bed.record().await;
    assert_eq!(
        (record.stage, record.reason.as_ref()),
        (Stage::Closed, "idle for too long")
    );
    assert_eq!(
        (rest(client).await, rest(server).await),
        (String::new(), String::new())
    );
    let bounds = self::bounds(|bounds| bounds.times.whole = Duration::from_millis(50));
    let mut bed = Bed::with(bounds, |_| {}).await;
    let _both = bed.connected("git.test").await;
    assert_eq!(bed.record().await.reason, "open for too long");
}

#[tokio::test]
async fn one_connection_too_many_is_refused_and_counted() {
    let bounds = bounds(|bounds| bounds.connections = 1);
    let mut bed = Bed::with(bounds, |_| {}).await;
    let (client, server) = bed.connected("git.test").await;
    for _ in 0..2 {
        let answer = rest(bed.ask("git.test").await).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    drop((client, server));
    let closed = bed.record().await;
    assert_eq!((closed.stage, closed.missed), (Stage::Closed, 2));
    let bounds = self::bounds(|bounds| bounds.per_minute = 1);
    let mut bed = Bed::with(bounds, |_| {}).await;
    let both = bed.connected("git.test").await;
    let answer = rest(bed.ask("git.test").await).await;
    assert!(answer.contains("in this minute"), "{answer}");
    drop(both);
    assert_eq!(bed.record().await.missed, 1);
}

#[tokio::test]
async fn nothing_is_sent_that_cannot_be_put_on_record() {
    let mut bed = Bed::with(BOUNDS, |owner| owner.keeps_records = false).await;
    let client = bed.ask("git.test").await;
    let (server, _) = within(bed.server.accept()).await.unwrap();
    assert_eq!(bed.record().await.stage, Stage::Opened);
    assert_eq!(bed.refused(client).await.0, "503");
    assert_eq!(rest(server).await, "");
}

#[tokio::test]
async fn everything_ends_with_the_box() {
    let mut bed = Bed::new(ALLOWED).await;
    let (client, server) = bed.connected("git.test").await;
    bed.stopping.cancel();
    let record = bed.record().await;
    assert_eq!(record.stage, Stage::Closed);
    assert!(record.reason.contains("sandbox ends"));
    assert_eq!(
        (rest(client).await, rest(server).await),
        (String::new(), String::new())
    );
    within(&mut bed.serving).await.unwrap();
    assert!(TcpStream::connect(bed.proxy).await.is_err());
}

#[tokio::test]
async fn the_systems_resolver_knows_this_host() {
    let found = resolve::by_the_system("localhost", 9).await.unwrap();
    assert!(
        found
            .iter()
            .all(|address| address.ip().is_loopback() && address.port() == 9)
    );
    assert!(!found.is_empty());
}
