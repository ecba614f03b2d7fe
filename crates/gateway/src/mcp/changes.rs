//! What a client hears without having asked: the tool list changed, a watched file changed.

use super::wire::notification;
use crate::events::{Event, EventType};
use crate::gateway::Gateway;
use crate::session::{AgentSession, Replaced};
use kruxos_audit::{Kind, Status};
use kruxos_types::Object;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// A change that concerns one session.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Policy was reloaded: the list may be another now.
    Tools,
    /// A file below one of the session's watches: `{watch_id, event, path, at}`.
    File(Value),
}

/// The method of file changes in 2026-07-28, and the member of the filter that asks for them.
pub(crate) const FILE_METHOD: &str = "notifications/kruxos/file_changed";
pub(crate) const FILE_FILTER: &str = "kruxos/fileChanges";
/// `logger` of file changes where they come as log messages.
const FILE_LOGGER: &str = "kruxos.filesystem.watch";
/// Severities of RFC 5424 as MCP names them, least severe first.
const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];
/// File changes are `info`.
const FILE_LEVEL: u8 = 1;

impl Change {
    /// What an event means for a session, if anything.
    #[must_use]
    pub fn of(event: &Event, session: &AgentSession) -> Option<Self> {
        match event.kind {
            EventType::PolicyReloaded => {
                let kept = event.data["problems"]
                    .as_array()
                    .is_some_and(|all| !all.is_empty());
                (!kept).then_some(Change::Tools)
            }
            EventType::FileChanged => {
                let ours = event.agent.as_deref() == Some(&*session.profile.principal.name)
                    && event.session_id.as_deref() == Some(session.id.as_str());
                ours.then(|| Change::File(event.data.clone()))
            }
            _ => None,
        }
    }

    /// The notification for revisions that begin with `initialize`, unless the client asked for
    /// less. `level` is [`level_named`]'s.
    #[must_use]
    pub fn legacy(&self, level: u8) -> Option<String> {
        match self {
            Change::Tools => Some(notification("notifications/tools/list_changed", &json!({}))),
            Change::File(data) => (level <= FILE_LEVEL).then(|| {
                let params = json!({"level": "info", "logger": FILE_LOGGER, "data": data});
                notification("notifications/message", &params)
            }),
        }
    }

    /// The notification on a `subscriptions/listen` stream.
    pub(crate) fn modern(&self, subscription: &Value) -> String {
        let meta = json!({"io.modelcontextprotocol/subscriptionId": subscription});
        match self {
            Change::Tools => {
                notification("notifications/tools/list_changed", &json!({"_meta": meta}))
            }
            Change::File(data) => {
                let mut params = data.clone();
                params["_meta"] = meta;
                notification(FILE_METHOD, &params)
            }
        }
    }
}

/// The position of a log level's name.
pub(crate) fn level_named(name: &str) -> Option<u8> {
    LEVELS
        .iter()
        .position(|level| *level == name)
        .and_then(|at| u8::try_from(at).ok())
}

/// An operator should see that one client pushed another out: it may be a stolen token.
pub(crate) fn announce_replaced(
    gateway: &Gateway,
    session: &AgentSession,
    new_peer: SocketAddr,
    replaced: &[Replaced],
) {
    let agent = session.profile.principal.name.clone();
    for other in replaced {
        let mut facts = Object::new();
        facts.insert("event".to_owned(), json!("connection replaced"));
        facts.insert("agent".to_owned(), json!(&*agent));
        facts.insert("session_id".to_owned(), json!(session.id.as_str()));
        facts.insert("old_peer".to_owned(), json!(other.old_peer.to_string()));
        facts.insert("new_peer".to_owned(), json!(new_peer.to_string()));
        let data = Value::Object(facts.clone());
        gateway.announce(
            EventType::AgentStatus,
            Some(&agent),
            Some(session.id.as_str()),
            || data,
        );
        let audited = gateway.clone();
        drop(gateway.tasks.spawn(async move {
            audited
                .audit_system(Kind::Session, Status::Success, facts)
                .await;
        }));
    }
}
