//! MCP over WebSocket: the subprotocol `mcp`, one message a text frame, many requests at once.

use super::Ends;
use super::credentials::{from_head, from_meta};
use super::http::{Http, UNPROVED_BODY_BYTES, ends, toolset};
use super::metered::Metered;
use super::refusal;
use crate::listen::Slot;
use crate::mcp::wire::{INVALID_REQUEST, text_of};
use crate::mcp::{Change, Era, Fault, Message as Incoming, Outbox, Outgoing, Peer, Reply};
use crate::session::{AgentSession, Attached};
use axum::extract::Request;
use axum::response::Response;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kruxos_types::CallError;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::broadcast::Receiver as Changes;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

/// The subprotocol.
const SUBPROTOCOL: &str = "mcp";
/// A client that holds several connections as one program says so with one value on all of them.
const CLIENT_HEADER: HeaderName = HeaderName::from_static("kruxos-client");
/// A ping this often.
const PING_EVERY: Duration = Duration::from_secs(30);
/// And the client is dead when it says nothing for this long after one.
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// A client without credentials in the head has this long to initialize.
const PROVE_WITHIN: Duration = Duration::from_secs(10);
/// A frame that the client does not take for this long ends the connection.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// How long requests at work may still be answered once the session ends.
const DRAIN: Duration = Duration::from_secs(3);
/// How long the client may take to read the close frame.
const LINGER: Duration = Duration::from_secs(2);
/// Requests at work on one connection; past it nothing is read until one ends.
const MAX_AT_WORK: usize = 256;
/// One read's buffer: most messages are small, and there is one for each connection.
const READ_BUFFER: usize = 8 * 1024;
/// Another client of the same agent took over.
const CLOSE_CONFLICT: u16 = 4009;
/// The agent's session ended.
const CLOSE_ENDED: u16 = 4001;
/// Longest reason that fits a close frame (RFC 6455).
const MAX_REASON_BYTES: usize = 123;

type Socket = WebSocketStream<Metered<TokioIo<Upgraded>>>;
type AtWork = FuturesUnordered<BoxFuture<'static, Reply>>;

/// Whether a request wants to become a WebSocket.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    let value = headers
        .get(UPGRADE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value.eq_ignore_ascii_case("websocket")
}

/// Takes the upgrade over, once the caller is proved or may prove itself by `initialize`.
pub(crate) async fn upgrade(http: Arc<Http>, request: Request) -> Result<Response, CallError> {
    let (mut parts, _) = request.into_parts();
    let ends = ends(&parts)?;
    let gateway = http.mcp.gateway.clone();
    let proof = from_head(&gateway, &parts.headers, &parts.uri, ends).transpose()?;
    let Some(key) = key(&parts.method, &parts.headers) else {
        return Ok(not_a_handshake());
    };
    let setup = Setup {
        toolset: toolset(&http, &parts.uri)?,
        client: client(&parts.headers),
        slot: parts.extensions.remove::<Slot>(),
        ends,
        http,
    };
    let proved = match proof {
        Some(identity) => {
            let session = gateway.session_for(&identity).await?;
            let attached = setup.attach(&session)?;
            Some((session, attached))
        }
        None => None,
    };
    let speaks = speaks_mcp(&parts.headers);
    let upgrade = hyper::upgrade::on(Request::from_parts(parts, axum::body::Body::empty()));
    drop(gateway.tasks.spawn(async move {
        match upgrade.await {
            Ok(upgraded) => setup.run(upgraded, proved).await,
            Err(error) => tracing::debug!(%error, "an upgrade was not completed"),
        }
    }));
    Ok(switch(&key, speaks))
}

fn key(method: &Method, headers: &HeaderMap) -> Option<String> {
    let connection = headers.get(CONNECTION)?.to_str().ok()?;
    let upgrades = connection
        .split(',')
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    let version = headers.get(SEC_WEBSOCKET_VERSION)?;
    let key = headers.get(SEC_WEBSOCKET_KEY)?;
    let good = method == Method::GET && upgrades && version == "13";
    good.then(|| derive_accept_key(key.as_bytes()))
}

