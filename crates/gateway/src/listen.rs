//! The one way HTTP is served here, on whatever listener: a bounded number of connections, bounded
//! heads, and an end when the gateway stops.

use crate::gateway::Gateway;
use axum::Router;
use axum::body::Body;
use axum::serve::Listener;
use http::Extensions;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How long a client may take for a request's head, and a kept-open connection may lie idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Request heads are small; hyper's least is 8 KiB.
const HEAD_BYTES: usize = 16 * 1024;
/// How long connections have to end once the gateway stops.
const DRAIN: Duration = Duration::from_secs(5);

/// A connection's place among those that are allowed at once. It is in the extensions of every request,
/// so that an upgraded connection, which outlives its request, still counts.
pub(crate) type Slot = Arc<OwnedSemaphorePermit>;

/// How many connections may be open at once, and what that bound is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) count: usize,
    pub(crate) named: &'static str,
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
    let slots = Arc::new(Semaphore::new(limit.count));
    loop {
        let (io, address) = tokio::select! {
            () = gateway.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Some(mut facts) = meet(&io, address) else {
            continue;
        };
        match slots.clone().try_acquire_owned() {
            Ok(slot) => {
                facts.insert::<Slot>(Arc::new(slot));
                let stopping = gateway.stopping.clone();
                let connection = connection(io, router.clone(), facts, stopping);
                drop(gateway.tasks.spawn(connection));
            }
            Err(_) => drop(gateway.tasks.spawn(turn_away(io, limit))),
        }
    }
}

/// One connection, for as many requests as the client makes on it; once `stopping` resolves it has
/// [`DRAIN`] left.
async fn connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    facts: Extensions,
    stopping: CancellationToken,
) {
    let inner = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().extend(facts.clone());
        inner.call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(DRAIN, connection.as_mut()).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Says why to a client that is one too many, without reading anything of it.
async fn turn_away(mut io: impl AsyncWrite + Unpin, limit: Limit) {
    let Limit { count, named } = limit;
    let why = format!("too many connections: at most {count} at once ({named})\n");
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
         content-type: text/plain\r\ncontent-length: {}\r\n\r\n{why}",
        why.len()
    );
    let told = async {
        io.write_all(answer.as_bytes()).await?;
        io.shutdown().await
    };
    if !matches!(
        tokio::time::timeout(Duration::from_secs(1), told).await,
        Ok(Ok(()))
    ) {
        tracing::debug!("a refused client left before it was told");
    }
}
