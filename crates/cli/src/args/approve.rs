//! Options of deciding.

use crate::span;
use clap::{Args, ValueEnum};
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct Reject {
    /// The requests, `ap_…`
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Why; the agent reads it
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Accept {
    #[command(flatten)]
    pub(crate) decision: Reject,
    /// How far the decision reaches
    #[arg(long, value_enum, default_value = "once", value_name = "SCOPE")]
    pub(crate) scope: Scope,
    /// With a scope: this input may be anything; all others have to be the same
    #[arg(long = "any", value_name = "INPUT")]
    pub(crate) open: Vec<String>,
    /// With a scope: a condition of the policy language that calls meet, such as path_prefix=notes
    #[arg(long = "when", value_name = "CONDITION=VALUE")]
    pub(crate) conditions: Vec<String>,
    /// With --scope session or task: so many calls [default: 20 for a task]
    #[arg(long, value_name = "N")]
    pub(crate) uses: Option<u64>,
    /// With --scope session or task: so long [default: 1h for a task]
    #[arg(long = "for", value_name = "TIME", value_parser = span::parse)]
    pub(crate) time: Option<Duration>,
    /// Run it with this input instead of the one that was asked for
    #[arg(long, value_name = "INPUT=VALUE")]
    pub(crate) set: Vec<String>,
    /// Do not ask before something is remembered
    #[arg(long)]
    pub(crate) yes: bool,
}

/// How far a decision reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// This call
    Once,
    /// Calls like it in the agent's session
    Session,
    /// Calls like it, so many and so long
    Task,
    /// Calls like it from now on: a rule in the agent's policy file
    Always,
}

impl Scope {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Scope::Once => "once",
            Scope::Session => "session",
            Scope::Task => "task",
            Scope::Always => "always",
        }
    }
}
