//! `/audit`: asking the log, following it, and proving that nobody changed it.

use super::error::{Answer, ApiError};
use super::events::{matches, sent};
use super::extract::{Body, By, MAX_LIMIT, Params, bounded, page_limit};
use crate::gateway::Gateway;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use kruxos_audit::{AuditError, AuditLog, Kind, Query, Status, entry_json};
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/audit", get(query))
        .route("/audit/entries/{id}", get(entry))
        .route("/audit/tail", get(tail))
        .route("/audit/stats", get(stats))
        .route("/audit/verify", post(verify))
}

/// The query part of a request, for pages and for the live tail alike.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    agent: Option<String>,
    user: Option<String>,
    /// Exact or a glob.
    capability: Option<String>,
    status: Option<String>,
    session: Option<String>,
    kind: Option<String>,
    /// Not before.
    from: Option<Timestamp>,
    /// Not after.
    to: Option<Timestamp>,
    limit: Option<usize>,
    /// The cursor of the page before.
    cursor: Option<u64>,
}

impl Filter {
    fn status(&self) -> Result<Option<Status>, ApiError> {
        let names = || Status::ALL.map(Status::as_str).join(", ");
        let parse = |name: &String| {
            Status::from_name(name)
                .ok_or_else(|| ApiError::invalid("status", "is not a status", &names()))
        };
        self.status.as_ref().map(parse).transpose()
    }

    fn kind(&self) -> Result<Option<Kind>, ApiError> {
        let names = || Kind::ALL.map(Kind::as_str).join(", ");
        let parse = |name: &String| {
            Kind::from_name(name)
                .ok_or_else(|| ApiError::invalid("kind", "is not a kind", &names()))
        };
        self.kind.as_ref().map(parse).transpose()
    }

    fn query(self) -> Result<Query, ApiError> {
        Ok(Query {
            status: self.status()?,
            kind: self.kind()?,
            limit: page_limit(self.limit)?,
            agent: self.agent,
            user: self.user,
            capability: self.capability,
            session: self.session,
            from: self.from,
            to: self.to,
            before_seq: self.cursor,
            after_seq: None,
            newest_first: true,
        })
    }

    /// Whether a live entry is one of those asked for.
    fn takes(&self, entry: &Value) -> bool {
        let same = |wanted: &Option<String>, found: &Value| {
            wanted.as_deref().is_none_or(|wanted| found == wanted)
        };
        let actor = |wanted: &Option<String>, kind: &str| {
            let found = &entry["actor"];
            wanted
                .as_deref()
                .is_none_or(|name| found["type"] == kind && found["name"] == name)
        };
        let capability = self.capability.as_deref().is_none_or(|pattern| {
            entry["capability"]
                .as_str()
                .is_some_and(|name| matches(pattern, name))
        });
        capability
            && actor(&self.agent, "agent")
            && actor(&self.user, "user")
            && same(&self.status, &entry["status"])
            && same(&self.kind, &entry["kind"])
            && same(&self.session, &entry["session_id"])
    }
}

/// The log's reads wait for disk and index, so they leave the async threads alone.
async fn read<T, F>(gateway: &Gateway, work: F) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: FnOnce(&AuditLog) -> Result<T, AuditError> + Send + 'static,
{
    let log = gateway.audit.clone();
    match tokio::task::spawn_blocking(move || work(&log)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(unreadable(&error).into()),
        Err(panicked) => Err(CallError::internal_failure(panicked).into()),
    }
}

pub(super) fn unreadable(error: &AuditError) -> CallError {
    CallError::new(ErrorType::ServiceUnavailable)
        .with("service", "audit")
        .with("reason", error.to_string())
        .internal(error)
}

async fn query(
    By(_): By,
    State(gateway): State<Gateway>,
    Params(filter): Params<Filter>,
) -> Answer {
    let query = filter.query()?;
    let page = read(&gateway, move |log| log.query(&query)).await?;
    let cursor = page
        .entries
        .last()
        .filter(|_| page.more)
        .map(|last| last.seq);
    let entries: Vec<Value> = page.entries.iter().map(entry_json).collect();
    Ok(Json(json!({"entries": entries, "next_cursor": cursor})))
}

