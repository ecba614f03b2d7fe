use super::output::{Page, page};
use super::{Processes, state};
use crate::program::Stream;
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::{Value, json};

/// Bytes of each stream that are answered when the caller names no limit: what clients show a model
/// without cutting it.
const DEFAULT_LIMIT: u64 = 5_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    process_id: String,
    stream: String,
    #[serde(default)]
    offset: u64,
    limit: Option<u64>,
}

pub(super) async fn run(args: Args, processes: &Processes) -> Result<Value, CallError> {
    let (stdout, stderr) = match args.stream.as_str() {
        "both" => (true, true),
        "stdout" => (true, false),
        "stderr" => (false, true),
        other => {
            return Err(CallError::new(ErrorType::InvalidStream)
                .with("stream", other)
                .with("allowed", json!(["stdout", "stderr", "both"])));
        }
    };
    let process = processes.find(&args.process_id)?;
    let running = process.running.clone();
    let (offset, limit) = (args.offset, args.limit.unwrap_or(DEFAULT_LIMIT));
    // Up to 10 MiB of each, from a file: not on a thread that others wait for.
    let read = tokio::task::spawn_blocking(move || {
        let wanted = |asked: bool, stream| {
            let limit = if asked { limit } else { 0 };
            page(&*running, stream, offset, limit).map(|page| Page {
                more: asked && page.more,
                ..page
            })
        };
        Ok::<_, CallError>((
            wanted(stdout, Stream::Stdout)?,
            wanted(stderr, Stream::Stderr)?,
        ))
    });
    let (out, err) = read.await.map_err(CallError::internal_failure)??;
    Ok(object([
        ("truncated", (out.more || err.more).into()),
        ("stdout", out.text.into()),
        ("stderr", err.text.into()),
        ("stdout_size", out.size.into()),
        ("stderr_size", err.size.into()),
        ("process_id", (*process.id).into()),
        ("state", state(&*process.running).into()),
    ]))
}
