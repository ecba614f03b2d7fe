//! The tamper-evident log: framed CBOR entries in a SHA-256 chain, written by one thread with group
//! commit. Layout and fields: spec/audit.md.

use kruxos_types::{Clock, Interface, Object, Principal};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Kind {
    Call,
    Intent,
    Decision,
    Session,
    Policy,
    Secret,
    State,
    Service,
    System,
    PathEscape,
    ChainBreak,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Status {
    Success,
    Denied,
    Error,
    Pending,
    Approved,
    Rejected,
    Expired,
}

/// What a caller of the log provides for an entry; id, sequence number, time and hashes are the log's.
/// Inputs, output summary and metadata are redacted by the log before anything is written.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Record {
    pub actor: Principal,
    pub session_id: Option<String>,
    pub interface: Option<Interface>,
    pub kind: Kind,
    pub capability: Option<String>,
    pub inputs: Option<Value>,
    pub output_summary: Option<Value>,
    pub status: Status,
    /// The explanation of policy.
    pub policy_decision: Option<Value>,
    pub duration_us: Option<u64>,
    pub resource_usage: Option<Value>,
    pub metadata: Object,
}

/// How soon an entry must be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Within 10 ms of being appended; nobody waits.
    Soon,
    /// Before the caller goes on.
    Waited,
}

/// Settings.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Options {
    /// `audit.include_content`: store file contents and bodies instead of size and SHA-256.
    pub include_content: bool,
    /// `audit.durability: strict`: every append waits.
    pub strict: bool,
    pub segment_bytes: u64,
}

/// The open log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditLog {}

/// An entry's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Position {
    pub seq: u64,
}

/// What opening found.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs)]
pub struct Recovery {
    /// Bytes of a torn last frame that were cut off.
    pub torn_bytes: u64,
    pub breaks: Vec<ChainBreak>,
    pub last_seq: Option<u64>,
}

/// One place where the chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct ChainBreak {
    pub file: String,
    pub seq: Option<u64>,
    pub offset: u64,
    /// `hash_mismatch`, `previous_hash`, `sequence`, `crc`, `frame`, `decode`, `missing_file`, …
    pub kind: String,
    pub expected: Option<String>,
    pub found: Option<String>,
}

/// Why the log cannot take an entry.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AuditError {
    #[error("another process writes the audit log at {0}")]
    Locked(String),
    #[error("audit log: {context}")]
    Io { context: String, #[source] source: std::io::Error },
    #[error("the audit log has stopped: {0}")]
    Stopped(String),
    #[error("audit index: {0}")]
    Index(#[from] rusqlite::Error),
}

/// Evidence that a call's audit has begun: nothing runs without one. Dropped without
/// [`Begun::finish`], it writes an entry that says «interrupted».
#[derive(Debug)]
#[must_use = "a call whose audit has begun must finish it"]
pub struct Begun {}

impl AuditLog {
    /// Opens or creates the log, recovers a torn tail, checks the last segment's chain and starts a new
    /// chain after a break.
    ///
    /// # Errors
    /// Another writer, or the directory cannot be used.
    pub fn open(_dir: &Path, _options: Options, _clock: Arc<dyn Clock>) -> Result<(AuditLog, Recovery), AuditError> {
        todo!()
    }

    /// Begins a call that only reads: no intent is written, its one entry follows within 10 ms of its end.
    ///
    /// # Errors
    /// The log has stopped or is full.
    pub fn begin_read(&self, _record: Record) -> Result<Begun, AuditError> {
        todo!()
    }

    /// Begins a call with side effects: an intent entry is queued at once; [`Begun::durable`] waits for it.
    ///
    /// # Errors
    /// The log has stopped or is full.
    pub fn begin_effect(&self, _record: Record) -> Result<Begun, AuditError> {
        todo!()
    }

    /// Appends one entry on its own. With [`Durability::Waited`] resolves when it is on disk.
    ///
    /// # Errors
    /// The log has stopped or is full.
    pub async fn append(&self, _record: Record, _durability: Durability) -> Result<Position, AuditError> {
        todo!()
    }

    /// Waits until everything appended so far is on disk.
    ///
    /// # Errors
    /// The log has stopped.
    pub async fn flush(&self) -> Result<(), AuditError> {
        todo!()
    }

    /// The last sequence number that is on disk.
    #[must_use]
    pub fn durable_seq(&self) -> Option<u64> {
        todo!()
    }
}

impl Begun {
    /// Resolves when the intent is on disk; at once for reads.
    ///
    /// # Errors
    /// The log has stopped.
    pub async fn durable(&mut self) -> Result<(), AuditError> {
        todo!()
    }

    /// Writes the call's result entry. Resolves when on disk for effects, at once for reads.
    ///
    /// # Errors
    /// The log has stopped.
    pub async fn finish(self, _outcome: Finished) -> Result<Position, AuditError> {
        todo!()
    }
}

/// What [`Begun::finish`] adds to the record it began with.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Finished {
    pub status: Status,
    pub output_summary: Option<Value>,
    pub duration_us: u64,
    pub resource_usage: Option<Value>,
    /// Merged into the metadata.
    pub metadata: Object,
}
