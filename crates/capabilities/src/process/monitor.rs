use super::{Processes, duration_ms, exit_code, state, usage};
use crate::shapes::object;
use kruxos_types::CallError;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    process_id: String,
}

pub(super) fn run(args: Args, processes: &Processes) -> Result<Value, CallError> {
    let process = processes.find(&args.process_id)?;
    let running = &*process.running;
    Ok(object([
        ("process_id", (*process.id).into()),
        ("command", (*process.command).into()),
        ("state", state(running).into()),
        ("exit_code", exit_code(running).into()),
        ("duration_ms", duration_ms(running).into()),
        ("resource_usage", usage(running)),
        ("started_at", process.started_at.to_string().into()),
    ]))
}
