//! Paths that a call changes and none of its inputs names: policy has to see them before it decides.

use crate::gateway::Gateway;
use crate::session::AgentSession;
use kruxos_capabilities::filesystem::{self, Files};
use kruxos_catalog::Definition;
use kruxos_policy::Touched;
use kruxos_types::{CallError, Object, Principal};
use std::sync::Arc;

/// What explanations call the one path of this kind: the output of `filesystem.restore` that tells it.
const NAME: &str = "restored_path";

impl Gateway {
    /// What a call of this session touches.
    ///
    /// # Errors
    /// Those of the call itself: what cannot be found, policy cannot decide about, so the call ends here.
    pub(crate) async fn touched(
        &self,
        session: &AgentSession,
        definition: &'static Definition,
        inputs: &Object,
    ) -> Result<Vec<Touched>, CallError> {
        if !filesystem::has_unnamed_path(definition) {
            return Ok(Vec::new());
        }
        if self.has_boxes() {
            let path = self
                .unnamed_path_in_box(session, definition, inputs)
                .await?;
            return Ok(path.map(touched).into_iter().collect());
        }
        let work = look(definition, inputs.clone());
        self.with_files(session, work).await?
    }

    /// The same for somebody who asks what policy would say, without a session.
    ///
    /// # Errors
    /// As for [`Gateway::touched`].
    pub(crate) async fn would_touch(
        &self,
        principal: &Principal,
        workspace: &str,
        definition: &'static Definition,
        inputs: &Object,
    ) -> Result<Vec<Touched>, CallError> {
        if !filesystem::has_unnamed_path(definition) {
            return Ok(Vec::new());
        }
        let options = self.files_options(principal, workspace).await?;
        let clock = self.clock.clone();
        let work = look(definition, inputs.clone());
        let look = move || {
            let files = Files::open(options, clock, Arc::new(|_| ()));
            work(&files.map_err(CallError::internal_failure)?)
        };
        tokio::task::spawn_blocking(look)
            .await
            .map_err(CallError::internal_failure)?
    }
}

fn look(
    definition: &'static Definition,
    inputs: Object,
) -> impl FnOnce(&Files) -> Result<Vec<Touched>, CallError> + Send {
    move |files| {
        let path = filesystem::unnamed_path(definition, &inputs, files)?;
        Ok(path.map(touched).into_iter().collect())
    }
}

fn touched(path: String) -> Touched {
    Touched { name: NAME, path }
}

/// Such a path as the log recorded it.
pub(crate) fn recorded(path: &str) -> Touched {
    touched(path.to_owned())
}
