use kruxos_types::CallError;
use serde_json::Value;

/// One session's key-value state: in memory, 50 MB, gone with the session.
#[derive(Debug, Default)]
pub struct SessionState {}

impl SessionState {
    /// Stores a value; answers the previous one.
    ///
    /// # Errors
    /// `QuotaExceeded`.
    pub fn set(&self, _key: &str, _value: Value) -> Result<Option<Value>, CallError> {
        todo!()
    }

    /// For checkpoints.
    #[must_use]
    pub fn export(&self) -> Value {
        todo!()
    }

    /// From a checkpoint; what does not fit is dropped.
    #[must_use]
    pub fn import(_checkpoint: Value) -> Self {
        todo!()
    }

    /// Bytes used of the limit.
    #[must_use]
    pub fn usage(&self) -> (u64, u64) {
        todo!()
    }

    /// Whether anything changed since the last [`SessionState::export`].
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        todo!()
    }
}
