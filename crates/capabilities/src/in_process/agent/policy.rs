//! `agent.policy`: the rules that apply to the caller.

use crate::Cx;
use kruxos_types::CallError;
use serde_json::{Value, json};

/// Rules that are answered; a caller with more is told how many more there are.
const MAX_RULES: usize = 500;

pub(crate) fn run(cx: &Cx) -> Result<Value, CallError> {
    let mut rules = cx.policy.rules_for(&cx.principal);
    let more = rules.len().saturating_sub(MAX_RULES);
    if more > 0 {
        rules.truncate(MAX_RULES);
        rules.push(json!({
            "note": format!("{more} more rules, of inner layers, are not shown; ask the operator about a certain capability."),
        }));
    }
    let default = cx.policy.default_tier(&cx.principal);
    Ok(json!({
        "policy_group": &*cx.session.policy_group,
        "rules": rules,
        "default_tier": default.map_or("definition", |tier| tier.as_str()),
    }))
}
