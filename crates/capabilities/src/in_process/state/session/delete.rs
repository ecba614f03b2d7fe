//! `state.session.delete`.

use crate::Cx;
use crate::in_process::state::check_key;
use kruxos_types::CallError;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub(crate) struct Inputs {
    key: String,
}

pub(crate) fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    check_key(&inputs.key)?;
    let previous = cx.state.delete(&inputs.key)?;
    Ok(json!({"deleted": previous.is_some(), "previous_value": previous}))
}
