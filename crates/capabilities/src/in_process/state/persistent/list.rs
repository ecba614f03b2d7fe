//! `state.persistent.list`.

use crate::Cx;
use crate::in_process::state::{MAX_ENTRIES, check_prefix};
use kruxos_types::CallError;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub(crate) struct Inputs {
    #[serde(default)]
    prefix: String,
}

pub(crate) async fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    let agent = super::owner(cx, "state.persistent.list")?;
    check_prefix(&inputs.prefix)?;
    let (entries, count, bytes) = cx
        .store
        .state_list(&agent, &inputs.prefix, false, MAX_ENTRIES)
        .await
        .map_err(super::database_error)?;
    Ok(json!({"entries": entries, "count": count, "total_size_bytes": bytes}))
}
