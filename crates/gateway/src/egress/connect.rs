//! One connection through the proxy.

use super::addresses::is_private;
use super::authority::{Authority, Host};
use super::sni::{self, Start};
use super::tunnel::{self, Counters};
use super::verdict::{Beyond, Verdict};
use super::{Connection, Shared, Stage, head, special};
use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The port of HTTPS: TLS, whatever policy says of schemes.
const HTTPS: u16 = 443;
/// Addresses of one name that are tried.
const MAX_TRIED: usize = 3;
/// Bytes read at once.
const CHUNK: usize = 2 << 10;

/// Why a connection is refused.
struct Refusal {
    status: u16,
    /// A proxy error type (RFC 9209, section 2.3).
    error: &'static str,
    reason: Cow<'static, str>,
}

impl Refusal {
    fn new(status: u16, error: &'static str, reason: impl Into<Cow<'static, str>>) -> Refusal {
        let reason = reason.into();
        Refusal {
            status,
            error,
            reason,
        }
    }
}

/// What is known of a connection, however it ends.
struct Account {
    began: Instant,
    target: Option<Authority>,
    address: Option<SocketAddr>,
    counters: Counters,
    /// It was told that it is connected: from here on there is no status to answer.
    connected: bool,
    /// Bytes of the agent have left.
    forwarding: bool,
}

impl Account {
    fn entry(&self, shared: &Shared, stage: Stage, reason: Cow<'static, str>) -> Connection {
        Connection {
            stage,
            target: self.target.clone(),
            address: self.address,
            sent: self.counters.sent.load(Ordering::Relaxed),
            received: self.counters.received.load(Ordering::Relaxed),
            duration: self.began.elapsed(),
            reason,
            missed: shared.missed.swap(0, Ordering::Relaxed),
        }
    }
}

/// From accepted to closed.
pub(super) async fn connection(mut client: TcpStream, shared: &Shared) {
    let mut account = Account {
        began: Instant::now(),
        target: None,
        address: None,
        counters: Counters::default(),
        connected: false,
        forwarding: false,
    };
    let stopping = Refusal::new(503, "connection_terminated", "The agent's sandbox ends.");
    let outcome = tokio::select! {
        outcome = run(&mut client, shared, &mut account) => outcome,
        () = shared.stopping.cancelled() => Err(stopping),
    };
    let (stage, reason) = match &outcome {
        Ok(reason) => (Stage::Closed, Cow::Borrowed(*reason)),
        Err(refusal) if account.forwarding => (Stage::Closed, refusal.reason.clone()),
        Err(refusal) => (Stage::Refused, refusal.reason.clone()),
    };
    let entry = account.entry(shared, stage, reason);
    if shared.egress.record(&entry).await.is_err() {
        tracing::error!(?entry, "the end of a connection could not be put on record");
    }
    match outcome {
        Err(refusal) if !account.connected => {
            let answer = head::refusal(refusal.status, refusal.error, &refusal.reason);
            tunnel::say_and_close(client, &answer).await;
        }
        _ => {}
    }
}

/// Everything up to the end of a connection that was allowed; how it ended.
async fn run(
    client: &mut TcpStream,
    shared: &Shared,
    account: &mut Account,
) -> Result<&'static str, Refusal> {
    let times = &shared.times;
    let slow = |_| Refusal::new(408, "http_request_error", "The request came too slowly.");
    let (target, mut pending) = timeout(times.head, read_head(client))
        .await
        .map_err(slow)??;
    account.target = Some(target.clone());
    let Verdict::Allowed { beyond, encrypted } = shared.egress.judge(&target) else {
        let reason = format!("Your policy does not allow {target}; see network.allow.");
        return Err(Refusal::new(403, "http_request_denied", reason));
    };
    let addresses = resolve(shared, &target).await?;
    vet(shared, &target, &addresses, beyond)?;
    let mut server = open(shared, account, &target, &addresses).await?;
    let entry = account.entry(shared, Stage::Opened, Cow::Borrowed("allowed"));
    if shared.egress.record(&entry).await.is_err() {
        let reason = "Connections cannot be put on record now, so none is made.";
        return Err(Refusal::new(503, "proxy_internal_error", reason));
    }
    account.connected = true;
    let broken = |_| Refusal::new(502, "connection_terminated", "the agent left");
    client.write_all(head::CONNECTED).await.map_err(broken)?;
    if encrypted || target.port == HTTPS {
        let slow = |_| Refusal::new(408, "tls_protocol_error", "no TLS began in time");
        let hello = read_hello(client, &mut pending, &target);
        timeout(times.hello, hello).await.map_err(slow)??;
    }
    account.forwarding = true;
    let sent = &account.counters.sent;
    sent.fetch_add(pending.len() as u64, Ordering::Relaxed);
    let forwarded = timeout(times.idle, server.write_all(&pending)).await;
    if !matches!(forwarded, Ok(Ok(()))) {
        return Ok("broken off");
    }
    drop(pending);
    let is_allowed = || shared.egress.judge(&target) != Verdict::Denied;
    Ok(tunnel::copy(client, &mut server, &account.counters, times, is_allowed).await)
}

