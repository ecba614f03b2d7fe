use super::{Processes, state};
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// How long the kernel has to take down what SIGKILL was sent to. Only a process in an uninterruptible
/// wait for a dead disk takes longer.
const GONE_WITHIN: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    process_id: String,
    signal: String,
    force_after: u64,
}

pub(super) async fn run(args: Args, processes: &Processes) -> Result<Value, CallError> {
    let process = processes.find(&args.process_id)?;
    let running = &process.running;
    if running.ended().is_some() {
        return Err(CallError::new(ErrorType::ProcessAlreadyExited)
            .with("process_id", &*process.id)
            .with("state", state(&**running)));
    }
    let failed = |signal: &str| {
        CallError::new(ErrorType::KillFailed)
            .with("process_id", &*process.id)
            .with("signal", signal)
    };
    let number = number(&args.signal)?;
    let mut sent = args.signal.as_str();
    let send = running.signal(number).await;
    if let Err(error) = send
        && running.ended().is_none()
    {
        return Err(failed(sent).internal(error));
    }
    let patience = if number == SIGKILL {
        GONE_WITHIN
    } else {
        Duration::from_secs(args.force_after)
    };
    let ends = ends(number);
    if ends && !gone(running, patience).await && number != SIGKILL {
        sent = "SIGKILL";
        // Its end is what counts; it may come before the signal.
        running.signal(SIGKILL).await.ok();
        gone(running, GONE_WITHIN).await;
    }
    let killed = running.ended().is_some();
    if ends && !killed {
        return Err(failed(sent));
    }
    Ok(object([
        ("killed", killed.into()),
        ("signal_sent", sent.into()),
        ("process_id", (*process.id).into()),
        ("state", state(&**running).into()),
    ]))
}

async fn gone(running: &std::sync::Arc<dyn crate::program::Running>, within: Duration) -> bool {
    tokio::time::timeout(within, running.wait()).await.is_ok()
}

const SIGKILL: i32 = 9;

/// Signals by name with their numbers on Linux (signal(7)); those that stop and continue too, so that
/// a program can be held.
const SIGNALS: [(&str, i32); 9] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGKILL", SIGKILL),
    ("SIGUSR1", 10),
    ("SIGUSR2", 12),
    ("SIGTERM", 15),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
];

fn number(name: &str) -> Result<i32, CallError> {
    let known = SIGNALS.iter().find(|(known, _)| *known == name);
    known.map(|(_, number)| *number).ok_or_else(|| {
        let names: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
        CallError::invalid_input("signal", "is not a signal that is sent", &names.join(", "))
    })
}

/// Whether the signal is meant to end a program.
fn ends(number: i32) -> bool {
    !matches!(number, 10 | 12 | 18 | 19)
}
