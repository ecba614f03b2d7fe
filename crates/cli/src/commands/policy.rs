//! `policy …`.

use super::{Cx, policy_diff, policy_simulate, policy_test};
use crate::args::Policy;
use crate::failure::Failure;
use crate::output::Out;
use kruxos_catalog::Catalog;

pub(super) async fn run(cx: &Cx<'_>, command: Policy) -> Result<(), Failure> {
    match command {
        Policy::Test { files, junit } => policy_test::run(cx, &files, junit.as_deref()),
        Policy::Diff { old, new } => policy_diff::run(cx, &old, &new),
        Policy::Simulate {
            policy,
            last,
            agent,
        } => policy_simulate::run(cx, &policy, last, agent.as_deref()).await,
        Policy::Schema => schema(cx.out),
    }
}

/// Prints the schema; it is JSON with `--json` and without.
pub(super) fn schema(out: &Out) -> Result<(), Failure> {
    out.pretty(&kruxos_policy::schema(Catalog::builtin()));
    Ok(())
}
