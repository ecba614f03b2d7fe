//! `config …`.

use super::{Cx, items, text, text_or};
use crate::args::Config;
use crate::client::Url;
use crate::failure::{Exit, Failure};
use crate::output::Look;
use http::Method;
use kruxos_catalog::Catalog;
use kruxos_policy::{Sources, layer_of, render_diagnostic, validate, validate_among};
use serde_json::{Value, json};
use std::path::Path;

pub(super) async fn run(cx: &Cx<'_>, command: Config) -> Result<(), Failure> {
    match command {
        Config::Show { key: None } => show_all(cx).await,
        Config::Show { key: Some(key) } if key == "policy" => show_policy(cx).await,
        Config::Show { key: Some(key) } => show_key(cx, &key).await,
        Config::Set {
            key,
            value,
            agent,
            yes,
        } if key == "policy" => set_policy(cx, &value, agent.as_deref(), yes).await,
        Config::Set { agent: Some(_), .. } => {
            Err(Failure::usage("--agent goes with `set policy` only"))
        }
        Config::Set { key, value, .. } => set(cx, &key, value).await,
        Config::Validate { file } => check_file(cx, &file),
        Config::CheckPolicy {
            agent,
            capability,
            inputs,
            interface,
        } => {
            check_policy(
                cx,
                agent.as_deref(),
                &capability,
                &inputs,
                interface.as_deref(),
            )
            .await
        }
    }
}

async fn show_all(cx: &Cx<'_>) -> Result<(), Failure> {
    let config = cx.client.get("/config").await?;
    if cx.out.json {
        cx.out.value(&config);
        return Ok(());
    }
    let rows = items(&config["keys"]).map(|key| {
        let changed = if key["value"] == key["default"] {
            ""
        } else {
            "changed"
        };
        vec![
            text(&key["key"]),
            text_or(&key["value"], "-"),
            changed.to_owned(),
            text(&key["doc"]),
        ]
    });
    cx.out
        .table(&["key", "value", "", "what it does"], rows.collect());
    cx.out.note(&format!("file: {}", text(&config["file"])));
    Ok(())
}

async fn show_key(cx: &Cx<'_>, key: &str) -> Result<(), Failure> {
    let row = cx.client.get(Url::new(&["config", key]).as_str()).await?;
    if cx.out.json {
        cx.out.value(&row);
        return Ok(());
    }
    cx.out.text(&text_or(&row["value"], "-"));
    Ok(())
}

async fn show_policy(cx: &Cx<'_>) -> Result<(), Failure> {
    let policy = cx.client.get("/policies").await?;
    if cx.out.json {
        cx.out.value(&policy);
        return Ok(());
    }
    cx.out.line(&format!(
        "generation {}, files in {}",
        policy["generation"],
        text(&policy["directory"])
    ));
    let rows = items(&policy["files"]).map(|file| {
        vec![
            text(&file["layer"]),
            text(&file["file"]),
            text(&file["bytes"]),
        ]
    });
    cx.out.table(&["layer", "file", "bytes"], rows.collect());
    let agents = policy["agents"].as_object();
    let rows = agents
        .into_iter()
        .flatten()
        .map(|(agent, group)| vec![agent.clone(), text(group)]);
    cx.out.table(&["agent", "template"], rows.collect());
    for problem in items(&policy["problems"]).chain(items(&policy["warnings"])) {
        let fatal = problem["fatal"] == true;
        let look = if fatal { Look::Bad } else { Look::Warn };
        let line = format!(
            "{} {}:{}:{}: {}",
            if fatal { "error" } else { "warning" },
            text(&problem["file"]),
            problem["line"],
            problem["column"],
            text(&problem["message"]),
        );
        cx.out.spans(&[(look, &line)]);
    }
    Ok(())
}

async fn set(cx: &Cx<'_>, key: &str, value: String) -> Result<(), Failure> {
    let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
    let url = Url::new(&["config", key]);
    let body = Some(json!({"value": value}));
    let set = cx.client.send(Method::PUT, url.as_str(), body).await?.body;
    if cx.out.json {
        cx.out.value(&set);
        return Ok(());
    }
    cx.out.line(&format!(
        "{key} = {} in {}",
        text_or(&set["value"], "-"),
        text(&set["file"])
    ));
    if set["restart_needed"] == true {
        cx.out
            .note("The running gateway keeps the old value until it is restarted.");
    }
    Ok(())
}

async fn set_policy(
    cx: &Cx<'_>,
    template: &str,
    agent: Option<&str>,
    yes: bool,
) -> Result<(), Failure> {
    let whom = agent.map_or_else(|| "every agent".to_owned(), |agent| format!("'{agent}'"));
    cx.out.confirm(
        &format!("Let {whom} start from the template {template}?"),
        yes,
    )?;
    let mut body = json!({"template": template});
    if let (Some(agent), Some(fields)) = (agent, body.as_object_mut()) {
        fields.insert("agent".to_owned(), json!(agent));
    }
    let done = cx
        .client
        .send(Method::PUT, "/policies/template", Some(body))
        .await?
        .body;
    let changed: Vec<String> = items(&done["changed"]).map(text).collect();
    let sentence = match changed.as_slice() {
        [] => format!("Nothing to do: {whom} starts from {template} already."),
        names => format!("{template} is in force for {}.", names.join(", ")),
    };
    super::agent::said(cx, &done, &sentence);
    Ok(())
}