async fn entry(By(_): By, State(gateway): State<Gateway>, Path(id): Path<String>) -> Answer {
    bounded("id", &id)?;
    let wanted = id.clone();
    let found = read(&gateway, move |log| log.show(&wanted)).await?;
    let expected = "the id or sequence number of an entry";
    let entry = found.ok_or_else(|| ApiError::not_found("id", &id, expected))?;
    Ok(Json(entry_json(&entry)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatsQuery {
    from: Option<Timestamp>,
}

async fn stats(
    By(_): By,
    State(gateway): State<Gateway>,
    Params(StatsQuery { from }): Params<StatsQuery>,
) -> Answer {
    Ok(Json(json!(
        read(&gateway, move |log| log.stats(from)).await?
    )))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn verify(
    By(_): By,
    State(gateway): State<Gateway>,
    Body(Nothing {}): Body<Nothing>,
) -> Answer {
    Ok(Json(verification(&gateway).await?))
}

/// The report over the whole log, after everything appended so far has reached the disk.
pub(super) async fn verification(gateway: &Gateway) -> Result<Value, CallError> {
    gateway
        .audit
        .flush()
        .await
        .map_err(|error| unreadable(&error))?;
    let directory = gateway.layout.audit();
    let checked = tokio::task::spawn_blocking(move || kruxos_audit::verify(&directory)).await;
    match checked {
        Ok(Ok(report)) => Ok(json!(report)),
        Ok(Err(error)) => Err(unreadable(&error)),
        Err(panicked) => Err(CallError::internal_failure(panicked)),
    }
}

/// The newest entries, as many as `limit` says (none when absent), then every new one.
async fn tail(
    By(_): By,
    State(gateway): State<Gateway>,
    Params(filter): Params<Filter>,
) -> Answer<Sse<impl Stream<Item = Result<Sent, Infallible>>>> {
    filter.status()?;
    filter.kind()?;
    if filter.from.is_some() || filter.to.is_some() || filter.cursor.is_some() {
        let error = CallError::invalid_input("from", "a live tail has no past", "GET /audit");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, error));
    }
    // Subscribed before the past is read, so that nothing falls between the two.
    let live = gateway.audit.subscribe();
    let count = filter.limit.unwrap_or(0).min(MAX_LIMIT);
    let past = match count {
        0 => Vec::new(),
        count => read(&gateway, move |log| log.tail(count)).await?,
    };
    let mut past: Vec<Value> = past.iter().map(entry_json).collect();
    past.sort_by_key(|entry| entry["seq"].as_u64());
    let reader = Reader {
        shown: past.last().and_then(|entry| entry["seq"].as_u64()),
        past: past.into_iter(),
        live,
        stopping: gateway.stopping.clone(),
        filter,
    };
    let entries = stream::unfold(reader, |mut reader| async move {
        let entry = reader.next().await?;
        Some((Ok(entry), reader))
    });
    Ok(Sse::new(entries).keep_alive(KeepAlive::default()))
}

struct Reader {
    past: std::vec::IntoIter<Value>,
    /// The last sequence number that the past had.
    shown: Option<u64>,
    live: Receiver<Arc<Value>>,
    stopping: CancellationToken,
    filter: Filter,
}

impl Reader {
    async fn next(&mut self) -> Option<Sent> {
        if let Some(entry) = self.past.by_ref().find(|entry| self.filter.takes(entry)) {
            return Some(sent(&entry));
        }
        loop {
            let received = tokio::select! {
                () = self.stopping.cancelled() => return None,
                received = self.live.recv() => received,
            };
            match received {
                Ok(entry) if entry["seq"].as_u64() <= self.shown && self.shown.is_some() => {}
                Ok(entry) if self.filter.takes(&entry) => return Some(sent(&entry)),
                Ok(_) => {}
                Err(RecvError::Lagged(lost)) => {
                    return Some(sent(&json!({"type": "entries_lost", "lost": lost})));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_live_filter_reads_entries_as_the_index_does() {
        let entry = json!({
            "actor": {"type": "agent", "name": "a"}, "capability": "filesystem.read",
            "status": "success", "kind": "call", "session_id": "s",
        });
        let takes = |filter: Value| {
            serde_json::from_value::<Filter>(filter)
                .unwrap()
                .takes(&entry)
        };
        assert!(takes(json!({})));
        assert!(takes(
            json!({"agent": "a", "capability": "filesystem.*", "status": "success"})
        ));
        assert!(!takes(json!({"user": "a"})));
        assert!(!takes(json!({"agent": "b"})));
        assert!(!takes(json!({"status": "error"})));
        assert!(!takes(json!({"capability": "system.*"})));
    }
}
