//! Capabilities that run in the gateway: pure ones, and those on data that the gateway owns.

mod agent;
mod alerts;
mod state;
mod system;

use crate::shapes::arguments;
use crate::{Cx, Permit};
use kruxos_catalog::Definition;
use kruxos_types::CallError;
use serde::Serialize;
use serde_json::Value;

/// Runs a capability whose definition says `in_process`.
///
/// # Errors
/// What the capability's definition declares, or a common error.
pub async fn run(definition: &Definition, permit: Permit, cx: &Cx) -> Result<Value, CallError> {
    let inputs = permit.spend();
    match definition.name {
        "system.time" => system::time::run(arguments(inputs)?, cx),
        "system.info" => system::info::run(cx).await,
        "system.health" => system::health::run(cx).await,
        "system.metrics" => system::metrics::run(arguments(inputs)?, cx).await,

        "agent.whoami" => agent::whoami::run(cx),
        "agent.session" => agent::session::run(cx).await,
        "agent.policy" => agent::policy::run(cx),
        "agent.capabilities" => agent::capabilities::run(arguments(inputs)?, cx),

        "alerts.send" => alerts::send::run(arguments(inputs)?, cx).await,
        "alerts.list" => alerts::list::run(arguments(inputs)?, cx).await,
        "alerts.acknowledge" => alerts::acknowledge::run(arguments(inputs)?, cx).await,

        "state.session.set" => state::session::set::run(arguments(inputs)?, cx),
        "state.session.get" => state::session::get::run(arguments(inputs)?, cx),
        "state.session.delete" => state::session::delete::run(arguments(inputs)?, cx),
        "state.session.list" => state::session::list::run(arguments(inputs)?, cx),
        "state.session.clear" => state::session::clear::run(cx),

        "state.persistent.set" => state::persistent::set::run(arguments(inputs)?, cx).await,
        "state.persistent.get" => state::persistent::get::run(arguments(inputs)?, cx).await,
        "state.persistent.delete" => state::persistent::delete::run(arguments(inputs)?, cx).await,
        "state.persistent.list" => state::persistent::list::run(arguments(inputs)?, cx).await,
        "state.persistent.query" => state::persistent::query::run(arguments(inputs)?, cx).await,
        "state.persistent.history" => state::persistent::history::run(arguments(inputs)?, cx).await,

        other => Err(CallError::internal_failure(format!(
            "no handler for {other}"
        ))),
    }
}

/// A handler's own result type as JSON.
fn answer(result: impl Serialize) -> Result<Value, CallError> {
    serde_json::to_value(result).map_err(CallError::internal_failure)
}

/// Levels of arrays and objects in what is stored for later. Answers show it up to three levels deeper
/// than arguments bring it, and both may have 64.
const MAX_STORED_DEPTH: usize = 60;

fn check_depth(field: &str, value: &Value) -> Result<(), CallError> {
    if depth(value) <= MAX_STORED_DEPTH {
        return Ok(());
    }
    let reason = format!("it is nested deeper than {MAX_STORED_DEPTH} levels");
    let expected = format!("at most {MAX_STORED_DEPTH} levels of arrays and objects");
    Err(CallError::invalid_input(field, &reason, &expected))
}

/// Levels of arrays and objects. Admission has bounded them, so this does not run out of stack.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// How many bytes a value has as JSON, without writing it anywhere.
fn json_bytes(value: &impl Serialize) -> Result<u64, CallError> {
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).map_err(CallError::internal_failure)?;
    Ok(count.0)
}

/// Counts what is written to it.
struct Count(u64);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
