use kruxos_types::{Interface, Object, Principal};
use serde::Serialize;
use serde_json::Value;
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

impl Kind {
    /// Every kind, in the order of the specification.
    pub const ALL: [Kind; 11] = [
        Kind::Call,
        Kind::Intent,
        Kind::Decision,
        Kind::Session,
        Kind::Policy,
        Kind::Secret,
        Kind::State,
        Kind::Service,
        Kind::System,
        Kind::PathEscape,
        Kind::ChainBreak,
    ];

    /// The name stored in the log and shown everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Call => "call",
            Kind::Intent => "intent",
            Kind::Decision => "decision",
            Kind::Session => "session",
            Kind::Policy => "policy",
            Kind::Secret => "secret",
            Kind::State => "state",
            Kind::Service => "service",
            Kind::System => "system",
            Kind::PathEscape => "path_escape",
            Kind::ChainBreak => "chain_break",
        }
    }

    /// Parses the name that [`Kind::as_str`] gives.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
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

impl Status {
    /// Every status.
    pub const ALL: [Status; 7] = [
        Status::Success,
        Status::Denied,
        Status::Error,
        Status::Pending,
        Status::Approved,
        Status::Rejected,
        Status::Expired,
    ];

    /// The name stored in the log and shown everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Success => "success",
            Status::Denied => "denied",
            Status::Error => "error",
            Status::Pending => "pending",
            Status::Approved => "approved",
            Status::Rejected => "rejected",
            Status::Expired => "expired",
        }
    }

    /// Parses the name that [`Status::as_str`] gives.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Status> {
        Status::ALL
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

/// One part of a record: as JSON, or encoded before because many entries share it.
#[derive(Debug, Clone)]
pub enum Part {
    /// To be redacted and encoded for this entry.
    Json(Value),
    /// Redacted and encoded by [`AuditLog::encode`](crate::AuditLog::encode).
    Shared(Encoded),
}

/// A redacted part in the form it has on disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Encoded(pub(crate) Arc<[u8]>);

impl From<Value> for Part {
    fn from(json: Value) -> Self {
        Part::Json(json)
    }
}

impl From<Encoded> for Part {
    fn from(encoded: Encoded) -> Self {
        Part::Shared(encoded)
    }
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
    pub policy_decision: Option<Part>,
    pub duration_us: Option<u64>,
    pub resource_usage: Option<Value>,
    pub metadata: Object,
}

impl Record {
    /// An entry that says who, what kind and how it stands, and nothing else yet.
    #[must_use]
    pub fn new(kind: Kind, actor: Principal, status: Status) -> Self {
        Self {
            actor,
            session_id: None,
            interface: None,
            kind,
            capability: None,
            inputs: None,
            output_summary: None,
            status,
            policy_decision: None,
            duration_us: None,
            resource_usage: None,
            metadata: Object::new(),
        }
    }

    /// An entry that the gateway writes about itself: no session, no capability, nothing but metadata.
    pub(crate) fn system(kind: Kind, status: Status, metadata: Object) -> Self {
        Self {
            metadata,
            ..Self::new(kind, Principal::system(), status)
        }
    }
}

/// What [`crate::Begun::finish`] adds to the record it began with.
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

/// How soon an entry must be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Within 10 ms of being appended; nobody waits.
    Soon,
    /// Before the caller goes on.
    Waited,
}

/// An entry as it stands in the log. Its JSON form is the stable one of `audit show`, `query`, `tail`
/// and `export`; fields that an entry lacks are `null`, so that every entry has the same columns.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Entry {
    /// A UUIDv7.
    pub id: String,
    /// Counts from 0 without gaps.
    pub seq: u64,
    /// RFC 3339 in UTC, microseconds.
    pub timestamp: String,
    pub actor: Principal,
    pub session_id: Option<String>,
    /// `mcp`, `rpc`, `scheduler`, `autonomous` or `cli`.
    pub interface: Option<String>,
    pub kind: Kind,
    pub capability: Option<String>,
    pub inputs: Option<Value>,
    pub output_summary: Option<Value>,
    pub status: Status,
    pub policy_decision: Option<Value>,
    pub duration_us: Option<u64>,
    pub resource_usage: Option<Value>,
    pub metadata: Object,
    pub schema_version: u64,
    /// SHA-256, lower-case hex.
    pub previous_hash: String,
    /// SHA-256, lower-case hex.
    pub entry_hash: String,
}

/// The JSON form of an entry, with the field names of the specification.
#[must_use]
pub fn entry_json(entry: &Entry) -> Value {
    // Every field is a string, a number or JSON already: nothing in it can fail to serialise.
    serde_json::to_value(entry).unwrap_or(Value::Null)
}
