//! `state.persistent.history`.

use crate::Cx;
use crate::in_process::state::check_key;
use kruxos_store::VersionEntry;
use kruxos_types::CallError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Versions that are answered unless the caller says how many.
const DEFAULT_LIMIT: usize = 20;

#[derive(Deserialize)]
pub(crate) struct Inputs {
    key: String,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Version {
    version: u64,
    deleted: bool,
    size_bytes: u64,
    created_at: jiff::Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    value_omitted: bool,
}

#[derive(Serialize)]
struct Output {
    count: usize,
    versions: Vec<Version>,
}

pub(crate) async fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    let agent = super::owner(cx, "state.persistent.history")?;
    check_key(&inputs.key)?;
    let limit = inputs.limit.unwrap_or(DEFAULT_LIMIT);
    let entries = cx.store.state_history(&agent, &inputs.key, limit).await?;
    let entries = entries.ok_or_else(|| super::key_not_found(&inputs.key))?;
    let fitting = super::within_budget(entries.iter().map(|entry| entry.size_bytes));
    let shown = |(place, entry): (usize, VersionEntry)| Version {
        version: entry.version,
        deleted: entry.deleted,
        size_bytes: entry.size_bytes,
        created_at: entry.created_at,
        value_omitted: place >= fitting && !entry.deleted,
        value: entry.value.filter(|_| place < fitting && !entry.deleted),
    };
    let versions: Vec<Version> = entries.into_iter().enumerate().map(shown).collect();
    crate::in_process::answer(Output {
        count: versions.len(),
        versions,
    })
}
