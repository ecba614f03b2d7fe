//! `trash …`: what agents deleted.

use super::{Cx, bytes, items, text, time};
use crate::args::Trash;
use crate::client::Url;
use crate::failure::Failure;
use serde_json::json;

pub(super) async fn run(cx: &Cx<'_>, command: Trash) -> Result<(), Failure> {
    match command {
        Trash::List { agent } => list(cx, &agent).await,
        Trash::Restore {
            id,
            agent,
            overwrite,
        } => {
            let inputs = json!({"trash_path": id, "overwrite": overwrite});
            let body =
                json!({"capability": "filesystem.restore", "agent": agent, "inputs": inputs});
            let answer = cx.client.post("/call", body).await?;
            let said = match answer["status"].as_str() {
                Some("pending") => format!(
                    "The policy of '{agent}' asks for approval: {}.",
                    text(&answer["request_id"])
                ),
                _ => format!("Restored {}.", text(&answer["result"]["restored_path"])),
            };
            super::agent::said(cx, &answer, &said);
            Ok(())
        }
        Trash::Cleanup { dry_run } => {
            let answer = cx
                .client
                .post("/trash/cleanup", json!({"dry_run": dry_run}))
                .await?;
            let how = if dry_run { "would go" } else { "went" };
            super::agent::said(
                cx,
                &answer,
                &format!("{} entries {how}.", answer["entries"]),
            );
            Ok(())
        }
    }
}

async fn list(cx: &Cx<'_>, agent: &str) -> Result<(), Failure> {
    let url = Url::new(&["agents", agent, "trash"]);
    let found = cx.client.get(url.as_str()).await?;
    if cx.out.json {
        cx.out.value(&found["entries"]);
        return Ok(());
    }
    let rows = items(&found["entries"]).map(|entry| {
        let path = match text(&entry["mount"]).as_str() {
            "workspace" => format!("/workspace/{}", text(&entry["path"])),
            mount => format!("/mnt/{mount}/{}", text(&entry["path"])),
        };
        vec![
            text(&entry["id"]),
            path,
            text(&entry["kind"]),
            bytes(&entry["size"]),
            time(&entry["deleted_at"]),
            time(&entry["until"]),
        ]
    });
    let header = ["id", "path", "kind", "size", "deleted", "kept until"];
    cx.out.table(&header, rows.collect());
    if found["more"].as_u64().is_some_and(|more| more > 0) {
        cx.out
            .note(&format!("{} older ones are not shown.", found["more"]));
    }
    Ok(())
}
