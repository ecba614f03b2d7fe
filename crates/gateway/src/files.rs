//! The executor: where a permitted call runs. Today the files of an agent are handled in this process,
//! on the blocking pool; a confined worker takes that place behind the same two functions.

use crate::call::Caller;
use crate::events::EventType;
use crate::gateway::Gateway;
use crate::session::AgentSession;
use kruxos_capabilities::filesystem::{self, Files, FilesOptions};
use kruxos_capabilities::{Cx, Permit, run_in_process};
use kruxos_catalog::{Definition, Executor};
use kruxos_types::{CallError, Object, Principal, PrincipalKind};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The open roots of each principal's files.
#[derive(Debug, Default)]
pub struct FileRoots(Mutex<HashMap<Principal, Arc<Files>>>);

impl FileRoots {
    /// Ends a principal's watches and closes its roots.
    pub fn close(&self, principal: &Principal) {
        // Outside the lock: ending a watch waits for its thread.
        let files = self.lock().remove(principal);
        if let Some(files) = files {
            files.end_watches();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Principal, Arc<Files>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
            Executor::Worker => {
                let files = self.files_of(&caller.session)?;
                let session = caller.session.id.clone();
                let work = move || {
                    filesystem::run_in_session(definition, permit, &files, Some(session.as_str()))
                };
                tokio::task::spawn_blocking(work)
                    .await
                    .map_err(CallError::internal_failure)?
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
        let inputs = inputs.clone();
        let files = match self.files_of(&caller.session) {
            Ok(files) => files,
            Err(error) => return json!({"kind": "error", "summary": error.description()}),
        };
        let work =
            tokio::task::spawn_blocking(move || filesystem::preview(definition, &inputs, &files));
        work.await
            .unwrap_or_else(|_| json!({"kind": "error", "summary": "cannot be inspected"}))
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

    fn files_of(&self, session: &AgentSession) -> Result<Arc<Files>, CallError> {
        let principal = &session.profile.principal;
        let mut open = self.files.lock();
        if let Some(files) = open.get(principal) {
            return Ok(files.clone());
        }
        let hours = match principal.kind {
            PrincipalKind::Agent => self.config.trash.agent_hours,
            PrincipalKind::User | PrincipalKind::System => self.config.trash.user_hours,
        };
        let options = FilesOptions {
            principal: principal.clone(),
            workspace: session.profile.workspace.as_ref().into(),
            trash: self.layout.trash(principal.kind.as_str(), &principal.name),
            trash_keep: Duration::from_secs(hours * 3600),
            max_watches: self.config.watch.max_per_agent,
        };
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
        let files =
            Files::open(options, self.clock.clone(), sink).map_err(CallError::internal_failure)?;
        let files = Arc::new(files);
        open.insert(principal.clone(), files.clone());
        Ok(files)
    }
}
