//! `state.session.set`.

use crate::Cx;
use crate::in_process::state::{check_key, check_value};
use kruxos_types::CallError;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub(crate) struct Inputs {
    key: String,
    value: Value,
}

pub(crate) fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    check_key(&inputs.key)?;
    check_value(&inputs.value)?;
    let previous = cx.state.set(&inputs.key, inputs.value)?;
    Ok(json!({"overwritten": previous.is_some(), "previous_value": previous}))
}
