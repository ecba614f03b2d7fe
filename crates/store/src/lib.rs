//! Durable product state in one SQLite database (`state.db`, WAL, synchronous=FULL): agents, tokens,
//! approvals, persistent state, alerts, session checkpoints, rate counters, task handles.
//! One writer thread commits in groups; readers come from a small pool.

mod agents;
mod alerts;
mod approvals;
mod persistent;
mod tokens;

pub use agents::{Agent, AgentPatch, AgentStatus, NewAgent, TokenOwner};
pub use alerts::{Alert, AlertStatus, NewAlert, Severity};
pub use approvals::{Approval, ApprovalState, ClaimedApproval, Decision, NewApproval, TransitionError};
pub use persistent::{KeyEntry, SetOutcome, StateQuota, StateValue, VersionEntry};
pub use tokens::{UserToken};

use kruxos_types::Clock;
use std::path::Path;
use std::sync::Arc;

/// The database. Cheap to clone; every method is safe to call from any task.
#[derive(Debug, Clone)]
pub struct Store {}

/// Settings.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Options {
    /// `state.persistent.quota_mb`, in bytes; counts values of all versions.
    pub persistent_quota_bytes: u64,
    /// `state.persistent.versions`.
    pub versions_kept: u32,
    /// Key for the exact inputs of approvals (AES-256-GCM), 32 bytes.
    pub approval_key: [u8; 32],
}

/// Why the database refused. Domain refusals (quota, version, missing key) are in the results'
/// own error types.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StoreError {
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the data directory was written by a newer kruxos (schema {found}, this one knows {known})")]
    NewerSchema { found: u32, known: u32 },
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    #[error("the database has stopped: {0}")]
    Stopped(String),
    #[error("'{0}' exists already")]
    Exists(String),
    #[error("'{0}' does not exist")]
    NotFound(String),
    #[error("quota: {used} of {limit} bytes used")]
    Quota { used: u64, limit: u64 },
    #[error("{0}")]
    Invalid(String),
}

impl From<StoreError> for kruxos_types::CallError {
    fn from(_error: StoreError) -> Self {
        todo!()
    }
}

impl Store {
    /// Opens or creates the database and migrates it forward.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(_path: &Path, _options: Options, _clock: Arc<dyn Clock>) -> Result<Store, StoreError> {
        todo!()
    }

    /// Small durable facts by name (rate counters, the audit high-water mark, timers).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn put_fact(&self, _name: &str, _value: serde_json::Value) -> Result<(), StoreError> {
        todo!()
    }

    /// Reads a fact back.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn fact(&self, _name: &str) -> Result<Option<serde_json::Value>, StoreError> {
        todo!()
    }
}
