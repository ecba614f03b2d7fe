//! State of agents that survives sessions: values in versions, each agent for itself, to a quota.

mod read;
mod write;

pub use write::MAX_KEYS_PER_AGENT;
pub(crate) use write::forget_agent;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// A value with its version. `created_at` is when the key came to life (again), `updated_at` when this
/// version was set.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct StateValue {
    pub value: Value,
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A key in a listing. `value` only where it was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct KeyEntry {
    pub key: String,
    pub version: u64,
    pub size_bytes: u64,
    pub updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// One version in a key's history; a deletion is a version too.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct VersionEntry {
    pub version: u64,
    pub value: Option<Value>,
    pub deleted: bool,
    pub size_bytes: u64,
    pub created_at: Timestamp,
}

/// What a set did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct SetOutcome {
    pub version: u64,
    pub previous_version: Option<u64>,
}

/// How much of its quota an agent uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct StateQuota {
    pub used_bytes: u64,
    pub limit_bytes: u64,
    pub keys: u64,
    /// The largest keys, by bytes of all their versions.
    pub largest: Vec<(String, u64)>,
}