fn not_a_handshake() -> Response {
    let mut response = refusal::text(
        StatusCode::UPGRADE_REQUIRED,
        "not a WebSocket handshake of version 13\n",
    );
    response
        .headers_mut()
        .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

fn speaks_mcp(headers: &HeaderMap) -> bool {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|list| list.split(',').any(|name| name.trim() == SUBPROTOCOL))
}

fn switch(accept: &str, speaks_mcp: bool) -> Response {
    let mut response = refusal::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if speaks_mcp {
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(SUBPROTOCOL),
        );
    }
    response
}

/// What tells this client's connections from another's: its own word for it, or else each connection
/// is a client of its own.
fn client(headers: &HeaderMap) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let named = headers
        .get(&CLIENT_HEADER)
        .and_then(|value| value.to_str().ok());
    match named.filter(|name| !name.is_empty() && name.len() <= 64) {
        Some(name) => format!("named {name}"),
        None => format!("websocket {}", NEXT.fetch_add(1, Ordering::Relaxed)),
    }
}

/// What is known before the first frame.
struct Setup {
    http: Arc<Http>,
    ends: Ends,
    toolset: Option<Arc<str>>,
    client: String,
    /// The connection's place among `server.max_connections`.
    slot: Option<Slot>,
}

impl Setup {
    fn peer(&self, session: &Arc<AgentSession>) -> Peer {
        Peer {
            mcp: self.http.mcp.clone(),
            session: session.clone(),
            toolset: self.toolset.clone(),
            address: self.ends.peer,
            link: Some(Arc::default()),
            over_http: false,
        }
    }

    fn attach(&self, session: &Arc<AgentSession>) -> Result<Attached, CallError> {
        self.peer(session).attach(&self.client)
    }

    async fn run(mut self, upgraded: Upgraded, proved: Option<(Arc<AgentSession>, Attached)>) {
        let slot = self.slot.take();
        let limit = self.http.mcp.gateway.config.server.max_message_bytes;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let meter = Metered::new(
            TokioIo::new(upgraded),
            proved.is_none().then_some(UNPROVED_BODY_BYTES),
        );
        let mut socket = WebSocketStream::from_raw_socket(meter, Role::Server, Some(config)).await;
        let (session, attached, first) = match proved {
            Some((session, attached)) => (session, attached, None),
            None => match self.prove(&mut socket).await {
                Ok((session, attached, first)) => (session, attached, Some(first)),
                Err(close) => return bid_farewell(&mut socket, close).await,
            },
        };
        let (out, messages) = Outbox::new();
        let connection = Connection {
            changes: self.http.mcp.gateway.events.subscribe_changes(),
            peer: self.peer(&session),
            attached,
            out,
            messages,
            at_work: AtWork::new(),
            ready: VecDeque::new(),
            heard: Instant::now(),
            pinged: None,
            alarm: Box::pin(sleep_until(Instant::now() + PING_EVERY)),
        };
        connection.serve(&mut socket, first).await;
        drop(slot);
    }

    /// Waits for an `initialize` that proves its sender.
    async fn prove(
        &self,
        socket: &mut Socket,
    ) -> Result<(Arc<AgentSession>, Attached, Text), CloseFrame> {
        let refused = |reason: &str| close_frame(CloseCode::Policy, reason);
        let first = loop {
            match timeout(PROVE_WITHIN, socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => break text,
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                _ => return Err(refused("initialize with credentials was expected")),
            }
        };
        let gateway = &self.http.mcp.gateway;
        let parsed = Incoming::read(&first);
        let (id, meta) = match &parsed {
            Ok(Incoming::Request { id, method, params }) if method == "initialize" => {
                (Some(id.clone()), crate::mcp::meta_of(*params))
            }
            Ok(Incoming::Request { id, .. }) => (Some(id.clone()), None),
            _ => (None, None),
        };
        let proved = match from_meta(gateway, meta, self.ends) {
            Ok(identity) => gateway.session_for(&identity).await,
            Err(error) => Err(error),
        };
        let attached = proved.and_then(|session| Ok((self.attach(&session)?, session)));
        match attached {
            Ok((attached, session)) => {
                socket.get_mut().lift();
                Ok((session, attached, first))
            }
            Err(error) => {
                let mut fault =
                    Fault::new(INVALID_REQUEST, error.description()).with_data(error.to_json());
                fault.id = id;
                write(socket, Message::text(fault.to_text())).await;
                Err(refused(error.error_type().code()))
            }
        }
    }
}

