//! The `kruxos` command line: asks the running gateway over its control socket and shows the
//! answers. It decides nothing itself; `up` and `gateway` become the daemon that lies beside it.
//!
//! Start at `args.rs` for what can be typed and at `commands/` for what each does.

mod args;
mod clean;
mod client;
mod commands;
mod failure;
mod inputs;
mod locate;
mod output;
mod span;

use args::Cli;
use clap::{CommandFactory, FromArgMatches};
use failure::Failure;
use output::Out;
use std::process::ExitCode;

/// The whole command tree, for help, completions and manual pages.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the process's arguments.
pub fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return output::usage(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error),
    };
    let out = Out::new(cli.global.json, cli.global.quiet, cli.global.no_color);
    match run(cli, &out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out.failure(&failure);
            failure.code()
        }
    }
}

fn run(cli: Cli, out: &Out) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let done = runtime.block_on(commands::run(cli, out));
    // A blocking read of stdin must not keep a finished command alive.
    runtime.shutdown_background();
    done
}
