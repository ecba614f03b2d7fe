//! A POST's answer: plain JSON, or an event stream once there is something to say before the answer.

use super::http::{fault, of_reply};
use super::legacy_sessions::LegacySession;
use super::sse::{self, StreamId};
use crate::mcp::wire::{INTERNAL_ERROR, INVALID_REQUEST, text_of};
use crate::mcp::{Era, Fault, HeaderFacts, Message, Outbox, Outgoing, Peer, Reply};
use axum::body::Bytes;
use axum::response::Response;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream;
use http::StatusCode;
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Messages in one batch: a batch is answered as one body.
const MAX_BATCH: usize = 100;

/// Reads one message and dispatches it.
async fn work(
    peer: Peer,
    era: Era,
    bytes: Bytes,
    headers: Option<HeaderFacts>,
    out: Outbox,
    cancel: CancellationToken,
) -> Reply {
    match text_of(&bytes).and_then(Message::read) {
        Ok(message) => {
            crate::mcp::dispatch(&peer, era, message, headers.as_ref(), &out, cancel).await
        }
        Err(problem) => Reply::fault(&problem, 400),
    }
}

/// One message whose answer is plain JSON.
pub(crate) async fn one(peer: Peer, era: Era, bytes: Bytes, headers: Option<HeaderFacts>) -> Reply {
    work(
        peer,
        era,
        bytes,
        headers,
        Outbox::closed(),
        CancellationToken::new(),
    )
    .await
}

/// A request of 2026-07-28. The client leaving cancels it: dropping this future, or the stream that
/// comes of it, drops the guard.
pub(crate) async fn modern(
    peer: Peer,
    bytes: Bytes,
    headers: HeaderFacts,
    accepts_events: bool,
) -> Response {
    let cancel = CancellationToken::new();
    let guard = cancel.clone().drop_guard();
    if !accepts_events {
        let reply = work(
            peer,
            Era::Modern,
            bytes,
            Some(headers),
            Outbox::closed(),
            cancel,
        )
        .await;
        return of_reply(reply);
    }
    let (out, mut messages) = Outbox::new();
    let mut answer: BoxFuture<'static, Reply> =
        Box::pin(work(peer, Era::Modern, bytes, Some(headers), out, cancel));
    let first = tokio::select! {
        biased;
        Some(first) = messages.recv() => first,
        reply = &mut answer => {
            let mut waiting = VecDeque::new();
            drain(&mut messages, &mut waiting);
            if waiting.is_empty() {
                return of_reply(reply);
            }
            waiting.extend(reply.text);
            return live(Live { answer: None, messages, waiting, _guard: guard });
        }
    };
    let mut waiting = VecDeque::new();
    push(first, &mut waiting);
    live(Live {
        answer: Some(answer),
        messages,
        waiting,
        _guard: guard,
    })
}

/// A stream that is bound to its connection.
struct Live {
    answer: Option<BoxFuture<'static, Reply>>,
    messages: Receiver<Outgoing>,
    waiting: VecDeque<String>,
    _guard: DropGuard,
}

fn live(state: Live) -> Response {
    sse::respond(stream::unfold(state, |mut state| async move {
        loop {
            if let Some(text) = state.waiting.pop_front() {
                return Some((sse::event(None, &text), state));
            }
            let answer = state.answer.as_mut()?;
            tokio::select! {
                biased;
                Some(message) = state.messages.recv() => push(message, &mut state.waiting),
                reply = answer => {
                    state.answer = None;
                    drain(&mut state.messages, &mut state.waiting);
                    state.waiting.extend(reply.text);
                }
                () = tokio::time::sleep(sse::KEEP_ALIVE) => {
                    return Some((sse::keep_alive(), state));
                }
            }
        }
    }))
}

fn push(message: Outgoing, waiting: &mut VecDeque<String>) {
    match message {
        Outgoing::Message(text) => waiting.push_back(text),
        #[cfg(feature = "conformance-fixtures")]
        Outgoing::BreakStream => {}
    }
}

fn drain(messages: &mut Receiver<Outgoing>, waiting: &mut VecDeque<String>) {
    while let Ok(message) = messages.try_recv() {
        push(message, waiting);
    }
}

