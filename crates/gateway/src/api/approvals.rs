//! `/approvals`: what waits for a person, and the decision.

use super::Operator;
use super::error::{Answer, ApiError};
use super::extract::{Body, By, Params, agent_name, bounded, page_limit};
use crate::gateway::Gateway;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use kruxos_store::{Approval, ApprovalState, Decision};
use kruxos_types::{ApprovalId, CallError, ErrorType, Principal};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/approvals", get(list))
        .route("/approvals/{id}", get(show))
        .route("/approvals/{id}/accept", post(accept))
        .route("/approvals/{id}/reject", post(reject))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    state: Option<ApprovalState>,
    agent: Option<String>,
    limit: Option<usize>,
}

async fn list(
    By(_): By,
    State(gateway): State<Gateway>,
    Params(query): Params<ListQuery>,
) -> Answer {
    let limit = page_limit(query.limit)?;
    let agent = query.agent.as_deref().map(agent_name).transpose()?;
    let principal = agent.map(|name| Principal::agent(name.as_str()));
    let found = gateway
        .store
        .approvals(query.state, principal.as_ref(), limit)
        .await?;
    Ok(Json(Value::Array(found.iter().map(row).collect())))
}

async fn show(By(_): By, State(gateway): State<Gateway>, Path(id): Path<String>) -> Answer {
    let found = gateway.store.approval(&ApprovalId::from_text(&id)).await?;
    let approval =
        found.ok_or_else(|| ApiError::not_found("id", &id, "an id of the approvals list"))?;
    Ok(Json(json!(approval)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    /// Told to the agent.
    reason: Option<String>,
}

async fn accept(
    By(by): By,
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    Body(Reason { reason }): Body<Reason>,
) -> Answer {
    bounded("reason", reason.as_deref().unwrap_or_default())?;
    others_call(&gateway, &id, &by).await?;
    decide(
        &gateway,
        &id,
        Decision::Accept {
            by: by.principal.name.to_string(),
            reason,
        },
    )
    .await
}

async fn reject(
    By(by): By,
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    Body(Reason { reason }): Body<Reason>,
) -> Answer {
    bounded("reason", reason.as_deref().unwrap_or_default())?;
    decide(
        &gateway,
        &id,
        Decision::Reject {
            by: by.principal.name.to_string(),
            reason,
        },
    )
    .await
}

/// Nobody approves their own call through the surface that it was made on (spec/approvals.md).
async fn others_call(gateway: &Gateway, id: &str, by: &Operator) -> Result<(), ApiError> {
    let found = gateway.store.approval(&ApprovalId::from_text(id)).await?;
    let own = |one: &Approval| {
        one.principal == by.principal
            && by
                .interface
                .is_some_and(|door| one.interface == door.as_str())
    };
    let Some(approval) = found.filter(own) else {
        return Ok(());
    };
    let error = CallError::new(ErrorType::PolicyDenied)
        .with("rule", "nobody approves their own call")
        .with("capability", approval.capability)
        .with("layer", "built_in");
    Err(ApiError::new(StatusCode::FORBIDDEN, error))
}

async fn decide(gateway: &Gateway, id: &str, decision: Decision) -> Answer {
    let approval = gateway.decide(&ApprovalId::from_text(id), decision).await?;
    Ok(Json(row(&approval)))
}

/// A request without its result, which can be large and is in the request's own page.
fn row(approval: &Approval) -> Value {
    let mut shown = json!(approval);
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("result");
    }
    shown
}
