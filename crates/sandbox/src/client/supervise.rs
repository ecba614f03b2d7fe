//! What looks after one program until it has ended: feeds its input, waits for its end, and sees to it
//! that the end comes.

use super::launcher::Launcher;
use super::program::{Counted, Ended, Group, Outcome, Over, Program, Shared};
use crate::cgroup::Limit;
use crate::protocol::{Command, EndedBy, Event, Exit, Target};
use crate::spec::Limits;
use crate::standin::{self, Ceiling, Exceeded, Tree};
use rustix::process::{Signal, pidfd_send_signal};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

/// From `SIGTERM` to `SIGKILL` when a program's time is up.
const TERM_PATIENCE: Duration = Duration::from_secs(2);
/// From asking pid 1 to end everything to killing pid 1 itself, and from that to giving up. The kernel
/// needs milliseconds.
const KILL_PATIENCE: Duration = Duration::from_secs(3);

/// A program and all that belongs to it.
pub(super) struct Supervised {
    pub(super) shared: Arc<Shared>,
    pub(super) launcher: Arc<Launcher>,
    pub(super) counted: Counted,
    pub(super) group: Option<Group>,
    pub(super) program: Program,
    pub(super) stdin: Option<pipe::Sender>,
}

/// How far its ending has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Runs,
    Asked,
    Killed,
    /// Its first process too.
    Gone,
}

/// Runs until the program has ended.
pub(super) async fn supervise(
    mut supervised: Supervised,
    mut dropped: oneshot::Receiver<()>,
    end: watch::Sender<Option<Ended>>,
) {
    let stdin = supervised.stdin.take();
    let bytes = std::mem::take(&mut supervised.program.stdin);
    let feeding = feed(stdin, bytes);
    tokio::pin!(feeding);
    let mut ending = Ending {
        stage: Stage::Runs,
        reason: None,
        next: Instant::now() + supervised.program.timeout,
    };
    let mut looks = looks();
    let (mut is_fed, mut is_held) = (false, true);
    let exit = loop {
        tokio::select! {
            packet = supervised.shared.control.receive() => break exit_of(packet),
            () = &mut feeding, if !is_fed => is_fed = true,
            _ = &mut dropped, if is_held => {
                is_held = false;
                ending.kill(&supervised.shared, Outcome::Killed);
            }
            () = sleep_until(ending.next) => {
                if !ending.escalate(&supervised.shared) {
                    break None;
                }
            }
            _ = looks.tick(), if supervised.group.is_none() && ending.stage == Stage::Runs => {
                if let Some(exceeded) = look(ceiling(&supervised)).await {
                    let over = match exceeded.limit {
                        Limit::Cpu => Over::CpuSeconds(exceeded.allowed / 1000),
                        limit => Over::Group(limit, Some(exceeded.allowed)),
                    };
                    ending.kill(&supervised.shared, Outcome::Limited(over));
                }
            }
        }
    };
    let ended = supervised.finish(exit, ending.reason).await;
    // Nobody may be waiting.
    let _told = end.send(Some(ended));
}

/// Writes what the program reads, then closes. It may not read it all.
async fn feed(stdin: Option<pipe::Sender>, bytes: Vec<u8>) {
    if let Some(mut stdin) = stdin {
        let _written = stdin.write_all(&bytes).await;
    }
}