/// Checks a file with the same code that the gateway loads it with.
fn check_file(cx: &Cx<'_>, file: &Path) -> Result<(), Failure> {
    let shown = file.display().to_string();
    let (found, source_text) = match super::policy_files::read(file, &shown)? {
        Ok(source) => {
            let found = match neighbours(cx, file) {
                Some(others) => {
                    validate_among(&source, layer_of(&source), Catalog::builtin(), &others)
                }
                None => validate(&source, Catalog::builtin()),
            };
            (found, source.text)
        }
        Err(problem) => (vec![problem], String::new()),
    };
    let ok = !found.iter().any(|diagnostic| diagnostic.fatal);
    if cx.out.json {
        cx.out
            .value(&json!({"ok": ok, "file": shown, "diagnostics": found}));
    } else {
        for diagnostic in &found {
            cx.out.text(&render_diagnostic(diagnostic, &source_text));
        }
        let warnings = found.iter().filter(|diagnostic| !diagnostic.fatal).count();
        let verdict = if ok {
            (Look::Good, "valid")
        } else {
            (Look::Bad, "not valid")
        };
        cx.out.spans(&[
            verdict,
            (Look::Plain, &format!(": {shown}, {warnings} warnings")),
        ]);
    }
    if ok {
        Ok(())
    } else {
        Err(Failure::shown(Exit::Failed))
    }
}

/// The other files of the directory of policy files that the file lies in, if it lies in one: what it
/// extends, and what enforces more than it says.
fn neighbours(cx: &Cx<'_>, file: &Path) -> Option<Sources> {
    let parent = file.parent().filter(|parent| parent.as_os_str() != "");
    let parent = parent.unwrap_or(Path::new("."));
    let directory = match parent.ends_with("agents") {
        true => parent.parent()?,
        false => parent,
    };
    let is_policies = ["system.yaml", "org.yaml", "agents"]
        .iter()
        .any(|name| directory.join(name).exists());
    if !is_policies {
        return None;
    }
    match super::policy_files::found(directory, directory, "") {
        Ok((named, problems)) if problems.is_empty() => Some(named.sources),
        _ => {
            cx.out
                .note("Other files beside it cannot be read; it was checked by itself.");
            None
        }
    }
}

async fn check_policy(
    cx: &Cx<'_>,
    agent: Option<&str>,
    capability: &str,
    pairs: &[String],
    interface: Option<&str>,
) -> Result<(), Failure> {
    let definition = cx
        .client
        .get(Url::new(&["capabilities", capability]).as_str())
        .await?;
    let inputs = crate::inputs::build(pairs, None, &definition["input_schema"])?;
    let mut body = json!({"capability": definition["name"], "inputs": inputs});
    if let Some(fields) = body.as_object_mut() {
        for (key, value) in [("agent", agent), ("interface", interface)] {
            if let Some(value) = value {
                fields.insert(key.to_owned(), json!(value));
            }
        }
    }
    let decision = cx.client.post("/check-policy", body).await?;
    if cx.out.json {
        cx.out.value(&decision);
        return Ok(());
    }
    let tier = text(&decision["tier"]);
    let from = format!(
        "  decided by {}, generation {}",
        text(&decision["winner"]),
        decision["generation"]
    );
    cx.out
        .spans(&[(look_of(&tier), &tier), (Look::Plain, &from)]);
    let rows = items(&decision["layers"]).map(|layer| {
        let winner = if layer["layer"] == decision["winner"] {
            "→"
        } else {
            ""
        };
        let place = match layer["line"].as_u64() {
            Some(line) => format!("{}:{line}", text(&layer["file"])),
            None => text(&layer["file"]),
        };
        // Of a call with several paths, the one that makes the rule answer.
        let by = layer["path"].as_str().map(|path| format!(" (by {path})"));
        vec![
            winner.to_owned(),
            text(&layer["layer"]),
            text_or(&layer["tier"], "-"),
            text(&layer["force"]),
            place,
            text(&layer["rule"]) + by.as_deref().unwrap_or_default(),
            text(&layer["reason"]),
        ]
    });
    cx.out.table(
        &["", "layer", "tier", "force", "file", "rule", "reason"],
        rows.collect(),
    );
    if let Some(rate) = decision["rate"].as_object() {
        let field = |name: &str| rate.get(name).map(text).unwrap_or_default();
        cx.out.line(&format!(
            "rate: {} of {} used in {} s",
            field("used"),
            field("max"),
            field("window")
        ));
    }
    let shadow = &decision["shadow"];
    if !shadow.is_null() {
        let limited = match shadow["rate_limited"] == true {
            true => ", refused by its rate limit",
            false => "",
        };
        let line = format!(
            "in shadow mode: {}{limited}, decided by {} {}:{} {}",
            text(&shadow["tier"]),
            text(&shadow["winner"]),
            text(&shadow["file"]),
            text(&shadow["line"]),
            text(&shadow["rule"]),
        );
        cx.out.spans(&[(Look::Warn, &line)]);
    }
    if !decision["refusal"].is_null() {
        cx.out
            .spans(&[(Look::Bad, "a call now would be refused by its rate limit")]);
    }
    Ok(())
}

fn look_of(tier: &str) -> Look {
    match tier {
        "autonomous" | "notify" => Look::Good,
        "approval_required" => Look::Warn,
        _ => Look::Bad,
    }
}
