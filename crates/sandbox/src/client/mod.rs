//! The gateway's side of the sandbox, on tokio.
//!
//! ```no_run
//! # async fn example(command: std::process::Command) -> Result<(), Box<dyn std::error::Error>> {
//! use kruxos_sandbox::client::{AgentBox, BoxOptions, Launcher, Program};
//! use kruxos_sandbox::spec::{BoxSpec, Identity, ProgramSpec};
//! use std::{sync::Arc, time::Duration};
//!
//! // Before the first thread; `command` is the `kruxos-jail` program.
//! let launcher = Arc::new(Launcher::start(command)?);
//! let spec = BoxSpec::new("writer", Identity::Caller, "/srv/workspaces/writer".into());
//! let agent = AgentBox::new(launcher, BoxOptions::new(spec, "/srv/run".into()));
//! let answer = agent.call(b"request", Duration::from_secs(30)).await?;
//! let running = agent.run(Program::new(ProgramSpec::new(["ls", "-l"]))).await?;
//! let ended = running.wait().await;
//! # Ok(()) }
//! ```

mod agent;
mod channel;
mod error;
mod launcher;
mod output;
mod program;
mod proxy;
mod stats;
mod supervise;
mod worker;

pub use agent::{AgentBox, BoxOptions};
pub use error::{BoxError, CallFailure, StartFailure};
pub use launcher::Launcher;
pub use output::Stream;
pub use program::{Ended, Outcome, Over, Printed, Program, Running};
pub use proxy::OnProxy;
pub use stats::{Stats, StatsSnapshot};
