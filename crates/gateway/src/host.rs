//! What in-process capabilities may ask of the gateway.

use crate::gateway::Gateway;
use kruxos_capabilities::Host;
use kruxos_store::NewAlert;
use kruxos_types::CallError;
use serde_json::Value;

#[async_trait::async_trait]
impl Host for Gateway {
    async fn health(&self) -> Value {
        self.health_report().await
    }

    async fn resource_metrics(&self, window_seconds: u64) -> Value {
        let mut resources = self.health.resources(self.clock.now(), window_seconds);
        if let Some(fields) = resources.as_object_mut() {
            fields.remove("observed_seconds");
        }
        resources
    }

    async fn agent_count(&self) -> Result<u64, CallError> {
        Ok(u64::try_from(self.agents.all().len()).unwrap_or(u64::MAX))
    }

    async fn raise_alert(&self, alert: NewAlert) -> Result<String, CallError> {
        self.raise(alert).await
    }
}
