//! Requests that wait for a person for too long.

use crate::gateway::Gateway;
use kruxos_store::{Approval, ApprovalState, Severity, StoreError};
use kruxos_types::Object;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// spec/approvals.md: waiting more than 30 minutes raises an info alert.
const TOO_LONG: Duration = Duration::from_secs(30 * 60);
/// Requests that are looked at, the oldest first; the others are younger.
const LOOKED_AT: usize = 1000;
/// Name of the stored fact that keeps which requests were told of, so that a restart tells none twice.
const FACT: &str = "approvals.overdue";

impl Gateway {
    /// Raises one alert for each request that has waited too long. Called by the gateway's timer.
    pub(crate) async fn report_overdue(&self) {
        if let Err(error) = self.try_report_overdue().await {
            tracing::error!(%error, "requests that wait for long cannot be found");
        }
    }

    async fn try_report_overdue(&self) -> Result<(), StoreError> {
        let pending = Some(ApprovalState::Pending);
        let waiting = self.store.approvals(pending, None, LOOKED_AT).await?;
        let now = self.clock.now();
        let is_overdue = |one: &&Approval| {
            let due = one.created_at.saturating_add(TOO_LONG);
            due.is_ok_and(|due| due < now) && one.expires_at.is_none_or(|end| end > now)
        };
        let overdue: Vec<&Approval> = waiting.iter().filter(is_overdue).collect();
        let stored = self.store.fact(FACT).await?.unwrap_or(Value::Null);
        let told: BTreeSet<String> = serde_json::from_value(stored).unwrap_or_default();
        let now_told: BTreeSet<String> = overdue.iter().map(|one| one.id.to_string()).collect();
        if now_told == told {
            return Ok(());
        }
        for one in overdue
            .into_iter()
            .filter(|one| !told.contains(one.id.as_str()))
        {
            let agent = &one.principal.name;
            let capability = &one.capability;
            let message = format!(
                "{capability} of {agent} has waited for approval for more than 30 minutes."
            );
            let mut facts = Object::new();
            facts.insert("approval_request_id".to_owned(), json!(one.id.as_str()));
            facts.insert("created_at".to_owned(), json!(one.created_at));
            self.alert(Severity::Info, "approvals", message, facts)
                .await;
        }
        self.store.put_fact(FACT, json!(now_told)).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::config::Config;
    use crate::layout::Layout;
    use crate::sandbox::Sandbox;
    use kruxos_store::NewApproval;
    use kruxos_types::{ApprovalId, FakeClock, Principal};
    use std::sync::Arc;

    const MINUTE: Duration = Duration::from_secs(60);

    fn request(agent: &str) -> NewApproval {
        NewApproval {
            id: ApprovalId::random(),
            principal: Principal::agent(agent),
            session_id: "ses_1".to_owned(),
            interface: "mcp".to_owned(),
            capability: "system.time".to_owned(),
            exact_inputs: Object::new(),
            shown_inputs: json!({}),
            digest: agent.to_owned(),
            reason: String::new(),
            rule: json!({}),
            preview: json!(null),
            risk_notes: Vec::new(),
            expires_at: None,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_request_that_waits_over_half_an_hour_is_told_once_and_after_a_restart_not_again() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let open = async || {
            let layout = Layout::new(directory.path(), None, None);
            let sandbox = Sandbox::absent("a test");
            Gateway::open(Config::default(), layout, clock.clone(), sandbox)
                .await
                .unwrap()
        };
        let told = async |gateway: &Gateway| {
            gateway.report_overdue().await;
            let (alerts, _) = gateway
                .store
                .alerts(None, Some("approvals"), None, 10)
                .await
                .unwrap();
            alerts
                .into_iter()
                .map(|one| (one.severity, one.message, one.count))
                .collect::<Vec<_>>()
        };
        let gateway = open().await;
        gateway.store.create_approval(request("a")).await.unwrap();
        clock.advance(30 * MINUTE);
        assert!(
            told(&gateway).await.is_empty(),
            "not more than 30 minutes yet"
        );
        clock.advance(MINUTE);
        let words = |agent| {
            format!("system.time of {agent} has waited for approval for more than 30 minutes.")
        };
        let first = (Severity::Info, words("a"), 1);
        assert_eq!(told(&gateway).await, std::slice::from_ref(&first));
        clock.advance(MINUTE);
        assert_eq!(told(&gateway).await, std::slice::from_ref(&first), "once");
        gateway.stop().await;
        drop(gateway);
        let gateway = open().await;
        assert_eq!(told(&gateway).await, [first], "nor after a restart");
        gateway.store.create_approval(request("b")).await.unwrap();
        clock.advance(31 * MINUTE);
        assert_eq!(told(&gateway).await.len(), 2);
        gateway.stop().await;
    }
}
