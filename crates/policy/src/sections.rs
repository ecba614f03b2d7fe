//! The `network` and `sandbox` sections: read and checked here, enforced by the egress client and
//! the sandbox.

use crate::PolicyLayer;
use crate::diagnostic::{Place, suggestion};
use crate::syntax::Reader;
use crate::url::plain_host;
use crate::yaml::{At, Node};
use serde::Serialize;
use std::fmt;

/// Hosts that one file may name.
const MAX_HOSTS: usize = 1_000;

/// A host of the network allow-list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostRule {
    /// Lower case, without a trailing dot.
    pub host: String,
    /// Names strictly below [`HostRule::host`] rather than itself.
    pub below: bool,
    /// Only this port.
    pub port: Option<u16>,
    /// Only this scheme.
    pub scheme: Option<String>,
    /// Whether the name may resolve to a private address.
    pub allow_private: bool,
}

/// As it is written in a policy file.
impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        if self.below {
            f.write_str("*.")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// What an agent may reach: nothing that is not allowed, and nothing that any layer denies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct NetworkPolicy {
    pub allow: Vec<HostRule>,
    pub deny: Vec<HostRule>,
}

/// How processes reach the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Through the egress proxy.
    Proxied,
    /// Not at all.
    None,
}

/// Which system calls processes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    /// The usual list.
    Default,
    /// Fewer.
    Strict,
}

/// Limits tighter than the sandbox's own; `None` leaves its own in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Sandbox {
    pub memory_mb: Option<u32>,
    /// Of one core.
    pub cpu_percent: Option<u32>,
    pub pids: Option<u32>,
    pub network: Option<Network>,
    pub seccomp: Option<Seccomp>,
}

impl Sandbox {
    /// The tighter of both, limit by limit.
    #[must_use]
    pub fn tightened_by(self, other: Sandbox) -> Sandbox {
        fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        }
        Sandbox {
            memory_mb: least(self.memory_mb, other.memory_mb),
            cpu_percent: least(self.cpu_percent, other.cpu_percent),
            pids: least(self.pids, other.pids),
            network: self.network.max(other.network),
            seccomp: self.seccomp.max(other.seccomp),
        }
    }
}

/// One file's `network`.
#[derive(Debug, Clone, Default)]
pub(crate) struct NetworkSection {
    pub(crate) allow: Vec<HostRule>,
    pub(crate) deny: Vec<HostRule>,
}

/// One file's `sandbox`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SandboxSection(pub(crate) Sandbox);

impl NetworkSection {
    pub(crate) fn read(reader: &mut Reader<'_, '_>, layer: PolicyLayer, at: &At) -> NetworkSection {
        let mut section = NetworkSection::default();
        for (key, value) in reader.pairs(at, "network") {
            match key.name.as_str() {
                "allow" if layer.sets_ceilings() => {
                    let message = "`network.allow` belongs in an agent's file; here `network.deny` is possible";
                    reader.problems.fatal(key.place, message);
                }
                "allow" => section.allow = hosts(reader, value, true),
                "deny" => section.deny = hosts(reader, value, false),
                _ => reader.unknown_key(key, "`network`", &["allow", "deny"]),
            }
        }
        section
    }
}

fn hosts(reader: &mut Reader<'_, '_>, at: &At, allow: bool) -> Vec<HostRule> {
    let items = reader.items(at, if allow { "allow" } else { "deny" });
    if items.len() > MAX_HOSTS {
        reader
            .problems
            .fatal(at.place, format!("more than {MAX_HOSTS} hosts"));
        return Vec::new();
    }
    items
        .iter()
        .filter_map(|item| host_rule(reader, item, allow))
        .collect()
}

