//! The executor: where a permitted call runs. Files and programs are the business of the session's box
//! ([`crate::boxes`]). On the blocking pool of this process run only watches, which outlive workers, and
//! file calls of a host that has no kernel sandbox.

use crate::call::Caller;
use crate::events::EventType;
use crate::gateway::Gateway;
use crate::session::AgentSession;
use kruxos_capabilities::filesystem::{self, Files, FilesMount, FilesOptions};
use kruxos_capabilities::{Cx, Permit, run_in_process};
use kruxos_catalog::{Definition, Executor};
use kruxos_store::Mount;
use kruxos_types::{AgentName, CallError, ErrorType, Object, Principal, PrincipalKind, SessionId};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};

/// File calls that run at once in the whole gateway: fewer than the blocking pool has threads, so that
/// slow disks of agents never keep the gateway's own work waiting.
const AT_ONCE: usize = 48;
/// File calls of one session that run at once; more wait their turn.
const AT_ONCE_EACH: usize = 12;

/// The open roots of each session's files.
#[derive(Debug)]
pub struct FileRoots {
    open: Mutex<HashMap<SessionId, Arc<Opened>>>,
    turns: Semaphore,
}

/// One session's files, opened by its first call.
#[derive(Debug)]
struct Opened {
    files: OnceCell<Arc<Files>>,
    turns: Semaphore,
}

impl Default for FileRoots {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        }
    }
}

impl FileRoots {
    /// Ends a session's watches and closes its roots.
    pub fn close(&self, session: &SessionId) {
        let opened = self.lock().remove(session);
        if let Some(files) = opened.as_ref().and_then(|opened| opened.files.get()) {
            files.end_watches();
        }
    }

    fn of(&self, session: &SessionId) -> Arc<Opened> {
        let opened = || {
            Arc::new(Opened {
                files: OnceCell::new(),
                turns: Semaphore::new(AT_ONCE_EACH),
            })
        };
        self.lock()
            .entry(session.clone())
            .or_insert_with(opened)
            .clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Opened>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Runs a permitted call where its definition says.
    pub(crate) async fn execute(
        &self,
        caller: &Caller,
        definition: &'static Definition,
        permit: Permit,
    ) -> Result<Value, CallError> {
        match definition.executor {
            Executor::InProcess => run_in_process(definition, permit, &self.cx(caller)).await,
            Executor::Worker if self.has_boxes() && !filesystem::outlives_calls(definition) => {
                self.run_in_box(caller, definition, permit).await
            }
            Executor::Worker if definition.category != "filesystem" => Err(self.no_boxes()),
            Executor::Worker => {
                let session = caller.session.id.clone();
                let work = move |files: &Files| {
                    filesystem::run_in_session(definition, permit, files, Some(session.as_str()))
                };
                self.with_files(&caller.session, work).await?
            }
            Executor::Egress => Err(CallError::internal_failure(
                "no egress executor in this build",
            )),
        }
    }

    /// What a held call would change, rendered from its exact inputs.
    pub(crate) async fn preview(
        &self,
        caller: &Caller,
        definition: &'static Definition,
        inputs: &Object,
    ) -> Value {
        if definition.executor != Executor::Worker {
            return json!({"kind": "inputs", "summary": "The call changes nothing outside the gateway."});
        }
        let looked = match definition.category {
            "process" => {
                let preview = kruxos_capabilities::process::preview(definition, inputs);
                return self.with_network(caller, definition, preview);
            }
            "git" => {
                let preview = kruxos_capabilities::git::preview(definition, inputs);
                return self.with_network(caller, definition, preview);
            }
            _ if self.has_boxes() => {
                let session = &caller.session;
                self.preview_in_box(session, definition, inputs).await
            }
            _ => {
                let inputs = inputs.clone();
                let work = move |files: &Files| filesystem::preview(definition, &inputs, files);
                self.with_files(&caller.session, work).await
            }
        };
        looked.unwrap_or_else(|error| json!({"kind": "error", "summary": error.description()}))
    }

    /// Adds the hosts that policy lets the caller's programs reach.
    fn with_network(&self, caller: &Caller, definition: &Definition, mut preview: Value) -> Value {
        if preview["kind"] == "command" || definition.annotations.open_world {
            let principal = &caller.session.profile.principal;
            let policy = self.policy.current().network_for(principal);
            let hosts: Vec<String> = policy.allow.iter().map(ToString::to_string).collect();
            preview["network"] = match hosts.is_empty() {
                true => json!("none"),
                false => json!(hosts),
            };
        }
        preview
    }

    /// Whether files and programs are confined here.
    pub(crate) fn has_boxes(&self) -> bool {
        self.sandbox.lacks().is_none()
    }

    /// What a program's caller hears on a host where nothing can be confined.
    fn no_boxes(&self) -> CallError {
        let reason = self.sandbox.lacks().unwrap_or_default();
        CallError::new(ErrorType::ServiceUnavailable)
            .with("service", "sandbox")
            .with("reason", reason)
            .detail(
                "Programs run only where the kernel can confine them; see kruxos sandbox diagnose.",
            )
    }

    fn cx(&self, caller: &Caller) -> Cx {
        Cx {
            principal: caller.session.profile.principal.clone(),
            session: caller.session.facts(),
            state: caller.session.state.clone(),
            store: self.store.clone(),
            policy: self.policy.current(),
            rates: self.rates.clone(),
            catalog: self.catalog,
            clock: self.clock.clone(),
            host: Arc::new(self.clone()),
        }
    }

    /// Runs `work` on a session's files, on the blocking pool, when its turn has come.
    pub(crate) async fn with_files<T: Send + 'static>(
        &self,
        session: &AgentSession,
        work: impl FnOnce(&Files) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let opened = self.files.of(&session.id);
        let _own_turn = opened.turns.acquire().await;
        let _turn = self.files.turns.acquire().await;
        let files = opened
            .files
            .get_or_try_init(|| self.open_files(session))
            .await?
            .clone();
        if session.ended.is_cancelled() {
            // The session may have ended before its files were open, when there was nothing to close.
            self.files.close(&session.id);
            files.end_watches();
            return Err(session.expired());
        }
        tokio::task::spawn_blocking(move || work(&files))
            .await
            .map_err(CallError::internal_failure)
    }

