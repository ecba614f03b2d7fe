use crate::{Store, StoreError};
use jiff::Timestamp;
use kruxos_types::AgentName;
use serde::Serialize;
use serde_json::Value;

/// A value with its version.
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

impl Store {
    /// Sets a key: a new version, durable on return; versions beyond the limit go. `Quota` leaves
    /// everything as it was.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn state_set(&self, _agent: &AgentName, _key: &str, _value: Value) -> Result<SetOutcome, StoreError> {
        todo!()
    }

    /// The current value, or that of a version.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn state_get(&self, _agent: &AgentName, _key: &str, _version: Option<u64>) -> Result<Option<StateValue>, StoreError> {
        todo!()
    }

    /// Deletes a key, keeping its history. False if there was none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn state_delete(&self, _agent: &AgentName, _key: &str) -> Result<bool, StoreError> {
        todo!()
    }

    /// Keys with a prefix, by name; values too if asked. At most `limit`; the totals count all.
    /// Answers `(entries, count, total_size_bytes)`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn state_list(
        &self,
        _agent: &AgentName,
        _prefix: &str,
        _values: bool,
        _limit: usize,
    ) -> Result<(Vec<KeyEntry>, u64, u64), StoreError> {
        todo!()
    }

    /// A key's versions, newest first; `None` if it never existed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn state_history(&self, _agent: &AgentName, _key: &str, _limit: usize) -> Result<Option<Vec<VersionEntry>>, StoreError> {
        todo!()
    }

    /// Quota and the largest keys.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn state_quota(&self, _agent: &AgentName) -> Result<StateQuota, StoreError> {
        todo!()
    }
}
