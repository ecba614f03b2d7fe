//! `audit …`.

use super::{Cx, items, text, text_or, time};
use crate::args::{Audit, AuditFilter, Format};
use crate::client::Url;
use crate::failure::{Exit, Failure};
use crate::output::Look;
use clap::ValueEnum;
use http::Method;
use kruxos_types::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Entries fetched with one request.
const PAGE: usize = 1000;
/// Entries shown unless told otherwise.
const DEFAULT_LIMIT: usize = 100;

pub(super) async fn run(cx: &Cx<'_>, command: Audit) -> Result<(), Failure> {
    match command {
        Audit::Query {
            filter,
            last,
            from,
            to,
            limit,
            format,
        } => {
            let from = match last {
                Some(last) => Some(earlier(last)?),
                None => from,
            };
            let url = || {
                filtered(Url::new(&["audit"]), &filter)
                    .with("from", from)
                    .with("to", to)
            };
            let entries = pages(cx, url, limit.unwrap_or(DEFAULT_LIMIT)).await?;
            let format = if cx.out.json { Format::Json } else { format };
            print(cx, entries, format)
        }
        Audit::Tail { filter } => tail(cx, &filter).await,
        Audit::Show { id } => {
            let entry = cx
                .client
                .get(Url::new(&["audit", "entries", &id]).as_str())
                .await?;
            if cx.out.json {
                cx.out.value(&entry);
            } else {
                cx.out.pretty(&entry);
            }
            Ok(())
        }
        Audit::Stats { last } => {
            let from = last.map(earlier).transpose()?;
            let url = Url::new(&["audit", "stats"]).with("from", from);
            let reply = cx.client.exchange(Method::GET, url.as_str(), None).await?;
            stats(cx, &reply.body);
            Ok(())
        }
        Audit::Verify => verify(cx).await,
    }
}

/// So long ago.
pub(super) fn earlier(span: Duration) -> Result<Timestamp, Failure> {
    SystemClock
        .now()
        .checked_sub(span)
        .map_err(|_| Failure::usage("that is longer ago than there is time"))
}

fn filtered(url: Url, filter: &AuditFilter) -> Url {
    let status = filter.status.and_then(|one| one.to_possible_value());
    url.with("agent", filter.agent.as_deref())
        .with("user", filter.user.as_deref())
        .with("capability", filter.capability.as_deref())
        .with("status", status.map(|value| value.get_name().to_owned()))
        .with("session", filter.session.as_deref())
        .with("kind", filter.kind.as_deref())
}

/// Follows cursors until there is no more or `limit` entries were found.
async fn pages(cx: &Cx<'_>, url: impl Fn() -> Url, limit: usize) -> Result<Vec<Value>, Failure> {
    let mut entries = Vec::new();
    let mut cursor = None;
    while entries.len() < limit {
        let wanted = (limit - entries.len()).min(PAGE);
        let url = url().with("limit", Some(wanted)).with("cursor", cursor);
        let page = cx.client.get(url.as_str()).await?;
        entries.extend(items(&page["entries"]).cloned());
        cursor = page["next_cursor"].as_u64();
        if cursor.is_none() {
            break;
        }
    }
    Ok(entries)
}

fn print(cx: &Cx<'_>, entries: Vec<Value>, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => cx.out.value(&Value::Array(entries)),
        Format::Jsonl => entries.iter().for_each(|entry| cx.out.value(entry)),
        Format::Csv => {
            cx.out.text(&COLUMNS.join(","));
            for entry in &entries {
                cx.out
                    .text(&COLUMNS.map(|column| csv(&cell(entry, column))).join(","));
            }
        }
        Format::Table => {
            if entries.is_empty() {
                cx.out.note("no entries");
                return Ok(());
            }
            let rows = entries.iter().map(|entry| {
                vec![
                    text(&entry["seq"]),
                    time(&entry["timestamp"]),
                    text(&entry["actor"]["name"]),
                    what(entry),
                    text(&entry["status"]),
                    text_or(&entry["policy_decision"]["tier"], "-"),
                    entry["duration_us"]
                        .as_u64()
                        .map(millis)
                        .unwrap_or_default(),
                ]
            });
            let header = ["seq", "time", "actor", "what", "status", "tier", "took"];
            cx.out.table(&header, rows.collect());
        }
    }
    Ok(())
}

/// Columns of the CSV form; nested values are JSON in their cell.
const COLUMNS: [&str; 18] = [
    "seq",
    "id",
    "timestamp",
    "actor_type",
    "actor_name",
    "session_id",
    "interface",
    "kind",
    "capability",
    "status",
    "duration_us",
    "inputs",
    "output_summary",
    "policy_decision",
    "resource_usage",
    "metadata",
    "previous_hash",
    "entry_hash",
];

fn cell(entry: &Value, column: &str) -> String {
    match column {
        "actor_type" => text(&entry["actor"]["type"]),
        "actor_name" => text(&entry["actor"]["name"]),
        column => text(&entry[column]),
    }
}

/// A cell by RFC 4180. A spreadsheet runs what starts like a formula, so such text is quoted as text.
fn csv(cell: &str) -> String {
    let clean = crate::clean::line(cell);
    let formula = clean.starts_with(['=', '+', '-', '@']);
    let shown = if formula { format!("'{clean}") } else { clean };
    if shown.contains(['"', ',', '\n']) {
        return format!("\"{}\"", shown.replace('"', "\"\""));
    }
    shown
}

/// The capability, or the event of an entry that is no call.
fn what(entry: &Value) -> String {
    let capability = text(&entry["capability"]);
    match entry["kind"].as_str() {
        Some("call") => capability,
        Some(kind) => {
            let event = text(&entry["metadata"]["event"]);
            let rest = if event.is_empty() { capability } else { event };
            format!("{kind}: {rest}")
        }
        None => capability,
    }
}

