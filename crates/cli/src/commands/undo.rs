//! `undo`: taking back what a session changed in files.

use super::{Cx, items, text};
use crate::args::Undo;
use crate::client::Url;
use crate::failure::Failure;
use http::Method;
use serde_json::{Value, json};

pub(super) async fn run(cx: &Cx<'_>, options: Undo) -> Result<(), Failure> {
    let session = &options.session;
    if !options.dry_run {
        let question = format!(
            "Undo the file changes of session '{session}'? With --dry-run they are shown first."
        );
        cx.out.confirm(&question, options.yes)?;
    }
    let url = Url::new(&["sessions", session, "undo"]);
    let body = json!({"dry_run": options.dry_run, "skip_changed": options.skip_changed});
    // As many files as a session changed, each made durable: no bound of time here.
    let answer = cx
        .client
        .exchange(Method::POST, url.as_str(), Some(body))
        .await;
    let report = answer
        .map_err(|failure| {
            failure.hint("With --dry-run it shows what can and what cannot be undone.")
        })?
        .body;
    if cx.out.json {
        cx.out.value(&report);
        return Ok(());
    }
    if options.dry_run {
        cx.out.diff(&text(&report["diff"]));
    }
    left(cx, &report);
    let count = &report["undo"];
    match text(&report["recorded_as"]).as_str() {
        "" => cx.out.note(&format!(
            "{count} paths would be restored; nothing was done."
        )),
        recorded => {
            cx.out.line(&format!(
                "{count} paths were restored; kruxos undo --session {recorded} takes that back."
            ));
        }
    }
    Ok(())
}

/// What is not undone, and what nobody recorded.
pub(super) fn left(cx: &Cx<'_>, report: &Value) {
    for row in items(&report["changes"]).filter(|row| !row["reason"].is_null()) {
        let what = match row["verdict"].as_str() {
            Some("not_kept") => "not kept",
            _ => "changed since",
        };
        let (path, reason) = (text(&row["path"]), text(&row["reason"]));
        cx.out.line(&format!(
            "{what}: {path} ({}): {reason}",
            text(&row["change"])
        ));
    }
    if report["more"].as_u64().is_some_and(|more| more > 0) {
        cx.out.note(&format!(
            "{} more changes are not named here.",
            report["more"]
        ));
    }
    if report["incomplete"] == true {
        cx.out.note(
            "The session changed more than its journal holds: its last changes are not in it.",
        );
    }
    let programs: Vec<String> = items(&report["programs"]).map(text).collect();
    if !programs.is_empty() {
        let programs = programs.join(", ");
        cx.out.note(&format!(
            "The session ran {programs}: what programs changed is not recorded and not undone."
        ));
    }
}
