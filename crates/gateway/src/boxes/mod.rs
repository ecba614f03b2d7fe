//! Sessions' boxes: where an agent's file calls and programs run, confined by the kernel. A box is made
//! by the first call that needs one and ends with its session.

mod call;
mod limits;
mod programs;
mod quota;

use crate::egress::{self, AgentEgress};
use crate::gateway::Gateway;
use crate::session::AgentSession;
use kruxos_capabilities::filesystem::confined::Setup;
use kruxos_capabilities::process::Processes;
use kruxos_sandbox::client::{AgentBox, BoxOptions};
use kruxos_sandbox::spec::{BoxSpec, FIRST_OWN_UID, Identity, Mount, SYSTEM};
use kruxos_types::{CallError, ErrorType, PrincipalKind, SessionId};
use limits::ProgramLimits;
use programs::BoxPrograms;
use quota::Quota;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

/// How often a box is made again that was closed while it was made.
const MADE_AGAIN: usize = 4;
/// Where a box's programs find the proxy, on their own loopback: the port that proxies usually have.
const PROXY_PORT: u16 = 3128;

/// The boxes of all live sessions.
#[derive(Debug, Default)]
pub struct Boxes {
    open: Mutex<HashMap<SessionId, Arc<OnceCell<Arc<SessionBox>>>>>,
}

/// One session's box.
#[derive(Debug)]
pub(crate) struct SessionBox {
    inner: Arc<AgentBox>,
    programs: Arc<BoxPrograms>,
    processes: Processes,
    /// Of its programs, before any policy.
    limits: ProgramLimits,
    /// Labels of its mounts.
    mounts: Vec<String>,
    quota: Arc<Quota>,
}

impl Boxes {
    /// Ends everything in a session's box.
    pub(crate) fn close(&self, session: &SessionId) {
        let gone = self.lock().remove(session);
        if let Some(gone) = gone.as_ref().and_then(|cell| cell.get()).cloned() {
            tokio::spawn(async move { gone.inner.close().await });
        }
    }

    /// Ends what was not used for a while.
    pub(crate) async fn end_idle(&self, unused: Duration) {
        let all: Vec<_> = self.lock().values().cloned().collect();
        for open in all.iter().filter_map(|cell| cell.get()) {
            open.inner.end_idle(unused).await;
        }
    }

    /// Programs that run now, over all sessions.
    pub(crate) fn running(&self) -> usize {
        let all: Vec<_> = self.lock().values().cloned().collect();
        let open = all.iter().filter_map(|cell| cell.get());
        open.map(|open| open.processes.running()).sum()
    }

    fn of(&self, session: &SessionId) -> Arc<OnceCell<Arc<SessionBox>>> {
        self.lock().entry(session.clone()).or_default().clone()
    }

