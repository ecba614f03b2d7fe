//! One proved connection: requests at work, what its client is told, and when it ends.

use super::line::{Happened, Line, MOST_BYTES, Text, close_frame};
use crate::config::Server;
use crate::events::{Event, EventType};
use crate::mcp::wire::{INVALID_REQUEST, text_of};
use crate::mcp::{Change, Era, Fault, Message as Incoming, Outbox, Outgoing, Peer, Reply};
use crate::session::Attached;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver as Changes;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

/// Requests at work on one connection; past it nothing is read until one ends.
const MAX_AT_WORK: usize = 256;
/// How long requests at work may still be answered once the session ends.
const DRAIN: Duration = Duration::from_secs(3);
/// The same when the gateway stops, which waits for calls a little longer than this.
const DRAIN_AT_STOP: Duration = Duration::from_secs(20);
/// How long a client that takes nothing just then has to take the reason.
const LAST_WORD: Duration = Duration::from_secs(2);
/// Another client of the same agent took over.
const CLOSE_CONFLICT: u16 = 4009;
/// The agent's session ended.
const CLOSE_ENDED: u16 = 4001;

type AtWork = FuturesUnordered<BoxFuture<'static, Reply>>;

/// How long a client may be silent or deaf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    ping: Duration,
    pong: Duration,
    pub(super) write: Duration,
}

impl Times {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            ping: Duration::from_secs(server.ping_seconds),
            pong: Duration::from_secs(server.pong_seconds),
            write: Duration::from_secs(server.write_timeout_seconds),
        }
    }
}

pub(super) struct Connection {
    peer: Peer,
    attached: Attached,
    line: Line,
    times: Times,
    out: Outbox,
    messages: Receiver<Outgoing>,
    changes: Changes<Arc<Event>>,
    at_work: AtWork,
    heard: Instant,
    /// When a ping went out that nothing was heard after.
    pinged: Option<Instant>,
    /// Set anew only when it goes off or a ping is answered: a timer for each message would cost more than
    /// the message.
    alarm: Pin<Box<Sleep>>,
}

/// What the loop does next.
enum Next {
    Go,
    Close(CloseFrame),
    /// The client takes nothing any more.
    GiveUp(CloseFrame),
    Gone,
}

impl Connection {
    pub(super) fn new(peer: Peer, attached: Attached, line: Line, times: Times) -> Self {
        let (out, messages) = Outbox::new();
        let now = Instant::now();
        Self {
            changes: peer.mcp.gateway.events.subscribe_changes(),
            peer,
            attached,
            line,
            times,
            out,
            messages,
            at_work: AtWork::new(),
            heard: now,
            pinged: None,
            alarm: Box::pin(sleep_until(now + times.ping)),
        }
    }

    /// Serves until either side ends it. `first` is a message that was read already.
    pub(super) async fn serve(mut self, first: Option<Text>) {
        if let Some(first) = first {
            self.begin(first);
        }
        loop {
            let frame = match self.turn().await {
                Next::Go => continue,
                Next::Gone => return,
                Next::Close(frame) => frame,
                Next::GiveUp(frame) => {
                    self.tell_operator(&frame);
                    frame
                }
            };
            let patience = match self.line.stuck_since() {
                Some(_) => LAST_WORD,
                None => self.times.write,
            };
            // Calls at work go on by themselves; a newer connection need not wait for this one.
            drop((self.attached, self.at_work));
            return self.line.farewell(frame, patience).await;
        }
    }

    async fn turn(&mut self) -> Next {
        let has_room = self.line.has_room();
        let reads = self.reads();
        let link = self.peer.link.as_ref();
        let tells = has_room && link.is_some_and(|link| link.is_initialized());
        tokio::select! {
            biased;
            () = self.attached.close.cancelled() => self.leave().await,
            Some(message) = self.messages.recv(), if has_room => {
                self.put(message);
                Next::Go
            }
            Some(reply) = self.at_work.next(), if !self.at_work.is_empty() => self.answer(reply),
            happened = self.line.next(reads) => self.go_on(happened),
            change = self.changes.recv(), if tells => {
                self.tell(change.ok().as_deref());
                Next::Go
            }
            () = &mut self.alarm => self.ring(),
        }
    }

