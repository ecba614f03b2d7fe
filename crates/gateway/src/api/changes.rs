//! `/sessions`: what sessions changed in files, as a diff, and undoing it. `/trash`: what was deleted.

use super::agents::known;
use super::error::{Answer, ApiError};
use super::extract::{Body, By, MAX_LIMIT};
use crate::gateway::Gateway;
use crate::housekeeping::clean_all;
use crate::operator::Operator;
use crate::undo::{SessionChanges, UndoRequest};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use kruxos_capabilities::filesystem::list_trash;
use kruxos_types::CallError;
use serde::Deserialize;
use serde_json::json;

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/sessions", get(list))
        .route("/sessions/{session}/diff", get(diff))
        .route("/sessions/{session}/undo", post(undo))
        .route("/agents/{name}/trash", get(trash))
        .route("/trash/cleanup", post(cleanup))
}

/// Sessions of which changes are recorded, the newest first.
async fn list(By(_): By, State(gateway): State<Gateway>) -> Answer {
    let (sessions, more) = gateway.changed_sessions().await?;
    Ok(Json(json!({"sessions": sessions, "more": more})))
}

/// An agent's deleted files, the newest first. Agents restore them by `filesystem.restore`.
async fn trash(By(_): By, State(gateway): State<Gateway>, Path(name): Path<String>) -> Answer {
    let agent = known(&gateway, &name)?;
    let path = gateway.layout.trash("agent", agent.name.as_str());
    let listed = tokio::task::spawn_blocking(move || list_trash(&path, MAX_LIMIT)).await;
    let (entries, more) = listed
        .map_err(CallError::internal_failure)?
        .map_err(CallError::internal_failure)?;
    Ok(Json(json!({"entries": entries, "more": more})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cleanup {
    /// Count what would go.
    #[serde(default)]
    dry_run: bool,
}

/// Removes from every trash the entries whose time is over, as happens every hour.
async fn cleanup(
    By(by): By,
    State(gateway): State<Gateway>,
    Body(options): Body<Cleanup>,
) -> Answer {
    let (worker, dry_run) = (gateway.clone(), options.dry_run);
    let cleaned = tokio::task::spawn_blocking(move || clean_all(&worker, dry_run)).await;
    let entries = cleaned.map_err(CallError::internal_failure)?;
    if !dry_run {
        let facts = json!({"entries": entries});
        gateway.audit_admin(&by, "trash cleaned", facts).await?;
    }
    Ok(Json(json!({"entries": entries, "dry_run": dry_run})))
}

/// What a session changed: from before it to now.
async fn diff(
    By(by): By,
    State(gateway): State<Gateway>,
    Path(session): Path<String>,
) -> Answer<Json<SessionChanges>> {
    let request = UndoRequest {
        dry_run: true,
        forward: true,
        ..UndoRequest::default()
    };
    ask(&gateway, &session, request, &by).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Say what would be done, and do nothing.
    #[serde(default)]
    dry_run: bool,
    /// Leave what changed since and what is not kept; without it one of those refuses all.
    #[serde(default)]
    skip_changed: bool,
}

/// 409 when something cannot be undone, with nothing done, or when it stopped half way.
async fn undo(
    By(by): By,
    State(gateway): State<Gateway>,
    Path(session): Path<String>,
    Body(options): Body<Options>,
) -> Answer<Json<SessionChanges>> {
    let request = UndoRequest {
        dry_run: options.dry_run,
        skip_changed: options.skip_changed,
        forward: false,
    };
    ask(&gateway, &session, request, &by).await
}

async fn ask(
    gateway: &Gateway,
    session: &str,
    request: UndoRequest,
    by: &Operator,
) -> Answer<Json<SessionChanges>> {
    let done = gateway.undo_session(session, request, by).await?;
    let known = || {
        let list = "a session of which file changes are recorded";
        ApiError::not_found("session", session, list)
    };
    done.map(Json).ok_or_else(known)
}
