//! `mount …`: directories of this machine that an agent sees.

use super::{Cx, items, text};
use crate::args::Mount;
use crate::client::Url;
use crate::failure::Failure;
use http::Method;
use serde_json::{Value, json};

pub(super) async fn run(cx: &Cx<'_>, command: Mount) -> Result<(), Failure> {
    match command {
        Mount::Add {
            agent,
            source,
            target,
            read_only,
        } => {
            let label = target.strip_prefix("/mnt/").ok_or_else(|| {
                Failure::usage(format!("the target '{target}' is not /mnt/LABEL"))
            })?;
            let source = std::path::absolute(source)?;
            let body = json!({"label": label, "source": source, "read_only": read_only});
            let url = Url::new(&["agents", &agent, "mounts"]);
            let made = cx.client.post(url.as_str(), body).await?;
            if made["scanned_for_sockets"] == false {
                cx.out.note("It is too large to be looked through for sockets: make sure that it holds none.");
            }
            let said = format!("'{agent}' sees {} at {target}.", text(&made["source"]));
            super::agent::said(cx, &made, &said);
            Ok(())
        }
        Mount::List { agent } => list(cx, agent).await,
        Mount::Remove { agent, label, yes } => {
            let question =
                format!("Take /mnt/{label} away from '{agent}'? What runs in its box ends.");
            cx.out.confirm(&question, yes)?;
            let url = Url::new(&["agents", &agent, "mounts", &label]);
            let gone = cx
                .client
                .send(Method::DELETE, url.as_str(), None)
                .await?
                .body;
            super::agent::said(
                cx,
                &gone,
                &format!("'{agent}' no longer sees /mnt/{label}."),
            );
            Ok(())
        }
        Mount::ToggleReadonly { agent, label } => {
            let all = of(cx, &agent).await?;
            let found = items(&all["mounts"]).find(|mount| mount["label"] == *label);
            let found = found.ok_or_else(|| {
                Failure::not_found(format!("'{agent}' has no mount /mnt/{label}"))
            })?;
            let read_only = found["writable"] == true;
            let changed = edit(cx, &agent, &label, json!({"read_only": read_only})).await?;
            let how = if read_only { "read-only" } else { "writable" };
            super::agent::said(
                cx,
                &changed,
                &format!("/mnt/{label} of '{agent}' is {how} now."),
            );
            Ok(())
        }
        Mount::Relabel { agent, old, new } => {
            let changed = edit(cx, &agent, &old, json!({"label": new})).await?;
            super::agent::said(
                cx,
                &changed,
                &format!("/mnt/{old} of '{agent}' is /mnt/{new} now."),
            );
            Ok(())
        }
    }
}

async fn edit(cx: &Cx<'_>, agent: &str, label: &str, body: Value) -> Result<Value, Failure> {
    let url = Url::new(&["agents", agent, "mounts", label]);
    let answer = cx
        .client
        .send(Method::PATCH, url.as_str(), Some(body))
        .await?;
    Ok(answer.body)
}

async fn of(cx: &Cx<'_>, agent: &str) -> Result<Value, Failure> {
    let url = Url::new(&["agents", agent, "mounts"]);
    cx.client.get(url.as_str()).await
}

async fn list(cx: &Cx<'_>, agent: Option<String>) -> Result<(), Failure> {
    let agents = match agent {
        Some(agent) => vec![agent],
        None => {
            let all = cx.client.get("/agents?limit=1000").await?;
            items(&all["agents"])
                .map(|agent| text(&agent["name"]))
                .collect()
        }
    };
    let mut mounts = Vec::new();
    for agent in agents {
        let mut of_agent = of(cx, &agent).await?;
        if let Some(found) = of_agent["mounts"].as_array_mut() {
            mounts.append(found);
        }
    }
    if cx.out.json {
        cx.out.value(&json!(mounts));
        return Ok(());
    }
    let rows = mounts.iter().map(|mount| {
        let mode = if mount["writable"] == true {
            "writable"
        } else {
            "read-only"
        };
        vec![
            text(&mount["agent"]),
            text(&mount["target"]),
            text(&mount["source"]),
            mode.to_owned(),
        ]
    });
    cx.out
        .table(&["agent", "seen at", "directory", "mode"], rows.collect());
    Ok(())
}
