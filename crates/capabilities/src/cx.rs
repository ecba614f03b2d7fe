use crate::SessionState;
use jiff::Timestamp;
use kruxos_catalog::Catalog;
use kruxos_policy::{PolicySet, RateCounters};
use kruxos_store::{NewAlert, Store};
use kruxos_types::{CallError, Clock, Principal, SessionId};
use serde_json::Value;
use std::sync::Arc;

/// What an in-process capability sees of the gateway.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Cx {
    pub principal: Principal,
    pub session: SessionFacts,
    pub state: Arc<SessionState>,
    pub store: Store,
    pub policy: Arc<PolicySet>,
    pub rates: Arc<RateCounters>,
    pub catalog: &'static Catalog,
    pub clock: Arc<dyn Clock>,
    pub host: Arc<dyn Host>,
}

/// The session a call belongs to.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct SessionFacts {
    pub id: SessionId,
    pub connected_at: Timestamp,
    pub invocation_count: u64,
    pub workspace: Arc<str>,
    pub policy_group: Arc<str>,
    pub purpose: Arc<str>,
    pub created_at: Timestamp,
}

/// What only the running gateway knows. The gateway implements it; tests have a small one.
#[async_trait::async_trait]
pub trait Host: Send + Sync {
    /// The document of `/health`.
    async fn health(&self) -> Value;
    /// CPU, memory, disk and network over a window in seconds: `{cpu, memory, disk_io, network_io}`.
    async fn resource_metrics(&self, window_seconds: u64) -> Value;
    /// How many agents are registered.
    async fn agent_count(&self) -> Result<u64, CallError>;
    /// Stores an alert and puts it on the event bus and the delivery channels. Answers its id.
    async fn raise_alert(&self, alert: NewAlert) -> Result<String, CallError>;
}
