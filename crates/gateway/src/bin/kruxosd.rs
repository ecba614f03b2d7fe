//! The daemon. `kruxos up` and `kruxos gateway` start it; it is not meant to be typed.

use clap::{Args, Parser, Subcommand};
use kruxos_gateway::config::{Config, ConfigError, LogFormat};
use kruxos_gateway::gateway::{Gateway, OpenError};
use kruxos_gateway::layout::{Layout, LayoutError};
use kruxos_gateway::{bootstrap, metrics, serve};
use kruxos_types::SystemClock;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Parser)]
#[command(name = "kruxosd", version, about = "The kruxos gateway daemon")]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Everything in the foreground, for a first try and for development.
    Up(Options),
    /// The service: no bootstrap.
    Gateway(Options),
}

#[derive(Debug, Args)]
struct Options {
    /// Where everything is kept.
    #[arg(long, env = "KRUXOS_DATA_DIR")]
    data_dir: PathBuf,
    /// Configuration file.
    #[arg(long, env = "KRUXOS_CONFIG")]
    config: Option<PathBuf>,
    /// Agent port; 0 picks a free one.
    #[arg(long)]
    port: Option<u16>,
    /// Health port; 0 picks a free one.
    #[arg(long)]
    health_port: Option<u16>,
    /// One JSON line on stdout once everything listens.
    #[arg(long)]
    json: bool,
    /// Nothing on stdout.
    #[arg(long)]
    quiet: bool,
}

/// Exit codes of their own for what a service manager or a container must tell apart.
mod exit {
    pub(super) const FAILED: u8 = 1;
    pub(super) const CONFIGURATION: u8 = 2;
    pub(super) const IN_USE: u8 = 7;
    pub(super) const DATA: u8 = 8;
    pub(super) const PORT: u8 = 9;
}

/// How long threads that still wait for a disk hold up the end of the process.
const LAST_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (options, first_try) = match arguments.mode {
        Mode::Up(options) => (options, true),
        Mode::Gateway(options) => (options, false),
    };
    // Two threads keep a small machine's other core free and the idle process small.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(
            std::thread::available_parallelism()
                .map_or(2, usize::from)
                .clamp(2, 8),
        )
        .max_blocking_threads(64)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(&options, first_try));
            // A thread that hangs on a dead disk must not keep the process; its call was left behind.
            runtime.shutdown_timeout(LAST_PATIENCE);
            outcome
        }
        Err(error) => Err((exit::FAILED, format!("cannot start the runtime: {error}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            let mut stderr = std::io::stderr().lock();
            // With no stderr left there is nobody to tell.
            drop(writeln!(stderr, "kruxos: {message}"));
            ExitCode::from(code)
        }
    }
}

async fn run(options: &Options, first_try: bool) -> Result<(), (u8, String)> {
    let config =
        configuration(options).map_err(|error| (exit::CONFIGURATION, error.to_string()))?;
    start_log(&config).map_err(|error| (exit::CONFIGURATION, error.to_string()))?;
    metrics::recorder().map_err(|error| (exit::FAILED, error.to_string()))?;
    let layout = Layout::new(
        &options.data_dir,
        config.workspace_root.as_deref(),
        config.run_dir.as_deref(),
    );
    let gateway = Gateway::open(config, layout, Arc::new(SystemClock))
        .await
        .map_err(open_failure)?;
    let listening = match serve::start(&gateway).await {
        Ok(listening) => listening,
        Err(error) => {
            gateway.stop().await;
            return Err((exit::PORT, error.to_string()));
        }
    };
    let introduced = introduce(&gateway, &listening, options, first_try).await;
    let waited = match introduced {
        Ok(()) => until_stopped(&gateway)
            .await
            .map_err(|error| (exit::FAILED, error.to_string())),
        Err(error) => Err(error),
    };
    tokio::select! {
        () = gateway.stop() => waited,
        () = second_signal() => Err((
            exit::FAILED,
            "stopped at once by a second signal; calls at work were left behind".to_owned(),
        )),
    }
}

fn configuration(options: &Options) -> Result<Config, ConfigError> {
    let mut flags = Vec::new();
    if let Some(port) = options.port {
        flags.push(("server.port", port.to_string()));
    }
    if let Some(port) = options.health_port {
        flags.push(("server.health_port", port.to_string()));
    }
    let default_file = options.data_dir.join("config.yaml");
    let file = options
        .config
        .clone()
        .or_else(|| default_file.exists().then_some(default_file));
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    Config::load(file.as_deref(), std::env::vars(), &flags)
}

fn start_log(config: &Config) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => builder.with_target(false).compact().init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

async fn introduce(
    gateway: &Gateway,
    listening: &serve::Listening,
    options: &Options,
    first_try: bool,
) -> Result<(), (u8, String)> {
    tracing::info!(agents = %listening.agents, health = %listening.health, "listening");
    if !first_try {
        return Ok(());
    }
    let prepared = bootstrap::prepare(gateway)
        .await
        .map_err(|error| (exit::FAILED, error.to_string()))?;
    if options.quiet {
        return Ok(());
    }
    let text = if options.json {
        format!("{}\n", prepared.to_json(gateway, listening))
    } else {
        prepared.to_text(gateway, listening)
    };
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| (exit::FAILED, format!("cannot write to stdout: {error}")))
}

/// Waits for SIGTERM, SIGINT, or a shutdown asked for through the control socket.
async fn until_stopped(gateway: &Gateway) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        () = gateway.stopping.cancelled() => tracing::info!("asked to stop"),
    }
    Ok(())
}

/// Resolves when the operator does not want to wait for calls at work.
async fn second_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn open_failure(error: OpenError) -> (u8, String) {
    let code = match &error {
        OpenError::Layout(LayoutError::InUse { .. })
        | OpenError::Audit(kruxos_audit::AuditError::Locked(_)) => exit::IN_USE,
        OpenError::Policy(_) => exit::CONFIGURATION,
        _ => exit::DATA,
    };
    (code, error.to_string())
}
