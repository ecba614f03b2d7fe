//! `process.*`: programs in the caller's box, in the foreground or longer than the call, but never
//! longer than the caller's session.

mod environment;
mod kill;
mod list;
mod logs;
mod monitor;
mod output;
mod run;
mod table;

use crate::Permit;
use crate::program::{End, Programs, Running};
use crate::shapes::arguments;
use kruxos_catalog::Definition;
use kruxos_types::{CallError, Clock, ErrorType, Object};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use table::{MAX_RUNNING, Table};

/// The programs of one session: what runs, and what has run as long as its output is kept.
#[derive(Debug)]
pub struct Processes {
    programs: Arc<dyn Programs>,
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
}

impl Processes {
    /// None yet.
    #[must_use]
    pub fn new(programs: Arc<dyn Programs>, clock: Arc<dyn Clock>) -> Self {
        Self {
            programs,
            clock,
            table: Mutex::default(),
        }
    }

    /// How many run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.table().running()
    }

    /// A place for one more program, held until it is in the table; none when as many run as may.
    fn place(&self) -> Option<Place<'_>> {
        let mut table = self.table();
        if table.running() + table.starting >= MAX_RUNNING {
            return None;
        }
        table.starting += 1;
        Some(Place(self))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Result<table::Process, CallError> {
        self.table()
            .get(id)
            .ok_or_else(|| CallError::new(ErrorType::ProcessNotFound).with("process_id", id))
    }
}

/// See [`Processes::place`].
struct Place<'a>(&'a Processes);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.table().starting -= 1;
    }
}

/// Runs one `process.*` capability.
///
/// # Errors
/// What the capability's definition declares, or a common error.
pub async fn run(
    definition: &Definition,
    permit: Permit,
    processes: &Processes,
) -> Result<Value, CallError> {
    let inputs = permit.spend();
    match definition.name {
        "process.run" => run::run(arguments(inputs)?, processes).await,
        "process.list" => list::run(arguments(inputs)?, processes),
        "process.monitor" => monitor::run(arguments(inputs)?, processes),
        "process.logs" => logs::run(arguments(inputs)?, processes).await,
        "process.kill" => kill::run(arguments(inputs)?, processes).await,
        other => Err(CallError::internal_failure(format!(
            "no handler for {other}"
        ))),
    }
}

/// What a held call would do, for the approver: the program with its arguments one by one, never a line
/// that could be read in two ways.
#[must_use]
pub fn preview(definition: &Definition, inputs: &Object) -> Value {
    let text = |name: &str| inputs.get(name).and_then(Value::as_str).unwrap_or_default();
    if definition.name != "process.run" {
        let summary = format!("{} on {}", definition.name, text("process_id"));
        return json!({"kind": "inputs", "summary": summary});
    }
    let mut argv = vec![json!(text("command"))];
    argv.extend(
        inputs
            .get("args")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .cloned(),
    );
    let environment = inputs.get("environment").and_then(Value::as_object);
    let stdin = text("stdin").len();
    json!({
        "kind": "command",
        "summary": format!("Runs {} with {} arguments in the sandbox.", text("command"), argv.len() - 1),
        "argv": argv,
        "working_directory": inputs.get("working_directory").unwrap_or(&Value::Null),
        "environment": environment.map(|names| names.keys().collect::<Vec<_>>()),
        "stdin_bytes": stdin,
    })
}

/// A program's state as the definitions name it.
fn state(running: &dyn Running) -> &'static str {
    match running.ended() {
        None => "running",
        Some(End::Exited(0)) => "exited",
        Some(End::Exited(_)) => "failed",
        Some(End::TimedOut) => "timed_out",
        Some(End::Signalled(_) | End::Killed | End::Limit { .. }) => "killed",
    }
}

/// What it has used, and the limit that ended it, if one did.
fn usage(running: &dyn Running) -> Value {
    let mut usage = json!(running.usage());
    if let Some(End::Limit { resource, limit }) = running.ended() {
        usage["limit_hit"] = json!({"resource": resource, "limit": limit});
    }
    usage
}

/// Its exit code, if it ended by itself.
fn exit_code(running: &dyn Running) -> Option<i32> {
    match running.ended() {
        Some(End::Exited(code)) => Some(code),
        _ => None,
    }
}

/// How long it has run, in milliseconds.
fn duration_ms(running: &dyn Running) -> u64 {
    u64::try_from(running.duration().as_millis()).unwrap_or(u64::MAX)
}
