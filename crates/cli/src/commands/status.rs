//! `status` and `version`.

use super::{Cx, bytes, items, text, text_or};
use crate::failure::{Exit, Failure};
use crate::output::Look;
use crate::span;
use serde_json::{Value, json};

/// A summary a person can take in at a glance. Fails when the gateway is critical.
pub(super) async fn run(cx: &Cx<'_>) -> Result<(), Failure> {
    let status = cx.client.get("/status").await?;
    let critical = status["status"] == "critical";
    if cx.out.json {
        cx.out.value(&status);
    } else {
        summary(cx, &status);
    }
    if critical {
        Err(Failure::shown(Exit::Failed))
    } else {
        Ok(())
    }
}

fn summary(cx: &Cx<'_>, status: &Value) {
    let word = text(&status["status"]);
    let uptime = span::show(status["uptime_seconds"].as_u64().unwrap_or(0));
    let about = format!(
        "  kruxos {}, pid {}, up {uptime}",
        text(&status["version"]),
        status["pid"]
    );
    cx.out
        .spans(&[(look_of(&word), &word), (Look::Plain, &about)]);
    let row = |name: &str, value: &str| {
        cx.out
            .spans(&[(Look::Dim, &format!("{name:<12}")), (Look::Plain, value)])
    };
    row("agents at", &text(&status["endpoint"]));
    row(
        "health at",
        &text_or(&status["health_endpoint"], "not listening"),
    );
    row("data", &text(&status["data_dir"]));
    let sessions = items(&status["sessions"]).count();
    row(
        "agents",
        &format!("{} registered, {sessions} in session", status["agents"]),
    );
    let pending = &status["approvals"];
    let waiting = match pending["oldest_created_at"].as_str() {
        Some(since) => format!(
            "{} waiting, the oldest since {since}: kruxos approve list",
            pending["pending"]
        ),
        None => "none waiting".to_owned(),
    };
    row("approvals", &waiting);
    row("alerts", &format!("{} open", status["open_alerts"]));
    let memory = &status["resources"];
    row(
        "machine",
        &format!(
            "cpu {}%, memory {}% of {}, disk {}% of {}",
            memory["cpu_percent"],
            memory["memory_percent"],
            bytes(&memory["memory_total_bytes"]),
            memory["disk_percent"],
            bytes(&memory["disk_total_bytes"]),
        ),
    );
    for service in items(&status["services"]) {
        let state = text(&service["status"]);
        let name = format!("{:<12}", text(&service["name"]));
        let details = format!("  {}", text(&service["details"]));
        cx.out.spans(&[
            (Look::Dim, &name),
            (look_of(&state), &state),
            (Look::Plain, &details),
        ]);
    }
    for problem in items(&status["policy"]["problems"]) {
        let place = format!(
            "policy {}:{}:{}: {}",
            text(&problem["file"]),
            problem["line"],
            problem["column"],
            text(&problem["message"])
        );
        cx.out.spans(&[(Look::Bad, &place)]);
    }
}

fn look_of(status: &str) -> Look {
    match status {
        "healthy" => Look::Good,
        "degraded" => Look::Warn,
        _ => Look::Bad,
    }
}

/// This program's version, and the running gateway's where there is one.
pub(super) async fn version(cx: &Cx<'_>) -> Result<(), Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let gateway = match cx.client.get("/status").await {
        Ok(status) => status["version"].clone(),
        Err(failure) if failure.exit == Exit::Unreachable => Value::Null,
        Err(failure) => return Err(failure),
    };
    if cx.out.json {
        cx.out.value(&json!({"kruxos": own, "gateway": gateway}));
        return Ok(());
    }
    cx.out.text(&format!("kruxos {own}"));
    cx.out
        .line(&format!("gateway {}", text_or(&gateway, "not running")));
    Ok(())
}
