//! The gateway as the owner of an agent's proxy: its policy, its audit log.

use super::{Authority, Connection, Egress, Host, NotRecorded, Stage, Verdict, denies, judge};
use crate::gateway::Gateway;
use async_trait::async_trait;
use kruxos_audit::{Durability, Kind, Record, Status};
use kruxos_policy::{Network, NetworkPolicy};
use kruxos_types::{Object, Principal};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// One agent's connections.
#[derive(Clone)]
pub struct AgentEgress {
    gateway: Gateway,
    principal: Principal,
    session_id: Option<String>,
}

impl AgentEgress {
    /// For the listener in the box of `principal`; `session_id` is that of the session whose box it is.
    #[must_use]
    pub fn new(gateway: Gateway, principal: Principal, session_id: Option<String>) -> AgentEgress {
        AgentEgress {
            gateway,
            principal,
            session_id,
        }
    }

    /// Whether policy allows any host at all now. Where it does not, a box needs no listener.
    #[must_use]
    pub fn allows_some(&self) -> bool {
        !self.policy().allow.is_empty()
    }

    /// Whether policy allows a host (an IPv6 address without brackets) and port now: what the proxy will
    /// say of it, for a caller that would rather know before.
    #[must_use]
    pub fn allows(&self, host: &str, port: u16) -> bool {
        let is_ipv6 = host.contains(':');
        let target = if is_ipv6 {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        Authority::parse(&target).is_ok_and(|target| self.judge(&target) != Verdict::Denied)
    }

    /// The policy in force now; without any host where the sandbox section allows no network.
    fn policy(&self) -> NetworkPolicy {
        let policy = self.gateway.policy.current();
        if policy.sandbox_for(&self.principal).network == Some(Network::None) {
            return NetworkPolicy::default();
        }
        policy.network_for(&self.principal)
    }
}

#[async_trait]
impl Egress for AgentEgress {
    fn judge(&self, target: &Authority) -> Verdict {
        judge(&self.policy(), target)
    }

    fn denies(&self, address: SocketAddr) -> bool {
        let target = Authority {
            host: Host::Address(address.ip()),
            port: address.port(),
        };
        denies(&self.policy(), &target)
    }

    async fn record(&self, connection: &Connection) -> Result<(), NotRecorded> {
        let status = match connection.stage {
            Stage::Refused => Status::Denied,
            Stage::Opened | Stage::Closed => Status::Success,
        };
        let record = Record {
            session_id: self.session_id.clone(),
            duration_us: u64::try_from(connection.duration.as_micros()).ok(),
            metadata: facts(connection),
            ..Record::new(Kind::Service, self.principal.clone(), status)
        };
        // A connection goes out of this host, as a call with side effects does: its beginning is on disk.
        let durability = match connection.stage {
            Stage::Opened => Durability::Waited,
            Stage::Refused | Stage::Closed => Durability::Soon,
        };
        let written = self.gateway.audit.append(record, durability).await;
        written.map(drop).map_err(|error| {
            tracing::error!(%error, "a connection could not be audited");
            NotRecorded
        })
    }
}

fn facts(connection: &Connection) -> Object {
    let event = match connection.stage {
        Stage::Refused => "egress.refused",
        Stage::Opened => "egress.opened",
        Stage::Closed => "egress.closed",
    };
    let target = connection.target.as_ref();
    let facts = [
        ("event", Value::from(event)),
        ("host", json!(target.map(|target| target.host.to_string()))),
        ("port", json!(target.map(|target| target.port))),
        ("address", json!(connection.address)),
        ("bytes_sent", connection.sent.into()),
        ("bytes_received", connection.received.into()),
        ("reason", connection.reason.as_ref().into()),
    ];
    let missed = ("refused_without_record", Value::from(connection.missed));
    let missed = (connection.missed > 0).then_some(missed);
    let facts = facts.into_iter().chain(missed);
    facts
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_record_says_who_was_reached_and_how_much_went() {
        let mut connection = Connection {
            stage: Stage::Closed,
            target: Some(Authority::parse("git.example:443").unwrap()),
            address: Some("[2001:db8::1]:443".parse().unwrap()),
            sent: 7,
            received: 9,
            duration: Duration::from_secs(1),
            reason: "closed".into(),
            missed: 0,
        };
        let expected = json!({
            "event": "egress.closed", "host": "git.example", "port": 443,
            "address": "[2001:db8::1]:443", "bytes_sent": 7, "bytes_received": 9,
            "reason": "closed",
        });
        assert_eq!(Value::Object(facts(&connection)), expected);
        connection.stage = Stage::Refused;
        connection.target = None;
        connection.address = None;
        connection.missed = 3;
        let expected = json!({
            "event": "egress.refused", "bytes_sent": 7, "bytes_received": 9, "reason": "closed",
            "refused_without_record": 3,
        });
        assert_eq!(Value::Object(facts(&connection)), expected);
    }
}
