//! The live event bus: bounded, lossy for slow readers, never in a caller's way.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::broadcast;

/// What happened (spec/supervision.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum EventType {
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
}

/// One event.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Event {
    #[serde(rename = "type")]
    pub kind: EventType,
    pub timestamp: Timestamp,
    pub agent: Option<Arc<str>>,
    pub session_id: Option<Arc<str>>,
    pub data: Value,
}

/// Events that a reader may fall behind before the oldest are dropped for it.
const CAPACITY: usize = 1024;

/// Changes that a reader may fall behind: they are rare, and a lost one is made good by the next.
const CHANGES_CAPACITY: usize = 256;

/// The bus. Clients' connections read `changes` alone, so that a call wakes none of them.
#[derive(Debug, Clone)]
pub struct Events {
    all: broadcast::Sender<Arc<Event>>,
    changes: broadcast::Sender<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            all: broadcast::channel(CAPACITY).0,
            changes: broadcast::channel(CHANGES_CAPACITY).0,
        }
    }
}

impl EventType {
    /// Whether clients are told of it unasked: the tool list or a watched file changed.
    #[must_use]
    pub const fn is_change(self) -> bool {
        matches!(self, EventType::PolicyReloaded | EventType::FileChanged)
    }
}

impl Events {
    /// Whether anyone listens to everything: lets a caller skip building an event.
    #[must_use]
    pub fn wanted(&self) -> bool {
        self.all.receiver_count() > 0
    }

    /// Whether anyone listens to events of this kind.
    #[must_use]
    pub fn wants(&self, kind: EventType) -> bool {
        self.wanted() || (kind.is_change() && self.changes.receiver_count() > 0)
    }

    /// Publishes; with no reader it is dropped.
    pub fn publish(&self, event: Event) {
        if !self.wants(event.kind) {
            return;
        }
        let event = Arc::new(event);
        // A send fails only when the last reader left meanwhile.
        if event.kind.is_change() {
            drop(self.changes.send(event.clone()));
        }
        drop(self.all.send(event));
    }

    /// A reader, from now on, of what clients are told unasked ([`EventType::is_change`]).
    #[must_use]
    pub fn subscribe_changes(&self) -> broadcast::Receiver<Arc<Event>> {
        self.changes.subscribe()
    }

    /// A reader from now on. `RecvError::Lagged(n)` tells it how many it lost.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.all.subscribe()
    }
}