/// The target, and what came behind the head.
async fn read_head(client: &mut TcpStream) -> Result<(Authority, Vec<u8>), Refusal> {
    let mut bytes = Vec::with_capacity(CHUNK);
    let mut seen = 0;
    let end = loop {
        if let Some(end) = head::end(&bytes, seen) {
            break end;
        }
        if bytes.len() >= head::MAX_HEAD {
            let reason = "The head of the request is longer than 8 KiB.";
            return Err(Refusal::new(431, "http_request_error", reason));
        }
        seen = bytes.len();
        let read = more(client, &mut bytes, head::MAX_HEAD).await;
        if read == 0 {
            let reason = "The connection ended before a request.";
            return Err(Refusal::new(400, "http_request_error", reason));
        }
    };
    let rest = bytes.split_off(end);
    let target = head::parse(&bytes).map_err(|refused| {
        let status = match refused {
            head::Refused::Method => 405,
            head::Refused::Malformed(_) | head::Refused::Authority(_) => 400,
        };
        Refusal::new(status, "http_request_error", refused.to_string())
    })?;
    Ok((target, rest))
}

/// Reads some more, up to a whole of `most` bytes; 0 at the end, and where reading fails.
async fn more(client: &mut TcpStream, bytes: &mut Vec<u8>, most: usize) -> usize {
    let mut part = client.take((most.saturating_sub(bytes.len())).min(CHUNK) as u64);
    part.read_buf(bytes).await.unwrap_or(0)
}

async fn resolve(shared: &Shared, target: &Authority) -> Result<Vec<SocketAddr>, Refusal> {
    let name = match &target.host {
        Host::Address(address) => return Ok(vec![SocketAddr::new(*address, target.port)]),
        Host::Name(name) => name,
    };
    let lookup = async {
        let place = shared.lookups.acquire().await.map_err(io::Error::other)?;
        let found = shared.egress.resolve(name, target.port).await;
        drop(place);
        found
    };
    match timeout(shared.times.resolve, lookup).await {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => {
            let reason = format!("The name {name} is not known.");
            Err(Refusal::new(502, "dns_error", reason))
        }
        Err(_) => {
            let reason = format!("The name {name} could not be looked up in time.");
            Err(Refusal::new(504, "dns_timeout", reason))
        }
    }
}

/// One address that may not be reached refuses all: a name that leads to both is a trick or a mistake.
fn vet(
    shared: &Shared,
    target: &Authority,
    addresses: &[SocketAddr],
    beyond: Beyond,
) -> Result<(), Refusal> {
    for address in addresses {
        let reason = match special(address.ip()) {
            Some(kind) if !may_lead_to(beyond, kind) => {
                let way_out = match is_private(kind) {
                    true => "list it with allow_private: true",
                    false => "list the address itself",
                };
                format!(
                    "{target} leads to an address that is not public ({kind}); the operator can {way_out}."
                )
            }
            _ if shared.egress.denies(*address) => {
                format!("{target} leads to an address that your policy denies.")
            }
            _ => continue,
        };
        return Err(Refusal::new(403, "destination_ip_prohibited", reason));
    }
    Ok(())
}

fn may_lead_to(beyond: Beyond, kind: &str) -> bool {
    match beyond {
        Beyond::Nothing => false,
        Beyond::Private => is_private(kind),
        Beyond::Any => true,
    }
}

/// Connects to the first address that answers.
async fn open(
    shared: &Shared,
    account: &mut Account,
    target: &Authority,
    addresses: &[SocketAddr],
) -> Result<TcpStream, Refusal> {
    let mut refusal = Refusal::new(502, "destination_unavailable", "It has no address.");
    for address in addresses.iter().take(MAX_TRIED) {
        account.address = Some(*address);
        match timeout(shared.times.connect, TcpStream::connect(address)).await {
            Ok(Ok(server)) => return Ok(server),
            Ok(Err(_)) => {
                let reason = format!("{target} refuses connections or is not reachable.");
                refusal = Refusal::new(502, "connection_refused", reason);
            }
            Err(_) => {
                let reason = format!("{target} does not answer.");
                refusal = Refusal::new(504, "connection_timeout", reason);
            }
        }
    }
    Err(refusal)
}

/// Waits for a ClientHello that wants the target. Nothing of it has been sent on.
async fn read_hello(
    client: &mut TcpStream,
    pending: &mut Vec<u8>,
    target: &Authority,
) -> Result<(), Refusal> {
    let refuse = |reason: &'static str| Err(Refusal::new(403, "tls_protocol_error", reason));
    loop {
        match sni::start(pending) {
            Start::Unfinished => {}
            Start::Other => return refuse("what came first was no TLS"),
            Start::Hello(name) => {
                return match (&target.host, name) {
                    (Host::Name(host), Some(name)) if name.eq_ignore_ascii_case(host) => Ok(()),
                    // Clients name no server that they know by its address.
                    (Host::Address(_), None) => Ok(()),
                    (Host::Address(address), Some(name)) if is_address(&name, *address) => Ok(()),
                    (_, Some(_)) => refuse("TLS was for another server than the connection"),
                    (Host::Name(_), None) => refuse("TLS was for no server by name"),
                };
            }
        }
        if more(client, pending, sni::MAX_READ).await == 0 {
            return refuse("the agent left before TLS had begun");
        }
    }
}

/// Some clients name the address itself, against RFC 6066.
fn is_address(name: &str, address: IpAddr) -> bool {
    name.parse() == Ok(address)
}
