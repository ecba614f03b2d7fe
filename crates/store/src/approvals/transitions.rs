//! The transitions as methods: each one job of the writer.

use super::machine::{self, Leave};
use super::queries;
use super::row::Binding;
use super::{
    Approval, ApprovalState, ClaimedApproval, Decision, NewApproval, Remember, TransitionError,
};
use crate::seal::{Part, Sealer};
use crate::{Store, StoreError, db, grants};
use jiff::Timestamp;
use kruxos_types::{ApprovalId, Object};
use rusqlite::{Connection, ToSql};
use serde_json::Value;

/// Requests kept; beyond it the oldest that have ended go. What they did stays in the audit log.
const KEPT: i64 = 10_000;
/// What a transition came to: the request as it now is, or why it did not happen. Apart from
/// [`StoreError`], which undoes the transaction: losing the race may still expire the request.
type Swapped<T> = Result<T, Lost>;

enum Lost {
    NotFound,
    Conflict(Box<Approval>),
}

/// What became of a call that asked for an approval.
#[derive(Debug, Clone, PartialEq)]
pub enum Requested {
    /// A new request, now pending.
    Created(Box<Approval>),
    /// The request that the same call had made before.
    Known(Box<Approval>),
    /// As many are pending as one principal may have; this is the number.
    Full(u64),
    /// Whoever asked may not ask any more.
    Gone,
}

