//! `approve …`.

mod decide;
mod grants;
mod watch;

use super::{Cx, items, text, text_or, time};
use crate::args::Approve;
use crate::client::Url;
use crate::failure::Failure;
use crate::output::Look;
use clap::ValueEnum;
use serde_json::Value;

pub(super) async fn run(cx: &Cx<'_>, command: Approve) -> Result<(), Failure> {
    match command {
        Approve::List {
            state,
            all,
            agent,
            limit,
        } => {
            let state = match (state, all) {
                (Some(state), _) => state
                    .to_possible_value()
                    .map(|value| value.get_name().to_owned()),
                (None, true) => None,
                (None, false) => Some("pending".to_owned()),
            };
            let url = Url::new(&["approvals"])
                .with("state", state)
                .with("agent", agent)
                .with("limit", limit);
            list(cx, &cx.client.get(url.as_str()).await?);
            Ok(())
        }
        Approve::Show { id } => {
            let approval = cx
                .client
                .get(Url::new(&["approvals", &id]).as_str())
                .await?;
            show(cx, &approval);
            Ok(())
        }
        Approve::Accept(accept) => decide::accept(cx, &accept).await,
        Approve::Reject(reject) => decide::reject(cx, &reject).await,
        Approve::Grants { agent, all } => grants::list(cx, agent, all).await,
        Approve::Revoke { id } => grants::revoke(cx, &id).await,
        Approve::Watch { agent } => watch::run(cx, agent.as_deref()).await,
    }
}

fn list(cx: &Cx<'_>, approvals: &Value) {
    if cx.out.json {
        cx.out.value(approvals);
        return;
    }
    if approvals.as_array().is_some_and(Vec::is_empty) {
        cx.out.note("no requests");
        return;
    }
    let rows = items(approvals).map(|one| {
        vec![
            text(&one["id"]),
            text(&one["state"]),
            text(&one["principal"]["name"]),
            text(&one["capability"]),
            summary(one),
            time(&one["created_at"]),
            text_or(&one["expires_at"], "never")
                .chars()
                .take(19)
                .collect::<String>()
                .replace('T', " "),
        ]
    });
    let header = [
        "id",
        "state",
        "agent",
        "capability",
        "what",
        "created",
        "expires",
    ];
    cx.out.table(&header, rows.collect());
}

/// The preview's own sentence, or the inputs.
fn summary(approval: &Value) -> String {
    match approval["preview"]["summary"].as_str() {
        Some(summary) => summary.to_owned(),
        None => approval["inputs"].to_string().chars().take(80).collect(),
    }
}

fn show(cx: &Cx<'_>, approval: &Value) {
    if cx.out.json {
        cx.out.value(approval);
        return;
    }
    let row = |name: &str, value: String| {
        if !value.is_empty() {
            cx.out
                .spans(&[(Look::Dim, &format!("{name:<14}")), (Look::Plain, &value)]);
        }
    };
    let principal = &approval["principal"];
    row("request", text(&approval["id"]));
    row("state", text(&approval["state"]));
    row(
        "from",
        format!(
            "{} {}, session {}",
            text(&principal["type"]),
            text(&principal["name"]),
            text(&approval["session_id"])
        ),
    );
    row("capability", text(&approval["capability"]));
    row("why it waits", text(&approval["reason"]));
    row("created", time(&approval["created_at"]));
    row("expires", text_or(&approval["expires_at"], "never"));
    row("decided by", text(&approval["decided_by"]));
    row("decided at", text(&approval["decided_at"]));
    row("because", text(&approval["decision_reason"]));
    row("scope", text(&approval["scope"]));
    for note in items(&approval["risk_notes"]) {
        cx.out
            .spans(&[(Look::Warn, &format!("{:<14}{}", "risk", text(note)))]);
    }
    cx.out.line("");
    cx.out.spans(&[(Look::Bold, "Inputs, secrets hidden")]);
    cx.out.pretty(&approval["inputs"]);
    if !approval["edited_inputs"].is_null() {
        cx.out.spans(&[(Look::Bold, "Runs with, as edited")]);
        cx.out.pretty(&approval["edited_inputs"]);
    }
    if !approval["remembered"].is_null() {
        cx.out.spans(&[(Look::Bold, "Remembered")]);
        cx.out.pretty(&approval["remembered"]);
    }
    preview(cx, &approval["preview"]);
    if approval["stale"] == true {
        cx.out.line("");
        cx.out.spans(&[(
            Look::Warn,
            "What it is about has changed since it was asked for. Now it would be:",
        )]);
        preview(cx, &approval["preview_now"]);
    }
    if !approval["result"].is_null() {
        cx.out.line("");
        cx.out.spans(&[(Look::Bold, "Result")]);
        cx.out.pretty(&approval["result"]);
    }
    if approval["state"] == "pending" {
        let id = text(&approval["id"]);
        cx.out.line("");
        cx.out.line(&format!("kruxos approve accept {id}"));
        cx.out
            .line(&format!("kruxos approve reject {id} --reason \"…\""));
    }
}

/// What would change: the sentence, every fact the preview has, the diff last and coloured.
fn preview(cx: &Cx<'_>, preview: &Value) {
    let Some(facts) = preview.as_object() else {
        return;
    };
    cx.out.line("");
    cx.out.spans(&[(Look::Bold, "What would change")]);
    if let Some(summary) = preview["summary"].as_str() {
        cx.out.line(summary);
    }
    for (name, fact) in facts
        .iter()
        .filter(|(name, _)| !["summary", "diff", "notes", "kind"].contains(&name.as_str()))
    {
        cx.out.spans(&[
            (Look::Dim, &format!("  {name}: ")),
            (Look::Plain, &text(fact)),
        ]);
    }
    for note in items(&preview["notes"]) {
        cx.out
            .spans(&[(Look::Warn, &format!("  note: {}", text(note)))]);
    }
    if let Some(diff) = preview["diff"].as_str() {
        cx.out.diff(diff);
    }
}
