//! One agent's box, from the gateway: made with the first call, ended when idle, made again when it died.

use super::channel::Channel;
use super::error::{BoxError, CallFailure, StartFailure};
use super::launcher::{Launcher, has_ended};
use super::output::Spares;
use super::program::{Program, Running};
use super::proxy::{OnProxy, Proxy};
use super::worker::{self, Worker};
use crate::cgroup;
use crate::protocol::{self, BoxReport, Event, kind};
use crate::spec::BoxSpec;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::process::{Signal, pidfd_send_signal};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long a box may take to be made: it takes milliseconds, but a disk may hang.
const OPEN_PATIENCE: Duration = Duration::from_secs(20);
/// How long a worker or a program may take to start in a box that stands.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(10);

/// What a box takes besides its [`BoxSpec`].
#[derive(Clone)]
pub struct BoxOptions {
    /// The box.
    pub spec: BoxSpec,
    /// A directory of the gateway's for programs' output; the files in it have no names.
    pub outputs: PathBuf,
    /// The agent's control group, where the host has any.
    pub group: Option<Arc<cgroup::Agent>>,
    /// Limits of each program's own control group.
    pub program_limits: cgroup::Limits,
    /// Workers at once; more calls wait for one of them.
    pub workers: usize,
    /// Calls after which a worker is replaced by a fresh one.
    pub calls_each: u32,
    /// Gets the listening socket of [`BoxSpec::proxy`], non-blocking, each time a box is made and before
    /// anything runs in it. Who connects is a program of this box. When the box has ended, accepting
    /// fails ([`std::io::ErrorKind::InvalidInput`]) and waiting for it ends: let it go then. Called on
    /// the runtime's thread, inside the runtime; must not block. Without it nobody listens.
    pub on_proxy: Option<OnProxy>,
}

impl std::fmt::Debug for BoxOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoxOptions")
            .field("spec", &self.spec)
            .field("outputs", &self.outputs)
            .field("group", &self.group)
            .field("program_limits", &self.program_limits)
            .field("workers", &self.workers)
            .field("calls_each", &self.calls_each)
            .finish_non_exhaustive()
    }
}

impl BoxOptions {
    /// Four workers of 1,000 calls each, no control group.
    #[must_use]
    pub fn new(spec: BoxSpec, outputs: PathBuf) -> BoxOptions {
        BoxOptions {
            spec,
            outputs,
            group: None,
            program_limits: cgroup::Limits::default(),
            workers: 4,
            calls_each: 1000,
            on_proxy: None,
        }
    }
}

/// One agent's box. Dropping it ends everything in it but programs whose [`Running`] is still held.
#[derive(Debug)]
pub struct AgentBox {
    launcher: Arc<Launcher>,
    options: BoxOptions,
    live: tokio::sync::Mutex<Option<Arc<Live>>>,
    /// It never stands again. Set while `live` is held, so that nothing is made after.
    closed: AtomicBool,
    turns: Semaphore,
}

impl AgentBox {
    /// A box that will be made with its first call.
    #[must_use]
    pub fn new(launcher: Arc<Launcher>, options: BoxOptions) -> AgentBox {
        AgentBox {
            launcher,
            turns: Semaphore::new(options.workers.max(1)),
            options,
            live: tokio::sync::Mutex::new(None),
            closed: AtomicBool::new(false),
        }
    }

    /// Makes the box if it does not stand, and says what it is made of.
    ///
    /// # Errors
    /// [`BoxError`].
    pub async fn open(&self) -> Result<BoxReport, BoxError> {
        Ok(self.live().await?.report)
    }