impl Store {
    /// Stores a request as `pending` unless the same call has one ([`Store::matching_approval`] with
    /// `since`) or `max_pending` of the principal wait already: looked up and stored in one transaction,
    /// so that calls at the same time make one request between them and never one too many.
    ///
    /// `may_ask` is asked in that transaction too: where the session of a principal is ended before its
    /// requests are forgotten, a call that was on its way leaves none behind for a later bearer of the name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn request_approval(
        &self,
        new: NewApproval,
        since: Timestamp,
        max_pending: u64,
        may_ask: impl FnOnce() -> bool + Send + 'static,
    ) -> Result<Requested, StoreError> {
        let insert = self.insertion(new.clone())?;
        let (sealer, clock) = (self.0.sealer.clone(), self.0.clock.clone());
        self.write(move |conn| {
            if !may_ask() {
                return Ok(Requested::Gone);
            }
            let now = db::now(&*clock);
            let same = queries::matching(conn, &sealer, &new.principal, &new.digest, since, now)?;
            if let Some(known) = same {
                return Ok(Requested::Known(Box::new(known)));
            }
            let pending = queries::pending(conn, Some(&new.principal), now)?;
            if pending >= max_pending {
                return Ok(Requested::Full(pending));
            }
            Ok(Requested::Created(Box::new(insert(conn)?)))
        })
        .await
    }

    /// Stores a request as `pending`, durable on return.
    ///
    /// # Errors
    /// See [`StoreError`]; `Exists` for an id that was used before.
    pub async fn create_approval(&self, new: NewApproval) -> Result<Approval, StoreError> {
        let insert = self.insertion(new)?;
        self.write(insert).await
    }

    /// The job that stores a new request. Sealing happens here, outside the writer.
    fn insertion(
        &self,
        new: NewApproval,
    ) -> Result<impl FnOnce(&Connection) -> Result<Approval, StoreError> + Send + use<>, StoreError>
    {
        let binding = Binding::new(&new.id, &new.principal, &new.capability, &new.digest);
        let sealer = &self.0.sealer;
        let inputs = sealer.seal(Part::Inputs, binding.bound(), &new.exact_inputs)?;
        let preview = sealer.seal(Part::Preview, binding.bound(), &new.preview)?;
        let shown = db::to_json(&new.shown_inputs)?;
        let rule = db::to_json(&new.rule)?;
        let risk_notes = db::to_json(&new.risk_notes)?;
        let clock = self.0.clock.clone();
        Ok(move |conn: &Connection| {
            make_room(conn)?;
            let now = db::now(&*clock);
            let expires_at = new.expires_at.map(db::stored_precision);
            let params: &[&dyn ToSql] = &[
                &new.id.as_str(),
                &new.principal.kind.as_str(),
                &new.principal.name,
                &new.session_id,
                &new.interface,
                &new.capability,
                &shown,
                &new.digest,
                &new.reason,
                &rule,
                &risk_notes,
                &now.as_microsecond(),
                &expires_at.map(Timestamp::as_microsecond),
                &inputs,
                &preview,
            ];
            let sql = "INSERT INTO approvals (id, principal_kind, principal_name, session_id, \
                       interface, capability, shown_inputs, digest, reason, rule, risk_notes, \
                       created_at, expires_at, state, decision_audited, sealed_inputs, \
                       sealed_preview) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 'pending', \
                       0, ?14, ?15) ON CONFLICT (id) DO NOTHING";
            if db::run(conn, sql, params)? == 0 {
                return Err(StoreError::Exists(new.id.to_string()));
            }
            Ok(pending(new, now, expires_at))
        })
    }

    /// `pending → approved | rejected`, unless it expired before `now` (then it becomes `expired` and this
    /// answers `Conflict`).
    ///
    /// # Errors
    /// See [`TransitionError`].
    pub async fn decide_approval(
        &self,
        id: &ApprovalId,
        decision: Decision,
    ) -> Result<Approval, TransitionError> {
        let leave = |to, by, reason| Leave {
            to,
            scope: None,
            by: Some(by),
            reason,
            remembered: None,
            edit: None,
        };
        let (leave, grant) = match decision {
            Decision::Reject { by, reason } => (leave(ApprovalState::Rejected, by, reason), None),
            Decision::Accept {
                by,
                reason,
                remember,
                edit,
            } => {
                let scope = Some(remember.scope());
                let (remembered, grant) = match remember {
                    Remember::Once => (None, None),
                    Remember::Always(rule) => (Some(rule), None),
                    Remember::Grant(grant) => (Some(grant.told()), Some(*grant)),
                };
                let leave = Leave {
                    scope,
                    remembered: remembered.as_ref().map(db::to_json).transpose()?,
                    edit,
                    ..leave(ApprovalState::Approved, by, reason)
                };
                (leave, grant)
            }
        };
        let clock = self.0.clock.clone();
        self.swap(id, move |conn, id, sealer| {
            let now = db::now(&*clock);
            let left = machine::leave_pending(conn, sealer, id, &leave, now)?;
            if let (Some(approval), Some(grant)) = (&left, &grant) {
                grants::insert(conn, sealer, approval, grant, now)?;
            }
            Ok(left)
        })
        .await
    }

    /// A request that has not ended, with the exact inputs that it is about.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn approval_inputs(
        &self,
        id: &ApprovalId,
    ) -> Result<Option<(Approval, Object)>, StoreError> {
        let sealer = &self.0.sealer;
        self.point(|conn| machine::exact_inputs(conn, sealer, id))
    }

    /// `pending → cancelled`, unless it expired before `now` (then it becomes `expired` and this
    /// answers `Conflict`).
    ///
    /// # Errors
    /// See [`TransitionError`].
    pub async fn cancel_approval(&self, id: &ApprovalId) -> Result<Approval, TransitionError> {
        let to = ApprovalState::Cancelled;
        self.leave(
            id,
            Leave {
                to,
                scope: None,
                by: None,
                reason: None,
                remembered: None,
                edit: None,
            },
        )
        .await
    }

    async fn leave(&self, id: &ApprovalId, leave: Leave) -> Result<Approval, TransitionError> {
        let clock = self.0.clock.clone();
        self.swap(id, move |conn, id, sealer| {
            machine::leave_pending(conn, sealer, id, &leave, db::now(&*clock))
        })
        .await
    }

    /// `pending → expired` for everything due. Also drops results that finished more than a week ago.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn expire_approvals(&self) -> Result<Vec<Approval>, StoreError> {
        let now = db::now(&*self.0.clock);
        // Nothing due, the usual case, costs no commit.
        if !self.point(|conn| machine::is_any_due(conn, now))? {
            return Ok(Vec::new());
        }
        let sealer = self.0.sealer.clone();
        self.write(move |conn| machine::expire(conn, &sealer, now))
            .await
    }

    /// `approved → executing`: the only way to run an approved call. `Conflict` with an approved request
    /// says that it may not run yet: its decision is not in the audit log
    /// ([`Store::decision_audited`]), or its agent is paused.
    ///
    /// # Errors
    /// See [`TransitionError`].
    pub async fn claim_approval(
        &self,
        id: &ApprovalId,
    ) -> Result<ClaimedApproval, TransitionError> {
        self.swap(id, |conn, id, sealer| machine::claim(conn, sealer, id))
            .await
    }

    /// `executing → executed | failed` with the result or the structured error.
    ///
    /// # Errors
    /// See [`TransitionError`].
    pub async fn finish_approval(
        &self,
        id: &ApprovalId,
        result: Result<Value, Value>,
    ) -> Result<Approval, TransitionError> {
        let (to, result) = match result {
            Ok(result) => (ApprovalState::Executed, result),
            Err(error) => (ApprovalState::Failed, error),
        };
        let clock = self.0.clock.clone();
        self.swap(id, move |conn, id, sealer| {
            machine::finish(conn, sealer, id, to, &result, db::now(&*clock))
        })
        .await
    }

    /// Hands the result over once: true the first time only.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn take_approval_result(&self, id: &ApprovalId) -> Result<bool, StoreError> {
        let id = id.clone();
        self.write(move |conn| machine::take_result(conn, &id))
            .await
    }

    /// After a crash: requests left `executing` (their run may or may not have happened, so they are
    /// never run again) become `failed`; the `approved` ones that never started are returned to be run.
    /// Answers `(failed, approved)`, each oldest first. An approved request whose exact inputs cannot
    /// be opened any more fails too.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn recover_approvals(&self) -> Result<(Vec<Approval>, Vec<Approval>), StoreError> {
        let (sealer, clock) = (self.0.sealer.clone(), self.0.clock.clone());
        self.write(move |conn| machine::recover(conn, &sealer, db::now(&*clock)))
            .await
    }

    /// Runs one compare-and-swap; where it changed nothing, says what the request is instead.
    async fn swap<T: Send + 'static>(
        &self,
        id: &ApprovalId,
        attempt: impl FnOnce(&Connection, &ApprovalId, &Sealer) -> Result<Option<T>, StoreError>
        + Send
        + 'static,
    ) -> Result<T, TransitionError> {
        let (id, sealer) = (id.clone(), self.0.sealer.clone());
        let asked = id.clone();
        let swapped: Swapped<T> = self
            .write(move |conn| {
                if let Some(done) = attempt(conn, &id, &sealer)? {
                    return Ok(Ok(done));
                }
                let current = machine::find(conn, &sealer, &id)?;
                Ok(Err(current.map_or(Lost::NotFound, |found| {
                    Lost::Conflict(Box::new(found))
                })))
            })
            .await?;
        swapped.map_err(|lost| match lost {
            Lost::NotFound => TransitionError::NotFound(asked),
            Lost::Conflict(current) => TransitionError::Conflict(current),
        })
    }
}

/// The request that [`Store::create_approval`] has just stored.
fn pending(new: NewApproval, created_at: Timestamp, expires_at: Option<Timestamp>) -> Approval {
    Approval {
        id: new.id,
        principal: new.principal,
        session_id: new.session_id,
        interface: new.interface,
        capability: new.capability,
        inputs: new.shown_inputs,
        digest: new.digest,
        reason: new.reason,
        rule: new.rule,
        preview: new.preview,
        risk_notes: new.risk_notes,
        created_at,
        expires_at,
        state: ApprovalState::Pending,
        decided_by: None,
        decided_at: None,
        decision_reason: None,
        scope: None,
        edited_inputs: None,
        remembered: None,
        result: None,
        result_taken: false,
    }
}

fn make_room(conn: &Connection) -> Result<(), StoreError> {
    let sql = "DELETE FROM approvals \
               WHERE seq <= (SELECT max(seq) FROM approvals) - ?1 \
               AND state NOT IN ('pending', 'approved', 'executing') AND decision_audited = 1";
    db::run(conn, sql, [KEPT])?;
    Ok(())
}
