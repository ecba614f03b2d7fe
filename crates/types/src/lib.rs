//! Ids, names and errors that every other crate speaks. No I/O and no async runtime.

mod clock;
mod error;
mod error_type;
mod id;
mod principal;
mod tier;

pub use clock::{Clock, FakeClock, SystemClock};
pub use error::{CallError, RecoveryAction};
pub use error_type::{ErrorSpec, ErrorType, RecoverySpec};
pub use id::{AgentName, ApprovalId, GrantId, InvalidAgentName, SessionId, TraceId, random_base32};
pub use principal::{Interface, Principal, PrincipalKind};
pub use tier::Tier;

pub use jiff::Timestamp;

/// A JSON object: what arguments, contexts and results are made of.
pub type Object = serde_json::Map<String, serde_json::Value>;
