//! `alerts.acknowledge`.

use crate::Cx;
use kruxos_store::StoreError;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub(crate) struct Inputs {
    alert_id: String,
    acknowledged_by: Option<String>,
}

pub(crate) async fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    let caller = super::source(cx);
    // Who really did it always stands first: a caller cannot sign with another's name.
    let by = match inputs.acknowledged_by {
        Some(behalf) => format!("{caller} for {behalf}"),
        None => caller,
    };
    let scope = super::scope(cx);
    let acknowledged = cx
        .store
        .acknowledge_alert(&inputs.alert_id, &by, scope.as_deref())
        .await;
    match acknowledged {
        Ok(alert) => Ok(json!({"acknowledged": true, "alert_id": alert.id})),
        Err(StoreError::NotFound(_)) => {
            Err(CallError::new(ErrorType::AlertNotFound).with("alert_id", inputs.alert_id))
        }
        Err(error) => Err(CallError::new(ErrorType::AlertError).internal(error)),
    }
}
