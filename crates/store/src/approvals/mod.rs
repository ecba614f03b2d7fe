//! Approval requests. Every transition is one compare-and-swap statement in the writer's transaction,
//! so that two deciders, a decision and an expiry, or a crash between decision and execution end in one
//! execution or none.

mod decisions;
pub(crate) mod machine;
mod queries;
mod row;
mod transitions;

pub(crate) use machine::forget;
pub(crate) use row::principal as principal_of;
pub use transitions::Requested;

use crate::{NewGrant, StoreError};
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
    /// When it stopped being pending, also by expiry or withdrawal.
    pub decided_at: Option<Timestamp>,
    pub decision_reason: Option<String>,
    pub scope: Option<String>,
    /// What runs in the place of `inputs`, where the operator edited them; redacted like those.
    pub edited_inputs: Option<Value>,
    /// What the decision remembers beyond this call: the grant, or the rule that was written.
    pub remembered: Option<Value>,
    /// The result or structured error once executed; kept for a week.
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
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Decision {
    Accept {
        by: String,
        reason: Option<String>,
        remember: Remember,
        /// Runs in the place of what was asked for.
        edit: Option<Edit>,
    },
    Reject {
        by: String,
        reason: Option<String>,
    },
}

/// How far a decision reaches.
#[derive(Debug, Clone, PartialEq)]
pub enum Remember {
    /// This call only.
    Once,
    /// Calls that a grant covers, stored with the decision.
    Grant(Box<NewGrant>),
    /// A rule in the agent's policy file, which the caller writes; the value says which.
    Always(Value),
}

/// Inputs that an operator put in the place of those that were asked for.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Edit {
    /// Sealed at rest.
    pub exact_inputs: Object,
    /// Shown; redacted by the caller.
    pub shown_inputs: Value,
}

impl Decision {
    /// Yes to this call, as it was asked for.
    #[must_use]
    pub fn accept(by: &str) -> Decision {
        Decision::Accept {
            by: by.to_owned(),
            reason: None,
            remember: Remember::Once,
            edit: None,
        }
    }
}

impl Remember {
    /// The scope as it is stored and shown.
    #[must_use]
    pub fn scope(&self) -> &'static str {
        match self {
            Remember::Once => "once",
            Remember::Grant(grant) => grant.scope.as_str(),
            Remember::Always(_) => "always",
        }
    }
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

    /// The inputs that were approved, byte for byte: those that were asked for, or the operator's.
    #[must_use]
    pub fn exact_inputs(&self) -> &Object {
        &self.exact_inputs
    }
}

impl Approval {
    /// The state as text.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        self.state.as_str()
    }
}

impl ApprovalState {
    const ALL: [ApprovalState; 8] = [
        ApprovalState::Pending,
        ApprovalState::Approved,
        ApprovalState::Rejected,
        ApprovalState::Expired,
        ApprovalState::Cancelled,
        ApprovalState::Executing,
        ApprovalState::Executed,
        ApprovalState::Failed,
    ];

    /// The state as it is stored and shown.
    fn as_str(self) -> &'static str {
        match self {
            ApprovalState::Pending => "pending",
            ApprovalState::Approved => "approved",
            ApprovalState::Rejected => "rejected",
            ApprovalState::Expired => "expired",
            ApprovalState::Cancelled => "cancelled",
            ApprovalState::Executing => "executing",
            ApprovalState::Executed => "executed",
            ApprovalState::Failed => "failed",
        }
    }
}
