//! `state …`.

use super::{Cx, bytes, items, text, time};
use crate::args::State;
use crate::client::Url;
use crate::failure::Failure;
use http::Method;
use serde_json::{Value, json};

pub(super) async fn run(cx: &Cx<'_>, command: State) -> Result<(), Failure> {
    match command {
        State::List {
            agent,
            prefix,
            limit,
        } => list(cx, &agent, &prefix, limit).await,
        State::Get {
            agent,
            key,
            version,
        } => {
            let url = Url::new(&["state", &agent, "keys", &key]).with("version", version);
            let found = cx.client.get(url.as_str()).await?;
            if cx.out.json {
                cx.out.value(&found);
            } else {
                cx.out.pretty(&found["value"]);
            }
            Ok(())
        }
        State::Set {
            agent,
            key,
            value,
            yes,
        } => {
            cx.out
                .confirm(&format!("Set '{key}' in the state of '{agent}'?"), yes)?;
            let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
            let url = Url::new(&["state", &agent, "keys", &key]);
            let body = Some(json!({"value": value}));
            let set = cx.client.send(Method::PUT, url.as_str(), body).await?.body;
            super::agent::said(
                cx,
                &set,
                &format!("'{key}' is set, version {}.", set["version"]),
            );
            Ok(())
        }
        State::Delete { agent, key, yes } => {
            cx.out
                .confirm(&format!("Delete '{key}' from the state of '{agent}'?"), yes)?;
            let url = Url::new(&["state", &agent, "keys", &key]);
            let gone = cx
                .client
                .send(Method::DELETE, url.as_str(), None)
                .await?
                .body;
            super::agent::said(
                cx,
                &gone,
                &format!("'{key}' is deleted; its history stays."),
            );
            Ok(())
        }
        State::Quota { agent } => quota(cx, &agent).await,
        State::History { agent, key, limit } => history(cx, &agent, &key, limit).await,
    }
}

async fn list(cx: &Cx<'_>, agent: &str, prefix: &str, limit: Option<usize>) -> Result<(), Failure> {
    let url = Url::new(&["state", agent, "keys"])
        .with("prefix", Some(prefix))
        .with("limit", limit);
    let page = cx.client.get(url.as_str()).await?;
    if cx.out.json {
        cx.out.value(&page);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = items(&page["keys"])
        .map(|key| {
            vec![
                text(&key["key"]),
                text(&key["version"]),
                bytes(&key["size_bytes"]),
                time(&key["updated_at"]),
            ]
        })
        .collect();
    let shown = rows.len() as u64;
    cx.out.table(&["key", "version", "size", "updated"], rows);
    let total = page["total"].as_u64().unwrap_or(shown);
    if total > shown {
        cx.out.note(&format!(
            "{shown} of {total} keys; narrow them with --prefix or ask for more with --limit"
        ));
    }
    Ok(())
}

async fn quota(cx: &Cx<'_>, agent: &str) -> Result<(), Failure> {
    let quota = cx
        .client
        .get(Url::new(&["state", agent, "quota"]).as_str())
        .await?;
    if cx.out.json {
        cx.out.value(&quota);
        return Ok(());
    }
    let used = format!(
        "{} of {} used",
        bytes(&quota["used_bytes"]),
        bytes(&quota["limit_bytes"])
    );
    cx.out.line(&format!(
        "{used}, {} keys, all versions counted",
        quota["keys"]
    ));
    let rows = items(&quota["largest"]).map(|one| vec![text(&one[0]), bytes(&one[1])]);
    cx.out.table(&["largest keys", "size"], rows.collect());
    Ok(())
}

async fn history(cx: &Cx<'_>, agent: &str, key: &str, limit: Option<usize>) -> Result<(), Failure> {
    let url = Url::new(&["state", agent, "history", key]).with("limit", limit);
    let page = cx.client.get(url.as_str()).await?;
    if cx.out.json {
        cx.out.value(&page["versions"]);
        return Ok(());
    }
    let rows = items(&page["versions"]).map(|version| {
        let value: String = match version["deleted"].as_bool() {
            Some(true) => "deleted".to_owned(),
            _ => version["value"].to_string().chars().take(80).collect(),
        };
        vec![
            text(&version["version"]),
            time(&version["created_at"]),
            bytes(&version["size_bytes"]),
            value,
        ]
    });
    cx.out
        .table(&["version", "created", "size", "value"], rows.collect());
    Ok(())
}
