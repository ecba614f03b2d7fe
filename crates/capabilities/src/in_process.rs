use crate::{Cx, Permit};
use kruxos_catalog::Definition;
use kruxos_types::CallError;
use serde_json::Value;

/// Runs a capability whose definition says `in_process`.
///
/// # Errors
/// What the capability's definition declares, or a common error.
pub async fn run(_definition: &Definition, permit: Permit, _cx: &Cx) -> Result<Value, CallError> {
    let _inputs = permit.spend();
    todo!()
}
