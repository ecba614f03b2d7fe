//! `agent.whoami`.

use crate::Cx;
use kruxos_types::CallError;
use serde_json::{Value, json};

pub(crate) fn run(cx: &Cx) -> Result<Value, CallError> {
    let session = &cx.session;
    Ok(json!({
        "agent_name": &*cx.principal.name,
        "purpose": &*session.purpose,
        "policy_group": &*session.policy_group,
        "workspace_path": &*session.workspace,
        "created_at": session.created_at,
    }))
}