    /// Where a principal's files are. Mounts are only for boxes: the kernel keeps what is read-only so.
    pub(crate) async fn files_options(
        &self,
        principal: &Principal,
        workspace: &str,
    ) -> Result<FilesOptions, CallError> {
        let mounts = self.mounts_of(principal).await?.into_iter();
        let hours = match principal.kind {
            PrincipalKind::Agent => self.config.trash.agent_hours,
            PrincipalKind::User | PrincipalKind::System => self.config.trash.user_hours,
        };
        Ok(FilesOptions {
            principal: principal.clone(),
            workspace: workspace.into(),
            trash: self.layout.trash(principal.kind.as_str(), &principal.name),
            trash_keep: Duration::from_secs(hours * 3600),
            undo_quota: self.config.undo.quota_bytes(),
            max_watches: self.config.watch.max_per_agent,
            mounts: mounts
                .map(|mount| FilesMount {
                    label: mount.label,
                    source: mount.source.into(),
                })
                .collect(),
        })
    }

    /// What a principal sees at `/mnt`.
    pub(crate) async fn mounts_of(&self, principal: &Principal) -> Result<Vec<Mount>, CallError> {
        match AgentName::new(&principal.name) {
            Ok(agent) if principal.kind == PrincipalKind::Agent && self.has_boxes() => {
                Ok(self.store.mounts_of(&agent).await?)
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn open_files(&self, session: &AgentSession) -> Result<Arc<Files>, CallError> {
        let principal = &session.profile.principal;
        let options = self
            .files_options(principal, &session.profile.workspace)
            .await?;
        let events = self.events.clone();
        let (name, session_id) = (principal.name.clone(), session.id.to_string());
        let sink: filesystem::EventSink = Arc::new(move |change| {
            events.publish(crate::events::Event {
                kind: EventType::FileChanged,
                timestamp: change.at,
                agent: Some(name.clone()),
                session_id: Some(session_id.as_str().into()),
                data: json!(change),
            });
        });
        let clock = self.clock.clone();
        tokio::task::spawn_blocking(move || Files::open(options, clock, sink))
            .await
            .map_err(CallError::internal_failure)?
            .map(Arc::new)
            .map_err(CallError::internal_failure)
    }
}
