//! A session's box as the place where `process.*` and `git.*` run programs.

use super::limits::ProgramLimits;
use super::quota::{Full, LOOK_EVERY, Quota};
use async_trait::async_trait;
use kruxos_capabilities::program::{
    End, Job, Printed, Programs, Running, StartError, Stream, Usage,
};
use kruxos_sandbox::cgroup::Limit;
use kruxos_sandbox::client::{self, AgentBox, Ended, Outcome, Over, Program, StartFailure};
use kruxos_sandbox::spec::ProgramSpec;
use kruxos_sandbox::step::Step;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// signal(7).
const SIGKILL: i32 = 9;
/// The kernel counts blocks of this many bytes for a process (getrusage(2)).
const BLOCK: u64 = 512;

/// Programs in one session's box.
#[derive(Debug)]
pub(super) struct BoxPrograms {
    inside: Arc<AgentBox>,
    /// As policy has them; set before each call.
    limits: Mutex<ProgramLimits>,
    quota: Arc<Quota>,
}

impl BoxPrograms {
    pub(super) fn new(inside: Arc<AgentBox>, limits: ProgramLimits, quota: Arc<Quota>) -> Self {
        Self {
            inside,
            quota,
            limits: Mutex::new(limits),
        }
    }

    /// The limits of programs from now on.
    pub(super) fn set(&self, limits: ProgramLimits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    fn limits(&self) -> ProgramLimits {
        let limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.clone()
    }
}

#[async_trait]
impl Programs for BoxPrograms {
    async fn start(&self, job: Job) -> Result<Arc<dyn Running>, StartError> {
        let limits = self.limits().for_job(job.limits, job.timeout);
        let mut environment = job.environment;
        if limits.proxied {
            add_proxy(&mut environment);
        }
        let environment = environment.into_iter();
        let spec = ProgramSpec {
            environment: environment
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            working_directory: job.directory,
            limits: limits.each,
            network: limits.network,
            profile: limits.profile,
            ..ProgramSpec::new(job.arguments)
        };
        let program = Program {
            stdin: job.stdin,
            timeout: job.timeout,
            limits: Some(limits.group.clone()),
            ..Program::new(spec)
        };
        let running = self.inside.run(program).await.map_err(not_started)?;
        let over_quota = Arc::new(AtomicU64::new(0));
        let watched = watch_quota(
            self.quota.clone(),
            Arc::downgrade(&running),
            over_quota.clone(),
        );
        drop(tokio::spawn(watched));
        Ok(Arc::new(BoxRunning {
            running,
            limits,
            over_quota,
            memory_seen: AtomicU64::new(0),
        }))
    }
}

/// Ends a program that fills its workspace. One that ends before the first look costs nothing.
async fn watch_quota(
    quota: Arc<Quota>,
    running: Weak<client::Running>,
    over_quota: Arc<AtomicU64>,
) {
    let mut written = 0;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match running.upgrade() {
            Some(running) if running.ended().is_none() => {
                let unnamed = unnamed_bytes(&quota, &running).await;
                let now = running.sample().map_or(0, |sample| sample.written_bytes);
                let writes = now > written;
                written = now;
                if let Some(full) = quota.passed(unnamed).await
                    // A full disk is not the fault of who writes nothing.
                    && (writes || matches!(full, Full::Workspace(_)))
                {
                    over_quota.store(full.bytes(), Ordering::Relaxed);
                    // It fails only if the program has just ended.
                    running.signal(SIGKILL).ok();
                    return;
                }
            }
            _ => return,
        }
    }
}

/// What a program holds of files that have no name any more, or never had one: no walk through the
/// workspace finds them.
async fn unnamed_bytes(quota: &Quota, running: &Arc<client::Running>) -> u64 {
    let Some(disk) = quota.disk() else {
        return 0;
    };
    let running = running.clone();
    let looked = tokio::task::spawn_blocking(move || running.unnamed_bytes(disk));
    looked.await.ok().and_then(Result::ok).unwrap_or(0)
}

/// The variables by which most programs find a proxy; what the caller set itself stays.
fn add_proxy(environment: &mut Vec<(String, String)>) {
    let proxy = super::proxy_url();
    let direct = "localhost,127.0.0.1,::1".to_owned();
    for (name, value) in [
        ("http_proxy", &proxy),
        ("HTTP_PROXY", &proxy),
        ("https_proxy", &proxy),
        ("HTTPS_PROXY", &proxy),
        ("no_proxy", &direct),
        ("NO_PROXY", &direct),
    ] {
        if !environment.iter().any(|(known, _)| known == name) {
            environment.push((name.to_owned(), value.clone()));
        }
    }
}