    /// Nothing more is asked of a client's gateway than it can do or its client takes.
    fn reads(&self) -> bool {
        self.at_work.len() < MAX_AT_WORK && self.line.has_room()
    }

    fn go_on(&mut self, happened: Happened) -> Next {
        match happened {
            Happened::Frame(frame) => self.take(frame),
            Happened::Sent => Next::Go,
            Happened::Stuck => {
                self.wake_at(self.alarm.deadline());
                Next::Go
            }
            Happened::Broken(error) => {
                tracing::debug!(%error, "a WebSocket broke");
                Next::Gone
            }
        }
    }

    /// Takes one frame.
    fn take(&mut self, frame: Option<Result<Message, Error>>) -> Next {
        self.heard = Instant::now();
        if self.pinged.take().is_some() {
            self.wake_at(self.heard + self.times.ping);
        }
        match frame {
            Some(Ok(Message::Text(text))) => {
                self.begin(text);
                Next::Go
            }
            Some(Ok(Message::Binary(_))) => Next::Close(close_frame(
                CloseCode::Unsupported,
                "one JSON-RPC message a text frame",
            )),
            Some(Ok(Message::Close(_))) | None => Next::Gone,
            Some(Ok(_)) => Next::Go,
            Some(Err(Error::Capacity(error))) => {
                let reason = format!("{error} (server.max_message_bytes)");
                Next::Close(close_frame(CloseCode::Size, &reason))
            }
            Some(Err(Error::Utf8(_))) => {
                let fault = text_of(b"\xff")
                    .err()
                    .unwrap_or_else(|| Fault::new(INVALID_REQUEST, ""));
                self.line.push(Message::text(fault.to_text()));
                Next::Close(close_frame(CloseCode::Invalid, "text frames are UTF-8"))
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a WebSocket ended early");
                Next::Gone
            }
        }
    }

    /// Puts a message to work; its answer is sent when it is ready, whatever came before.
    fn begin(&mut self, text: Text) {
        let peer = self.peer.clone();
        let out = self.out.clone();
        self.at_work.push(Box::pin(async move {
            match Incoming::read(&text) {
                Ok(message) => {
                    let era = era(&peer, &message);
                    // A client that leaves a held call must not take its result: it will call again.
                    let cancel = CancellationToken::new();
                    let _left = cancel.clone().drop_guard();
                    crate::mcp::dispatch(&peer, era, message, None, &out, cancel).await
                }
                Err(fault) => Reply::fault(&fault, 0),
            }
        }));
    }

    /// Sends an answer after everything that was said before it.
    fn answer(&mut self, reply: Reply) -> Next {
        while let Ok(message) = self.messages.try_recv() {
            self.put(message);
        }
        if let Some(text) = reply.text {
            self.line.push(Message::text(text));
        }
        if self.line.is_overfull() {
            let reason = format!("more than {MOST_BYTES} bytes of answers were not read");
            return Next::GiveUp(close_frame(CloseCode::Policy, &reason));
        }
        Next::Go
    }

    fn put(&mut self, message: Outgoing) {
        match message {
            Outgoing::Message(text) => self.line.push(Message::text(text)),
            #[cfg(feature = "conformance-fixtures")]
            Outgoing::BreakStream => {}
        }
    }

    /// Tells a client of a legacy revision what changed; others ask by `subscriptions/listen`.
    fn tell(&mut self, event: Option<&Event>) {
        let change = match event {
            Some(event) => Change::of(event, &self.peer.session),
            // The reader fell behind; the list may have changed meanwhile.
            None => Some(Change::Tools),
        };
        let link = self.peer.link.as_ref();
        let level = link.map(|link| link.log_level()).unwrap_or_default();
        if let Some(text) = change.and_then(|change| change.legacy(level)) {
            self.line.push(Message::text(text));
        }
    }

