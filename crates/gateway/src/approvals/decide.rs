//! Decisions: made once, written to the audit log before anything follows from them.

use super::entry;
use super::execute::execute;
use crate::events::EventType;
use crate::gateway::Gateway;
use kruxos_audit::{AuditError, Durability, Kind, Record, Status};
use kruxos_store::{Approval, ApprovalState, Decision, StoreError, TransitionError};
use kruxos_types::{ApprovalId, CallError, Principal};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;

/// Requests of one agent that are started when it is resumed: more than it can have pending.
const MAX_HELD_BACK: usize = 1000;

impl Gateway {
    /// Decides a request. Accepting starts its execution at once, in the gateway.
    ///
    /// # Errors
    /// [`TransitionError::Conflict`] carries the request when somebody was faster or it expired.
    pub async fn decide(
        &self,
        id: &ApprovalId,
        decision: Decision,
    ) -> Result<Approval, TransitionError> {
        let decided = self.store.decide_approval(id, decision).await;
        // Also after a lost race: it may just have expired.
        self.settle_decisions().await;
        decided
    }

    /// Withdraws a pending request, on behalf of the agent that made it.
    ///
    /// # Errors
    /// See [`TransitionError`].
    pub async fn withdraw(&self, id: &ApprovalId) -> Result<Approval, TransitionError> {
        let withdrawn = self.store.cancel_approval(id).await;
        self.settle_decisions().await;
        withdrawn
    }

    /// Waits until a request has ended or the time is up; answers it as it then is, if it exists and
    /// belongs to `principal`.
    ///
    /// # Errors
    /// The store's.
    pub async fn await_approval(
        &self,
        id: &ApprovalId,
        principal: &Principal,
        time: Duration,
    ) -> Result<Option<Approval>, CallError> {
        let deadline = tokio::time::Instant::now() + time;
        let mut changed = self.approvals.changed.subscribe();
        let open = |approval: &Approval| {
            use ApprovalState::{Approved, Executing, Pending};
            matches!(approval.state, Pending | Approved | Executing)
        };
        let mut approval = self.store.approval_of(id, principal).await?;
        while approval.as_ref().is_some_and(open) {
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep_until(deadline) => break,
                () = self.stopping.cancelled() => break,
            }
            // Whose it is was looked at; that they go meanwhile ends the request.
            approval = self.store.approval(id).await?;
        }
        Ok(approval)
    }

    /// A reader that wakes whenever any request changes.
    #[must_use]
    pub fn approval_changes(&self) -> watch::Receiver<u64> {
        self.approvals.changed.subscribe()
    }

    /// Expires what is due, and writes decisions that the audit log could not take before. Called by the
    /// gateway's timer.
    pub(crate) async fn expire_approvals(&self) {
        if let Err(error) = self.store.expire_approvals().await {
            tracing::error!(%error, "cannot expire approval requests");
        }
        self.settle_decisions().await;
    }

    /// After a start: what was decided and never began runs now; what had begun is never run again.
    pub(crate) async fn recover_approvals(&self) -> Result<(), StoreError> {
        let (_, approved) = self.store.recover_approvals().await?;
        // Those whose decision the log did not have yet are started by this.
        self.settle_decisions().await;
        for approval in approved {
            self.start_approved(approval);
        }
        Ok(())
    }

    /// Starts what was approved while the agent was paused, oldest first.
    pub(crate) async fn start_held_back(&self, principal: &Principal) -> Result<(), StoreError> {
        let approved = Some(ApprovalState::Approved);
        let held_back = self
            .store
            .approvals(approved, Some(principal), MAX_HELD_BACK)
            .await?;
        for approval in held_back.into_iter().rev() {
            self.start_approved(approval);
        }
        Ok(())
    }

    /// Writes every decision that the audit log does not have yet, oldest first, wakes who waits for it
    /// and starts what was approved. The store remembers what is missing, so a crash or a log that takes
    /// nothing only delays it; nothing starts that the log does not know.
    pub(crate) async fn settle_decisions(&self) {
        let _alone = self.approvals.settling.lock().await;
        if let Err(error) = self.settle_each().await {
            tracing::error!(%error, "decisions wait for the audit log");
        }
    }

    async fn settle_each(&self) -> Result<(), SettleError> {
        loop {
            let unaudited = self.store.unaudited_decisions().await?;
            if unaudited.is_empty() {
                return Ok(());
            }
            for approval in unaudited {
                self.audit
                    .append(decision_entry(self, &approval), Durability::Waited)
                    .await?;
                let marked = self
                    .store
                    .decision_audited(&approval.id, approval.state)
                    .await?;
                if !marked {
                    // It was withdrawn while this was written; the next round tells that.
                    continue;
                }
                self.announce_approval(EventType::ApprovalResolved, &approval);
                self.approvals.wake();
                if approval.state == ApprovalState::Approved {
                    self.start_approved(approval);
                }
            }
        }
    }

    /// Runs an approved request in the gateway, unless the gateway stops or the store does not let it:
    /// then it stays approved until the gateway starts again, its decision is audited, or its agent is
    /// resumed.
    fn start_approved(&self, approval: Approval) {
        let gateway = self.clone();
        drop(self.tasks.spawn(async move {
            let id = &approval.id;
            if gateway.stopping.is_cancelled() {
                return;
            }
            match gateway.store.claim_approval(id).await {
                Ok(claimed) => execute(&gateway, claimed).await,
                // Started twice after a restart, withdrawn meanwhile, or not to be run yet.
                Err(TransitionError::Conflict(current)) => {
                    tracing::debug!(%id, state = current.state_name(), "not executed here");
                }
                Err(error) => {
                    tracing::error!(%id, %error, "an approved request could not be executed");
                }
            }
        }));
    }
}

