//! What the live surfaces are told. Building an event costs nothing while nobody listens.

use crate::call::Caller;
use crate::events::{Event, EventType};
use crate::gateway::Gateway;
use kruxos_audit::{Durability, Kind, Record, Status};
use kruxos_catalog::Definition;
use kruxos_store::{Approval, NewAlert, Severity};
use kruxos_types::{CallError, ErrorType, Object, Principal, Tier};
use serde_json::{Value, json};

impl Gateway {
    /// Publishes an event if anyone listens.
    pub(crate) fn announce(
        &self,
        kind: EventType,
        agent: Option<&str>,
        session: Option<&str>,
        data: impl FnOnce() -> Value,
    ) {
        if !self.events.wants(kind) {
            return;
        }
        self.events.publish(Event {
            kind,
            timestamp: self.clock.now(),
            agent: agent.map(Into::into),
            session_id: session.map(Into::into),
            data: data(),
        });
    }

    fn announce_call(&self, kind: EventType, caller: &Caller, data: impl FnOnce() -> Value) {
        let session = &caller.session;
        self.announce(
            kind,
            Some(&session.profile.principal.name),
            Some(session.id.as_str()),
            data,
        );
    }

    pub(crate) fn announce_start(&self, caller: &Caller, definition: &Definition, tier: Tier) {
        self.announce_call(
            EventType::CapabilityInvoked,
            caller,
            || json!({"capability": definition.name, "tier": tier, "interface": caller.interface}),
        );
    }

    pub(crate) fn announce_end(
        &self,
        caller: &Caller,
        definition: &Definition,
        result: &Result<Value, CallError>,
        duration_us: u64,
    ) {
        let kind = match result {
            Ok(_) => EventType::CapabilityResult,
            Err(_) => EventType::CapabilityError,
        };
        self.announce_call(kind, caller, || {
            let error = result.as_ref().err().map(|error| error.error_type().code());
            json!({"capability": definition.name, "duration_us": duration_us, "error": error})
        });
    }

    pub(crate) fn announce_refusal(
        &self,
        caller: &Caller,
        definition: &Definition,
        error: &CallError,
    ) {
        let kind = match error.error_type() {
            ErrorType::RateLimited => EventType::RateLimitHit,
            ErrorType::PolicyDenied => EventType::PolicyViolation,
            _ => EventType::CapabilityError,
        };
        self.announce_call(kind, caller, || {
            json!({"capability": definition.name, "error": error.error_type().code(), "context": error.context()})
        });
    }

    pub(crate) fn announce_approval(&self, kind: EventType, approval: &Approval) {
        self.tell_webhooks(kind, approval);
        self.announce(
            kind,
            Some(&approval.principal.name),
            Some(&approval.session_id),
            || {
                json!({
                    "request_id": approval.id.as_str(),
                    "capability": approval.capability,
                    "state": approval.state,
                    "decided_by": approval.decided_by,
                })
            },
        );
    }

    /// A path that leads out of its root is an entry of its own, with the mount it tried to leave.
    pub(crate) async fn note_escape(
        &self,
        caller: &Caller,
        definition: &Definition,
        error: &CallError,
    ) {
        let escape = error
            .context()
            .get("escape")
            .is_some_and(|value| value == true);
        if error.error_type() != ErrorType::PathOutOfScope || !escape {
            return;
        }
        let record = Record {
            session_id: Some(caller.session.id.to_string()),
            interface: Some(caller.interface),
            capability: Some(definition.name.to_string()),
            metadata: error.context().clone(),
            ..Record::new(
                Kind::PathEscape,
                caller.session.profile.principal.clone(),
                Status::Denied,
            )
        };
        if let Err(failure) = self.audit.append(record, Durability::Soon).await {
            tracing::error!(error = %failure, "a path escape could not be audited");
        }
    }

    /// Stores an alert and shows it live. A failure is logged: an alert must not stop what raised it.
    pub(crate) async fn alert(
        &self,
        severity: Severity,
        source: &str,
        message: String,
        context: Object,
    ) {
        let new = NewAlert {
            severity,
            message,
            source: source.to_owned(),
            context,
        };
        if let Err(error) = self.raise(new).await {
            tracing::error!(%error, "an alert could not be stored");
        }
    }

    /// Stores an alert and shows it live. Answers its id.
    pub(crate) async fn raise(&self, new: NewAlert) -> Result<String, CallError> {
        let agent = new.source.strip_prefix("agent:").map(str::to_owned);
        let alert = self.store.raise_alert(new).await?;
        self.announce(EventType::HealthAlert, agent.as_deref(), None, || {
            json!(alert)
        });
        Ok(alert.id)
    }

    /// An entry for something the gateway itself did or found.
    pub(crate) async fn audit_system(&self, kind: Kind, status: Status, metadata: Object) {
        let record = Record {
            metadata,
            ..Record::new(kind, Principal::system(), status)
        };
        if let Err(error) = self.audit.append(record, Durability::Waited).await {
            tracing::error!(%error, "an entry of the gateway's own could not be written");
        }
    }
}