    /// Whether this is the session's box still, and nobody has closed it.
    fn has(&self, session: &SessionId, cell: &Arc<OnceCell<Arc<SessionBox>>>) -> bool {
        let open = self.lock();
        open.get(session).is_some_and(|one| Arc::ptr_eq(one, cell))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<OnceCell<Arc<SessionBox>>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// A session's box.
    async fn session_box(&self, session: &AgentSession) -> Result<Arc<SessionBox>, CallError> {
        for _ in 0..MADE_AGAIN {
            let cell = self.boxes.of(&session.id);
            let made = cell.get_or_try_init(|| self.make_box(session)).await?;
            if session.ended.is_cancelled() {
                // It may have ended before the box was there, when there was nothing to close.
                self.boxes.close(&session.id);
                return Err(session.expired());
            }
            if self.boxes.has(&session.id, &cell) {
                return Ok(made.clone());
            }
            // Closed while it was made, as when a mount changed: it holds what was before.
            made.inner.close().await;
        }
        Err(unavailable("the agent's mounts change all the time"))
    }

    /// A session's box for programs, with the limits that policy sets now.
    async fn program_box(&self, session: &AgentSession) -> Result<Arc<SessionBox>, CallError> {
        let made = self.session_box(session).await?;
        let policy = self.policy.current();
        let tightened = policy.sandbox_for(&session.profile.principal);
        let mut limits = made.limits.clone().tightened_by(tightened);
        limits.proxied = self.egress_of(session).allows_some();
        made.programs.set(limits);
        Ok(made)
    }

    /// The network as policy lets a session have it.
    fn egress_of(&self, session: &AgentSession) -> AgentEgress {
        AgentEgress::new(
            self.clone(),
            session.profile.principal.clone(),
            Some(session.id.to_string()),
        )
    }

    /// Serves the proxy port of each box of a session, until the box or the session ends.
    fn proxy_of(&self, session: &AgentSession) -> impl Fn(std::net::TcpListener) + use<> {
        let egress = Arc::new(self.egress_of(session));
        let (tasks, ended) = (self.tasks.clone(), session.ended.clone());
        move |listener| match TcpListener::from_std(listener) {
            Ok(listener) => {
                let serving = egress::serve(listener, egress.clone(), ended.child_token());
                drop(tasks.spawn(serving));
            }
            Err(error) => tracing::error!(%error, "a box's proxy port cannot be served"),
        }
    }

    async fn make_box(&self, session: &AgentSession) -> Result<Arc<SessionBox>, CallError> {
        let options = self.box_options(session).await?;
        let mounts = options.spec.mounts.iter();
        let mounts = mounts.map(|mount| mount.label.clone()).collect();
        let (launcher, _) = self
            .sandbox
            .means()
            .ok_or_else(|| unavailable("no sandbox"))?;
        let inner = Arc::new(AgentBox::new(launcher.clone(), options));
        let limits = ProgramLimits::new(&self.config.sandbox, &session.profile.workspace);
        let workspace = Path::new(&*session.profile.workspace);
        let quota = Arc::new(Quota::new(workspace, self.config.sandbox.workspace_mb));
        let programs = BoxPrograms::new(inner.clone(), limits.clone(), quota.clone());
        let programs = Arc::new(programs);
        Ok(Arc::new(SessionBox {
            processes: Processes::new(programs.clone(), self.clock.clone()),
            inner,
            programs,
            limits,
            mounts,
            quota,
        }))
    }

    async fn box_options(&self, session: &AgentSession) -> Result<BoxOptions, CallError> {
        let (_, layers) = self
            .sandbox
            .means()
            .ok_or_else(|| unavailable("no sandbox"))?;
        let principal = &session.profile.principal;
        let identity = match crate::sandbox::is_root() {
            true => Identity::Own(FIRST_OWN_UID + self.store.box_number(principal).await?),
            false => Identity::Caller,
        };
        let workspace = &session.profile.workspace;
        let files = self.files_options(principal, workspace).await?;
        let mounts = self.usable_mounts(principal).await?;
        let outputs = self.layout.outputs();
        for directory in [files.workspace.as_path(), &files.trash, &outputs] {
            crate::layout::make_private(directory).map_err(CallError::internal_failure)?;
        }
        let setup = Setup {
            principal: principal.clone(),
            workspace: files.workspace.clone(),
            trash_keep_seconds: files.trash_keep.as_secs(),
            undo_quota: files.undo_quota,
            mounts: mounts.iter().map(|mount| mount.label.clone()).collect(),
        };
        let config = &self.config.sandbox;
        let directories = SYSTEM.iter().map(Into::into);
        let spec = BoxSpec {
            layers,
            trash: Some(files.trash),
            mounts: mounts.iter().map(as_mount).collect(),
            system: directories
                .chain(config.read_only_directories.iter().cloned())
                .collect(),
            limits: limits::of_box(config),
            tmp_bytes: config.tmp_mb << 20,
            // In the host's own network the port would be everybody's.
            proxy: layers.network.then_some(PROXY_PORT),
            worker_setup: setup.encode().map_err(CallError::internal_failure)?,
            ..BoxSpec::new(
                host_name(principal.kind, &principal.name),
                identity,
                files.workspace,
            )
        };
        let owner = match identity {
            Identity::Own(uid) => Some(uid),
            Identity::Caller => None,
        };
        let name = format!("{}-{}", principal.kind.as_str(), principal.name);
        let ceiling = ProgramLimits::new(config, workspace).group;
        let group = self
            .sandbox
            .group(&name, owner, &limits::whole_agent(&ceiling))
            .map_err(|error| unavailable(&error.to_string()))?;
        Ok(BoxOptions {
            group,
            program_limits: ceiling,
            on_proxy: Some(Arc::new(self.proxy_of(session))),
            ..BoxOptions::new(spec, outputs)
        })
    }
}

/// The proxy as a box's programs see it.
fn proxy_url() -> String {
    format!("http://127.0.0.1:{PROXY_PORT}")
}

fn as_mount(mount: &kruxos_store::Mount) -> Mount {
    Mount {
        label: mount.label.clone(),
        source: mount.source.clone().into(),
        writable: mount.writable,
    }
}

/// What the box calls its machine.
fn host_name(kind: PrincipalKind, name: &str) -> &str {
    match kind {
        PrincipalKind::Agent => name,
        PrincipalKind::User | PrincipalKind::System => "kruxos",
    }
}

/// The sandbox cannot do it now. Nothing ran.
fn unavailable(reason: &str) -> CallError {
    CallError::new(ErrorType::ServiceUnavailable)
        .with("service", "sandbox")
        .with("reason", reason)
}