fn looks() -> Interval {
    let mut looks = interval_at(Instant::now() + standin::INTERVAL, standin::INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

/// What is watched from outside, where no control group does it.
fn ceiling(supervised: &Supervised) -> Option<(Tree, Ceiling)> {
    let limits = &supervised.program.spec.limits;
    let ceiling = Ceiling {
        memory_bytes: limits.memory_bytes.unwrap_or(u64::MAX),
        // And pid 1.
        processes: limits.processes.saturating_add(1),
        // What each process may use alone, they may use together.
        cpu: limits.cpu_seconds.map(Duration::from_secs),
    };
    Some((Tree::of(supervised.shared.pid()?), ceiling))
}

async fn look(ceiling: Option<(Tree, Ceiling)>) -> Option<Exceeded> {
    let (tree, ceiling) = ceiling?;
    let looked = tokio::task::spawn_blocking(move || tree.exceeds(&ceiling));
    // A tree that has just ended is over nothing.
    looked.await.ok()?.ok()?
}

/// Whether a program that was killed by a signal has most likely run out of memory: what could not be
/// had is never counted, so most of the bound must have been in use.
fn starved(exit: Exit, limits: &Limits) -> bool {
    let killed = matches!(
        exit.by,
        EndedBy::Signal(libc::SIGSEGV | libc::SIGABRT | libc::SIGBUS | libc::SIGKILL)
    );
    killed
        && limits
            .memory_bytes
            .is_some_and(|bound| exit.max_resident >= bound / 2)
}

/// The report of the program's first process; `None` when that died without one.
fn exit_of(packet: std::io::Result<Option<crate::protocol::Packet>>) -> Option<Exit> {
    let packet = packet.ok()??;
    match Event::decode(packet.kind, &packet.body) {
        Ok(Event::Exited(exit)) => Some(exit),
        _ => None,
    }
}

/// The way to the end.
struct Ending {
    stage: Stage,
    /// Why it is ended, if it does not by itself.
    reason: Option<Outcome>,
    /// When the next, harder means comes.
    next: Instant,
}

impl Ending {
    /// What fails here shows in the stage after: pid 1 has gone, or is killed itself.
    fn kill(&mut self, shared: &Shared, reason: Outcome) {
        self.reason.get_or_insert(reason);
        let _sent = shared.command(Command::Kill);
        self.stage = Stage::Killed;
        self.next = Instant::now() + KILL_PATIENCE;
    }

    /// The next means; `false` when there is none left.
    fn escalate(&mut self, shared: &Shared) -> bool {
        match self.stage {
            Stage::Runs => {
                self.reason.get_or_insert(Outcome::TimedOut);
                let _sent = shared.command(Command::Signal(Target::Group, libc::SIGTERM));
                self.stage = Stage::Asked;
                self.next = Instant::now() + TERM_PATIENCE;
            }
            Stage::Asked => self.kill(shared, Outcome::TimedOut),
            Stage::Killed => {
                let _gone = pidfd_send_signal(&shared.pidfd, Signal::KILL);
                self.stage = Stage::Gone;
                self.next = Instant::now() + KILL_PATIENCE;
            }
            Stage::Gone => return false,
        }
        true
    }
}

impl Supervised {
    async fn finish(self, exit: Option<Exit>, reason: Option<Outcome>) -> Ended {
        let duration = self.shared.started.elapsed();
        // Whatever said what, nothing of it stays.
        let _gone = pidfd_send_signal(&self.shared.pidfd, Signal::KILL);
        let (limit, group) = match self.group {
            Some(group) => group.finish().await,
            None => (None, None),
        };
        self.shared
            .is_written
            .store(exit.is_some(), Ordering::Relaxed);
        let limits = &self.program.spec.limits;
        let signalled = self.shared.signalled.load(Ordering::Relaxed);
        let by_itself = match exit.map(|exit| exit.by) {
            Some(EndedBy::Code(code)) => Outcome::Exited(code),
            Some(EndedBy::Signal(libc::SIGXCPU)) => {
                Outcome::Limited(Over::CpuSeconds(limits.cpu_seconds.unwrap_or(0)))
            }
            Some(EndedBy::Signal(libc::SIGXFSZ)) => {
                Outcome::Limited(Over::FileBytes(limits.file_bytes))
            }
            Some(EndedBy::Signal(signal)) if signal == signalled => Outcome::Killed,
            Some(EndedBy::Signal(signal)) => Outcome::Signalled(signal),
            None => Outcome::Killed,
        };
        // Without a group nobody says which limit was hit.
        let memory = exit.filter(|exit| starved(*exit, limits));
        let limit = limit.or(memory.map(|_| Limit::Memory));
        let outcome = match (reason, limit, by_itself) {
            (Some(reason), ..) => reason,
            // A program may cope with a refused fork; memory that ran out kills.
            (None, Some(Limit::Memory), Outcome::Signalled(_) | Outcome::Killed) => {
                Outcome::Limited(Over::Group(Limit::Memory, None))
            }
            (None, Some(Limit::Processes), Outcome::Exited(code)) if code != 0 => {
                Outcome::Limited(Over::Group(Limit::Processes, None))
            }
            (None, _, by_itself) => by_itself,
        };
        match outcome {
            Outcome::TimedOut => self.launcher.stats().programs_timed_out.add(),
            Outcome::Limited(_) => self.launcher.stats().programs_limited.add(),
            _ => {}
        }
        drop(self.counted);
        Ended {
            outcome,
            exit,
            group,
            duration,
        }
    }
}
