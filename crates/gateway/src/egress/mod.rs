//! The way of an agent's programs to the network: an HTTP proxy that speaks CONNECT only. It listens
//! inside the agent's own network namespace, so whoever reaches a listener is that agent.
//!
//! One connection: head ([`head`]) → target ([`authority`]) → policy ([`verdict`]) → names resolved here,
//! every address looked at ([`addresses`]) → connected to that very address → on record → TLS for that
//! very name ([`sni`]) → copied both ways within bounds ([`tunnel`]) → on record. What is refused is on
//! record, too.

mod addresses;
mod agent;
mod authority;
mod connect;
mod head;
mod resolve;
mod sni;
mod tunnel;
mod verdict;

pub use addresses::special;
pub use agent::AgentEgress;
pub use authority::{Authority, Host, Malformed};
pub use verdict::{Beyond, Verdict, denies, judge};

use crate::limits::SlidingWindow;
use async_trait::async_trait;
use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections of one agent at once: package managers open a few dozen.
const MAX_CONNECTIONS: usize = 64;
/// Connections of one agent in a minute. Each is on record for months: a loop must not fill the log.
const MAX_PER_MINUTE: u32 = 1200;
/// Lookups of one agent at once. A name under the control of its own resolver may hold each for half a
/// minute, six times as long as is waited for it: others still find room among all.
const MAX_LOOKUPS: usize = 8;
/// Connections too many that are told so at once; more are closed without a word.
const MAX_TURNED_AWAY: usize = 64;
/// How long accepting rests when the process has no file descriptors left.
const REST: Duration = Duration::from_millis(100);

/// errno(3).
const EINVAL: i32 = rustix::io::Errno::INVAL.raw_os_error();

/// What the proxy asks of its owner.
#[async_trait]
pub trait Egress: Send + Sync {
    /// What the agent's policy says of a target now.
    fn judge(&self, target: &Authority) -> Verdict;

    /// Whether policy denies an address that an allowed name leads to.
    fn denies(&self, address: SocketAddr) -> bool;

    /// The addresses of a name.
    ///
    /// # Errors
    /// The resolver's.
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        resolve::by_the_system(name, port).await
    }

    /// Writes a connection down, before anything is sent on it and at its end.
    ///
    /// # Errors
    /// It could not be: the connection is refused.
    async fn record(&self, connection: &Connection) -> Result<(), NotRecorded>;
}

/// The record of a connection could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("connections cannot be put on record")]
pub struct NotRecorded;

/// What became of a connection so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// How far it has come.
    pub stage: Stage,
    /// Where it wanted to go; `None` if that was not understood.
    pub target: Option<Authority>,
    /// The address it was connected to.
    pub address: Option<SocketAddr>,
    /// Bytes from the agent.
    pub sent: u64,
    /// Bytes to the agent.
    pub received: u64,
    /// Since it was accepted.
    pub duration: Duration,
    /// Why it was refused or how it ended, in a phrase.
    pub reason: Cow<'static, str>,
    /// Connections refused since the last record because there were too many, which have none.
    pub missed: u64,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It was refused, before or after it was opened. Nothing that the agent sent left this host.
    Refused,
    /// It is open.
    Opened,
    /// It was open and has ended.
    Closed,
}

/// How long what may take.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// The head of a request.
    head: Duration,
    /// Resolving a name.
    resolve: Duration,
    /// Connecting to one address.
    connect: Duration,
    /// A ClientHello.
    hello: Duration,
    /// Nothing moves in either direction.
    idle: Duration,
    /// A whole connection: git is ended after half an hour.
    whole: Duration,
}

/// Bounds of one listener.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    times: Times,
    connections: usize,
    per_minute: u32,
}

const BOUNDS: Bounds = Bounds {
    times: Times {
        head: Duration::from_secs(10),
        resolve: Duration::from_secs(5),
        connect: Duration::from_secs(10),
        hello: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        whole: Duration::from_secs(2 * 3600),
    },
    connections: MAX_CONNECTIONS,
    per_minute: MAX_PER_MINUTE,
};

/// Serves one agent's listener until it is shut down or `stopping` is cancelled, and every connection is
/// closed and on record. Dropped before, it closes all connections without their last records.
pub async fn serve(listener: TcpListener, egress: Arc<dyn Egress>, stopping: CancellationToken) {
    serve_within(listener, egress, stopping, BOUNDS).await;
}

/// What all connections of a listener share.
struct Shared {
    egress: Arc<dyn Egress>,
    times: Times,
    stopping: CancellationToken,
    lookups: Semaphore,
    /// See [`Connection::missed`].
    missed: AtomicU64,
}

async fn serve_within(
    listener: TcpListener,
    egress: Arc<dyn Egress>,
    stopping: CancellationToken,
    bounds: Bounds,
) {
    let shared = Arc::new(Shared {
        egress,
        times: bounds.times,
        stopping,
        lookups: Semaphore::new(MAX_LOOKUPS),
        missed: AtomicU64::new(0),
    });
    let slots = Arc::new(Semaphore::new(bounds.connections));
    let turned_away = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
    let mut window = SlidingWindow::new(bounds.per_minute, 60);
    let began = Instant::now();
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shared.stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(ended) = open.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection of the egress proxy broke");
                }
                continue;
            }
        };
        let client = match accepted {
            Ok((client, _)) => client,
            // Its box has ended and taken the port along (accept(2) on a socket that does not listen).
            Err(error) if error.raw_os_error() == Some(EINVAL) => break,
            Err(error) => {
                tracing::warn!(%error, "the egress proxy could not accept a connection");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let second = i64::try_from(began.elapsed().as_secs()).unwrap_or(i64::MAX);
        let slot = slots.clone().try_acquire_owned().ok();
        let in_time = slot.is_some() && window.admit(second).is_ok();
        match slot.filter(|_| in_time) {
            Some(slot) => {
                let shared = shared.clone();
                open.spawn(async move {
                    connect::connection(client, &shared).await;
                    drop(slot);
                });
            }
            None => {
                shared.missed.fetch_add(1, Ordering::Relaxed);
                if let Ok(place) = turned_away.clone().try_acquire_owned() {
                    open.spawn(async move {
                        turn_away(client).await;
                        drop(place);
                    });
                }
            }
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn turn_away(client: TcpStream) {
    let reason = "Too many connections of this agent at once or in this minute.";
    let answer = head::refusal(503, "connection_limit_reached", reason);
    tunnel::say_and_close(client, &answer).await;
}

#[cfg(test)]
mod tests;
