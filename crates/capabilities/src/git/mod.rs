//! `git.*`: the real git, as a program in the caller's box, never in this process. A repository is
//! hostile input: its configuration can name programs to run, so every call masks what it sets
//! ([`shield`]), takes no hooks, and answers only what git prints for machines.

mod branch;
mod clone;
mod command;
mod commit;
mod diff;
mod init;
mod log;
mod names;
mod paths;
mod place;
mod pull;
mod push;
mod recovery;
mod remote;
mod repository;
mod shield;
mod state;
mod status;
mod submodules;
mod trouble;

use crate::Permit;
use crate::program::Programs;
use crate::shapes::arguments;
use kruxos_catalog::Definition;
use kruxos_types::{CallError, Object};
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// How the agent sees its workspace.
const WORKSPACE: &str = "/workspace";

/// What the calls of one agent need.
#[derive(Debug, Clone)]
pub struct GitCx {
    /// Its box.
    pub programs: Arc<dyn Programs>,
    /// Its name: author and committer of what it commits.
    pub agent: Arc<str>,
    /// The workspace's real path, without links; the box shows it there and at `/workspace`.
    pub workspace: PathBuf,
    /// Labels of the mounts it sees at `/mnt/<label>`.
    pub mounts: Vec<String>,
    /// What remotes it may reach; none at all if absent.
    pub network: Option<Network>,
}

/// Which remotes may be reached, and how.
#[derive(Clone)]
pub struct Network {
    /// Proxy by which the box reaches the network, such as `http://127.0.0.1:3128`. Without one git
    /// connects by itself, as far as the box lets it.
    pub proxy: Option<String>,
    /// Schemes of URLs, and the only ones git itself is told to take. [`Network::HTTPS`] outside tests.
    pub schemes: &'static [&'static str],
    /// Whether policy lets the agent reach this scheme, host (lower case) and port. Asked before git
    /// starts; what connects in the end is for the proxy to check again.
    pub allows: Allows,
}

/// Policy's word on a scheme, a host and a port.
pub type Allows = Arc<dyn Fn(&str, &str, u16) -> bool + Send + Sync>;

impl Network {
    /// Encrypted and authenticated remotes only.
    pub const HTTPS: &'static [&'static str] = &["https"];
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("proxy", &self.proxy)
            .field("schemes", &self.schemes)
            .finish_non_exhaustive()
    }
}

/// Runs one `git.*` capability.
///
/// # Errors
/// What the capability's definition declares, or a common error.
pub async fn run(definition: &Definition, permit: Permit, cx: &GitCx) -> Result<Value, CallError> {
    let inputs = permit.spend();
    let hints = recovery::Hints::of(&inputs);
    execute(definition.name, inputs, cx)
        .await
        .map_err(|error| recovery::with_declared(error, definition, &hints))
}

/// What a held call would do, for the approver.
#[must_use]
pub fn preview(definition: &Definition, inputs: &Object) -> Value {
    let text = |name: &str| inputs.get(name).and_then(Value::as_str).unwrap_or_default();
    let repository = match text("path") {
        "" => WORKSPACE,
        path => path,
    };
    json!({
        "kind": "inputs",
        "summary": format!("{} in {}", definition.name, crate::filesystem::quote(repository)),
        "inputs": inputs,
    })
}

async fn execute(name: &str, inputs: Object, cx: &GitCx) -> Result<Value, CallError> {
    match name {
        "git.status" => status::run(arguments(inputs)?, cx).await,
        "git.diff" => diff::run(arguments(inputs)?, cx).await,
        "git.log" => log::run(arguments(inputs)?, cx).await,
        "git.branch" => branch::run(arguments(inputs)?, cx).await,
        "git.commit" => commit::run(arguments(inputs)?, cx).await,
        "git.init" => init::run(arguments(inputs)?, cx).await,
        "git.clone" => clone::run(arguments(inputs)?, cx).await,
        "git.pull" => pull::run(arguments(inputs)?, cx).await,
        "git.push" => push::run(arguments(inputs)?, cx).await,
        other => Err(CallError::internal_failure(format!(
            "no handler for {other}"
        ))),
    }
}