/// A message, or a batch, of a legacy session. It goes on when the client leaves.
pub(crate) async fn legacy(
    mut peer: Peer,
    session: Arc<LegacySession>,
    bytes: Bytes,
    accepts_events: bool,
) -> Response {
    peer.link = Some(session.link.clone());
    let tasks = peer.mcp.gateway.tasks.clone();
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return batch(peer, bytes).await;
    }
    if !accepts_events {
        let work = work(
            peer,
            Era::Legacy,
            bytes,
            None,
            Outbox::closed(),
            CancellationToken::new(),
        );
        return finished(tasks.spawn(work).await);
    }
    let (out, mut messages) = Outbox::new();
    let mut answer = tasks.spawn(work(
        peer,
        Era::Legacy,
        bytes,
        None,
        out,
        CancellationToken::new(),
    ));
    let first = tokio::select! {
        biased;
        Some(first) = messages.recv() => Some(first),
        reply = &mut answer => {
            match messages.try_recv() {
                Err(_) => return finished(reply),
                Ok(first) => {
                    answer = tasks.spawn(std::future::ready(reply.unwrap_or_else(crashed)));
                    Some(first)
                }
            }
        }
    };
    let place = session.log.open();
    let resumable = session
        .link
        .agreed()
        .is_some_and(|agreed| agreed.version.has_resumable_streams());
    let log = session.log.clone();
    drop(tasks.spawn(pump(session, place.stream, first, messages, answer)));
    sse::follow(log, place, resumable, true, None)
}

/// Writes a request's messages and its answer into the session's log, client or no client.
async fn pump(
    session: Arc<LegacySession>,
    stream: StreamId,
    first: Option<Outgoing>,
    mut messages: Receiver<Outgoing>,
    mut answer: JoinHandle<Reply>,
) {
    let log = &session.log;
    let write = |message: Outgoing| match message {
        Outgoing::Message(text) => log.append(stream, &text),
        #[cfg(feature = "conformance-fixtures")]
        Outgoing::BreakStream => log.break_off(stream),
    };
    first.into_iter().for_each(&write);
    let reply = loop {
        tokio::select! {
            biased;
            Some(message) = messages.recv() => write(message),
            reply = &mut answer => break reply,
        }
    };
    while let Ok(message) = messages.try_recv() {
        write(message);
    }
    if let Some(text) = reply.unwrap_or_else(crashed).text {
        log.append(stream, &text);
    }
    log.close(stream);
}

fn finished(reply: Result<Reply, tokio::task::JoinError>) -> Response {
    of_reply(reply.unwrap_or_else(crashed))
}

fn crashed(error: tokio::task::JoinError) -> Reply {
    tracing::error!(%error, "a request's task ended early");
    Reply::fault(&Fault::new(INTERNAL_ERROR, "internal error"), 500)
}

async fn batch(peer: Peer, bytes: Bytes) -> Response {
    let allowed = peer
        .link
        .as_ref()
        .and_then(|link| link.agreed())
        .is_some_and(|agreed| agreed.version.has_batches());
    if !allowed {
        let message = "batches are not part of the revision that this session speaks";
        return fault(
            &Fault::new(INVALID_REQUEST, message),
            StatusCode::BAD_REQUEST,
        );
    }
    let tasks = peer.mcp.gateway.tasks.clone();
    let replies = tasks
        .spawn(async move { answer_batch(&peer, &bytes).await })
        .await;
    match replies {
        Ok(reply) => of_reply(reply),
        Err(error) => of_reply(crashed(error)),
    }
}

async fn answer_batch(peer: &Peer, bytes: &[u8]) -> Reply {
    let refuse = |message: &'static str| Reply::fault(&Fault::new(INVALID_REQUEST, message), 400);
    let text = match text_of(bytes) {
        Ok(text) => text,
        Err(problem) => return Reply::fault(&problem, 400),
    };
    let messages: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(messages) => messages,
        Err(error) => {
            let message = format!("not JSON: {error}");
            return Reply::fault(&Fault::new(crate::mcp::wire::PARSE_ERROR, message), 400);
        }
    };
    if messages.is_empty() || messages.len() > MAX_BATCH {
        return refuse("a batch holds 1 to 100 messages");
    }
    let out = Outbox::closed();
    let replies = join_all(messages.into_iter().map(|raw| async {
        match Message::read(raw.get()) {
            Ok(message) => {
                let cancel = CancellationToken::new();
                crate::mcp::dispatch(peer, Era::Legacy, message, None, &out, cancel).await
            }
            Err(problem) => Reply::fault(&problem, 0),
        }
    }))
    .await;
    let texts: Vec<String> = replies.into_iter().filter_map(|reply| reply.text).collect();
    if texts.is_empty() {
        return Reply::silent();
    }
    Reply {
        text: Some(format!("[{}]", texts.join(","))),
        status: 0,
    }
}
