//! `watch`: events as they happen.

use super::{Cx, text};
use crate::args::Watch;
use crate::client::Url;
use crate::failure::Failure;
use crate::output::Look;
use serde_json::Value;

pub(super) async fn run(cx: &Cx<'_>, options: Watch) -> Result<(), Failure> {
    let url = Url::new(&["events"])
        .with("agent", options.agent)
        .with("type", options.kinds)
        .with("session", options.session)
        .with("capability", options.capability);
    let mut events = cx.client.stream(url.as_str()).await?;
    cx.out.note("watching; Ctrl-C ends it");
    while let Some(event) = events.next().await? {
        if cx.out.json {
            cx.out.value(&event);
        } else {
            show(cx, &event);
        }
    }
    Err(Failure::unreachable(
        "the gateway ended the stream: it is stopping",
    ))
}

fn show(cx: &Cx<'_>, event: &Value) {
    let kind = text(&event["type"]);
    if kind == "events_lost" {
        cx.out.note(&format!(
            "{} events were lost: this terminal was too slow",
            event["lost"]
        ));
        return;
    }
    let at: String = text(&event["timestamp"])
        .chars()
        .skip(11)
        .take(12)
        .collect();
    let agent = text(&event["agent"]);
    let look = match kind.as_str() {
        "capability_error" | "policy_violation" | "rate_limit_hit" => Look::Bad,
        "approval_requested" | "health_alert" => Look::Warn,
        "capability_result" => Look::Good,
        _ => Look::Plain,
    };
    let place = format!("{at:<12}  {agent:<16}  ");
    let name = format!("{kind:<20}  ");
    cx.out.spans(&[
        (Look::Dim, &place),
        (look, &name),
        (Look::Plain, &details(&event["data"])),
    ]);
}

/// The facts of an event on one line; the capability first.
fn details(data: &Value) -> String {
    let Some(facts) = data.as_object() else {
        return text(data);
    };
    let capability = facts.get("capability").map(text).unwrap_or_default();
    let rest = facts
        .iter()
        .filter(|(name, fact)| *name != "capability" && !fact.is_null())
        .map(|(name, fact)| format!("{name}={}", text(fact)));
    let mut parts = vec![capability];
    parts.extend(rest);
    parts.retain(|part| !part.is_empty());
    parts.join("  ")
}
