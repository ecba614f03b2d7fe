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
use crate::listen::Limit;
use crate::mcp::Mcp;
use ::http::Extensions;
use axum::Router;
use axum::routing::{any, get, post};
use http::Http;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};

/// Both ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// Serves the agent port until the gateway stops.
pub async fn serve(gateway: Gateway, listener: TcpListener) {
    let mcp = match Mcp::new(gateway.clone()) {
        Ok(mcp) => mcp,
        Err(error) => {
            tracing::error!(%error, "the agent port cannot be served");
            return;
        }
    };
    let router = router(Arc::new(Http::new(mcp)));
    let limit = Limit {
        count: gateway.config.server.max_connections,
        named: "server.max_connections",
    };
    let meet = |stream: &TcpStream, peer| {
        // Answers are small and written whole: waiting for more to send costs 40 ms each.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let local = stream.local_addr().ok()?;
        let mut facts = Extensions::new();
        facts.insert(Ends { peer, local });
        Some(facts)
    };
    crate::listen::serve(gateway, listener, limit, router, meet).await;
}

fn router(http: Arc<Http>) -> Router {
    Router::new()
        .route("/", get(http::root))
        .route("/mcp", any(http::mcp))
        .route("/rpc", post(rpc::rpc))
        .fallback(http::not_found)
        .method_not_allowed_fallback(http::no_method)
        .layer(axum::middleware::from_fn_with_state(
            http.clone(),
            security::check,
        ))
        .with_state(http)
}
