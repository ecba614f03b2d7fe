//! The agent port: HTTP and WebSocket for MCP, JSON-RPC, and the checks before either.
//!
//! A transport moves messages; it knows no MCP method but `initialize`, which begins a session.

mod body;
mod credentials;
mod http;
mod legacy_sessions;
mod metered;
mod refusal;
mod rpc;
mod security;
mod sse;
mod streaming;
mod websocket;

use crate::gateway::Gateway;
use crate::mcp::Mcp;
use axum::Router;
use axum::body::Body;
use axum::routing::{any, get, post};
use http::Http;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a client may take for a request's head, and a kept-open connection may lie idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Request heads are small; hyper's least is 8 KiB.
const HEAD_BYTES: usize = 16 * 1024;
/// How long connections have to end once the gateway stops.
const DRAIN: Duration = Duration::from_secs(5);
/// After a failed accept (no descriptors left, mostly) trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Both ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// Serves the agent port until the gateway stops, and returns when its connections have ended.
pub async fn serve(gateway: Gateway, listener: TcpListener) {
    let mcp = match Mcp::new(gateway.clone()) {
        Ok(mcp) => mcp,
        Err(error) => {
            tracing::error!(%error, "the agent port cannot be served");
            return;
        }
    };
    let router = router(Arc::new(Http::new(mcp)));
    let slots = Arc::new(Semaphore::new(gateway.config.server.max_connections));
    loop {
        let accepted = tokio::select! {
            () = gateway.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match slots.clone().try_acquire_owned() {
            Ok(slot) => drop(gateway.tasks.spawn(connection(
                gateway.clone(),
                router.clone(),
                stream,
                peer,
                slot,
            ))),
            Err(_) => drop(gateway.tasks.spawn(turn_away(stream))),
        }
    }
}

fn router(http: Arc<Http>) -> Router {
    Router::new()
        .route("/", get(http::root))
        .route("/mcp", any(http::mcp))
        .route("/rpc", post(rpc::rpc))
        .fallback(http::not_found)
        .layer(axum::middleware::from_fn_with_state(
            http.clone(),
            security::check,
        ))
        .with_state(http)
}

/// One TCP connection, for as many requests as the client makes on it.
async fn connection(
    gateway: Gateway,
    router: Router,
    stream: TcpStream,
    peer: SocketAddr,
    slot: OwnedSemaphorePermit,
) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    // Answers are small and written whole: waiting for more to send costs 40 ms each.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let slot = Arc::new(slot);
    let inner = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Ends { peer, local });
        // An upgraded connection outlives this task and still counts.
        request.extensions_mut().insert(slot.clone());
        inner.call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = gateway.stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(DRAIN, connection.as_mut()).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

/// Says why to a client that is one too many, without reading anything of it.
async fn turn_away(mut stream: TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
        content-type: text/plain\r\ncontent-length: 46\r\n\r\ntoo many connections (server.max_connections)\n";
    let told = async {
        stream.write_all(ANSWER).await?;
        stream.shutdown().await
    };
    if !matches!(
        tokio::time::timeout(Duration::from_secs(1), told).await,
        Ok(Ok(()))
    ) {
        tracing::debug!("a refused client left before it was told");
    }
}
