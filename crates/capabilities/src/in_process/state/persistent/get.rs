//! `state.persistent.get`.

use crate::Cx;
use crate::in_process::state::check_key;
use kruxos_types::CallError;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub(crate) struct Inputs {
    key: String,
    version: Option<u64>,
}

pub(crate) async fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    let agent = super::owner(cx, "state.persistent.get")?;
    check_key(&inputs.key)?;
    let found = cx
        .store
        .state_get(&agent, &inputs.key, inputs.version)
        .await?;
    match (found, inputs.version) {
        (Some(state), _) => Ok(json!({
            "value": state.value,
            "version": state.version,
            "found": true,
            "created_at": state.created_at,
            "updated_at": state.updated_at,
        })),
        (None, None) => Ok(json!({
            "value": null,
            "version": null,
            "found": false,
            "created_at": null,
            "updated_at": null,
        })),
        // Who names a version expects it to be there.
        (None, Some(version)) => Err(super::key_not_found(&inputs.key)
            .with("version", version)
            .detail(format!("It has no value of version {version}."))),
    }
}
