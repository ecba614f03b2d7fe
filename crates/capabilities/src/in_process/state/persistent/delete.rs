//! `state.persistent.delete`.

use crate::Cx;
use crate::in_process::state::check_key;
use kruxos_types::CallError;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub(crate) struct Inputs {
    key: String,
}

pub(crate) async fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    let agent = super::owner(cx, "state.persistent.delete")?;
    check_key(&inputs.key)?;
    if cx.store.state_delete(&agent, &inputs.key).await? {
        Ok(json!({"deleted": true}))
    } else {
        Err(super::key_not_found(&inputs.key))
    }
}
