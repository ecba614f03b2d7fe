use crate::{Store, StoreError};
use jiff::Timestamp;
use kruxos_types::{ApprovalId, Object, Principal};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The states of spec/approvals.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ApprovalState {
    Pending,
    Approved,
    Rejected,
    Expired,
    Cancelled,
    Executing,
    Executed,
    Failed,
}

/// A request as it is shown: exact inputs stay sealed, `inputs` are redacted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Approval {
    pub id: ApprovalId,
    pub principal: Principal,
    pub session_id: String,
    pub interface: String,
    pub capability: String,
    pub inputs: Value,
    /// SHA-256 (hex) over principal, capability, exact inputs and rule generation.
    pub digest: String,
    pub reason: String,
    /// The explanation of policy.
    pub rule: Value,
    pub preview: Value,
    pub risk_notes: Vec<String>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub state: ApprovalState,
    pub decided_by: Option<String>,
    pub decided_at: Option<Timestamp>,
    pub decision_reason: Option<String>,
    pub scope: Option<String>,
    /// The result or structured error once executed.
    pub result: Option<Value>,
    /// Whether the result was handed to the agent.
    pub result_taken: bool,
}

/// What making one takes.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct NewApproval {
    pub id: ApprovalId,
    pub principal: Principal,
    pub session_id: String,
    pub interface: String,
    pub capability: String,
    /// Sealed at rest.
    pub exact_inputs: Object,
    /// Shown; redacted by the caller.
    pub shown_inputs: Value,
    pub digest: String,
    pub reason: String,
    pub rule: Value,
    pub preview: Value,
    pub risk_notes: Vec<String>,
    pub expires_at: Option<Timestamp>,
}

/// What an operator decided.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Decision {
    Accept { by: String, reason: Option<String> },
    Reject { by: String, reason: Option<String> },
}

/// A compare-and-swap that lost.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TransitionError {
    #[error("no approval request {0}")]
    NotFound(ApprovalId),
    #[error("the request is {} already", .0.state_name())]
    Conflict(Box<Approval>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Evidence that this process, and nobody else, may run an approved call: only the compare-and-swap
/// `approved → executing` makes one. Carries the exact inputs that were approved.
#[derive(Debug)]
#[must_use = "a claimed approval must be executed or failed"]
pub struct ClaimedApproval {
    approval: Approval,
    exact_inputs: Object,
}

impl ClaimedApproval {
    /// The request.
    #[must_use]
    pub fn approval(&self) -> &Approval {
        &self.approval
    }

    /// The inputs that were approved, byte for byte.
    #[must_use]
    pub fn exact_inputs(&self) -> &Object {
        &self.exact_inputs
    }
}

impl Approval {
    /// The state as text.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        todo!()
    }
}

impl Store {
    /// Stores a request as `pending`, durable on return.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn create_approval(&self, _new: NewApproval) -> Result<Approval, StoreError> {
        todo!()
    }

    /// One request.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn approval(&self, _id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        todo!()
    }

    /// Requests, oldest first while pending, else newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn approvals(
        &self,
        _state: Option<ApprovalState>,
        _principal: Option<&Principal>,
        _limit: usize,
    ) -> Result<Vec<Approval>, StoreError> {
        todo!()
    }

    /// How many are pending, for one principal or all.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn pending_approvals(&self, _principal: Option<&Principal>) -> Result<u64, StoreError> {
        todo!()
    }

    /// The newest request of this principal with this digest that is pending, approved, executing, or
    /// finished after `since` with its result not yet taken.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn matching_approval(
        &self,
        _principal: &Principal,
        _digest: &str,
        _since: Timestamp,
    ) -> Result<Option<Approval>, StoreError> {
        todo!()
    }

    /// `pending → approved | rejected`, unless it expired before `now` (then it becomes `expired` and this
    /// answers `Conflict`).
    ///
    /// # Errors
    /// See [`TransitionError`].
    pub async fn decide_approval(&self, _id: &ApprovalId, _decision: Decision) -> Result<Approval, TransitionError> {
        todo!()
    }

    /// `pending → cancelled`.
    ///
    /// # Errors
    /// See [`TransitionError`].
    pub async fn cancel_approval(&self, _id: &ApprovalId) -> Result<Approval, TransitionError> {
        todo!()
    }

    /// `pending → expired` for everything due.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn expire_approvals(&self) -> Result<Vec<Approval>, StoreError> {
        todo!()
    }

    /// `approved → executing`: the only way to run an approved call.
    ///
    /// # Errors
    /// See [`TransitionError`].
    pub async fn claim_approval(&self, _id: &ApprovalId) -> Result<ClaimedApproval, TransitionError> {
        todo!()
    }

    /// `executing → executed | failed` with the result or the structured error.
    ///
    /// # Errors
    /// See [`TransitionError`].
    pub async fn finish_approval(&self, _id: &ApprovalId, _result: Result<Value, Value>) -> Result<Approval, TransitionError> {
        todo!()
    }

    /// Hands the result over once: true the first time only.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn take_approval_result(&self, _id: &ApprovalId) -> Result<bool, StoreError> {
        todo!()
    }

    /// After a crash: requests left `executing` (their run may or may not have happened, so they are
    /// never run again) become `failed`; the `approved` ones that never started are returned to be run.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn recover_approvals(&self) -> Result<(Vec<Approval>, Vec<Approval>), StoreError> {
        todo!()
    }
}
