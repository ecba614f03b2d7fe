//! Held calls: a durable request, a wait that any client can leave, one decision, one execution.

mod always;
mod decide;
mod execute;
mod grants;
pub(crate) mod pattern;
pub(crate) mod remember;
mod risk;

pub(crate) use grants::{claim as granted, facts as grant_facts};

use crate::call::{Admitted, CallAnswer, CallRequest, Caller, Hold};
use crate::events::EventType;
use crate::gateway::Gateway;
use jiff::Timestamp;
use kruxos_audit::{Durability, Kind, Record, Status};
use kruxos_catalog::Definition;
use kruxos_store::{Approval, ApprovalState, NewApproval, Requested};
use kruxos_types::{ApprovalId, CallError, ErrorType, Interface, Object, Principal, Tier};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio::sync::watch;

/// How long a finished result waits for the agent to call again with the same inputs.
const RESULT_KEPT: Duration = Duration::from_secs(600);
/// Longest inputs that are shown whole to who decides, as JSON: content beyond it is shown by size and
/// digest, and in the preview.
const MAX_SHOWN: usize = 64 << 10;
/// A client that asked for progress hears at least this often that its call still waits.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Wakes everybody who waits for a decision.
#[derive(Debug)]
pub struct Approvals {
    changed: watch::Sender<u64>,
    /// Held while decisions are written to the audit log, so that each is written once and in order.
    settling: tokio::sync::Mutex<()>,
}

impl Default for Approvals {
    fn default() -> Self {
        Self {
            changed: watch::channel(0).0,
            settling: tokio::sync::Mutex::default(),
        }
    }
}

