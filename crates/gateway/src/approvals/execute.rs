//! One execution of an approved call.

use super::{entry, facts, interface};
use crate::call::{Admitted, CallAnswer, Caller, micros};
use crate::events::EventType;
use crate::gateway::Gateway;
use futures_util::FutureExt;
use kruxos_audit::{Durability, Kind, Status};
use kruxos_capabilities::Permit;
use kruxos_store::{ClaimedApproval, TransitionError};
use kruxos_types::{ApprovalId, CallError, Object, Tier};
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

/// How long the store has to recover before a result is given to it again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

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
    finish(gateway, &id, result).await;
    gateway.approvals.wake();
}

/// Keeps how it ended, trying again while the store takes nothing: what stays «executing» keeps its agent
/// waiting, and after a restart counts as interrupted.
async fn finish(gateway: &Gateway, id: &ApprovalId, result: Result<Value, Value>) {
    loop {
        match gateway.store.finish_approval(id, result.clone()).await {
            Ok(approval) => {
                return gateway.announce_approval(EventType::ApprovalResolved, &approval);
            }
            Err(TransitionError::Store(error)) => {
                tracing::error!(%id, %error, "the result of an approved call cannot be kept yet");
            }
            Err(error) => return tracing::error!(%id, %error, "an approved call has ended already"),
        }
        tokio::select! {
            () = tokio::time::sleep(TRY_AGAIN) => {}
            () = gateway.stopping.cancelled() => return,
        }
    }
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
    let definition = gateway.catalog.get(&claimed.approval().capability);
    record.inputs = Some(gateway.recorded_inputs(definition, claimed.exact_inputs()));
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
    #[cfg(test)]
    gateway
        .hooks
        .reached(crate::hooks::Point::ApprovedCallBegun);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use crate::agents::CreateAgent;
    use crate::config::Config;
    use crate::gateway::Gateway;
    use crate::hooks::Point;
    use crate::layout::Layout;
    use crate::operator::Operator;
    use kruxos_store::{ApprovalState, Decision, NewApproval};
    use kruxos_types::{AgentName, ApprovalId, Object, Principal, SystemClock};
    use serde_json::json;
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread")]
    async fn an_approved_call_that_panics_ends_as_failed_and_its_entry_says_interrupted() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path(), None, None);
        let gateway = Gateway::open(
            Config::default(),
            layout,
            Arc::new(SystemClock),
            crate::sandbox::Sandbox::absent("a test"),
        )
        .await
        .unwrap();
        let agent = CreateAgent {
            name: AgentName::new("a").unwrap(),
            purpose: String::new(),
            policy_group: "team-moderate".to_owned(),
            settings: Object::new(),
        };
        let operator = Operator::gateway();
        gateway.create_agent(agent, &operator).await.unwrap();
        let id = ApprovalId::random();
        let principal = Principal::agent("a");
        let new = NewApproval {
            id: id.clone(),
            principal: principal.clone(),
            session_id: "ses_x".to_owned(),
            interface: "mcp".to_owned(),
            capability: "system.time".to_owned(),
            exact_inputs: Object::new(),
            shown_inputs: json!({}),
            digest: "d".to_owned(),
            reason: String::new(),
            rule: json!({}),
            preview: json!(null),
            risk_notes: Vec::new(),
            expires_at: None,
        };
        gateway.store.create_approval(new).await.unwrap();
        let panics = || panic!("on purpose");
        gateway.hooks.set(Point::ApprovedCallBegun, panics);
        let accept = Decision::accept("op");
        gateway.decide(&id, accept).await.unwrap();
        let patience = Duration::from_secs(30);
        let ended = gateway.await_approval(&id, &principal, patience).await;
        assert_eq!(ended.unwrap().unwrap().state, ApprovalState::Failed);
        let query = kruxos_audit::Query {
            capability: Some("system.time".to_owned()),
            kind: Some(kruxos_audit::Kind::Call),
            ..kruxos_audit::Query::default()
        };
        let told = gateway.audit.query(&query).unwrap().entries;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].metadata["interrupted"], true);
    }
}
