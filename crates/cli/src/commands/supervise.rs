//! `pause`, `resume`, `kill`.

use super::Cx;
use super::agent::{act, said};
use crate::args::SureAgent;
use crate::failure::Failure;

pub(super) async fn pause(cx: &Cx<'_>, name: &str) -> Result<(), Failure> {
    let agent = act(cx, name, "pause").await?;
    said(
        cx,
        &agent,
        &format!("'{name}' is paused: its calls are refused until `kruxos resume {name}`."),
    );
    Ok(())
}

pub(super) async fn resume(cx: &Cx<'_>, name: &str) -> Result<(), Failure> {
    let agent = act(cx, name, "resume").await?;
    said(cx, &agent, &format!("'{name}' may go on."));
    Ok(())
}

pub(super) async fn kill(cx: &Cx<'_>, agent: &SureAgent) -> Result<(), Failure> {
    let name = &agent.name;
    cx.out.confirm(
        &format!("End the session of '{name}' and lose its session state?"),
        agent.yes,
    )?;
    let shown = act(cx, name, "kill").await?;
    said(
        cx,
        &shown,
        &format!(
            "The session of '{name}' has ended; it stays paused until `kruxos resume {name}`."
        ),
    );
    Ok(())
}
