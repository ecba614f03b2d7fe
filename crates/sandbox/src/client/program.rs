//! A program in a box, from the gateway.

use super::agent::{BoxOptions, Live, START_PATIENCE, gateway};
use super::channel::Channel;
use super::error::{BoxError, StartFailure};
use super::launcher::Launcher;
use super::output::{self, Spares, Stream};
use super::supervise::{self, Supervised};
use crate::cgroup::{self, Limit};
use crate::protocol::{self, Command, Event, Exit, Extras, Target, kind};
use crate::spec::ProgramSpec;
use crate::standin::Tree;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// A program to start.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    pub spec: ProgramSpec,
    /// What it reads; end of file after it.
    pub stdin: Vec<u8>,
    /// It is ended with everything it started after this: `SIGTERM` to its group, `SIGKILL` to all
    /// two seconds later.
    pub timeout: Duration,
    /// Limits of its control group, where the box has one; otherwise memory and processes of `spec` are
    /// watched from outside.
    pub limits: Option<cgroup::Limits>,
}

impl Program {
    /// No input, ten minutes.
    #[must_use]
    pub fn new(spec: ProgramSpec) -> Program {
        Program {
            spec,
            stdin: Vec::new(),
            timeout: Duration::from_secs(600),
            limits: None,
        }
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// Its time was up.
    TimedOut,
    /// By [`Running::signal`], by dropping it, or with its box.
    Killed,
    /// It was over a limit.
    Limited(Over),
}

/// The limit a program was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Of its control group, or of what is watched in its place; the bound in bytes, processes, or
    /// milliseconds, where it is known.
    Group(Limit, Option<u64>),
    /// `RLIMIT_CPU`: CPU seconds of one process.
    CpuSeconds(u64),
    /// `RLIMIT_FSIZE`: bytes of one file.
    FileBytes(u64),
}

/// The end of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// What it used; absent if its first process was killed with it.
    pub exit: Option<Exit>,
    /// What its control group counted, where it had one.
    pub group: Option<cgroup::Usage>,
    /// From start to end.
    pub duration: Duration,
}

/// How much a program has printed on one stream, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Printed {
    /// All of it; while the program runs, what is kept so far.
    pub total: u64,
    /// What is kept: the first bytes, up to the bound.
    pub kept: u64,
}

/// A program that was started. Dropping the last handle ends it and everything it started.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    ended: watch::Receiver<Option<Ended>>,
    /// Dropped with this.
    _held: oneshot::Sender<()>,
}

/// What a program's handle and its supervisor share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) control: Channel,
    pub(super) pidfd: OwnedFd,
    stdout: File,
    stderr: File,
    spares: Arc<Spares>,
    /// Its first process has said that it is done: nobody writes to the files any more.
    pub(super) is_written: AtomicBool,
    pub(super) started: Instant,
    /// The first process, as this process sees it, once somebody asked; most programs end before.
    pid: OnceLock<Option<Pid>>,
    /// The signal that was sent last through [`Running::signal`].
    pub(super) signalled: AtomicI32,
}

impl Running {
    pub(super) async fn start(
        launcher: &Arc<Launcher>,
        options: &BoxOptions,
        live: Arc<Live>,
        program: Program,
    ) -> Result<Arc<Running>, StartFailure> {
        let prepared = |error| StartFailure::Box(BoxError::Gateway(error));
        let spares = live.spares.clone();
        let stdout = spares.take(&options.outputs).map_err(prepared)?;
        let stderr = spares.take(&options.outputs).map_err(prepared)?;
        let stdin = stdin(&program.stdin).map_err(prepared)?;
        let group = Group::make(options, &program).await?;
        let (control, theirs) = Channel::pair().map_err(prepared)?;
        let extras = Extras {
            stdin: stdin.is_some(),
            group: group.is_some(),
        };
        let mut descriptors = vec![theirs.as_fd(), stdout.as_fd(), stderr.as_fd()];
        descriptors.extend(stdin.as_ref().map(|(_, reader)| reader.as_fd()));
        descriptors.extend(group.as_ref().map(Group::as_fd));
        let body = protocol::encode_program(&program.spec, extras);
        live.ask(kind::START_PROGRAM, &body, &descriptors).await?;
        drop(descriptors);
        drop(theirs);
        let started = Instant::now();
        let waited = timeout(START_PATIENCE, started_with(&control)).await;
        let pidfd = match waited.unwrap_or(Err(StartFailure::TimedOut(START_PATIENCE))) {
            Ok(pidfd) => pidfd,
            Err(failure) => {
                Group::discard(group);
                return Err(failure);
            }
        };
        let shared = Arc::new(Shared {
            control,
            pid: OnceLock::new(),
            pidfd,
            stdout,
            stderr,
            spares,
            is_written: AtomicBool::new(false),
            started,
            signalled: AtomicI32::new(0),
        });
        let (end, ended) = watch::channel(None);
        let (held, dropped) = oneshot::channel();
        let supervised = Supervised {
            shared: shared.clone(),
            launcher: launcher.clone(),
            counted: Counted::new(live),
            group,
            program,
            stdin: stdin.map(|(writer, _)| writer),
        };
        tokio::spawn(supervise::supervise(supervised, dropped, end));
        Ok(Arc::new(Running {
            shared,
            ended,
            _held: held,
        }))
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        *self.ended.borrow()
    }

    /// Waits for its end. All it printed is there then.
    pub async fn wait(&self) -> Ended {
        let mut ended = self.ended.clone();
        let known = ended.wait_for(Option::is_some).await;
        let known = known.ok().and_then(|end| *end);
        // Without a supervisor, for instance at the end of the runtime, nothing holds the program.
        known.unwrap_or(Ended {
            outcome: Outcome::Killed,
            exit: None,
            group: None,
            duration: self.shared.started.elapsed(),
        })
    }