impl Approvals {
    fn wake(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Holds a call: makes the request (or finds the one that the same call made before) and waits.
pub(crate) async fn hold(
    gateway: &Gateway,
    caller: &Caller,
    request: CallRequest,
    admitted: Admitted,
    decision: Value,
    generation: u64,
) -> CallAnswer {
    match request_for(gateway, caller, &request, admitted, decision, generation).await {
        Ok(approval) => wait(gateway, approval, &request, caller).await,
        Err(error) => CallAnswer::Failed(error),
    }
}

async fn request_for(
    gateway: &Gateway,
    caller: &Caller,
    request: &CallRequest,
    admitted: Admitted,
    decision: Value,
    generation: u64,
) -> Result<Approval, CallError> {
    let principal = &caller.session.profile.principal;
    let digest = digest(principal, admitted.definition, &admitted.inputs, generation);
    let since = earlier(gateway.clock.now(), RESULT_KEPT);
    if let Some(known) = gateway
        .store
        .matching_approval(principal, &digest, since)
        .await?
    {
        return Ok(known);
    }
    // As it is, and not as it is shown: digests of content must be those of its intent and result.
    let recorded = gateway.recorded_inputs(Some(admitted.definition), &admitted.inputs);
    let shown_inputs = shown_inputs(gateway, admitted.definition, &admitted.inputs);
    let preview = gateway
        .preview(caller, admitted.definition, &admitted.inputs)
        .await;
    let risk_notes = risk::notes(admitted.definition, &admitted.inputs);
    let new = NewApproval {
        id: ApprovalId::random(),
        principal: principal.clone(),
        session_id: caller.session.id.to_string(),
        interface: caller.interface.as_str().to_owned(),
        capability: admitted.definition.name.to_string(),
        shown_inputs,
        exact_inputs: admitted.inputs,
        digest,
        reason: reason(&decision),
        rule: decision,
        preview,
        risk_notes,
        expires_at: expiry(gateway),
    };
    let limit = gateway.config.approval.max_pending_per_agent;
    // Looked at where the request is stored: an agent's session ends before its requests are forgotten.
    let ended = caller.session.ended.clone();
    let may_ask = move || !ended.is_cancelled();
    let approval = match gateway
        .store
        .request_approval(new, since, limit, may_ask)
        .await?
    {
        Requested::Created(approval) => *approval,
        // The same call was made twice at the same time: both wait on one request.
        Requested::Known(approval) => return Ok(*approval),
        Requested::Full(pending) => {
            return Err(CallError::new(ErrorType::ResourceExhausted)
                .with("resource", "pending approval requests")
                .with("limit", limit)
                .with("current", pending));
        }
        Requested::Gone => return Err(caller.session.expired()),
    };
    let mut entry = entry(&approval, Kind::Call, Status::Pending);
    entry.inputs = Some(recorded);
    entry.metadata.extend(request.metadata.clone());
    if let Err(error) = gateway.audit.append(entry, Durability::Waited).await {
        // Nobody is asked about a call that the log does not know.
        if let Err(error) = gateway.withdraw(&approval.id).await {
            tracing::error!(%error, id = %approval.id, "a request without an entry is still there");
        }
        return Err(crate::call::unaudited(&error));
    }
    gateway.announce_approval(EventType::ApprovalRequested, &approval);
    gateway.approvals.wake();
    Ok(approval)
}

/// Waits until the request ends, the hold time passes, the client leaves or the session ends.
async fn wait(
    gateway: &Gateway,
    first: Approval,
    request: &CallRequest,
    caller: &Caller,
) -> CallAnswer {
    let id = first.id.clone();
    let hold = match request.hold {
        Hold::UpTo(time) => time,
        Hold::Detach => Duration::ZERO,
    };
    let deadline = tokio::time::Instant::now() + hold;
    let mut changed = gateway.approvals.changed.subscribe();
    // Decided between its creation and the subscription: nobody would wake this call again.
    let mut approval = match gateway.store.approval(&id).await {
        Ok(current) => current.unwrap_or(first),
        Err(error) => return CallAnswer::Failed(error.into()),
    };
    loop {
        if let Some(answer) = settled(gateway, &approval).await {
            return answer;
        }
        let next_progress = tokio::time::Instant::now() + PROGRESS_EVERY;
        tokio::select! {
            _ = changed.changed() => {}
            () = tokio::time::sleep_until(deadline) => return pending(approval),
            () = request.cancel.cancelled() => return CallAnswer::Cancelled,
            () = caller.session.ended.cancelled() => return pending(approval),
            () = tokio::time::sleep_until(next_progress), if request.progress.is_some() => {
                if let Some(progress) = &request.progress {
                    progress(format!("waiting for approval {id}"));
                }
                continue;
            }
        }
        approval = match gateway.store.approval(&id).await {
            Ok(Some(current)) => current,
            Ok(None) => {
                return CallAnswer::Failed(CallError::internal_failure("the request is gone"));
            }
            Err(error) => return CallAnswer::Failed(error.into()),
        };
    }
}

/// The answer of a request that has ended, handed over once.
pub(crate) async fn settled(gateway: &Gateway, approval: &Approval) -> Option<CallAnswer> {
    let id = approval.id.as_str();
    match approval.state {
        ApprovalState::Pending | ApprovalState::Approved | ApprovalState::Executing => None,
        ApprovalState::Rejected => Some(CallAnswer::Failed(rejected(approval))),
        ApprovalState::Expired => Some(CallAnswer::Failed(
            CallError::new(ErrorType::ApprovalExpired).with("request_id", id),
        )),
        ApprovalState::Cancelled => Some(CallAnswer::Failed(
            CallError::new(ErrorType::ApprovalExpired)
                .with("request_id", id)
                .detail("The request was withdrawn."),
        )),
        ApprovalState::Executed | ApprovalState::Failed => {
            if let Err(error) = gateway.store.take_approval_result(&approval.id).await {
                return Some(CallAnswer::Failed(error.into()));
            }
            Some(outcome(approval))
        }
    }
}

/// The stored result of an executed request as an answer.
#[must_use]
pub fn outcome(approval: &Approval) -> CallAnswer {
    let result = approval.result.clone().unwrap_or(Value::Null);
    if approval.state == ApprovalState::Executed {
        return CallAnswer::Done(result);
    }
    CallAnswer::Failed(CallError::from_json(&result))
}

fn pending(approval: Approval) -> CallAnswer {
    let error = pending_error(&approval);
    CallAnswer::Pending(Box::new(approval), error)
}

/// `ApprovalPending`: the id, and that the same call made again waits on the same request.
#[must_use]
pub fn pending_error(approval: &Approval) -> CallError {
    CallError::new(ErrorType::ApprovalPending)
        .with("request_id", approval.id.as_str())
        .with("capability", approval.capability.as_str())
        .with("expires_at", json!(approval.expires_at))
}

fn rejected(approval: &Approval) -> CallError {
    CallError::new(ErrorType::ApprovalRejected)
        .with("request_id", approval.id.as_str())
        .with(
            "reason",
            approval
                .decision_reason
                .as_deref()
                .unwrap_or("no reason given"),
        )
        .with(
            "decided_by",
            approval.decided_by.as_deref().unwrap_or("operator"),
        )
}

/// Inputs as who decides sees them: secrets hidden, and content by its size where it is long.
pub(crate) fn shown_inputs(gateway: &Gateway, definition: &Definition, inputs: &Object) -> Value {
    let shown = kruxos_audit::redact(&Value::Object(inputs.clone()));
    match shown.to_string().len() {
        0..=MAX_SHOWN => shown,
        _ => gateway.recorded_inputs(Some(definition), inputs),
    }
}

/// Binds a decision to exactly one call: who, what, with which inputs, under which rules.
fn digest(
    principal: &Principal,
    definition: &Definition,
    inputs: &Object,
    generation: u64,
) -> String {
    // serde_json's maps are sorted, so equal inputs give equal bytes.
    let document = json!([principal, definition.name, inputs, generation]);
    data_encoding::HEXLOWER.encode(&Sha256::digest(document.to_string().as_bytes()))
}

fn entry(approval: &Approval, kind: Kind, status: Status) -> Record {
    Record {
        session_id: Some(approval.session_id.clone()),
        interface: Some(interface(&approval.interface)),
        capability: Some(approval.capability.clone()),
        policy_decision: (kind == Kind::Call).then(|| approval.rule.clone().into()),
        metadata: facts(approval),
        ..Record::new(kind, approval.principal.clone(), status)
    }
}

fn facts(approval: &Approval) -> Object {
    let mut facts = Object::new();
    facts.insert(
        "approval_request_id".to_owned(),
        json!(approval.id.as_str()),
    );
    facts.insert("digest".to_owned(), json!(approval.digest));
    facts.insert("tier".to_owned(), json!(Tier::ApprovalRequired));
    facts
}

pub(crate) fn interface(name: &str) -> Interface {
    Interface::ALL
        .into_iter()
        .find(|known| known.as_str() == name)
        .unwrap_or(Interface::Rpc)
}

fn reason(decision: &Value) -> String {
    let winner = decision["winner"].as_str().unwrap_or_default();
    let layers = decision["layers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let layer = layers.iter().find(|layer| layer["layer"] == winner);
    let text = layer.and_then(|layer| layer["reason"].as_str());
    text.map_or_else(|| format!("{winner} requires approval"), str::to_owned)
}

fn expiry(gateway: &Gateway) -> Option<Timestamp> {
    match gateway.config.approval.expire_after_seconds {
        0 => None,
        seconds => gateway
            .clock
            .now()
            .saturating_add(Duration::from_secs(seconds))
            .ok(),
    }
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    now.saturating_sub(by).unwrap_or(Timestamp::MIN)
}
