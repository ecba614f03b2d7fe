//! State of an agent that survives sessions, in versions.

pub(in crate::in_process) mod delete;
pub(in crate::in_process) mod get;
pub(in crate::in_process) mod history;
pub(in crate::in_process) mod list;
pub(in crate::in_process) mod query;
pub(in crate::in_process) mod set;

use crate::Cx;
use kruxos_store::StoreError;
use kruxos_types::{AgentName, CallError, ErrorType, PrincipalKind};

/// Bytes of values that one answer carries: what clients pass on to a model uncut. The rest is named
/// and can be read key by key.
const VALUE_BUDGET: u64 = 64 * 1024;

/// Whose state it is. People and the gateway itself have none.
fn owner(cx: &Cx, operation: &str) -> Result<AgentName, CallError> {
    if cx.principal.kind != PrincipalKind::Agent {
        return Err(CallError::new(ErrorType::PermissionDenied)
            .with("path", "persistent state")
            .with("operation", operation)
            .detail("Only agents have persistent state; a user manages it with 'kruxos state'."));
    }
    AgentName::new(&cx.principal.name).map_err(CallError::internal_failure)
}

fn key_not_found(key: &str) -> CallError {
    CallError::new(ErrorType::KeyNotFound).with("key", key)
}

fn database_error(error: StoreError) -> CallError {
    CallError::new(ErrorType::DatabaseError).internal(error)
}

/// How many of these sizes, from the first, fit the budget together.
fn within_budget(sizes: impl Iterator<Item = u64>) -> usize {
    let mut left = VALUE_BUDGET;
    sizes
        .take_while(|size| match left.checked_sub(*size) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        })
        .count()
}
