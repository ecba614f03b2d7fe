use super::{Processes, duration_ms, exit_code, state};
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::{Value, json};

const FILTERS: [&str; 6] = ["all", "running", "exited", "failed", "killed", "timed_out"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    state_filter: String,
    limit: usize,
}

pub(super) fn run(args: Args, processes: &Processes) -> Result<Value, CallError> {
    let wanted = args.state_filter.as_str();
    if !FILTERS.contains(&wanted) {
        return Err(CallError::new(ErrorType::InvalidFilter)
            .with("filter", wanted)
            .with("allowed", json!(FILTERS)));
    }
    let table = processes.table();
    let chosen: Vec<Value> = table
        .newest_first()
        .filter(|process| wanted == "all" || state(&*process.running) == wanted)
        .map(|process| {
            object([
                ("process_id", (*process.id).into()),
                ("command", (*process.command).into()),
                ("state", state(&*process.running).into()),
                ("exit_code", exit_code(&*process.running).into()),
                ("started_at", process.started_at.to_string().into()),
                ("duration_ms", duration_ms(&*process.running).into()),
            ])
        })
        .collect();
    let total = chosen.len();
    let shown: Vec<Value> = chosen.into_iter().take(args.limit).collect();
    Ok(object([
        ("processes", shown.into()),
        ("total", total.into()),
    ]))
}
