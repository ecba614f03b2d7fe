//! `/health`, `/health/ready` and `/metrics` on a port of their own.

use crate::gateway::Gateway;
use crate::listen::Limit;
use axum::extract::State;
use axum::http::{Extensions, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

/// Connections at once: a few monitors.
const LIMIT: Limit = Limit {
    count: 64,
    named: "the health port",
};

/// Serves until the gateway stops.
pub(crate) async fn serve(gateway: Gateway, listener: TcpListener) {
    let routes = router(gateway.clone());
    let meet = |_: &TcpStream, _| Some(Extensions::new());
    crate::listen::serve(gateway, listener, LIMIT, routes, meet).await;
}

fn router(gateway: Gateway) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(gateway)
}

async fn health(State(gateway): State<Gateway>) -> Response {
    let report = gateway.health_report().await;
    let status = match report["status"].as_str() {
        Some("critical") => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    (status, Json(report)).into_response()
}

async fn ready(State(gateway): State<Gateway>) -> Response {
    match unready(&gateway).await {
        None => (StatusCode::OK, Json(json!({"ready": true}))).into_response(),
        Some(reason) => {
            let body = Json(json!({"ready": false, "reason": reason}));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

/// Why calls would be refused, if they would.
async fn unready(gateway: &Gateway) -> Option<String> {
    if gateway.stopping.is_cancelled() {
        return Some("the gateway is stopping".to_owned());
    }
    if let Some(cause) = gateway.audit.stopped() {
        return Some(format!("the audit log has stopped: {cause}"));
    }
    let answers = gateway.store.pending_approvals(None).await;
    answers
        .err()
        .map(|error| format!("the database does not answer: {error}"))
}

async fn metrics(State(gateway): State<Gateway>) -> Response {
    gateway.refresh_gauges().await;
    match crate::metrics::recorder() {
        Ok(handle) => (
            [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
            handle.render(),
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
