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

/// The bus.
#[derive(Debug, Clone)]
pub struct Events(broadcast::Sender<Arc<Event>>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::channel(CAPACITY).0)
    }
}

impl Events {
    /// Whether anyone listens: lets a caller skip building an event.
    #[must_use]
    pub fn wanted(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Publishes; with no reader it is dropped.
    pub fn publish(&self, event: Event) {
        if self.wanted() {
            // A send fails only when the last reader left meanwhile.
            drop(self.0.send(Arc::new(event)));
        }
    }

    /// A reader from now on. `RecvError::Lagged(n)` tells it how many it lost.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.0.subscribe()
    }
}