fn host_rule(reader: &mut Reader<'_, '_>, at: &At, allow: bool) -> Option<HostRule> {
    let (text, place, allow_private) = match &at.node {
        Node::Map(pairs) => {
            let mut host: Option<(&str, Place)> = None;
            let mut private = false;
            for (key, value) in pairs {
                match (key.name.as_str(), &value.node) {
                    ("host", _) => {
                        host = reader.text(value, "host").map(|text| (text, value.place))
                    }
                    ("allow_private", Node::Bool(answer)) if allow => private = *answer,
                    ("allow_private", _) if allow => {
                        reader
                            .problems
                            .fatal(value.place, "`allow_private` must be true or false");
                    }
                    _ => reader.unknown_key(
                        key,
                        "a host",
                        if allow {
                            &["host", "allow_private"]
                        } else {
                            &["host"]
                        },
                    ),
                }
            }
            if host.is_none() {
                reader.problems.fatal(at.place, "a host needs `host`");
            }
            let (text, place) = host?;
            (text, place, private)
        }
        _ => (reader.text(at, "host")?, at.place, false),
    };
    let parsed = parse_host(text);
    if parsed.is_none() {
        let message = format!(
            "`{text}` is not a host: use `name.example`, `*.suffix`, with `:port` after and `scheme://` before it if wanted"
        );
        reader.problems.fatal(place, message);
    }
    parsed.map(|rule| HostRule {
        allow_private,
        ..rule
    })
}

/// `[scheme://](name | *.suffix | [ipv6])[:port]`.
fn parse_host(text: &str) -> Option<HostRule> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    if let Some(scheme) = scheme
        && (scheme.is_empty()
            || !scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)))
    {
        return None;
    }
    let (name, port) = match rest.strip_prefix('[') {
        Some(inner) => {
            let (address, after) = inner.split_once(']')?;
            (
                address,
                if after.is_empty() {
                    None
                } else {
                    Some(after.strip_prefix(':')?)
                },
            )
        }
        None => match rest.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (rest, None),
        },
    };
    let port = match port {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok().filter(|port| *port > 0)?)
        }
        Some(_) => return None,
        None => None,
    };
    let (name, below) = match name.strip_prefix("*.") {
        Some(suffix) => (suffix, true),
        None => (name, false),
    };
    let host = plain_host(name).ok()?;
    let host = String::from_utf8(host.to_vec()).ok()?;
    Some(HostRule {
        host,
        below,
        port,
        scheme: scheme.map(str::to_ascii_lowercase),
        allow_private: false,
    })
}

// A terabyte, a thousand cores and the kernel's largest pid: beyond them is a typing mistake.
pub(crate) const MAX_MEMORY_MB: i64 = 1 << 20;
pub(crate) const MAX_CPU_PERCENT: i64 = 100_000;
pub(crate) const MAX_PIDS: i64 = 1 << 22;

pub(crate) const SANDBOX_FIELDS: [&str; 5] =
    ["memory_mb", "cpu_percent", "pids", "network", "seccomp"];

impl SandboxSection {
    pub(crate) fn read(reader: &mut Reader<'_, '_>, at: &At) -> SandboxSection {
        let mut sandbox = Sandbox::default();
        for (key, value) in reader.pairs(at, "sandbox") {
            let name = key.name.as_str();
            let mut limit = |most: i64| {
                reader
                    .integer(value, name, 1..=most)
                    .and_then(|number| u32::try_from(number).ok())
            };
            match name {
                "memory_mb" => sandbox.memory_mb = limit(MAX_MEMORY_MB),
                "cpu_percent" => sandbox.cpu_percent = limit(MAX_CPU_PERCENT),
                "pids" => sandbox.pids = limit(MAX_PIDS),
                "network" => {
                    let valid = [("none", Network::None), ("proxied", Network::Proxied)];
                    let text = reader.text(value, name);
                    sandbox.network =
                        text.and_then(|text| reader.choice(text, value.place, "network", &valid));
                }
                "seccomp" => {
                    let valid = [("default", Seccomp::Default), ("strict", Seccomp::Strict)];
                    let text = reader.text(value, name);
                    sandbox.seccomp =
                        text.and_then(|text| reader.choice(text, value.place, "seccomp", &valid));
                }
                _ => {
                    let message = format!(
                        "unknown field `{name}` in `sandbox`{}",
                        suggestion(name, &SANDBOX_FIELDS)
                    );
                    reader.problems.fatal(key.place, message);
                }
            }
        }
        SandboxSection(sandbox)
    }
}
