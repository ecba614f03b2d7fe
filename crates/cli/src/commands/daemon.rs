//! `up` and `gateway`: this process becomes the daemon that lies beside it.

use crate::args::{Daemon, Global};
use crate::failure::Failure;
use crate::locate::{Place, SERVICE_CONFIG};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

/// Replaces this process by `kruxosd`, so that signals, exit code and process id are the daemon's.
pub(super) fn become_it(
    mode: &str,
    global: &Global,
    options: &Daemon,
    place: &Place,
) -> Result<(), Failure> {
    let program = beside()?;
    #[allow(
        clippy::disallowed_methods,
        reason = "not the gateway but its starter: it replaces itself and starts nothing else"
    )]
    let mut command = std::process::Command::new(&program);
    command.arg(mode).arg("--data-dir").arg(&place.data_dir);
    if let Some(config) = config(mode, global, place) {
        command.arg("--config").arg(config);
    }
    if let Some(port) = options.port {
        command.arg("--port").arg(port.to_string());
    }
    if let Some(port) = options.health_port {
        command.arg("--health-port").arg(port.to_string());
    }
    if global.json {
        command.arg("--json");
    }
    if global.quiet {
        command.arg("--quiet");
    }
    let error = command.exec();
    Err(Failure::failed(format!(
        "cannot start {}: {error}",
        program.display()
    )))
}

/// The service falls back on its well-known file; `up` never reads one that it was not shown.
fn config(mode: &str, global: &Global, place: &Place) -> Option<PathBuf> {
    let service = || PathBuf::from(SERVICE_CONFIG);
    match mode {
        "gateway" if global.config.is_none() && place.config.is_none() => {
            Some(service()).filter(|file| file.exists())
        }
        _ => global.config.clone(),
    }
}

pub(super) fn beside() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let program = own.with_file_name("kruxosd");
    if program.is_file() {
        return Ok(program);
    }
    Err(Failure::failed(format!(
        "the gateway's program is missing: {}",
        program.display()
    ))
    .hint("Both are built by:  cargo build --workspace")
    .hint("A package installs kruxos and kruxosd side by side."))
}
