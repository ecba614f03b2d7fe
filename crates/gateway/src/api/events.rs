//! `/events`: the live event bus as server-sent events, filtered, with what a slow reader lost.

use super::error::{Answer, ApiError};
use super::extract::{By, Params};
use crate::events::Event;
use crate::gateway::Gateway;
use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::routing::get;
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

pub(super) fn routes() -> Router<Gateway> {
    Router::new().route("/events", get(stream_events))
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    agent: Option<String>,
    /// One type, or several separated by commas.
    #[serde(rename = "type")]
    kinds: Option<String>,
    session: Option<String>,
    /// Exact, `category.*` or `*`.
    capability: Option<String>,
}

impl Filter {
    fn takes(&self, event: &Event) -> bool {
        let same = |wanted: &Option<String>, found: &Option<Arc<str>>| match wanted {
            None => true,
            Some(wanted) => found.as_deref() == Some(wanted.as_str()),
        };
        let kind = json!(event.kind);
        let kind = kind.as_str().unwrap_or_default();
        same(&self.agent, &event.agent)
            && same(&self.session, &event.session_id)
            && self
                .kinds
                .as_deref()
                .is_none_or(|all| all.split(',').any(|one| one.trim() == kind))
            && self.takes_capability(&event.data)
    }

    fn takes_capability(&self, data: &Value) -> bool {
        let Some(pattern) = self.capability.as_deref() else {
            return true;
        };
        data["capability"]
            .as_str()
            .is_some_and(|name| matches(pattern, name))
    }
}

/// Exact, `category.*` at any depth, `*`: the patterns of policy.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    if pattern == "*" || pattern == name {
        return true;
    }
    let prefix = pattern
        .strip_suffix('*')
        .filter(|prefix| prefix.ends_with('.'));
    prefix.is_some_and(|prefix| name.starts_with(prefix))
}

async fn stream_events(
    By(_): By,
    State(gateway): State<Gateway>,
    Params(filter): Params<Filter>,
) -> Answer<Sse<impl Stream<Item = Result<Sent, Infallible>>>> {
    check_kinds(&filter)?;
    let reader = Reader {
        events: gateway.events.subscribe(),
        stopping: gateway.stopping.clone(),
        filter,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// A misspelt type would be a stream that stays silent for ever.
fn check_kinds(filter: &Filter) -> Result<(), ApiError> {
    let known = kinds();
    for kind in filter.kinds.iter().flat_map(|all| all.split(',')) {
        if !known.iter().any(|known| known == kind.trim()) {
            return Err(ApiError::invalid(
                "type",
                "is not an event type",
                &known.join(", "),
            ));
        }
    }
    Ok(())
}

fn kinds() -> Vec<String> {
    use crate::events::EventType::{
        AgentStatus, ApprovalRequested, ApprovalResolved, CapabilityError, CapabilityInvoked,
        CapabilityResult, FileChanged, HealthAlert, PolicyReloaded, PolicyViolation, RateLimitHit,
        SessionEnded, SessionStarted,
    };
    let all = [
        CapabilityInvoked,
        CapabilityResult,
        CapabilityError,
        PolicyViolation,
        ApprovalRequested,
        ApprovalResolved,
        SessionStarted,
        SessionEnded,
        RateLimitHit,
        HealthAlert,
        PolicyReloaded,
        AgentStatus,
        FileChanged,
    ];
    all.iter()
        .filter_map(|kind| json!(kind).as_str().map(str::to_owned))
        .collect()
}

struct Reader {
    events: Receiver<Arc<Event>>,
    stopping: CancellationToken,
    filter: Filter,
}

impl Reader {
    /// The next event that the filter takes; `None` once the gateway stops.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            let received = tokio::select! {
                () = self.stopping.cancelled() => return None,
                received = self.events.recv() => received,
            };
            match received {
                Ok(event) if self.filter.takes(&event) => return Some(sent(&json!(*event))),
                Ok(_) => {}
                Err(RecvError::Lagged(lost)) => {
                    return Some(sent(&json!({"type": "events_lost", "lost": lost})));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// One event on the wire: its type as the SSE event name, itself as one line of JSON.
pub(super) fn sent(event: &Value) -> Sent {
    let name = event["type"].as_str().unwrap_or("message").to_owned();
    // serde_json escapes every line break, so the data is one line.
    Sent::default().event(name).data(event.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::events::EventType;

    fn event(capability: &str) -> Event {
        Event {
            kind: EventType::CapabilityResult,
            timestamp: "2026-01-01T00:00:00Z".parse().unwrap(),
            agent: Some("a".into()),
            session_id: Some("ses_1".into()),
            data: json!({"capability": capability}),
        }
    }

    fn filter(json: Value) -> Filter {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn every_part_of_a_filter_must_hold() {
        let read = event("filesystem.read");
        assert!(filter(json!({})).takes(&read));
        assert!(filter(json!({"agent": "a", "capability": "filesystem.*"})).takes(&read));
        assert!(filter(json!({"type": "session_started, capability_result"})).takes(&read));
        for other in [
            json!({"agent": "b"}),
            json!({"session": "ses_2"}),
            json!({"type": "session_started"}),
            json!({"capability": "filesystem"}),
            json!({"capability": "file*"}),
            json!({"agent": "a", "capability": "system.*"}),
        ] {
            assert!(!filter(other.clone()).takes(&read), "{other}");
        }
    }

    #[test]
    fn a_misspelt_type_is_refused_and_every_real_one_is_known() {
        assert!(check_kinds(&filter(json!({"type": "capability_reslt"}))).is_err());
        assert!(check_kinds(&filter(json!({"type": kinds().join(",")}))).is_ok());
    }
}
