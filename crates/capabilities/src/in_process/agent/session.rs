//! `agent.session`: age, calls and quotas of the caller's session.

use crate::Cx;
use kruxos_store::StateQuota;
use kruxos_types::{AgentName, CallError, PrincipalKind};
use serde_json::{Value, json};

pub(crate) async fn run(cx: &Cx) -> Result<Value, CallError> {
    let session = &cx.session;
    let (used, limit) = cx.state.usage();
    let persistent = persistent(cx).await?;
    let of = |field: fn(&StateQuota) -> u64| persistent.as_ref().map(field);
    let age = cx
        .clock
        .now()
        .as_second()
        .saturating_sub(session.connected_at.as_second());
    Ok(json!({
        "session_id": session.id.as_str(),
        "connected_at": session.connected_at,
        // The clock may have been set back since.
        "duration_seconds": age.max(0),
        "invocation_count": session.invocation_count,
        "resource_usage": {
            "session_state_bytes": used,
            "session_state_keys": cx.state.key_count(),
            "persistent_state_bytes": of(|quota| quota.used_bytes),
            "persistent_state_keys": of(|quota| quota.keys),
        },
        "workspace_path": &*session.workspace,
        "state_quota": {
            "session_limit_bytes": limit,
            "session_free_bytes": limit.saturating_sub(used),
            "persistent_limit_bytes": of(|quota| quota.limit_bytes),
            "persistent_free_bytes": of(|quota| quota.limit_bytes.saturating_sub(quota.used_bytes)),
        },
    }))
}

/// Only agents have persistent state.
async fn persistent(cx: &Cx) -> Result<Option<StateQuota>, CallError> {
    if cx.principal.kind != PrincipalKind::Agent {
        return Ok(None);
    }
    let name = AgentName::new(&cx.principal.name).map_err(CallError::internal_failure)?;
    Ok(Some(cx.store.state_quota(&name).await?))
}
