//! `alerts.send`.

use crate::Cx;
use kruxos_store::{NewAlert, Severity};
use kruxos_types::{CallError, Object};
use serde::Deserialize;
use serde_json::{Value, json};

/// A message is for a person to read at once; it also has to fit a notification.
const MAX_MESSAGE_BYTES: usize = 4096;
/// Facts beside it, as JSON.
const MAX_CONTEXT_BYTES: u64 = 16 * 1024;

#[derive(Deserialize)]
pub(crate) struct Inputs {
    message: String,
    severity: Severity,
    context: Option<Object>,
}

pub(crate) async fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    if inputs.message.trim().is_empty() {
        return Err(CallError::invalid_input(
            "message",
            "it is blank",
            "what happened, in words",
        ));
    }
    if inputs.message.len() > MAX_MESSAGE_BYTES {
        let reason = format!("it has {} bytes", inputs.message.len());
        let expected = format!("at most {MAX_MESSAGE_BYTES} bytes; put facts into context");
        return Err(CallError::invalid_input("message", &reason, &expected));
    }
    let context = inputs.context.unwrap_or_default();
    for value in context.values() {
        crate::in_process::check_depth("context", value)?;
    }
    let bytes = crate::in_process::json_bytes(&context)?;
    if bytes > MAX_CONTEXT_BYTES {
        let reason = format!("it has {bytes} bytes as JSON");
        let expected = format!("at most {MAX_CONTEXT_BYTES} bytes as JSON");
        return Err(CallError::invalid_input("context", &reason, &expected));
    }
    let alert = NewAlert {
        severity: inputs.severity,
        message: inputs.message,
        source: super::source(cx),
        context,
    };
    let alert_id = cx.host.raise_alert(alert).await?;
    Ok(json!({
        "alert_id": alert_id,
        "delivered_to": "operator",
        "severity": inputs.severity,
    }))
}
