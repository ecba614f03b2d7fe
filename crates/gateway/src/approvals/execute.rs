//! One execution of an approved call.

use super::{entry, facts, interface, recorded_inputs};
use crate::call::{Admitted, CallAnswer, Caller, micros};
use crate::events::EventType;
use crate::gateway::Gateway;
use futures_util::FutureExt;
use kruxos_audit::{Durability, Kind, Status};
use kruxos_capabilities::Permit;
use kruxos_store::ClaimedApproval;
use kruxos_types::{CallError, Object, Tier};
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

/// Runs an approved call with exactly the inputs that were approved, unless policy blocks it by now. It
/// ends as executed or failed whatever happens, also by a panic.
pub(super) async fn execute(gateway: &Gateway, claimed: ClaimedApproval) {
    let started = Instant::now();
    let id = claimed.approval().id.clone();
    let run = AssertUnwindSafe(run_claimed(gateway, &claimed, started)).catch_unwind();
    let answer = run.await.unwrap_or_else(|_| {
        // The panic itself was printed by the hook; the audit record says «interrupted».
        CallAnswer::Failed(CallError::internal_failure("an approved call panicked"))
    });
    let result = match answer {
        CallAnswer::Done(output) => Ok(output),
        CallAnswer::Failed(error) => Err(error.to_json()),
        CallAnswer::Pending(_, error) => Err(error.to_json()),
        CallAnswer::Cancelled => Err(CallError::internal_failure("cancelled").to_json()),
    };
    match gateway.store.finish_approval(&id, result).await {
        Ok(approval) => gateway.announce_approval(EventType::ApprovalResolved, &approval),
        Err(error) => tracing::error!(%id, %error, "an executed request could not be finished"),
    }
    gateway.approvals.wake();
}

/// The answer of an approved call that could not even begin, audited like any other refusal.
async fn refused(
    gateway: &Gateway,
    claimed: &ClaimedApproval,
    error: CallError,
    started: Instant,
) -> CallAnswer {
    let mut record = entry(claimed.approval(), Kind::Call, Status::Error);
    record.duration_us = Some(micros(started));
    record.inputs = Some(recorded_inputs(gateway, claimed.approval()));
    let definition = gateway.catalog.get(&claimed.approval().capability);
    let facts = gateway.recorded_error(definition, &error);
    record.metadata.extend(facts);
    match gateway.audit.append(record, Durability::Waited).await {
        Ok(_) => CallAnswer::Failed(error),
        Err(failure) => CallAnswer::Failed(crate::call::unaudited(&failure)),
    }
}

async fn run_claimed(gateway: &Gateway, claimed: &ClaimedApproval, started: Instant) -> CallAnswer {
    let approval = claimed.approval();
    let definition = match gateway.catalog.resolve(&approval.capability) {
        Ok(definition) => definition,
        Err(error) => return refused(gateway, claimed, error, started).await,
    };
    let session = match gateway.session_of(&approval.principal).await {
        Ok(session) => session,
        Err(error) => return refused(gateway, claimed, error, started).await,
    };
    let caller = Caller {
        session,
        interface: interface(&approval.interface),
    };
    let inputs = claimed.exact_inputs().clone();
    let (touches, lost) = match gateway.touched(&caller.session, definition, &inputs).await {
        Ok(touches) => (touches, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let admitted = Admitted {
        definition,
        inputs,
        touches,
    };
    let policy = gateway.policy.current();
    let query = crate::call::query(gateway, &caller, &admitted);
    let explanation = policy.explain(&query, &gateway.rates);
    let decision = serde_json::to_value(&explanation).unwrap_or(Value::Null);
    let mut record =
        crate::call::record(gateway, &caller, &admitted, decision.clone(), Object::new());
    record.metadata.extend(facts(approval));
    let begun = match crate::call::begin(gateway, definition, record).await {
        Ok(begun) => begun,
        Err(error) => return CallAnswer::Failed(crate::call::unaudited(&error)),
    };
    let tier = Tier::ApprovalRequired;
    let result = if let Some(error) = lost {
        // What it was about has gone since the decision; policy cannot be asked, so nothing runs.
        Err(error)
    } else if explanation.tier == Tier::Blocked {
        Err(crate::call::denied(&admitted, &decision))
    } else {
        gateway.announce_start(&caller, definition, tier);
        let permit = Permit::by_approval(claimed, &begun, definition);
        gateway.execute(&caller, definition, permit).await
    };
    crate::call::finish(gateway, &caller, definition, tier, begun, result, started).await
}
