//! `verify`: the pass or fail list of everything that can be checked.

use super::{Cx, items, text};
use crate::failure::{Exit, Failure};
use crate::output::Look;
use http::Method;
use serde_json::{Value, json};

pub(super) async fn run(cx: &Cx<'_>) -> Result<(), Failure> {
    let (checks, exit) = match cx.client.exchange(Method::GET, "/verify", None).await {
        Ok(reply) => {
            let mut checks = vec![line(
                "gateway",
                "pass",
                "answers on its control socket".to_owned(),
            )];
            checks.extend(items(&reply.body["checks"]).cloned());
            (checks, Exit::Failed)
        }
        Err(failure) if failure.exit == Exit::Unreachable => {
            cx.out.note(&failure.message);
            (offline(cx, &failure.message), Exit::Unreachable)
        }
        Err(failure) => return Err(failure),
    };
    let ok = checks.iter().all(|check| check["result"] != "fail");
    if cx.out.json {
        cx.out.value(&json!({"ok": ok, "checks": checks}));
    } else {
        for check in &checks {
            show(cx, check);
        }
    }
    if ok {
        Ok(())
    } else {
        Err(Failure::shown(exit))
    }
}

/// Without a gateway the audit log can still be checked.
fn offline(cx: &Cx<'_>, cause: &str) -> Vec<Value> {
    let audit = match super::audit::verify_files(&cx.client.place().data_dir) {
        Ok(report) if report["ok"] == true => line(
            "audit chain",
            "pass",
            format!("{} entries in {} files", report["entries"], report["files"]),
        ),
        Ok(report) => line(
            "audit chain",
            "fail",
            format!(
                "{} breaks: kruxos audit verify",
                items(&report["breaks"]).count()
            ),
        ),
        Err(failure) => line("audit chain", "fail", failure.message),
    };
    vec![line("gateway", "fail", cause.to_owned()), audit]
}

fn line(name: &str, result: &str, detail: String) -> Value {
    json!({"name": name, "result": result, "detail": detail})
}

fn show(cx: &Cx<'_>, check: &Value) {
    let (look, mark) = match check["result"].as_str() {
        Some("pass") => (Look::Good, "pass"),
        Some("warn") => (Look::Warn, "warn"),
        _ => (Look::Bad, "FAIL"),
    };
    let name = format!("  {:<18}", text(&check["name"]));
    cx.out.spans(&[
        (look, mark),
        (Look::Plain, &name),
        (Look::Dim, &text(&check["detail"])),
    ]);
}