/// Why decisions are still to be written.
#[derive(Debug, thiserror::Error)]
enum SettleError {
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn decision_entry(gateway: &Gateway, approval: &Approval) -> Record {
    let status = match approval.state {
        ApprovalState::Approved => Status::Approved,
        ApprovalState::Rejected | ApprovalState::Cancelled => Status::Rejected,
        ApprovalState::Expired => Status::Expired,
        ApprovalState::Executed => Status::Success,
        ApprovalState::Failed => Status::Error,
        ApprovalState::Pending | ApprovalState::Executing => Status::Pending,
    };
    let mut entry = entry(approval, Kind::Decision, status);
    if let Some(by) = &approval.decided_by {
        // What came after the decision, as that the agent was deleted, is not the decider's doing.
        if matches!(
            approval.state,
            ApprovalState::Approved | ApprovalState::Rejected
        ) {
            entry.actor = Principal::user(by);
        }
        entry.metadata.insert("decided_by".to_owned(), json!(by));
    }
    let facts = [
        ("state", json!(approval.state)),
        ("decision_reason", json!(approval.decision_reason)),
        ("scope", json!(approval.scope)),
    ];
    let [asked, edited] = edit(gateway, approval);
    let added = [
        ("remembered", approval.remembered.clone()),
        ("asked_inputs", asked),
        ("edited_inputs", edited),
    ];
    let added = added
        .into_iter()
        .filter_map(|(name, fact)| fact.map(|fact| (name, fact)));
    for (name, fact) in facts.into_iter().chain(added) {
        entry.metadata.insert(name.to_owned(), fact);
    }
    entry
}

/// What was asked for and what runs in its place, where the operator edited it, as the log has inputs.
fn edit(gateway: &Gateway, approval: &Approval) -> [Option<Value>; 2] {
    let definition = gateway.catalog.get(&approval.capability);
    let recorded = |inputs: &Value| {
        let inputs = inputs.as_object()?;
        Some(gateway.recorded_inputs(definition, inputs))
    };
    let Some(edited) = &approval.edited_inputs else {
        return [None, None];
    };
    [recorded(&approval.inputs), recorded(edited)]
}
