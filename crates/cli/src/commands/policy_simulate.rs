//! `policy simulate`: recorded calls under other rules.

use super::policy_files::{all, named, render};
use super::{Cx, text, time};
use crate::failure::{Exit, Failure};
use crate::output::Look;
use http::Method;
use kruxos_policy::{Diagnostic, Source, Sources};
use kruxos_types::{Clock, SystemClock};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::Duration;

pub(super) async fn run(
    cx: &Cx<'_>,
    policy: &Path,
    last: Duration,
    agent: Option<&str>,
) -> Result<(), Failure> {
    let stem = policy.file_stem().and_then(|stem| stem.to_str());
    let owner = agent.or(stem).unwrap_or_default();
    let new = named(cx, policy, policy, owner)?;
    let from = SystemClock
        .now()
        .checked_sub(last)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let mut body = json!({"files": files(&new.sources), "whole": new.whole, "from": from});
    if let (Some(agent), Some(fields)) = (agent, body.as_object_mut()) {
        fields.insert("agent".to_owned(), json!(agent));
    }
    let stream = cx
        .client
        .stream_of(Method::POST, "/policies/simulate", Some(body))
        .await;
    let mut events = match stream {
        Ok(events) => events,
        Err(failure) => return Err(refused(cx, failure, &new.sources)),
    };
    while let Some(event) = events.next().await? {
        match event["type"].as_str() {
            Some("error") => return Err(Failure::failed(text(&event["description"]))),
            Some("summary") => {
                summary(cx, &event);
                return Ok(());
            }
            _ if cx.out.json => cx.out.value(&event),
            _ => told(cx, &event),
        }
    }
    Err(Failure::unreachable(
        "the gateway ended the stream before the last call was decided",
    ))
}

/// Text by the name that the directory of policy files has for it.
fn files(sources: &Sources) -> Map<String, Value> {
    let layers = [
        ("system.yaml", &sources.system),
        ("org.yaml", &sources.organisation),
        ("user.yaml", &sources.user),
    ];
    let layers = layers
        .into_iter()
        .filter_map(|(name, source)| Some((name.to_owned(), source.as_ref()?)));
    let agents = sources.agents.iter();
    let agents = agents.map(|(agent, source)| (format!("agents/{agent}.yaml"), source));
    let shared = sources.shared.iter();
    let shared = shared.map(|(name, source)| (name.clone(), source));
    layers
        .chain(agents)
        .chain(shared)
        .map(|(name, source)| (name, Value::from(source.text.as_str())))
        .collect()
}

/// Files that do not compile are shown with their lines.
fn refused(cx: &Cx<'_>, failure: Failure, sources: &Sources) -> Failure {
    let found = failure
        .error
        .as_ref()
        .map(|error| error["diagnostics"].clone());
    let Some(problems) = found.and_then(|found| diagnostics(&found)) else {
        return failure;
    };
    if cx.out.json {
        cx.out.value(&json!({"ok": false, "diagnostics": problems}));
    } else {
        // The gateway names files from its own directory.
        let named: Vec<Source> = files(sources)
            .into_iter()
            .map(|(file, value)| Source {
                file,
                text: text(&value),
            })
            .collect();
        render(
            cx,
            &problems,
            &named.iter().chain(all(sources)).collect::<Vec<_>>(),
        );
    }
    Failure::shown(Exit::Failed)
}

fn diagnostics(found: &Value) -> Option<Vec<Diagnostic>> {
    let number = |value: &Value| {
        value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
    };
    let one = |one: &Value| {
        Some(Diagnostic {
            file: text(&one["file"]),
            line: number(&one["line"])?,
            column: number(&one["column"])?,
            message: text(&one["message"]),
            fatal: one["fatal"] == true,
        })
    };
    found.as_array()?.iter().map(one).collect()
}

fn told(cx: &Cx<'_>, event: &Value) {
    let call = format!(
        "{:>6}  {}  {:<16}  {}  ",
        text(&event["seq"]),
        time(&event["timestamp"]),
        text(&event["actor"]["name"]),
        text(&event["capability"]),
    );
    let was = text(&event["was"]);
    if event["type"] == "undecided" {
        let missing: Vec<String> = super::items(&event["not_recorded"]).map(text).collect();
        let line = format!("{was} → ? (not recorded: {})", missing.join(", "));
        cx.out.spans(&[(Look::Dim, &call), (Look::Dim, &line)]);
        return;
    }
    let new = &event["would_be"];
    let place = match new["line"].as_u64() {
        Some(line) => format!(" {}:{line} {}", text(&new["file"]), text(&new["rule"])),
        None => String::new(),
    };
    let line = format!("{was} → {}", text(&new["tier"]));
    let by = format!("  by {}{place}", text(&new["winner"]));
    cx.out
        .spans(&[(Look::Plain, &call), (Look::Warn, &line), (Look::Dim, &by)]);
}

fn summary(cx: &Cx<'_>, event: &Value) {
    if cx.out.json {
        cx.out.value(event);
        return;
    }
    cx.out.line(&format!(
        "{} calls: {} the same, {} would differ, {} undecided because inputs were not recorded, {} not replayed",
        event["calls"], event["same"], event["differ"], event["undecided"], event["not_replayed"]
    ));
    if event["damaged"] != 0 {
        cx.out.note(&format!(
            "{} entries of the log cannot be read",
            event["damaged"]
        ));
    }
    if event["truncated"] == true {
        cx.out
            .note("Only the oldest calls were looked at; there are more. Shorten --last.");
    }
}