type Text = tokio_tungstenite::tungstenite::Utf8Bytes;

/// One proved connection.
struct Connection {
    peer: Peer,
    attached: Attached,
    out: Outbox,
    messages: Receiver<Outgoing>,
    changes: Changes<Arc<crate::events::Event>>,
    at_work: AtWork,
    /// Answers that came while something else was being written.
    ready: VecDeque<Reply>,
    heard: Instant,
    /// When a ping went out that nothing was heard after.
    pinged: Option<Instant>,
    /// Set anew only when it goes off: a timer for each message would cost more than the message.
    alarm: Pin<Box<Sleep>>,
}

/// What the loop does next.
enum Next {
    Go,
    Close(CloseFrame),
    Gone,
}

impl Connection {
    async fn serve(mut self, socket: &mut Socket, first: Option<Text>) {
        if let Some(first) = first {
            self.begin(first);
        }
        loop {
            let next = self.turn(socket).await;
            match next {
                Next::Go => {}
                Next::Gone => return,
                Next::Close(frame) => {
                    drop(self.attached);
                    return bid_farewell(socket, frame).await;
                }
            }
        }
    }

    async fn turn(&mut self, socket: &mut Socket) -> Next {
        let tells = self
            .peer
            .link
            .as_ref()
            .is_some_and(|link| link.is_initialized());
        if let Some(reply) = self.ready.pop_front() {
            return self.answer(socket, reply).await;
        }
        tokio::select! {
            biased;
            () = self.attached.close.cancelled() => self.leave(socket).await,
            Some(message) = self.messages.recv() => self.put(socket, message).await,
            Some(reply) = self.at_work.next(), if !self.at_work.is_empty() => {
                self.answer(socket, reply).await
            }
            frame = socket.next(), if self.at_work.len() < MAX_AT_WORK => self.take(socket, frame).await,
            change = self.changes.recv(), if tells => self.tell(socket, change.ok().as_deref()).await,
            () = &mut self.alarm => self.ring(socket).await,
        }
    }

