//! `alerts …`.

use super::{Cx, items, text, time};
use crate::args::{AlertList, Alerts, AlertsCommand};
use crate::client::Url;
use crate::failure::Failure;
use clap::ValueEnum;
use serde_json::json;

pub(super) async fn run(cx: &Cx<'_>, alerts: Alerts) -> Result<(), Failure> {
    match alerts.command {
        None => list(cx, alerts.list).await,
        Some(AlertsCommand::List(options)) => list(cx, options).await,
        Some(AlertsCommand::Ack { id }) => {
            let alert = cx
                .client
                .post(Url::new(&["alerts", &id, "ack"]).as_str(), json!({}))
                .await?;
            super::agent::said(cx, &alert, &format!("{id} is acknowledged."));
            Ok(())
        }
    }
}

async fn list(cx: &Cx<'_>, options: AlertList) -> Result<(), Failure> {
    let since = options.last.map(super::audit::earlier).transpose()?;
    let severity = options.severity.and_then(|one| one.to_possible_value());
    let url = Url::new(&["alerts"])
        .with("status", (!options.all).then_some("open"))
        .with(
            "severity",
            severity.map(|value| value.get_name().to_owned()),
        )
        .with("since", since)
        .with("limit", options.limit);
    let page = cx.client.get(url.as_str()).await?;
    if cx.out.json {
        cx.out.value(&page["alerts"]);
        return Ok(());
    }
    if page["alerts"].as_array().is_some_and(Vec::is_empty) {
        cx.out.note("no alerts");
        return Ok(());
    }
    let rows = items(&page["alerts"]).map(|alert| {
        vec![
            text(&alert["id"]),
            text(&alert["severity"]),
            text(&alert["status"]),
            text(&alert["count"]),
            time(&alert["last_at"]),
            text(&alert["source"]),
            text(&alert["message"]),
        ]
    });
    let header = [
        "id", "severity", "status", "count", "last", "source", "message",
    ];
    cx.out.table(&header, rows.collect());
    Ok(())
}
