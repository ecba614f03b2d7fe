//! Approvals given in advance: whether one covers a call, and taking one back.

use super::pattern::{Pattern, rule_digest};
use crate::call::{Admitted, Caller};
use crate::gateway::Gateway;
use crate::operator::Operator;
use kruxos_policy::Query;
use kruxos_store::{ClaimedGrant, Grant, GrantScope};
use kruxos_types::{CallError, GrantId, Object, Tier};
use serde_json::{Value, json};

/// A grant that covers this call, one use of it counted; none if a person has to be asked.
///
/// It covers calls of its principal through its door only, so that a scheduled run inherits nothing, and
/// only while policy says of them what it said when the grant was given.
pub(crate) async fn claim(
    gateway: &Gateway,
    caller: &Caller,
    admitted: &Admitted,
    query: &Query<'_>,
    decision: &Value,
) -> Result<Option<ClaimedGrant>, CallError> {
    let principal = &caller.session.profile.principal;
    let capability = admitted.definition.name;
    let live = gateway.store.live_grants(principal, capability).await?;
    let said = rule_digest(decision);
    for (grant, conditions) in live {
        if !is_for(&grant, caller) || grant.rule_digest != said {
            continue;
        }
        // Conditions that do not compile any more, as after an update, cover nothing.
        let Ok(pattern) = Pattern::new(gateway, principal, capability, conditions) else {
            continue;
        };
        if pattern.covers(query)
            && let Some(claimed) = gateway.store.use_grant(&grant.id).await?
        {
            return Ok(Some(claimed));
        }
    }
    Ok(None)
}

fn is_for(grant: &Grant, caller: &Caller) -> bool {
    let same_session = match grant.scope {
        GrantScope::Session => grant.session_id == caller.session.id.as_str(),
        GrantScope::Task => true,
    };
    same_session && grant.interface == caller.interface.as_str()
}

/// What the entries of a call that a grant covers cite.
pub(crate) fn facts(grant: &Grant) -> Object {
    let facts = [
        ("grant_id", json!(grant.id)),
        ("approval_request_id", json!(grant.approval_id)),
        ("tier", json!(Tier::ApprovalRequired)),
    ];
    facts
        .into_iter()
        .map(|(name, fact)| (name.to_owned(), fact))
        .collect()
}

impl Gateway {
    /// Takes a grant back. Calls that have begun go on.
    ///
    /// # Errors
    /// There is none that still covers calls.
    pub async fn revoke_grant(&self, id: &GrantId, by: &Operator) -> Result<Grant, CallError> {
        let revoked = self.store.revoke_grant(id, &by.principal.name).await?;
        let facts = json!({
            "grant_id": revoked.id,
            "approval_request_id": revoked.approval_id,
            "agent": revoked.principal.name,
            "capability": revoked.capability,
            "used": revoked.used,
        });
        self.audit_admin(by, "grant revoked", facts).await?;
        Ok(revoked)
    }
}