    /// Gives up a client that is deaf or dead, and pings one that was silent for long.
    fn ring(&mut self) -> Next {
        let now = Instant::now();
        let Times { ping, pong, write } = self.times;
        let deaf = self.line.stuck_since().map(|since| since + write);
        if deaf.is_some_and(|at| at <= now) {
            let seconds = write.as_secs();
            let reason = format!("nothing was read for {seconds} s (server.write_timeout_seconds)");
            return Next::GiveUp(close_frame(CloseCode::Policy, &reason));
        }
        if !self.reads() {
            // Nothing is being read, so silence proves nothing.
            self.heard = now;
            self.pinged = None;
        }
        let mut due = self.pinged.map_or(self.heard + ping, |at| at + pong);
        if due <= now {
            if self.pinged.is_some() {
                return Next::Close(close_frame(CloseCode::Away, "no answer to a ping"));
            }
            self.line.push(Message::Ping(axum::body::Bytes::new()));
            self.pinged = Some(now);
            due = now + pong;
        }
        self.wake_at(due);
        Next::Go
    }

    /// Sets the alarm, or sooner where a client that takes nothing must be given up before.
    fn wake_at(&mut self, at: Instant) {
        let deaf = self
            .line
            .stuck_since()
            .map(|since| since + self.times.write);
        self.alarm
            .as_mut()
            .reset(deaf.map_or(at, |deaf| deaf.min(at)));
    }

    /// The connection must end. When its session ends, requests at work are answered first: held calls
    /// are at once.
    async fn leave(&mut self) -> Next {
        if !self.peer.session.ended.is_cancelled() {
            return Next::Close(close_frame(CLOSE_CONFLICT.into(), &self.attached.reason()));
        }
        let stops = self.peer.mcp.gateway.stopping.is_cancelled();
        let deadline = Instant::now() + if stops { DRAIN_AT_STOP } else { DRAIN };
        while !self.at_work.is_empty() {
            let next = tokio::select! {
                biased;
                () = sleep_until(deadline) => break,
                Some(reply) = self.at_work.next() => self.answer(reply),
                happened = self.line.next(false) => self.go_on(happened),
            };
            if !matches!(next, Next::Go) {
                return next;
            }
        }
        if stops {
            return Next::Close(close_frame(CloseCode::Away, "gateway stopping"));
        }
        Next::Close(close_frame(CLOSE_ENDED.into(), "session ended"))
    }

    /// The client may never read why it was given up, so the operator is told.
    fn tell_operator(&self, frame: &CloseFrame) {
        let session = &self.peer.session;
        let agent = &session.profile.principal.name;
        let (peer, reason) = (self.peer.address, frame.reason.as_str());
        tracing::info!(%peer, agent = &**agent, reason, "a WebSocket client was given up");
        self.peer.mcp.gateway.announce(
            EventType::AgentStatus,
            Some(agent),
            Some(session.id.as_str()),
            || json!({"event": "connection closed", "peer": peer.to_string(), "reason": reason}),
        );
    }
}

/// A connection that has initialized speaks that revision; every other request speaks for itself.
fn era(peer: &Peer, message: &Incoming<'_>) -> Era {
    let agreed = peer
        .link
        .as_ref()
        .is_some_and(|link| link.agreed().is_some());
    match message {
        Incoming::Request { method, params, .. } if !agreed => {
            let says_itself =
                crate::mcp::meta_of(*params).is_some_and(|meta| meta.version.is_some());
            let legacy = matches!(&**method, "initialize" | "ping") && !says_itself;
            if legacy { Era::Legacy } else { Era::Modern }
        }
        _ => Era::Legacy,
    }
}
