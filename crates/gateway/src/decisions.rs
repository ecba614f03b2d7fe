//! Decisions told in JSON and in the form of the audit log. One session asks for the same few things
//! again and again, so what was told once is kept until policy changes.

use kruxos_audit::{AuditLog, Encoded};
use kruxos_catalog::CapabilityId;
use kruxos_policy::{PolicySet, Query, Reasons, Verdict};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Decisions kept for one session: two for each capability of the catalogue, roughly.
const MAX_KEPT: usize = 192;

/// A decision as it is told.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) json: Value,
    pub(crate) audited: Encoded,
}

/// What one session has been told.
#[derive(Debug, Default)]
pub(crate) struct Decisions(Mutex<HashMap<(CapabilityId, Reasons), Arc<Decision>>>);

impl Decisions {
    /// The decision in words. `query` and `verdict` belong together, and `policy` made the verdict.
    pub(crate) fn told(
        &self,
        policy: &PolicySet,
        query: &Query<'_>,
        verdict: &Verdict,
        audit: &AuditLog,
    ) -> Arc<Decision> {
        let key = verdict
            .reasons()
            .map(|reasons| (query.definition.id, reasons));
        if let Some(known) = key.and_then(|key| self.lock().get(&key).cloned()) {
            return known;
        }
        let told = policy.explanation_of(query, verdict);
        let json = serde_json::to_value(told).unwrap_or(Value::Null);
        let decision = Arc::new(Decision {
            audited: audit.encode(&json),
            json,
        });
        if let Some(key) = key {
            let mut kept = self.lock();
            if kept.len() >= MAX_KEPT {
                // Those of older policies go with the rest; what is still asked for comes back.
                kept.clear();
            }
            kept.insert(key, decision.clone());
        }
        decision
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(CapabilityId, Reasons), Arc<Decision>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
