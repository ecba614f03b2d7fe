//! One file for each group of commands.

mod agent;
mod alerts;
mod approve;
mod audit;
mod bench;
mod call;
mod config;
mod daemon;
mod manual;
mod mount;
mod policy;
mod policy_diff;
mod policy_files;
mod policy_simulate;
mod policy_test;
mod sandbox;
mod session;
mod state;
mod status;
mod supervise;
mod trash;
mod undo;
mod user_token;
mod verify;
mod watch;

use crate::args::{self, Cli, Command};
use crate::client::Client;
use crate::failure::Failure;
use crate::locate::Place;
use crate::output::Out;
use serde_json::Value;

/// What every command works with.
pub(crate) struct Cx<'a> {
    out: &'a Out,
    client: Client,
}

/// Runs one command.
pub(crate) async fn run(cli: Cli, out: &Out) -> Result<(), Failure> {
    // These need no data directory, so no HOME either.
    match cli.command {
        Command::Completions { shell } => return manual::completions(out, shell),
        Command::Man { path } => return manual::page(out, &path),
        Command::Policy(args::Policy::Schema) => return policy::schema(out),
        _ => {}
    }
    let place = Place::find(&cli.global)?;
    let cx = &Cx {
        out,
        client: Client::new(place),
    };
    match cli.command {
        Command::Up(options) => daemon::become_it("up", &cli.global, &options, cx.client.place()),
        Command::Gateway(options) => {
            daemon::become_it("gateway", &cli.global, &options, cx.client.place())
        }
        Command::Status => status::run(cx).await,
        Command::Verify => verify::run(cx).await,
        Command::Version => status::version(cx).await,
        Command::Agent(command) => agent::run(cx, command).await,
        Command::Watch(options) => watch::run(cx, options).await,
        Command::Pause(agent) => supervise::pause(cx, &agent.name).await,
        Command::Resume(agent) => supervise::resume(cx, &agent.name).await,
        Command::Kill(agent) => supervise::kill(cx, &agent).await,
        Command::Approve(command) => approve::run(cx, command).await,
        Command::Alerts(command) => alerts::run(cx, command).await,
        Command::Audit(command) => audit::run(cx, command).await,
        Command::Config(command) => config::run(cx, command).await,
        Command::Policy(command) => policy::run(cx, command).await,
        Command::State(command) => state::run(cx, command).await,
        Command::UserToken(command) => user_token::run(cx, command).await,
        Command::Mount(command) => mount::run(cx, command).await,
        Command::Session(command) => session::run(cx, command).await,
        Command::Undo(options) => undo::run(cx, options).await,
        Command::Trash(command) => trash::run(cx, command).await,
        Command::Sandbox(args::Sandbox::Diagnose) => sandbox::diagnose(cx).await,
        Command::Call(options) => call::run(cx, options).await,
        Command::Bench(options) => bench::run(cx, options).await,
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}

/// A field of an answer as text for a table or a line; what is null or missing is empty.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A field as text, with a word for what is missing.
fn text_or(value: &Value, missing: &str) -> String {
    match value {
        Value::Null => missing.to_owned(),
        other => text(other),
    }
}

/// A time to the second: more digits only fill the table.
fn time(value: &Value) -> String {
    let text = text(value);
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => text,
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn bytes(value: &Value) -> String {
    let Some(count) = value.as_u64() else {
        return String::new();
    };
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count / 1024),
        1_048_576..1_073_741_824 => format!("{} MiB", count / 1_048_576),
        _ => format!("{} GiB", count / 1_073_741_824),
    }
}
