//! `/health`, `/health/ready` and `/metrics` on a port of their own.

use crate::gateway::Gateway;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;

/// Serves until the gateway stops.
pub(crate) async fn serve(gateway: Gateway, listener: TcpListener) {
    let stopping = gateway.stopping.clone();
    let served = axum::serve(listener, router(gateway))
        .with_graceful_shutdown(async move { stopping.cancelled().await })
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the health port failed");
    }
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
    let stopping = gateway.stopping.is_cancelled();
    let status = if stopping {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    (status, Json(json!({"ready": !stopping}))).into_response()
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
