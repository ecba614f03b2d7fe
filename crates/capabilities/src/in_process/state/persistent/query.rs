//! `state.persistent.query`: keys with their values, as far as an answer carries them.

use crate::Cx;
use crate::in_process::state::{MAX_ENTRIES, check_prefix};
use kruxos_store::KeyEntry;
use kruxos_types::CallError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize)]
pub(crate) struct Inputs {
    prefix: String,
}

#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    entry: KeyEntry,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    value_omitted: bool,
}

#[derive(Serialize)]
struct Output {
    entries: Vec<Entry>,
    count: u64,
}

pub(crate) async fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    let agent = super::owner(cx, "state.persistent.query")?;
    check_prefix(&inputs.prefix)?;
    let list = async |values, limit| {
        cx.store
            .state_list(&agent, &inputs.prefix, values, limit)
            .await
            .map_err(super::database_error)
    };
    // The sizes first: values that the answer has no room for are not read.
    let (keys, count, _) = list(false, MAX_ENTRIES).await?;
    let fitting = super::within_budget(keys.iter().map(|entry| entry.size_bytes));
    let (with_values, _, _) = list(true, fitting).await?;
    let entries = merge(keys, with_values);
    crate::in_process::answer(Output { entries, count })
}

/// The keys in their order, each with its value where that was read. A key that was changed between
/// the two looks has the newer state.
fn merge(keys: Vec<KeyEntry>, with_values: Vec<KeyEntry>) -> Vec<Entry> {
    let mut read = with_values.into_iter().peekable();
    let mut entries = Vec::with_capacity(keys.len());
    for key in keys {
        while read.next_if(|entry| entry.key < key.key).is_some() {}
        let entry = read.next_if(|entry| entry.key == key.key).unwrap_or(key);
        entries.push(Entry {
            value_omitted: entry.value.is_none(),
            entry,
        });
    }
    entries
}