fn millis(micros: u64) -> String {
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}

async fn tail(cx: &Cx<'_>, filter: &AuditFilter) -> Result<(), Failure> {
    /// Entries of the past that give the live ones a context.
    const CONTEXT: usize = 10;
    let url = filtered(Url::new(&["audit", "tail"]), filter).with("limit", Some(CONTEXT));
    let mut entries = cx.client.stream(url.as_str()).await?;
    while let Some(entry) = entries.next().await? {
        if cx.out.json {
            cx.out.value(&entry);
        } else if entry["type"] == "entries_lost" {
            cx.out.note(&format!(
                "{} entries are not shown: this terminal was too slow",
                entry["lost"]
            ));
        } else {
            live(cx, &entry);
        }
    }
    Err(Failure::unreachable(
        "the gateway ended the stream: it is stopping",
    ))
}

fn live(cx: &Cx<'_>, entry: &Value) {
    let place = format!(
        "{:>6}  {}  {:<16}  ",
        text(&entry["seq"]),
        time(&entry["timestamp"]),
        text(&entry["actor"]["name"])
    );
    let status = format!("{:<9}", text(&entry["status"]));
    let took = entry["duration_us"]
        .as_u64()
        .map(millis)
        .unwrap_or_default();
    let look = match entry["status"].as_str() {
        Some("success" | "approved") => Look::Good,
        Some("pending") => Look::Warn,
        _ => Look::Bad,
    };
    let rest = format!("  {}  {took}", what(entry));
    cx.out.spans(&[
        (Look::Dim, &place),
        (look, &status),
        (Look::Plain, rest.trim_end()),
    ]);
}

fn stats(cx: &Cx<'_>, stats: &Value) {
    if cx.out.json {
        cx.out.value(stats);
        return;
    }
    let since = text_or(&stats["from"], "the beginning");
    cx.out
        .line(&format!("{} entries since {since}", stats["entries"]));
    let counts = |counts: &Value| {
        let all = counts.as_object().into_iter().flatten();
        all.map(|(name, count)| format!("{name} {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    cx.out
        .line(&format!("by status: {}", counts(&stats["by_status"])));
    cx.out
        .line(&format!("by kind: {}", counts(&stats["by_kind"])));
    let took = |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), millis);
    let rows = items(&stats["capabilities"]).map(|one| {
        vec![
            text(&one["capability"]),
            text(&one["calls"]),
            took(&one["p50_us"]),
            took(&one["p95_us"]),
            took(&one["p99_us"]),
            counts(&one["by_status"]),
        ]
    });
    cx.out.table(
        &["capability", "calls", "p50", "p95", "p99", "outcomes"],
        rows.collect(),
    );
    chain(cx, &stats["chain"]);
}

async fn verify(cx: &Cx<'_>) -> Result<(), Failure> {
    let report = match cx
        .client
        .exchange(Method::POST, "/audit/verify", Some(json!({})))
        .await
    {
        Ok(reply) => reply.body,
        Err(failure) if failure.exit == Exit::Unreachable => {
            let report = verify_files(&cx.client.place().data_dir)?;
            cx.out
                .note("No gateway answers; the files themselves were checked.");
            report
        }
        Err(failure) => return Err(failure),
    };
    if cx.out.json {
        cx.out.value(&report);
    } else {
        chain(cx, &report);
    }
    if report["ok"] == true {
        Ok(())
    } else {
        Err(Failure::shown(Exit::Failed))
    }
}

/// Checks the files of a data directory without a gateway.
pub(super) fn verify_files(data_dir: &Path) -> Result<Value, Failure> {
    let directory = data_dir.join("audit");
    if !directory.is_dir() {
        return Err(
            Failure::not_found(format!("there is no audit log in {}", data_dir.display()))
                .hint("Name the data directory with --data-dir."),
        );
    }
    let report =
        kruxos_audit::verify(&directory).map_err(|error| Failure::failed(error.to_string()))?;
    Ok(json!(report))
}

/// The state of the chain: one line when it holds, each break when it does not.
fn chain(cx: &Cx<'_>, report: &Value) {
    let size = format!(
        "({} entries across {} files)",
        report["entries"], report["files"]
    );
    if report["ok"] == true {
        cx.out
            .spans(&[(Look::Good, "verified ✓ "), (Look::Plain, &size)]);
        return;
    }
    cx.out
        .spans(&[(Look::Bad, "BROKEN "), (Look::Plain, &size)]);
    for found in items(&report["breaks"]) {
        let line = format!(
            "{} entry {} at byte {}: {}",
            text(&found["file"]),
            text_or(&found["seq"], "?"),
            found["offset"],
            text(&found["kind"]),
        );
        cx.out.spans(&[(Look::Bad, &line)]);
        for (name, key) in [("expected", "expected"), ("found", "found")] {
            if !found[key].is_null() {
                cx.out.line(&format!("  {name:<9}{}", text(&found[key])));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_cell_cannot_break_its_row_or_become_a_formula() {
        assert_eq!(csv("a\"b,c\nd"), "\"a\"\"b,c d\"");
        assert_eq!(csv("=HYPERLINK(1)"), "'=HYPERLINK(1)");
        assert_eq!(csv("plain"), "plain");
    }

    #[test]
    fn entries_that_are_no_calls_say_what_happened() {
        let call = json!({"kind": "call", "capability": "system.time"});
        let session = json!({"kind": "session", "metadata": {"event": "session started"}});
        assert_eq!(
            (what(&call), what(&session)),
            (
                "system.time".to_owned(),
                "session: session started".to_owned()
            )
        );
    }
}
