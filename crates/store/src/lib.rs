//! Durable product state in one SQLite database (`state.db`, WAL, synchronous=FULL): agents, tokens,
//! approvals, persistent state, alerts, small facts and the audit log's high-water mark.
//! One writer thread commits in groups; readers come from a small pool.
//!
//! A method that writes answers after its commit is on disk. Dropping its future does not undo it:
//! what was queued is still done.

mod agents;
mod alerts;
mod approvals;
mod boxes;
mod db;
mod error;
mod grants;
mod migrate;
mod mounts;
mod persistent;
mod readers;
mod seal;
mod tokens;
mod writer;

pub use agents::{Agent, AgentPatch, AgentStatus, NewAgent, TokenOwner};
pub use alerts::{Alert, AlertStatus, NewAlert, Severity};
pub use approvals::{
    Approval, ApprovalState, ClaimedApproval, Decision, Edit, NewApproval, Remember, Requested,
    TransitionError,
};
pub use error::StoreError;
pub use grants::{ClaimedGrant, Grant, GrantScope, NewGrant};
pub use mounts::{MAX_MOUNTS, Mount, MountPatch};
pub use persistent::{
    KeyEntry, MAX_KEYS_PER_AGENT, SetOutcome, StateQuota, StateValue, VersionEntry,
};
pub use tokens::UserToken;
pub use writer::AuditMark;

use kruxos_types::Clock;
use readers::Readers;
use rusqlite::{Connection, ErrorCode};
use seal::Sealer;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use writer::{MarkSource, Writer};

/// The database. Cheap to clone; every method is safe to call from any task.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    // Before the writer: the last connection to close folds the log into the database, and a reader
    // cannot.
    readers: Readers,
    writer: Writer,
    mark: MarkSource,
    sealer: Sealer,
    clock: Arc<dyn Clock>,
    persistent_quota_bytes: u64,
    versions_kept: u32,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// Settings.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Options {
    /// `state.persistent.quota_mb`, in bytes; counts values of all versions.
    pub persistent_quota_bytes: u64,
    /// `state.persistent.versions`; 0 counts as 1, because the current value is a version too.
    pub versions_kept: u32,
    /// Key for the exact inputs of approvals (AES-256-GCM), 32 bytes.
    pub approval_key: [u8; 32],
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("persistent_quota_bytes", &self.persistent_quota_bytes)
            .field("versions_kept", &self.versions_kept)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens or creates the database and migrates it forward. A database of an older version is first
    /// copied to `<path>.v<version>.bak`. Nothing here keeps a second process out: the gateway's lock
    /// on the data directory does.
    ///
    /// # Errors
    /// See [`StoreError`]; a file that is no database is `Corrupt`.
    pub fn open(path: &Path, options: Options, clock: Arc<dyn Clock>) -> Result<Store, StoreError> {
        let mut options = options;
        let named = |error: StoreError| match error.sqlite_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                StoreError::Corrupt(format!("{}: {error}", path.display()))
            }
            _ => error,
        };
        let conn = db::open_writer(path).map_err(named)?;
        migrate::migrate(&conn, path, migrate::MIGRATIONS).map_err(named)?;
        let mark = MarkSource::default();
        let readers = Readers::open(path).map_err(named)?;
        let inner = Inner {
            readers,
            writer: Writer::start(conn, mark.clone())?,
            mark,
            sealer: Sealer::new(&mut options.approval_key),
            clock,
            persistent_quota_bytes: options.persistent_quota_bytes,
            versions_kept: options.versions_kept.max(1),
        };
        Ok(Store(Arc::new(inner)))
    }

    /// Small durable facts by name (rate counters, the audit high-water mark, timers).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn put_fact(&self, name: &str, value: serde_json::Value) -> Result<(), StoreError> {
        let (name, clock) = (name.to_owned(), self.0.clock.clone());
        let value = db::to_json(&value)?;
        self.write(move |conn| {
            let sql = "INSERT INTO facts (name, value, updated_at) VALUES (?1, ?2, ?3) \
                       ON CONFLICT (name) DO UPDATE \
                       SET value = excluded.value, updated_at = excluded.updated_at";
            db::run(conn, sql, (name, value, db::now(&*clock).as_microsecond()))?;
            Ok(())
        })
        .await
    }

    /// Reads a fact back.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn fact(&self, name: &str) -> Result<Option<serde_json::Value>, StoreError> {
        self.point(|conn| {
            let sql = "SELECT value FROM facts WHERE name = ?1";
            db::one(conn, sql, [name], |row| db::json(row, "value"))
        })
    }

    /// From now on every commit stores what `source` answers: the newest sequence number of the audit
    /// log that is on disk. Read [`Store::audit_mark`] before, and compare it with the log: a log that
    /// ends earlier was cut. `source` runs on the writer thread and must not block.
    pub fn set_audit_mark(&self, source: AuditMark) {
        *self.0.mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }

    /// The audit log's durable position at the last commit that knew it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn audit_mark(&self) -> Result<Option<u64>, StoreError> {
        self.point(writer::stored_mark)
    }

    /// Runs in the writer's next transaction; durable on return.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.0.writer.write(work).await
    }

    /// A look-up by key, where it stands.
    fn point<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.0.readers.point(read)
    }

    /// A walk over many rows, on a blocking thread.
    async fn scan<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = self.0.clone();
        let done = tokio::task::spawn_blocking(move || inner.readers.scan(read)).await;
        done.map_err(|error| StoreError::Stopped(error.to_string()))?
    }
}

#[cfg(test)]
mod tests;
