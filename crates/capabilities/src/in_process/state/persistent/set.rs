//! `state.persistent.set`.

use crate::Cx;
use crate::in_process::state::{check_key, check_value};
use kruxos_store::StoreError;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub(crate) struct Inputs {
    key: String,
    value: Value,
}

pub(crate) async fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    let agent = super::owner(cx, "state.persistent.set")?;
    check_key(&inputs.key)?;
    check_value(&inputs.value)?;
    let outcome = cx.store.state_set(&agent, &inputs.key, inputs.value).await;
    let outcome = outcome.map_err(|error| match error {
        StoreError::Quota { used, limit } => CallError::new(ErrorType::QuotaExceeded)
            .with("scope", "persistent state")
            .with("used_bytes", used)
            .with("limit_bytes", limit),
        other => other.into(),
    })?;
    Ok(json!({"version": outcome.version, "previous_version": outcome.previous_version}))
}
