//! A request as the list and the detail pane need it.

use crate::clean;
use crate::commands::text;
use jiff::Timestamp;
use serde_json::Value;

/// One request that waits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    pub(super) id: String,
    pub(super) agent: String,
    pub(super) capability: String,
    created_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    /// What the gateway sent.
    pub(super) document: Value,
}

impl Request {
    /// `None` for what has no id.
    pub(super) fn read(document: &Value) -> Option<Request> {
        let at = |field: &str| document[field].as_str().and_then(|text| text.parse().ok());
        Some(Request {
            id: clean::line(document["id"].as_str()?),
            agent: clean::line(&text(&document["principal"]["name"])),
            capability: clean::line(&text(&document["capability"])),
            created_at: at("created_at"),
            expires_at: at("expires_at"),
            document: document.clone(),
        })
    }

    /// The caller with its sort, such as `agent coder`.
    pub(super) fn who(&self) -> String {
        format!(
            "{} {}",
            text(&self.document["principal"]["type"]),
            self.agent
        )
    }

    /// Seconds since it was made.
    pub(super) fn age(&self, now: Timestamp) -> u64 {
        self.created_at.map_or(0, |at| seconds(at, now))
    }

    /// Seconds until it expires; `None`: never.
    pub(super) fn left(&self, now: Timestamp) -> Option<u64> {
        self.expires_at.map(|at| seconds(now, at))
    }

    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    pub(super) fn is_risky(&self) -> bool {
        let notes = self.document["risk_notes"].as_array();
        notes.is_some_and(|notes| !notes.is_empty())
    }

    /// Whether the gateway says that its preview is out of date.
    pub(super) fn is_stale(&self) -> bool {
        self.document["stale"] == true || self.document["preview"]["stale"] == true
    }

    /// Whether its preview does not show all that it does.
    pub(super) fn is_opaque(&self) -> bool {
        let preview = &self.document["preview"];
        let mut notes = preview["notes"].as_array().into_iter().flatten();
        preview["kind"] == "error" || notes.any(|note| note == "cannot be inspected")
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_second() - from.as_second()).unwrap_or(0)
}
