//! The one way HTTP is served here, on whatever listener: a bounded number of connections, bounded
//! heads, bounded time for everything that a peer must do, and an end when the gateway stops.

mod slow;

pub(crate) use slow::came_too_slowly;

use crate::config::Server;
use crate::gateway::Gateway;
use axum::Router;
use axum::body::Body;
use axum::serve::Listener;
use http::Extensions;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use kruxos_types::{CallError, ErrorType};
use slow::{Impatient, Patience, TimedBody};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bytes of a request's head and, apart from it, of the trailers of a chunked body: ours are small, and
/// hyper's least is 8 KiB. One more answers 431. Chunk extensions have hyper's own bound, 16 KiB for each
/// body.
const HEAD_BYTES: usize = 16 * 1024;
/// Headers of one request, and trailers; one more answers 431. Clients of MCP send about 15.
const MAX_HEADERS: usize = 100;
/// How long a connection has to end once the gateway stops and no request of it is at work.
const DRAIN: Duration = Duration::from_secs(5);
/// What lies above HTTP, such as a WebSocket, gives up on a peer that takes nothing first, because it can
/// say why.
const STALL_GRACE: Duration = Duration::from_secs(5);
/// Refused connections that are told why at once; more are closed without a word.
const MAX_TURNED_AWAY: usize = 64;
/// How long a refused peer may take to hear it.
const TURN_AWAY_WITHIN: Duration = Duration::from_secs(1);

/// A connection's place among those that are allowed at once. It is in the extensions of every request,
/// so that an upgraded connection, which outlives its request, still counts.
pub(crate) type Slot = Arc<OwnedSemaphorePermit>;

/// How many connections may be open at once, and what that bound is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) count: usize,
    pub(crate) named: &'static str,
}

/// How long a peer may take.
#[derive(Debug, Clone)]
struct Times {
    head: Duration,
    write: Duration,
    body: Patience,
}

impl Times {
    fn new(server: &Server, stopping: &CancellationToken) -> Self {
        Self {
            head: Duration::from_secs(server.head_timeout_seconds),
            write: Duration::from_secs(server.write_timeout_seconds) + STALL_GRACE,
            body: Patience {
                whole: Duration::from_secs(server.body_timeout_seconds),
                after_stop: DRAIN,
                stopping: stopping.clone(),
            },
        }
    }
}

/// Serves until the gateway stops. `limit` connections may be open at once; one more is told so and
/// closed. `meet` looks at a new connection: what it gives is in the extensions of every request of
/// it, `None` closes it unread.
pub(crate) async fn serve<L, M>(
    gateway: Gateway,
    mut listener: L,
    limit: Limit,
    router: Router,
    meet: M,
) where
    L: Listener,
    M: Fn(&L::Io, L::Addr) -> Option<Extensions>,
{
    let times = Times::new(&gateway.config.server, &gateway.stopping);
    let slots = Arc::new(Semaphore::new(limit.count));
    let refusals = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
    loop {
        let (io, address) = tokio::select! {
            () = gateway.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Some(mut facts) = meet(&io, address) else {
            continue;
        };
        if let Ok(slot) = slots.clone().try_acquire_owned() {
            facts.insert::<Slot>(Arc::new(slot));
            let connection = connection(io, router.clone(), facts, times.clone());
            drop(gateway.tasks.spawn(connection));
        } else if let Ok(place) = refusals.clone().try_acquire_owned() {
            drop(gateway.tasks.spawn(turn_away(io, limit, place)));
        }
    }
}

/// One connection, for as many requests as the client makes on it. Once the gateway stops it takes no new
/// one, and has [`DRAIN`] left when none is at work.
async fn connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    facts: Extensions,
    times: Times,
) {
    let Times { head, write, body } = times;
    let stopping = body.stopping.clone();
    let at_work = TaskTracker::new();
    at_work.close();
    let tracker = at_work.clone();
    let inner = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(|inner| Body::new(TimedBody::new(inner, body.clone())));
        request.extensions_mut().extend(facts.clone());
        tracker.track_future(inner.call(request))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_header_size(HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Impatient::new(io, write)), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let patience = async {
                at_work.wait().await;
                tokio::time::sleep(DRAIN).await;
            };
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = patience => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Says why to a client that is one too many. What it sends meanwhile is thrown away unread, because
/// unread data would make the kernel take the answer back.
async fn turn_away(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    limit: Limit,
    _place: OwnedSemaphorePermit,
) {
    let Limit { count, named } = limit;
    let error = CallError::new(ErrorType::ServiceUnavailable)
        .with("service", "gateway")
        .with(
            "reason",
            format!("too many connections: at most {count} at once ({named})"),
        )
        .retry_after(1);
    let body = error.to_json().to_string();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let told = async {
        io.write_all(answer.as_bytes()).await?;
        io.shutdown().await?;
        let mut rest = [0u8; 1024];
        while io.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    if !matches!(
        tokio::time::timeout(TURN_AWAY_WITHIN, told).await,
        Ok(Ok(()))
    ) {
        tracing::debug!("a refused client left before it was told, or stayed on");
    }
}