    /// Asks a worker, a warm one where there is one. Cancelling the call kills its worker.
    ///
    /// # Errors
    /// [`CallFailure`]; whatever it is, the next call gets a fresh worker.
    pub async fn call(&self, request: &[u8], within: Duration) -> Result<Vec<u8>, CallFailure> {
        // Never closed, so always given.
        let _turn = self.turns.acquire().await;
        let (live, mut worker) = self.worker_at_last().await?;
        let stats = self.launcher.stats();
        stats.calls.add();
        match timeout(within, worker.call(request)).await {
            Ok(Ok(answer)) => {
                if worker.calls < self.options.calls_each {
                    live.idle().push(worker);
                }
                Ok(answer)
            }
            Ok(Err(failure)) => {
                match &failure {
                    CallFailure::TooLarge(..) => live.idle().push(worker),
                    CallFailure::Died => stats.workers_died.add(),
                    _ => stats.workers_broken.add(),
                }
                Err(failure)
            }
            Err(_) => {
                stats.workers_timed_out.add();
                Err(CallFailure::TimedOut(within))
            }
        }
    }

    /// Starts a program.
    ///
    /// # Errors
    /// [`StartFailure`]; nothing of the program ran then.
    pub async fn run(&self, program: Program) -> Result<Arc<Running>, StartFailure> {
        let live = self.live().await?;
        let started = Running::start(&self.launcher, &self.options, live, program).await;
        match &started {
            Ok(_) => self.launcher.stats().programs.add(),
            Err(StartFailure::Refused(_)) => self.launcher.stats().refused.add(),
            Err(_) => {}
        }
        started
    }

    /// Ends workers that were not used for `unused`, and the box itself when nothing runs in it and it
    /// was not used for as long. Answers whether the box is gone.
    pub async fn end_idle(&self, unused: Duration) -> bool {
        let mut slot = self.live.lock().await;
        let Some(live) = &*slot else {
            return true;
        };
        live.idle().retain(|worker| worker.used.elapsed() < unused);
        let is_idle = live.programs.load(Ordering::Relaxed) == 0
            && self.turns.available_permits() >= self.options.workers.max(1)
            && live.idle().is_empty()
            && live.used().elapsed() >= unused;
        if is_idle {
            live.kill();
            *slot = None;
        }
        is_idle
    }

    /// Kills everything in the box at once. The next call makes another.
    pub async fn kill(&self) {
        if let Some(live) = self.live.lock().await.take() {
            live.kill();
        }
    }

    /// Kills everything in the box for good: every later call is refused with [`BoxError::Ended`], also one
    /// that is on its way now.
    pub async fn close(&self) {
        let mut live = self.live.lock().await;
        self.closed.store(true, Ordering::Relaxed);
        if let Some(live) = live.take() {
            live.kill();
        }
    }

    /// Workers that wait for a call.
    pub async fn idle_workers(&self) -> usize {
        match &*self.live.lock().await {
            Some(live) => live.idle().len(),
            None => 0,
        }
    }

    async fn live(&self) -> Result<Arc<Live>, BoxError> {
        let mut slot = self.live.lock().await;
        if self.closed.load(Ordering::Relaxed) {
            return Err(BoxError::Ended);
        }
        if let Some(live) = &*slot
            && !live.is_gone()
        {
            *live.used() = Instant::now();
            return Ok(live.clone());
        }
        *slot = None;
        let opened = timeout(OPEN_PATIENCE, Live::open(&self.launcher, &self.options)).await;
        let opened = opened.unwrap_or(Err(BoxError::TimedOut(OPEN_PATIENCE)));
        match &opened {
            Ok(_) => self.launcher.stats().boxes.add(),
            Err(_) => self.launcher.stats().refused.add(),
        }
        Ok(slot.insert(Arc::new(opened?)).clone())
    }

    /// A worker, also if the box has just ended: nothing of the call has run yet. That takes three tries
    /// at most: a box that is being killed first lets the request vanish, then refuses it.
    async fn worker_at_last(&self) -> Result<(Arc<Live>, Worker), BoxError> {
        for _ in 0..2 {
            match self.worker().await {
                Err(BoxError::Ended) => {}
                other => return other,
            }
        }
        self.worker().await
    }

