//! One permitted call on its way into a box.

use super::{SessionBox, unavailable};
use crate::call::Caller;
use crate::gateway::Gateway;
use crate::session::AgentSession;
use kruxos_capabilities::filesystem::{UndoOptions, UndoReport, confined};
use kruxos_capabilities::git::{GitCx, Network};
use kruxos_capabilities::{Permit, git, process};
use kruxos_catalog::{Definition, SideEffect};
use kruxos_sandbox::client::{BoxError, CallFailure};
use kruxos_types::{CallError, ErrorType, Object};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

impl Gateway {
    /// Runs a permitted call of `filesystem.*`, `process.*` or `git.*` in its session's box.
    pub(crate) async fn run_in_box(
        &self,
        caller: &Caller,
        definition: &'static Definition,
        permit: Permit,
    ) -> Result<Value, CallError> {
        let session = &caller.session;
        match definition.category {
            "filesystem" => {
                let inside = self.session_box(session).await?;
                let request = confined::request(definition, permit, Some(session.id.as_str()))?;
                let again = definition.side_effect == SideEffect::None;
                // Deleting stays possible.
                if !again && definition.name != "filesystem.delete" {
                    inside.quota.check().await?;
                }
                self.ask_worker(&inside, &request, again).await
            }
            "process" => {
                let inside = self.program_box(session).await?;
                process::run(definition, permit, &inside.processes).await
            }
            "git" => {
                let inside = self.program_box(session).await?;
                git::run(definition, permit, &self.git_cx(session, &inside)).await
            }
            other => Err(CallError::internal_failure(format!(
                "{other} has no place in a box"
            ))),
        }
    }

    /// What a held file call would change, looked at from inside the box.
    pub(crate) async fn preview_in_box(
        &self,
        session: &AgentSession,
        definition: &'static Definition,
        inputs: &Object,
    ) -> Result<Value, CallError> {
        let request = confined::preview_request(definition, inputs)?;
        let inside = self.session_box(session).await?;
        self.ask_worker(&inside, &request, true).await
    }

    /// The path that a call changes and no input names; see `filesystem::unnamed_path`.
    pub(crate) async fn unnamed_path_in_box(
        &self,
        session: &AgentSession,
        definition: &'static Definition,
        inputs: &Object,
    ) -> Result<Option<String>, CallError> {
        let request = confined::unnamed_path_request(definition, inputs)?;
        let inside = self.session_box(session).await?;
        let answer = self.ask_worker(&inside, &request, true).await?;
        Ok(answer.as_str().map(str::to_owned))
    }

    /// Takes back what a session changed, or says what that would do, in a box of its principal's.
    pub(crate) async fn undo_in_box(
        &self,
        session: &AgentSession,
        options: &UndoOptions,
    ) -> Result<UndoReport, CallError> {
        let request = confined::undo_request(options)?;
        let inside = self.session_box(session).await?;
        let looks = options.recorded_as.is_none();
        let answer = self.ask_worker(&inside, &request, looks).await?;
        confined::undo_report(answer, options)
    }

    /// `again`: the call changes nothing, so it may be put to another worker when the first one died,
    /// perhaps of an earlier call, before it said a word.
    async fn ask_worker(
        &self,
        inside: &SessionBox,
        request: &[u8],
        again: bool,
    ) -> Result<Value, CallError> {
        let within = Duration::from_secs(self.config.sandbox.call_timeout_seconds);
        let mut answered = inside.inner.call(request, within).await;
        if again && matches!(answered, Err(CallFailure::Died)) {
            answered = inside.inner.call(request, within).await;
        }
        confined::answer(&answered.map_err(|failure| call_error(&failure))?)
    }

    fn git_cx(&self, session: &AgentSession, inside: &SessionBox) -> GitCx {
        let egress = self.egress_of(session);
        GitCx {
            programs: inside.programs.clone(),
            agent: session.profile.principal.name.clone(),
            workspace: session.profile.workspace.as_ref().into(),
            mounts: inside.mounts.clone(),
            network: egress.allows_some().then(|| Network {
                proxy: Some(super::proxy_url()),
                schemes: Network::HTTPS,
                allows: Arc::new(move |_, host, port| egress.allows(host, port)),
            }),
        }
    }
}

/// What the caller hears of a worker without an answer.
fn call_error(failure: &CallFailure) -> CallError {
    let error = match failure {
        CallFailure::Box(error) => return box_error(error),
        CallFailure::TooLarge(_, limit) => CallError::new(ErrorType::ResourceExhausted)
            .with("resource", "bytes of one call")
            .with("limit", *limit),
        CallFailure::TimedOut(within) => CallError::new(ErrorType::Timeout)
            .with("operation", "the file call")
            .with("timeout_seconds", within.as_secs())
            .detail("Its worker was ended; it may have had some of its effect."),
        CallFailure::Died | CallFailure::Frame(_) | CallFailure::WrongNumber(..) => {
            unavailable("the call's worker ended before it answered")
                .detail("The call may have had its effect. The next one gets a new worker.")
        }
    };
    error.internal(failure)
}

/// Nothing ran.
fn box_error(error: &BoxError) -> CallError {
    unavailable("the agent's sandbox could not be made").internal(error)
}
