//! `state.session.list`.

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

pub(crate) fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    check_prefix(&inputs.prefix)?;
    let (keys, count) = cx.state.keys(&inputs.prefix, MAX_ENTRIES);
    Ok(json!({"keys": keys, "count": count}))
}
