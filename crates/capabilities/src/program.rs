//! Programs in the caller's box, as `process.*` and `git.*` ask for them. Where they run, and how they
//! are confined, is the business of whoever implements [`Programs`].

use async_trait::async_trait;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A program to start. Everything in it was checked before.
#[derive(Debug, Clone)]
pub struct Job {
    /// The program, looked up in `PATH` of `environment` unless it has a slash, and its arguments.
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// Where it starts, absolute, as the agent sees it.
    pub directory: PathBuf,
    /// What it reads; end of file after it.
    pub stdin: Vec<u8>,
    /// It is ended with all its children after this.
    pub timeout: Duration,
    /// Tighter than the box's own limits, never looser.
    pub limits: JobLimits,
}

/// Limits of one program below those of its box.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct JobLimits {
    /// Processors.
    pub cpus: Option<f64>,
    /// Bytes.
    pub memory: Option<u64>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal, which was not ours.
    Signalled(i32),
    /// Its time was up.
    TimedOut,
    /// By [`Running::signal`] or the end of its box.
    Killed,
    /// It took more than it may have.
    Limit {
        /// Of what, as the error names it: `memory`, `processes`, `cpu`, `disk`.
        resource: &'static str,
        /// The bound, in the resource's unit.
        limit: u64,
    },
}

/// What a program has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Processor time in its own code, milliseconds.
    pub cpu_user_ms: u64,
    /// Processor time in the kernel, milliseconds.
    pub cpu_system_ms: u64,
    /// Largest memory at once, bytes.
    pub memory_peak_bytes: u64,
    /// Read from disks, bytes.
    pub read_bytes: u64,
    /// Written to disks, bytes.
    pub written_bytes: u64,
}

/// One of a program's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// How much a program has printed on one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Printed {
    /// Bytes printed.
    pub total: u64,
    /// Bytes kept: the first ones, up to the bound.
    pub kept: u64,
}

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No such program.
    #[error("there is no such program")]
    NotFound,
    /// It is there but cannot be executed, or the working directory is not one.
    #[error("{0}")]
    NotStarted(String),
    /// The box has as many programs as it may have; the number.
    #[error("{0} programs run already")]
    TooMany(usize),
    /// The box itself cannot be made or has gone.
    #[error("the sandbox is not available: {0}")]
    NoBox(String),
}

/// The caller's box as a place to run programs.
#[async_trait]
pub trait Programs: fmt::Debug + Send + Sync {
    /// Starts a program.
    async fn start(&self, job: Job) -> Result<Arc<dyn Running>, StartError>;
}

/// A program that was started. Dropping the last handle of one that runs ends it.
#[async_trait]
pub trait Running: fmt::Debug + Send + Sync {
    /// How it ended, if it has.
    fn ended(&self) -> Option<End>;
    /// Waits for its end. All it printed is there then.
    async fn wait(&self) -> End;
    /// What it has used so far.
    fn usage(&self) -> Usage;
    /// How long it has run, or ran.
    fn duration(&self) -> Duration;
    /// How much it has printed.
    fn printed(&self, stream: Stream) -> Printed;
    /// What it has printed from `offset` on, at most `limit` bytes.
    ///
    /// # Errors
    /// The file cannot be read.
    fn output(&self, stream: Stream, offset: u64, limit: usize) -> io::Result<Vec<u8>>;
    /// Sends a signal (a number of signal(7)); SIGKILL takes all its children with it.
    ///
    /// # Errors
    /// It cannot be sent.
    async fn signal(&self, signal: i32) -> io::Result<()>;
}
