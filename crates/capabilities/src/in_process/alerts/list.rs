//! `alerts.list`.

use crate::Cx;
use kruxos_store::{Alert, AlertStatus};
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub(crate) struct Inputs {
    status: Option<AlertStatus>,
    limit: usize,
}

pub(crate) async fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    let scope = super::scope(cx);
    let (alerts, total) = cx
        .store
        .alerts(inputs.status, scope.as_deref(), None, inputs.limit)
        .await
        .map_err(|error| CallError::new(ErrorType::AlertError).internal(error))?;
    let alerts: Vec<Value> = alerts.into_iter().map(shown).collect();
    Ok(json!({"alerts": alerts, "total": total}))
}

fn shown(alert: Alert) -> Value {
    json!({
        "alert_id": alert.id,
        "severity": alert.severity,
        "message": alert.message,
        "source": alert.source,
        "context": alert.context,
        "status": alert.status,
        "count": alert.count,
        "first_at": alert.first_at,
        "last_at": alert.last_at,
        "acknowledged_by": alert.acknowledged_by,
        "acknowledged_at": alert.acknowledged_at,
    })
}
