//! The daemon. `kruxos up` and `kruxos gateway` start it; it is not meant to be typed.

use clap::{Args, Parser, Subcommand};
use kruxos_audit::AuditLog;
use kruxos_gateway::config::{self, Config, ConfigError, LogFormat};
use kruxos_gateway::gateway::{Gateway, OpenError};
use kruxos_gateway::layout::{Layout, LayoutError};
use kruxos_gateway::sandbox::Sandbox;
use kruxos_gateway::{bootstrap, metrics, serve};
use kruxos_sandbox::probe::Primitive;
use kruxos_types::SystemClock;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
    /// Print as JSON which kernel protections work here.
    Diagnose,
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
    pub(super) const SANDBOX: u8 = 10;
}

/// Open descriptors of the daemon: room for a thousand agents.
const MAX_DESCRIPTORS: u64 = 65_536;
/// How long threads that still wait for a disk hold up the end of the process.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// How a run ended: nothing, or the exit code and what to say.
type Ended = Result<(), (u8, String)>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (options, first_try) = match arguments.mode {
        Mode::Up(options) => (options, true),
        Mode::Gateway(options) => (options, false),
        Mode::Diagnose => return diagnose(),
    };
    // Before the first thread, so that nothing of this process is in what it starts.
    let sandbox = Sandbox::start();
    let has_backstop = sandbox.has_backstop();
    raise_descriptor_limit();
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
    let ended = match runtime {
        Ok(runtime) => {
            let mut log = None;
            let ended = runtime.block_on(run(&options, first_try, sandbox, &mut log));
            // A thread that hangs on a dead disk must not keep the process; its call was left behind.
            runtime.shutdown_timeout(LAST_PATIENCE);
            if let Some(log) = log {
                close(log);
            }
            ended
        }
        Err(error) => Err((exit::FAILED, format!("cannot start the runtime: {error}"))),
    };
    if has_backstop && let Err(error) = kruxos_sandbox::backstop::remove() {
        tracing::warn!(%error, "the packet filter's rule for agents' uids stays");
    }
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            let mut stderr = std::io::stderr().lock();
            // With no stderr left there is nobody to tell.
            drop(writeln!(stderr, "kruxos: {message}"));
            ExitCode::from(code)
        }
    }
}

/// A box takes a handful of descriptors and a program's kept output two; the usual 1,024 are for
/// programs that use select(2), which this one does not.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit
        .maximum
        .map_or(MAX_DESCRIPTORS, |most| most.min(MAX_DESCRIPTORS));
    if limit.current.is_some_and(|now| now < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            ..limit
        };
        // Within the hard limit it is not refused; were it, calls say what they lack.
        setrlimit(Resource::Nofile, raised).ok();
    }
}

/// Exit code 0 whatever was found: the answer says it.
fn diagnose() -> ExitCode {
    let answer = Sandbox::look().to_json();
    match writeln!(std::io::stdout().lock(), "{answer}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes what is still queued, such as the ends of calls that were left behind.
fn close(log: AuditLog) {
    let (done, closed) = mpsc::channel();
    // The last handle waits for the disk when it goes, which may be for ever.
    std::thread::spawn(move || {
        let flushing = tokio::runtime::Builder::new_current_thread().build();
        if let Ok(Err(error)) = flushing.map(|runtime| runtime.block_on(log.flush())) {
            tracing::error!(%error, "the audit log could not be flushed");
        }
        drop(log);
        // Nobody listens any more once the patience is over.
        done.send(()).ok();
    });
    if closed.recv_timeout(LAST_PATIENCE).is_err() {
        tracing::error!("the disk did not take the end of the audit log in time");
    }
}

/// Runs the gateway until it is told to stop. `log` is for whoever ends the process.
async fn run(
    options: &Options,
    first_try: bool,
    sandbox: Sandbox,
    log: &mut Option<AuditLog>,
) -> Ended {
    let config =
        configuration(options).map_err(|error| (exit::CONFIGURATION, error.to_string()))?;
    start_log(&config).map_err(|error| (exit::CONFIGURATION, error.to_string()))?;
    let failed = |error: &dyn std::fmt::Display| (exit::FAILED, error.to_string());
    check_sandbox(&sandbox, &config, first_try)?;
    metrics::recorder().map_err(|error| failed(&error))?;
    // From here on a signal is never the end by itself.
    let mut signals = Signals::new().map_err(|error| failed(&error))?;
    let layout = Layout::new(
        &options.data_dir,
        config.workspace_root.as_deref(),
        config.run_dir.as_deref(),
    );
    let gateway = Gateway::open(config, layout, Arc::new(SystemClock), sandbox)
        .await
        .map_err(open_failure)?;
    *log = Some(gateway.audit.clone());
    let listening = match serve::start(&gateway).await {
        Ok(listening) => listening,
        Err(error) => {
            gateway.stop().await;
            return Err((exit::PORT, error.to_string()));
        }
    };
    let introduced = introduce(&gateway, &listening, options, first_try).await;
    if introduced.is_ok() {
        tokio::select! {
            name = signals.next() => tracing::info!("{name}: stopping"),
            () = gateway.stopping.cancelled() => tracing::info!("asked to stop"),
        }
    }
    tokio::select! {
        () = gateway.stop() => introduced,
        name = signals.next() => Err((
            exit::FAILED,
            format!("stopped at once by a second signal, {name}; calls at work were left behind"),
        )),
    }
}

/// Refuses to start without what is required; says what else is missing.
fn check_sandbox(sandbox: &Sandbox, config: &Config, first_try: bool) -> Ended {
    let default: &[Primitive] = match first_try {
        true => &[],
        false => &config::Sandbox::SERVICE_REQUIRES,
    };
    let required = config.sandbox.require.as_deref().unwrap_or(default);
    sandbox
        .meets(required)
        .map_err(|missing| (exit::SANDBOX, missing.to_string()))?;
    match sandbox.health() {
        ("healthy", _) => {}
        (_, details) => tracing::warn!("sandbox: {details}"),
    }
    Ok(())
}

/// What asks the daemon to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next signal's name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
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
) -> Ended {
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

fn open_failure(error: OpenError) -> (u8, String) {
    let code = match &error {
        OpenError::Layout(LayoutError::InUse { .. })
        | OpenError::Audit(kruxos_audit::AuditError::Locked(_)) => exit::IN_USE,
        OpenError::Policy(_) => exit::CONFIGURATION,
        _ => exit::DATA,
    };
    (code, error.to_string())
}
