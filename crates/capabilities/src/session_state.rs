use kruxos_types::{CallError, ErrorType, Object};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Bytes of keys and values that one session may hold (spec/state.md: 50 MB).
const QUOTA_BYTES: u64 = 50 * 1024 * 1024;
/// Keys of one session. What a key costs beside its bytes is then at most about 10 MB.
const MAX_KEYS: usize = 100_000;
/// Version of the checkpoint that [`SessionState::export`] writes.
const CHECKPOINT_VERSION: u64 = 1;

/// One session's key-value state: in memory, 50 MB, gone with the session.
///
/// Values are kept as JSON text and not as trees: the quota then bounds the memory they take (a tree
/// of small numbers is sixteen times its text), and a reader holds the lock only to clone a pointer.
pub struct SessionState {
    inner: RwLock<Inner>,
    limit: u64,
}

#[derive(Default)]
struct Inner {
    entries: BTreeMap<Box<str>, Arc<str>>,
    used: u64,
    dirty: bool,
}

impl Default for SessionState {
    fn default() -> Self {
        Self::with_limit(QUOTA_BYTES)
    }
}

/// What an entry counts.
fn weight(key: &str, text: &str) -> u64 {
    (key.len() + text.len()) as u64
}

/// A stored value. Only text that serde_json wrote is stored, so this fails only if memory does.
fn parse(text: &str) -> Result<Value, CallError> {
    serde_json::from_str(text).map_err(CallError::internal_failure)
}

impl SessionState {
    fn with_limit(limit: u64) -> Self {
        Self {
            inner: RwLock::default(),
            limit,
        }
    }

    /// Stores a value; answers the previous one.
    ///
    /// # Errors
    /// `QuotaExceeded` if keys and values would be over the limit, `ResourceExhausted` if there would
    /// be more than 100,000 keys. Nothing has changed then.
    pub fn set(&self, key: &str, value: Value) -> Result<Option<Value>, CallError> {
        let text = serde_json::to_string(&value).map_err(CallError::internal_failure)?;
        drop(value);
        let previous = self.write().insert(key, text.into(), self.limit)?;
        previous.as_deref().map(parse).transpose()
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `Internal` if the stored text cannot be read.
    pub fn get(&self, key: &str) -> Result<Option<Value>, CallError> {
        let text = self.read().entries.get(key).cloned();
        text.as_deref().map(parse).transpose()
    }

    /// Removes a key; answers what it held.
    ///
    /// # Errors
    /// `Internal` if the stored text cannot be read.
    pub fn delete(&self, key: &str) -> Result<Option<Value>, CallError> {
        let text = self.write().remove(key);
        text.as_deref().map(parse).transpose()
    }

    /// The first `limit` keys that start with `prefix`, in byte order, and how many there are.
    #[must_use]
    pub fn keys(&self, prefix: &str, limit: usize) -> (Vec<String>, u64) {
        let inner = self.read();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let mut matching = inner
            .entries
            .range::<str, _>(from)
            .map(|(key, _)| &**key)
            .take_while(|key| key.starts_with(prefix));
        let first: Vec<String> = matching.by_ref().take(limit).map(str::to_owned).collect();
        let total = first.len() + matching.count();
        (first, total as u64)
    }

    /// Removes everything; answers how many keys there were.
    #[must_use = "the count is what the caller is told"]
    pub fn clear(&self) -> u64 {
        let mut inner = self.write();
        let entries = std::mem::take(&mut inner.entries);
        inner.used = 0;
        inner.dirty |= !entries.is_empty();
        drop(inner);
        entries.len() as u64
    }

    /// For checkpoints: `{version, entries: {key: JSON text of the value}}`.
    #[must_use]
    pub fn export(&self) -> Value {
        let entries = {
            let mut inner = self.write();
            inner.dirty = false;
            inner.entries.clone()
        };
        let entries: Object = entries
            .into_iter()
            .map(|(key, text)| (key.into(), Value::from(&*text)))
            .collect();
        json!({"version": CHECKPOINT_VERSION, "entries": entries})
    }

    /// From a checkpoint; what does not fit or cannot be read is dropped. It counts as changed, so
    /// that the new session soon has a checkpoint of its own.
    #[must_use]
    pub fn import(checkpoint: Value) -> Self {
        let mut inner = Inner::default();
        let known = checkpoint.get("version").and_then(Value::as_u64) == Some(CHECKPOINT_VERSION);
        let entries = match checkpoint {
            Value::Object(mut fields) if known => fields.remove("entries"),
            _ => None,
        };
        let mut dropped = u64::from(entries.is_none());
        if let Some(Value::Object(entries)) = entries {
            for (key, text) in entries {
                let text = text.as_str().filter(|text| parse(text).is_ok());
                let fits =
                    text.is_some_and(|text| inner.insert(&key, text.into(), QUOTA_BYTES).is_ok());
                dropped += u64::from(!fits);
            }
        }
        if dropped > 0 {
            tracing::warn!(dropped, "parts of a session checkpoint could not be used");
        }
        inner.dirty = !inner.entries.is_empty();
        Self {
            inner: RwLock::new(inner),
            limit: QUOTA_BYTES,
        }
    }

    /// Bytes used of the limit.
    #[must_use]
    pub fn usage(&self) -> (u64, u64) {
        (self.read().used, self.limit)
    }

    /// How many keys there are.
    #[must_use]
    pub fn key_count(&self) -> u64 {
        self.read().entries.len() as u64
    }

    /// Whether anything changed since the last [`SessionState::export`].
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.read().dirty
    }

    /// Says that the last [`SessionState::export`] did not reach the disk.
    pub fn mark_dirty(&self) {
        self.write().dirty = true;
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn insert(
        &mut self,
        key: &str,
        text: Arc<str>,
        limit: u64,
    ) -> Result<Option<Arc<str>>, CallError> {
        let freed = self.entries.get(key).map_or(0, |old| weight(key, old));
        let used = self.used - freed + weight(key, &text);
        if used > limit {
            return Err(CallError::new(ErrorType::QuotaExceeded)
                .with("scope", "session state")
                .with("used_bytes", self.used)
                .with("limit_bytes", limit));
        }
        if freed == 0 && self.entries.len() >= MAX_KEYS {
            return Err(CallError::new(ErrorType::ResourceExhausted)
                .with("resource", "keys of session state")
                .with("limit", MAX_KEYS)
                .with("current", self.entries.len()));
        }
        self.used = used;
        self.dirty = true;
        Ok(self.entries.insert(key.into(), text))
    }

    fn remove(&mut self, key: &str) -> Option<Arc<str>> {
        let text = self.entries.remove(key)?;
        self.used -= weight(key, &text);
        self.dirty = true;
        Some(text)
    }
}

/// Keys and values may be anything, secrets too: only their number and size are shown.
impl std::fmt::Debug for SessionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inner = self.read();
        f.debug_struct("SessionState")
            .field("keys", &inner.entries.len())
            .field("used_bytes", &inner.used)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
