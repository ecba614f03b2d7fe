//! `/verify`: the pass or fail list behind `kruxos verify`.

use super::error::Answer;
use super::extract::By;
use crate::gateway::Gateway;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Everything that can be checked from inside, one line each. `ok` only when nothing failed.
pub(super) async fn report(By(_): By, State(gateway): State<Gateway>) -> Answer {
    let mut checks = vec![audit(&gateway).await];
    let (problems, warnings) = gateway.policy.diagnostics();
    checks.push(match problems.first() {
        None => {
            let generation = gateway.policy.mark().0;
            pass(
                "policy",
                format!("generation {generation}, {} warnings", warnings.len()),
            )
        }
        Some(problem) => fail("policy", problem.to_string()),
    });
    checks.push(private("data directory", &gateway.layout.data_dir));
    checks.push(private("control socket", &gateway.layout.control_socket()));
    let health = gateway.health_report().await;
    for service in health["services"].as_array().into_iter().flatten() {
        checks.push(health_part(service));
    }
    let ok = checks.iter().all(|check| check["result"] != "fail");
    Ok(Json(json!({"ok": ok, "checks": checks})))
}

async fn audit(gateway: &Gateway) -> Value {
    match super::audit::verification(gateway).await {
        Ok(report) if report["ok"] == true => pass(
            "audit chain",
            format!("{} entries in {} files", report["entries"], report["files"]),
        ),
        Ok(report) => {
            let first = &report["breaks"][0];
            fail(
                "audit chain",
                format!(
                    "{} entry {}: {}",
                    text(&first["file"]),
                    first["seq"],
                    text(&first["kind"])
                ),
            )
        }
        Err(error) => fail("audit chain", error.to_string()),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A part that is degraded works, with less protection than it could have.
fn health_part(service: &Value) -> Value {
    let name = format!("health: {}", text(&service["name"]));
    let details = text(&service["details"]).to_owned();
    match text(&service["status"]) {
        "healthy" => pass(&name, details),
        "degraded" => line(&name, "warn", details),
        _ => fail(&name, details),
    }
}

/// Others who can write could replace what the gateway trusts; others who can only look see names.
fn private(name: &str, path: &Path) -> Value {
    match std::fs::metadata(path) {
        Ok(found) => {
            let mode = found.mode() & 0o777;
            match mode {
                _ if mode & 0o077 == 0 => {
                    pass(name, format!("{} is the owner's alone", path.display()))
                }
                _ if mode & 0o022 == 0 => {
                    let detail = format!("{} has mode {mode:o}: others can look", path.display());
                    line(name, "warn", detail)
                }
                _ => fail(
                    name,
                    format!("{} has mode {mode:o}: others can write", path.display()),
                ),
            }
        }
        Err(error) => fail(name, format!("{}: {error}", path.display())),
    }
}

fn pass(name: &str, detail: String) -> Value {
    line(name, "pass", detail)
}

fn fail(name: &str, detail: String) -> Value {
    line(name, "fail", detail)
}

fn line(name: &str, result: &str, detail: String) -> Value {
    json!({"name": name, "result": result, "detail": detail})
}
