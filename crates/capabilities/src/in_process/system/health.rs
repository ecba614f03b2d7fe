//! `system.health`: the document of `/health` in the capability's own shape.

use crate::Cx;
use kruxos_types::{CallError, ErrorType};
use serde_json::{Value, json};

pub(crate) async fn run(cx: &Cx) -> Result<Value, CallError> {
    let mut report = cx.host.health().await;
    let depth = |name: &str| report["agent_metrics"][name].as_u64().unwrap_or(0);
    let queues = json!({
        "approvals": depth("approval_queue_depth"),
        "dead_letters": depth("dead_letter_queue_depth"),
        "messages": depth("comms_queue_depth"),
    });
    let mut take = |name: &str| report.get_mut(name).map(Value::take);
    match (take("status"), take("services"), take("resources")) {
        (
            Some(status @ Value::String(_)),
            Some(services @ Value::Array(_)),
            Some(resources @ Value::Object(_)),
        ) => Ok(json!({
            "overall_status": status,
            "services": services,
            "resource_usage": resources,
            "queue_depths": queues,
        })),
        _ => Err(CallError::new(ErrorType::HealthCheckError).internal("the report lacks a part")),
    }
}