    /// How long it has run, or ran.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.ended()
            .map_or_else(|| self.shared.started.elapsed(), |ended| ended.duration)
    }

    /// How much it has printed.
    #[must_use]
    pub fn printed(&self, stream: Stream) -> Printed {
        let kept = self.file(stream).metadata().map_or(0, |file| file.len());
        let exit = self.ended().and_then(|ended| ended.exit);
        let total = exit.map_or(kept, |exit| match stream {
            Stream::Stdout => exit.stdout_bytes,
            Stream::Stderr => exit.stderr_bytes,
        });
        Printed {
            total: total.max(kept),
            kept,
        }
    }

    /// What it has printed from `offset` on, at most `limit` bytes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn output(&self, stream: Stream, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        output::read(self.file(stream), offset, limit)
    }

    /// What it uses now, looked at in `/proc`; for programs that run.
    ///
    /// # Errors
    /// It has ended, or `/proc` does not show it.
    pub fn sample(&self) -> io::Result<crate::standin::Sample> {
        let pid = self.shared.pid().ok_or(io::ErrorKind::NotFound)?;
        Tree::of(pid).full_sample()
    }

    /// Bytes on the disk `device` (`st_dev`) of the files that its processes have open and that have no
    /// name; for programs that run.
    ///
    /// # Errors
    /// As [`Running::sample`].
    pub fn unnamed_bytes(&self, device: u64) -> io::Result<u64> {
        let pid = self.shared.pid().ok_or(io::ErrorKind::NotFound)?;
        Tree::of(pid).unnamed_bytes(device)
    }

    /// Sends a signal (a number of signal(7)) to its process group; `SIGKILL` to everything it started.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.shared.signalled.store(signal, Ordering::Relaxed);
        let command = match signal {
            libc::SIGKILL => Command::Kill,
            other => Command::Signal(Target::Group, other),
        };
        self.shared.command(command)
    }

    fn file(&self, stream: Stream) -> &File {
        match stream {
            Stream::Stdout => &self.shared.stdout,
            Stream::Stderr => &self.shared.stderr,
        }
    }
}

impl Shared {
    /// The first process in this process's pid namespace; `None` if that cannot be found out.
    pub(super) fn pid(&self) -> Option<Pid> {
        *self.pid.get_or_init(|| host_pid(&self.pidfd))
    }

    pub(super) fn command(&self, command: Command) -> io::Result<()> {
        self.control.send_now(kind::COMMAND, &command.encode())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if *self.is_written.get_mut() {
            self.spares.keep(&self.stdout);
            self.spares.keep(&self.stderr);
        }
    }
}

/// Our end and the program's of its standard input; none where nothing is to be read.
type Stdin = Option<(pipe::Sender, OwnedFd)>;

fn stdin(bytes: &[u8]) -> io::Result<Stdin> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&writer, true)?;
    Ok(Some((pipe::Sender::from_owned_fd(writer)?, reader)))
}

/// Waits until the program was executed.
async fn started_with(control: &Channel) -> Result<OwnedFd, StartFailure> {
    let packet = control.receive().await.map_err(|_| StartFailure::Ended)?;
    let mut packet = packet.ok_or(StartFailure::Ended)?;
    match Event::decode(packet.kind, &packet.body) {
        Ok(Event::Started) => packet.descriptors.pop().ok_or(StartFailure::Ended),
        Ok(Event::Failed(failure)) => Err(failure.into()),
        _ => Err(StartFailure::Ended),
    }
}

/// The pid of a pidfd's process in this process's pid namespace.
fn host_pid(pidfd: &OwnedFd) -> Option<Pid> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    // -1 once it has ended.
    let number = number.trim().parse().ok().filter(|number| *number > 0)?;
    Pid::from_raw(number)
}

/// Counts a program as running in its box, and keeps the box.
#[derive(Debug)]
pub(super) struct Counted(Arc<Live>);

impl Counted {
    fn new(live: Arc<Live>) -> Counted {
        live.programs.fetch_add(1, Ordering::Relaxed);
        Counted(live)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let programs: &AtomicUsize = &self.0.programs;
        programs.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A program's own control group.
#[derive(Debug)]
pub(super) struct Group {
    agent: Arc<cgroup::Agent>,
    group: cgroup::Group,
}

impl Group {
    async fn make(options: &BoxOptions, program: &Program) -> Result<Option<Group>, BoxError> {
        let Some(agent) = options.group.clone() else {
            return Ok(None);
        };
        let limits = program
            .limits
            .clone()
            .unwrap_or_else(|| options.program_limits.clone());
        let made = tokio::task::spawn_blocking(move || {
            let group = agent.call(&limits)?;
            Ok(Group { agent, group })
        });
        let made = made
            .await
            .map_err(|error| BoxError::Gateway(error.into()))?;
        made.map(Some).map_err(gateway)
    }

    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.group.as_fd()
    }

    /// Which limit was hit, what was used; the group is gone after.
    pub(super) async fn finish(self) -> (Option<Limit>, Option<cgroup::Usage>) {
        let finished = tokio::task::spawn_blocking(move || {
            let limit = self.group.events().ok().and_then(|events| events.limit());
            let usage = self.group.usage().ok();
            // What stays is swept when the gateway starts next.
            let _removed = self.agent.remove(self.group);
            (limit, usage)
        });
        finished.await.unwrap_or((None, None))
    }

    fn discard(group: Option<Group>) {
        if let Some(group) = group {
            tokio::spawn(group.finish());
        }
    }
}
