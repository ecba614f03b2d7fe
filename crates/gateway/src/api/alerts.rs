//! `/alerts`: what needs a person's eye.

use super::error::{Answer, ApiError};
use super::extract::{Body, By, MAX_LIMIT, Params, page_limit};
use crate::gateway::Gateway;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use kruxos_store::{AlertStatus, Severity, StoreError};
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::json;

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/alerts", get(list))
        .route("/alerts/{id}/ack", post(acknowledge))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    status: Option<AlertStatus>,
    /// This one and worse.
    severity: Option<Severity>,
    source: Option<String>,
    since: Option<Timestamp>,
    limit: Option<usize>,
}

async fn list(
    By(_): By,
    State(gateway): State<Gateway>,
    Params(query): Params<ListQuery>,
) -> Answer {
    let limit = page_limit(query.limit)?;
    // The store does not filter by severity, so a page is cut from the newest that it would give.
    let reach = if query.severity.is_some() {
        MAX_LIMIT
    } else {
        limit
    };
    let source = query.source.as_deref();
    let (mut alerts, total) = gateway
        .store
        .alerts(query.status, source, query.since, reach)
        .await?;
    if let Some(least) = query.severity {
        alerts.retain(|alert| alert.severity >= least);
    }
    alerts.truncate(limit);
    Ok(Json(json!({"alerts": alerts, "total": total})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn acknowledge(
    By(by): By,
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    Body(Nothing {}): Body<Nothing>,
) -> Answer {
    match gateway
        .store
        .acknowledge_alert(&id, &by.principal.name, None)
        .await
    {
        Ok(alert) => {
            gateway
                .audit_admin(&by, "alert acknowledged", json!({"id": alert.id}))
                .await?;
            Ok(Json(json!(alert)))
        }
        Err(StoreError::NotFound(_)) => {
            let error = CallError::new(ErrorType::AlertNotFound).with("alert_id", id);
            Err(ApiError::new(StatusCode::NOT_FOUND, error))
        }
        Err(error) => Err(error.into()),
    }
}
