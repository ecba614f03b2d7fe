//! `agent.capabilities`: what the caller can call.

use crate::Cx;
use kruxos_catalog::{Definition, Status};
use kruxos_types::CallError;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[derive(Deserialize)]
pub(crate) struct Inputs {
    category: Option<String>,
}

pub(crate) fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    let callable = || {
        cx.catalog
            .all()
            .iter()
            .filter(|d| d.status == Status::Available)
    };
    let category = inputs.category.as_deref();
    if let Some(wanted) = category
        && !callable().any(|definition| definition.category == wanted)
    {
        let known: BTreeSet<&str> = callable().map(|definition| definition.category).collect();
        let expected = known.into_iter().collect::<Vec<_>>().join(", ");
        let reason = format!("'{wanted}' is no category");
        return Err(CallError::invalid_input(
            "category",
            &reason,
            &format!("one of {expected}"),
        ));
    }
    let listed: Vec<Value> = callable()
        .filter(|definition| category.is_none_or(|wanted| definition.category == wanted))
        .filter_map(|definition| entry(definition, cx))
        .collect();
    Ok(json!({"total": listed.len(), "capabilities": listed}))
}

/// `None` if every call would be blocked.
fn entry(definition: &Definition, cx: &Cx) -> Option<Value> {
    let tier = cx.policy.listed_tier(&cx.principal, definition)?;
    Some(json!({"name": definition.name, "tier": tier, "purpose": definition.purpose}))
}