    /// Takes one frame.
    async fn take(&mut self, socket: &mut Socket, frame: Option<Result<Message, Error>>) -> Next {
        self.heard = Instant::now();
        self.pinged = None;
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
                write(socket, Message::text(fault.to_text())).await;
                Next::Close(close_frame(CloseCode::Invalid, "text frames are UTF-8"))
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a WebSocket ended early");
                Next::Gone
            }
        }
    }

    /// Puts a message to work; its answer is written when it is ready, whatever came before.
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

    /// Writes an answer after everything that was said before it.
    async fn answer(&mut self, socket: &mut Socket, reply: Reply) -> Next {
        while let Ok(message) = self.messages.try_recv() {
            if let Next::Gone = self.put(socket, message).await {
                return Next::Gone;
            }
        }
        match reply.text {
            Some(text) => self.write(socket, Message::text(text)).await,
            None => Next::Go,
        }
    }

    /// Writes one frame. A client that reads slowly holds up what it is told and not what is done for
    /// it: its calls, which may hold what others wait for, go on meanwhile.
    async fn write(&mut self, socket: &mut Socket, message: Message) -> Next {
        let sent = write(socket, message);
        tokio::pin!(sent);
        loop {
            tokio::select! {
                biased;
                good = &mut sent => return if good { Next::Go } else { Next::Gone },
                Some(reply) = self.at_work.next(), if !self.at_work.is_empty() => {
                    self.ready.push_back(reply);
                }
            }
        }
    }

    async fn put(&mut self, socket: &mut Socket, message: Outgoing) -> Next {
        match message {
            Outgoing::Message(text) => self.write(socket, Message::text(text)).await,
            #[cfg(feature = "conformance-fixtures")]
            Outgoing::BreakStream => Next::Go,
        }
    }

    /// Tells a client of a legacy revision what changed; others ask by `subscriptions/listen`.
    async fn tell(&mut self, socket: &mut Socket, event: Option<&crate::events::Event>) -> Next {
        let change = match event {
            Some(event) => Change::of(event, &self.peer.session),
            // The reader fell behind; the list may have changed meanwhile.
            None => Some(Change::Tools),
        };
        let level = self
            .peer
            .link
            .as_ref()
            .map(|link| link.log_level())
            .unwrap_or_default();
        match change.and_then(|change| change.legacy(level)) {
            Some(text) => self.write(socket, Message::text(text)).await,
            None => Next::Go,
        }
    }

    async fn ring(&mut self, socket: &mut Socket) -> Next {
        if self.at_work.len() >= MAX_AT_WORK {
            // Nothing is being read, so silence proves nothing.
            self.heard = Instant::now();
            self.pinged = None;
        }
        let due = self
            .pinged
            .map_or(self.heard + PING_EVERY, |at| at + PONG_WITHIN);
        let now = Instant::now();
        if now < due {
            self.alarm.as_mut().reset(due);
            return Next::Go;
        }
        if self.pinged.is_some() {
            return Next::Close(close_frame(CloseCode::Away, "no answer to a ping"));
        }
        self.pinged = Some(now);
        self.alarm.as_mut().reset(now + PONG_WITHIN);
        self.write(socket, Message::Ping(axum::body::Bytes::new()))
            .await
    }

    /// The connection must end. When its session ends, held calls are answered first.
    async fn leave(&mut self, socket: &mut Socket) -> Next {
        if !self.peer.session.ended.is_cancelled() {
            return Next::Close(close_frame(CLOSE_CONFLICT.into(), &self.attached.reason()));
        }
        let deadline = Instant::now() + DRAIN;
        while let Some(reply) = self.ready.pop_front() {
            if let Next::Gone = self.answer(socket, reply).await {
                return Next::Gone;
            }
        }
        while !self.at_work.is_empty() {
            match tokio::time::timeout_at(deadline, self.at_work.next()).await {
                Ok(Some(reply)) => {
                    if let Next::Gone = self.answer(socket, reply).await {
                        return Next::Gone;
                    }
                }
                Ok(None) | Err(_) => break,
            }
        }
        if self.peer.mcp.gateway.stopping.is_cancelled() {
            return Next::Close(close_frame(CloseCode::Away, "gateway stopping"));
        }
        Next::Close(close_frame(CLOSE_ENDED.into(), "session ended"))
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

/// Writes one frame; false when the client is gone or does not read.
async fn write(socket: &mut Socket, message: Message) -> bool {
    matches!(
        timeout(WRITE_WITHIN, socket.send(message)).await,
        Ok(Ok(()))
    )
}

fn close_frame(code: CloseCode, reason: &str) -> CloseFrame {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    CloseFrame {
        code,
        reason: reason.get(..end).unwrap_or_default().into(),
    }
}

/// Says why and waits until the client has had time to read it: what it still sends is thrown away,
/// because unread data would make the kernel take the close frame back.
async fn bid_farewell(socket: &mut Socket, frame: CloseFrame) {
    if !write(socket, Message::Close(Some(frame))).await {
        return;
    }
    let mut rest = [0u8; 4096];
    let raw = socket.get_mut();
    raw.lift();
    let emptied = timeout(LINGER, async {
        while matches!(raw.read(&mut rest).await, Ok(1..)) {}
    })
    .await;
    if emptied.is_err() {
        tracing::debug!("a client did not close its end");
    }
}
