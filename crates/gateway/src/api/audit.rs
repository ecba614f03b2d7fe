//! `/audit`: asking the log, following it, and proving that it was not touched.

use super::error::Answer;
use super::events::sent;
use super::extract::By;
use crate::gateway::Gateway;
use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::routing::get;
use futures_util::stream::{self, Stream};
use kruxos_types::CallError;
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio::sync::broadcast::error::RecvError;

pub(super) fn routes() -> Router<Gateway> {
    Router::new().route("/audit/tail", get(tail))
}

pub(super) async fn verification(_gateway: &Gateway) -> Result<Value, CallError> {
    Err(CallError::internal_failure("not yet"))
}

async fn tail(
    By(_): By,
    State(gateway): State<Gateway>,
) -> Answer<Sse<impl Stream<Item = Result<Sent, Infallible>>>> {
    let start = (gateway.audit.subscribe(), gateway.stopping.clone());
    let entries = stream::unfold(start, |(mut entries, stopping)| async move {
        let received = tokio::select! {
            () = stopping.cancelled() => return None,
            received = entries.recv() => received,
        };
        let event = match received {
            Ok(entry) => sent(&entry),
            Err(RecvError::Lagged(lost)) => sent(&json!({"type": "entries_lost", "lost": lost})),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), (entries, stopping)))
    });
    Ok(Sse::new(entries).keep_alive(KeepAlive::default()))
}
