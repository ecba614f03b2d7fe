use super::table::{MAX_RUNNING, Process};
use super::{Processes, duration_ms, environment, exit_code, output, state, usage};
use crate::program::{End, Job, JobLimits, Running, StartError, Stream};
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// Bytes of program, arguments and environment together: below what execve(2) takes with the usual
/// stack limit (a quarter of 8 MiB).
const MAX_ARGUMENT_BYTES: usize = 1 << 20;
/// How the agent sees its workspace.
const WORKSPACE: &str = "/workspace";
/// Directories in which a program may start.
const ROOTS: [&str; 3] = [WORKSPACE, "/mnt", "/tmp"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    command: String,
    #[serde(default)]
    args: Vec<String>,
    working_directory: Option<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    timeout: u64,
    background: bool,
    #[serde(default)]
    stdin: String,
    cpu_limit: Option<f64>,
    memory_limit: Option<u64>,
    stdout_lines: usize,
}

pub(super) async fn run(args: Args, processes: &Processes) -> Result<Value, CallError> {
    let (background, lines) = (args.background, args.stdout_lines);
    let command = args.command.clone();
    let job = job(args)?;
    let place = processes.place().ok_or_else(|| too_many(MAX_RUNNING))?;
    let arguments = job.arguments.clone();
    let at = processes.clock.now();
    let started = processes.programs.start(job).await;
    let running = started.map_err(|error| refusal(&command, error))?;
    let process = Process::new(&arguments, at, running);
    processes.table().add(process.clone());
    drop(place);
    if background {
        return answer(&process, 0);
    }
    match process.running.wait().await {
        End::Limit { resource, limit } => Err(CallError::new(ErrorType::ResourceLimitExceeded)
            .with("resource", resource)
            .with("limit", limit)
            .with("process_id", &*process.id)
            .with("resource_usage", usage(&*process.running))
            .with(
                "stderr_summary",
                output::tail(&*process.running, Stream::Stderr, lines.min(20))?,
            )),
        // What it had printed when its time was up is worth having, so that is an answer too.
        End::Exited(_) | End::Signalled(_) | End::Killed | End::TimedOut => answer(&process, lines),
    }
}

fn answer(process: &Process, lines: usize) -> Result<Value, CallError> {
    let running: &dyn Running = &*process.running;
    Ok(object([
        ("exit_code", exit_code(running).into()),
        (
            "stdout_summary",
            output::tail(running, Stream::Stdout, lines)?.into(),
        ),
        (
            "stderr_summary",
            output::tail(running, Stream::Stderr, lines)?.into(),
        ),
        ("duration_ms", duration_ms(running).into()),
        ("process_id", (*process.id).into()),
        ("state", state(running).into()),
        ("resource_usage", usage(running)),
    ]))
}

fn job(args: Args) -> Result<Job, CallError> {
    let directory = directory(args.working_directory.as_deref())?;
    let environment = environment::build(&args.environment)?;
    let mut arguments = Vec::with_capacity(args.args.len() + 1);
    arguments.push(args.command);
    arguments.extend(args.args);
    if let Some(at) = arguments.iter().position(|text| text.contains('\0')) {
        let field = if at == 0 { "command" } else { "args" };
        return Err(CallError::invalid_input(
            field,
            "holds a NUL",
            "text without NUL",
        ));
    }
    let of_arguments = arguments.iter().map(|text| text.len() + 9);
    let of_environment = environment
        .iter()
        .map(|(name, value)| name.len() + value.len() + 10);
    if of_arguments.chain(of_environment).sum::<usize>() > MAX_ARGUMENT_BYTES {
        return Err(CallError::invalid_input(
            "args",
            "arguments and environment are too long",
            "at most 1048576 bytes together; put more into a file or stdin",
        ));
    }
    Ok(Job {
        arguments,
        environment,
        directory,
        stdin: args.stdin.into_bytes(),
        timeout: Duration::from_secs(args.timeout),
        limits: JobLimits {
            cpus: args.cpu_limit,
            memory: args.memory_limit,
        },
    })
}

/// The working directory as the box sees it. Going by the text only: the box has the last word.
fn directory(given: Option<&str>) -> Result<PathBuf, CallError> {
    let Some(given) = given else {
        return Ok(WORKSPACE.into());
    };
    let outside = || CallError::new(ErrorType::PathOutOfScope).with("path", given);
    let mut directory = PathBuf::from(WORKSPACE);
    for part in Path::new(given).components() {
        match part {
            Component::RootDir => directory = PathBuf::from("/"),
            Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                directory.pop();
            }
            Component::Normal(name) => directory.push(name),
        }
    }
    if given.contains('\0') || !ROOTS.iter().any(|root| directory.starts_with(root)) {
        return Err(outside());
    }
    Ok(directory)
}

fn refusal(command: &str, error: StartError) -> CallError {
    let failed = |reason: String| {
        CallError::new(ErrorType::SpawnFailed)
            .with("command", command)
            .with("reason", reason)
    };
    match error {
        StartError::NotFound => {
            let error = CallError::new(ErrorType::CommandNotFound).with("command", command);
            if command.contains(char::is_whitespace) {
                error.detail(
                    "The command is one program, not a line: put its arguments into args, or run sh \
                     with args [\"-c\", the line].",
                )
            } else {
                error
            }
        }
        StartError::NotStarted(reason) => failed(reason),
        StartError::TooMany(limit) => too_many(limit),
        StartError::NoBox(reason) => failed(format!("the sandbox is not available: {reason}")),
    }
}

fn too_many(limit: usize) -> CallError {
    CallError::new(ErrorType::ResourceLimitExceeded)
        .with("resource", "programs at once")
        .with("limit", limit)
}
