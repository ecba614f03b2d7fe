//! `/status`, `/health`, `/verify`, `/capabilities`, `/shutdown`: the gateway itself.

use super::error::{Answer, ApiError};
use super::extract::{Body, By, Params};
use crate::gateway::Gateway;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use kruxos_catalog::{Definition, Status};
use kruxos_store::{AlertStatus, ApprovalState};
use kruxos_types::CallError;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/status", get(status))
        .route("/health", get(health))
        .route("/sandbox", get(sandbox))
        .route("/verify", get(super::verify::report))
        .route("/capabilities", get(capabilities))
        .route("/capabilities/{name}", get(capability))
        .route("/shutdown", post(shutdown))
}

/// What was found of each kernel protection when the gateway started.
async fn sandbox(By(_): By, State(gateway): State<Gateway>) -> Answer {
    Ok(Json(gateway.sandbox.to_json()))
}

/// Where agents connect.
pub(super) fn endpoint(gateway: &Gateway) -> String {
    let server = &gateway.config.server;
    let place = gateway.listening.get().map_or_else(
        || std::net::SocketAddr::new(server.host, server.port),
        |listening| listening.agents,
    );
    // An address that means «every address» is none that a client can connect to.
    let place = match place.ip().is_unspecified() {
        true => std::net::SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), place.port()),
        false => place,
    };
    format!("http://{place}/mcp")
}

async fn status(By(_): By, State(gateway): State<Gateway>) -> Answer {
    let health = gateway.health_report().await;
    let pending = gateway
        .store
        .approvals(Some(ApprovalState::Pending), None, 1)
        .await?;
    let (_, alerts) = gateway
        .store
        .alerts(Some(AlertStatus::Open), None, None, 1)
        .await?;
    let (problems, warnings) = gateway.policy.diagnostics();
    let now = gateway.clock.now();
    let sessions: Vec<Value> = gateway
        .sessions
        .all()
        .iter()
        .map(|one| one.to_json())
        .collect();
    let waiting_since = pending.first().map(|oldest| oldest.created_at);
    Ok(Json(json!({
        "status": health["status"],
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_seconds": gateway.started.elapsed().as_secs(),
        "endpoint": endpoint(&gateway),
        "health_endpoint": gateway.listening.get().map(|all| format!("http://{}/health", all.health)),
        "data_dir": gateway.layout.data_dir,
        "config_file": gateway.config.file,
        "services": health["services"],
        "resources": health["resources"],
        "agents": gateway.agents.all().len(),
        "sessions": sessions,
        "approvals": {
            "pending": health["agent_metrics"]["approval_queue_depth"],
            "oldest_created_at": waiting_since,
        },
        "open_alerts": alerts,
        "policy": {
            "generation": gateway.policy.mark().0,
            "problems": problems,
            "warnings": warnings,
        },
        "audit": {"durable_seq": gateway.audit.durable_seq()},
        "generated_at": now,
    })))
}

async fn health(By(_): By, State(gateway): State<Gateway>) -> Answer {
    Ok(Json(gateway.health_report().await))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CapabilityQuery {
    category: Option<String>,
}

async fn capabilities(
    By(_): By,
    State(gateway): State<Gateway>,
    Params(query): Params<CapabilityQuery>,
) -> Answer {
    let wanted = |one: &&Definition| {
        query
            .category
            .as_deref()
            .is_none_or(|category| category == one.category)
    };
    let all: Vec<Value> = gateway
        .catalog
        .all()
        .iter()
        .filter(wanted)
        .map(|one| {
            json!({
                "name": one.name,
                "category": one.category,
                "version": one.version,
                "tier": one.tier,
                "available": one.status == Status::Available,
                "purpose": one.purpose,
            })
        })
        .collect();
    Ok(Json(Value::Array(all)))
}

async fn capability(By(_): By, State(gateway): State<Gateway>, Path(name): Path<String>) -> Answer {
    let one = gateway
        .catalog
        .resolve(&name)
        .map_err(|error: CallError| ApiError::new(StatusCode::NOT_FOUND, error))?;
    Ok(Json(json!({
        "name": one.name,
        "category": one.category,
        "version": one.version,
        "tier": one.tier,
        "purpose": one.purpose,
        "when_to_use": one.when_to_use,
        "input_schema": one.input_schema,
        "output_schema": one.output_schema,
        "errors": one.errors.iter().map(|declared| declared.error.code()).collect::<Vec<_>>(),
        "tags": one.tags,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Begins an orderly stop; the answer leaves before it.
async fn shutdown(
    By(by): By,
    State(gateway): State<Gateway>,
    Body(Nothing {}): Body<Nothing>,
) -> Answer<(StatusCode, Json<Value>)> {
    gateway
        .audit_admin(&by, "shutdown asked", json!({"pid": std::process::id()}))
        .await?;
    gateway.stopping.cancel();
    Ok((StatusCode::ACCEPTED, Json(json!({"stopping": true}))))
}
