//! The tamper-evident log: framed CBOR entries in a SHA-256 chain, written by one thread with group
//! commit. Layout and fields: docs/audit-format.md.

mod cbor;
mod codec;
mod entry;
mod frame;
mod index;
mod log;
mod recovery;
mod redact;
mod segment;
mod verify;
mod writer;

pub use codec::MAX_ENTRY_BYTES;
pub use entry::{Durability, Encoded, Entry, Finished, Kind, Part, Record, Status, entry_json};
pub use index::{CapabilityStats, ChainState, Page, Query, Stats};
pub use log::{
    AuditError, AuditLog, Begun, DEFAULT_SEGMENT_BYTES, MAX_QUEUED, MAX_QUEUED_BYTES,
    MIN_SEGMENT_BYTES, Options, Position,
};
pub use recovery::{ChainBreak, Recovery};
pub use redact::{content_summary, redact};
pub use verify::{Report, verify};
