use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What sort of caller stands behind a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A registered agent.
    Agent,
    /// A person, by a User token or through the control socket.
    User,
    /// The gateway itself.
    System,
}

impl PrincipalKind {
    /// The name used in the audit log and in policy conditions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            PrincipalKind::Agent => "agent",
            PrincipalKind::User => "user",
            PrincipalKind::System => "system",
        }
    }
}

/// Who makes a call: proved by a token or by the control socket's peer, never by an argument.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Principal {
    /// The sort of caller.
    #[serde(rename = "type")]
    pub kind: PrincipalKind,
    /// The agent's or the user's name.
    pub name: Arc<str>,
}

impl Principal {
    /// An agent.
    #[must_use]
    pub fn agent(name: &str) -> Self {
        Self {
            kind: PrincipalKind::Agent,
            name: name.into(),
        }
    }

    /// A person.
    #[must_use]
    pub fn user(name: &str) -> Self {
        Self {
            kind: PrincipalKind::User,
            name: name.into(),
        }
    }

    /// The gateway itself.
    #[must_use]
    pub fn system() -> Self {
        Self {
            kind: PrincipalKind::System,
            name: "kruxos".into(),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.name)
    }
}

/// The door a call came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    /// The Model Context Protocol, over any transport.
    Mcp,
    /// JSON-RPC at `/rpc`.
    Rpc,
    /// A scheduled job.
    Scheduler,
    /// An autonomous run.
    Autonomous,
    /// The command line, through the control socket.
    Cli,
}

impl Interface {
    /// Every interface.
    pub const ALL: [Interface; 5] = [
        Interface::Mcp,
        Interface::Rpc,
        Interface::Scheduler,
        Interface::Autonomous,
        Interface::Cli,
    ];

    /// The name used in the audit log and in the policy condition `interface_in`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Interface::Mcp => "mcp",
            Interface::Rpc => "rpc",
            Interface::Scheduler => "scheduler",
            Interface::Autonomous => "autonomous",
            Interface::Cli => "cli",
        }
    }
}