    async fn worker(&self) -> Result<(Arc<Live>, Worker), BoxError> {
        let live = self.live().await?;
        loop {
            let Some(worker) = live.idle().pop() else {
                break;
            };
            if worker.is_alive() {
                return Ok((live, worker));
            }
        }
        let started = timeout(START_PATIENCE, live.start_worker()).await;
        let started = started.unwrap_or(Err(BoxError::TimedOut(START_PATIENCE)));
        match &started {
            Ok(_) => self.launcher.stats().workers.add(),
            Err(_) => self.launcher.stats().refused.add(),
        }
        Ok((live, started?))
    }
}

/// A box that stands.
#[derive(Debug)]
pub(super) struct Live {
    channel: Channel,
    pidfd: OwnedFd,
    report: BoxReport,
    idle: Mutex<Vec<Worker>>,
    used: Mutex<Instant>,
    /// It takes no requests any more: it has ended, though its pidfd may not say so yet.
    deaf: AtomicBool,
    pub(super) programs: AtomicUsize,
    pub(super) spares: Arc<Spares>,
    /// Held for its end: with the box the port closes.
    _proxy: Option<Proxy>,
}

impl Live {
    async fn open(launcher: &Launcher, options: &BoxOptions) -> Result<Live, BoxError> {
        let (channel, theirs) = Channel::pair().map_err(BoxError::Gateway)?;
        let group = match &options.group {
            Some(agent) => Some(agent.leaf("zygote").map_err(gateway)?),
            None => None,
        };
        let mut descriptors = vec![theirs.as_fd()];
        descriptors.extend(group.as_ref().map(AsFd::as_fd));
        let spec = protocol::encode_box(&options.spec);
        launcher.open_box(&spec, &descriptors).await?;
        drop(theirs);
        let packet = channel.receive().await.map_err(|_| BoxError::Ended)?;
        let packet = packet.ok_or(BoxError::Ended)?;
        if packet.kind != kind::BOX_READY {
            return Err(match Event::decode(packet.kind, &packet.body) {
                Ok(Event::Failed(failure)) => failure.into(),
                _ => BoxError::Ended,
            });
        }
        let mut descriptors = packet.descriptors.into_iter();
        let pidfd = descriptors.next().ok_or(BoxError::Ended)?;
        let report = BoxReport::decode(&packet.body).map_err(|_| BoxError::Ended)?;
        let proxy = match (options.spec.proxy, descriptors.next()) {
            (Some(port), Some(socket)) => Proxy::of(socket, port, options.on_proxy.as_ref())?,
            (None, None) => None,
            // Not what it was asked for.
            _ => return Err(BoxError::Ended),
        };
        Ok(Live {
            channel,
            pidfd,
            report,
            idle: Mutex::default(),
            used: Mutex::new(Instant::now()),
            deaf: AtomicBool::new(false),
            programs: AtomicUsize::new(0),
            spares: Arc::default(),
            _proxy: proxy,
        })
    }

    /// Asks the box for something that lives on the first of `descriptors`.
    pub(super) async fn ask(
        &self,
        kind: u32,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), BoxError> {
        let sent = self.channel.send(kind, body, descriptors).await;
        sent.map_err(|_| {
            self.deaf.store(true, Ordering::Relaxed);
            BoxError::Ended
        })
    }

    async fn start_worker(&self) -> Result<Worker, BoxError> {
        let (ours, theirs) = worker::socket().map_err(BoxError::Gateway)?;
        self.ask(kind::START_WORKER, &[], &[theirs.as_fd()]).await?;
        drop(theirs);
        Worker::greeted(ours).await
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used(&self) -> MutexGuard<'_, Instant> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_gone(&self) -> bool {
        self.deaf.load(Ordering::Relaxed) || has_ended(self.pidfd.as_fd())
    }

    /// With the box's first process everything in it ends.
    fn kill(&self) {
        let _gone = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(super) fn gateway(error: cgroup::CgroupError) -> BoxError {
    BoxError::Gateway(std::io::Error::other(error))
}
