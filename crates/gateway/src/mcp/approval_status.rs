//! Where an approval request stands, for the client that made it: `kruxos/checkApproval` on MCP and
//! `approvals.status` on `/rpc`.

use crate::call::CallAnswer;
use crate::gateway::Gateway;
use kruxos_store::Approval;
use kruxos_types::{ApprovalId, CallError, Principal};
use serde_json::{Value, json};
use std::time::Duration;

/// The longest that one request may wait for a decision.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// `{request_id, status, capability, created_at, expires_at, decided_by?, reason?, result?, error?}`,
/// after waiting up to `wait` for it to end.
///
/// # Errors
/// `InvalidInput` when `principal` made no such request; the store's.
pub async fn status(
    gateway: &Gateway,
    principal: &Principal,
    id: &str,
    wait: Duration,
) -> Result<Value, CallError> {
    let unknown = || {
        CallError::invalid_input(
            "request_id",
            "you made no such approval request",
            "ap_ and 10 characters",
        )
    };
    let id = ApprovalId::from_text(id);
    let found = gateway
        .await_approval(&id, principal, wait.min(MAX_WAIT))
        .await?;
    let approval = found.ok_or_else(unknown)?;
    let mut status = json!({
        "request_id": approval.id.as_str(),
        "status": approval.state,
        "capability": approval.capability,
        "created_at": approval.created_at,
        "expires_at": approval.expires_at,
    });
    if let Some(by) = &approval.decided_by {
        status["decided_by"] = json!(by);
    }
    if let Some(reason) = &approval.decision_reason {
        status["reason"] = json!(reason);
    }
    match ended(gateway, &approval).await {
        Some(Ok(output)) => status["result"] = output,
        Some(Err(error)) => status["error"] = error.to_json(),
        None => {}
    }
    Ok(status)
}

/// How a request ended: with the call's output, or with the error that its caller gets.
pub(crate) async fn ended(
    gateway: &Gateway,
    approval: &Approval,
) -> Option<Result<Value, CallError>> {
    match crate::approvals::settled(gateway, approval).await? {
        CallAnswer::Done(output) => Some(Ok(output)),
        CallAnswer::Failed(error) | CallAnswer::Pending(_, error) => Some(Err(error)),
        CallAnswer::Cancelled => None,
    }
}
