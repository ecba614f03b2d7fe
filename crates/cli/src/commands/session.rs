//! `session …`: what sessions changed in files.

use super::{Cx, bytes, items, text, time};
use crate::args::Session;
use crate::client::Url;
use crate::failure::Failure;
use http::Method;

pub(super) async fn run(cx: &Cx<'_>, command: Session) -> Result<(), Failure> {
    match command {
        Session::List => list(cx).await,
        Session::Diff { session } => diff(cx, &session).await,
    }
}

async fn list(cx: &Cx<'_>) -> Result<(), Failure> {
    let found = cx.client.get("/sessions").await?;
    if cx.out.json {
        cx.out.value(&found["sessions"]);
        return Ok(());
    }
    let rows = items(&found["sessions"]).map(|one| {
        vec![
            text(&one["session"]),
            text(&one["principal"]),
            time(&one["last_change"]),
            bytes(&one["bytes"]),
        ]
    });
    let header = ["session", "of", "last change", "journal"];
    cx.out.table(&header, rows.collect());
    if found["more"].as_u64().is_some_and(|more| more > 0) {
        cx.out
            .note(&format!("{} older ones are not shown.", found["more"]));
    }
    Ok(())
}

async fn diff(cx: &Cx<'_>, session: &str) -> Result<(), Failure> {
    let url = Url::new(&["sessions", session, "diff"]);
    // Every file that changed is read: no bound of time here.
    let report = cx
        .client
        .exchange(Method::GET, url.as_str(), None)
        .await?
        .body;
    if cx.out.json {
        cx.out.value(&report);
        return Ok(());
    }
    cx.out.diff(&text(&report["diff"]));
    super::undo::left(cx, &report);
    if report["undone"].as_u64().is_some_and(|undone| undone > 0) {
        cx.out.note(&format!(
            "{} of its changes were undone and are not shown.",
            report["undone"]
        ));
    }
    Ok(())
}