fn not_started(failure: StartFailure) -> StartError {
    let StartFailure::Refused(refused) = &failure else {
        return StartError::NoBox(failure.to_string());
    };
    let kind = io::Error::from(refused.errno).kind();
    match (refused.step, kind) {
        (Step::Exec, io::ErrorKind::NotFound) => StartError::NotFound,
        (Step::Exec, io::ErrorKind::PermissionDenied) => {
            StartError::NotStarted("it may not be executed".to_owned())
        }
        (Step::Exec, _) => StartError::NotStarted(format!("it cannot be executed: {kind}")),
        (Step::WorkingDirectory, io::ErrorKind::NotFound) => {
            StartError::NotStarted("its working directory does not exist".to_owned())
        }
        (Step::WorkingDirectory, _) => {
            StartError::NotStarted(format!("its working directory cannot be entered: {kind}"))
        }
        _ => StartError::NoBox(failure.to_string()),
    }
}

/// A program in a box.
#[derive(Debug)]
struct BoxRunning {
    running: Arc<client::Running>,
    limits: ProgramLimits,
    /// The workspace's bound, once the program was ended for passing it; 0 before.
    over_quota: Arc<AtomicU64>,
    /// The most memory that a look at it saw while it ran, in bytes.
    memory_seen: AtomicU64,
}

impl BoxRunning {
    fn end(&self, ended: Ended) -> End {
        match ended.outcome {
            Outcome::Exited(code) => End::Exited(code),
            Outcome::Signalled(signal) => End::Signalled(signal),
            Outcome::TimedOut => End::TimedOut,
            Outcome::Killed => match self.over_quota.load(Ordering::Relaxed) {
                0 => End::Killed,
                limit => End::Limit {
                    resource: "disk",
                    limit,
                },
            },
            Outcome::Limited(over) => self.over(over),
        }
    }

    fn over(&self, over: Over) -> End {
        let (resource, limit) = match over {
            Over::Group(limit, known) => {
                let group = &self.limits.group;
                let set = match limit {
                    Limit::Memory => group.memory_bytes,
                    Limit::Processes => group.processes,
                    Limit::Cpu => group.cpu_percent.into(),
                };
                (limit.name(), known.unwrap_or(set))
            }
            Over::CpuSeconds(seconds) => ("cpu", seconds),
            Over::FileBytes(bytes) => ("disk", bytes),
        };
        End::Limit { resource, limit }
    }
}

#[async_trait]
impl Running for BoxRunning {
    fn ended(&self) -> Option<End> {
        self.running.ended().map(|ended| self.end(ended))
    }

    async fn wait(&self) -> End {
        self.end(self.running.wait().await)
    }

    fn usage(&self) -> Usage {
        match self.running.ended() {
            Some(ended) => usage_of(ended),
            None => {
                let Ok(sample) = self.running.sample() else {
                    return Usage::default();
                };
                let seen = self
                    .memory_seen
                    .fetch_max(sample.memory_bytes, Ordering::Relaxed);
                Usage {
                    cpu_user_ms: milliseconds(sample.cpu.saturating_sub(sample.cpu_system)),
                    cpu_system_ms: milliseconds(sample.cpu_system),
                    memory_peak_bytes: seen.max(sample.memory_bytes),
                    read_bytes: sample.read_bytes,
                    written_bytes: sample.written_bytes,
                }
            }
        }
    }

    fn duration(&self) -> Duration {
        self.running.duration()
    }

    fn printed(&self, stream: Stream) -> Printed {
        let printed = self.running.printed(which(stream));
        Printed {
            total: printed.total,
            kept: printed.kept,
        }
    }

    fn output(&self, stream: Stream, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        self.running.output(which(stream), offset, limit)
    }

    async fn signal(&self, signal: i32) -> io::Result<()> {
        self.running.signal(signal)
    }
}

/// From the first process's own report and, where there is one, its control group.
fn usage_of(ended: Ended) -> Usage {
    let mut usage = Usage::default();
    if let Some(exit) = ended.exit {
        usage = Usage {
            cpu_user_ms: exit.user_micros / 1000,
            cpu_system_ms: exit.system_micros / 1000,
            memory_peak_bytes: exit.max_resident,
            read_bytes: exit.blocks_read.saturating_mul(BLOCK),
            written_bytes: exit.blocks_written.saturating_mul(BLOCK),
        };
    }
    if let Some(group) = ended.group {
        if ended.exit.is_none() {
            usage.cpu_user_ms = milliseconds(group.cpu);
        }
        usage.memory_peak_bytes = usage.memory_peak_bytes.max(group.memory_bytes);
        usage.read_bytes = group.read_bytes;
        usage.written_bytes = group.written_bytes;
    }
    usage
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn which(stream: Stream) -> client::Stream {
    match stream {
        Stream::Stdout => client::Stream::Stdout,
        Stream::Stderr => client::Stream::Stderr,
    }
}
