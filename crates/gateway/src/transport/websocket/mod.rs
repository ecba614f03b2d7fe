//! MCP over WebSocket: the subprotocol `mcp`, one message a text frame, many requests at once.
//!
//! Here is the way in: the handshake and the proof of who calls. `connection` serves what comes after,
//! `line` reads and writes frames.

mod connection;
mod line;

use super::Ends;
use super::credentials::{from_head, from_meta};
use super::http::{Http, UNPROVED_BODY_BYTES, ends, toolset};
use super::refusal;
use crate::listen::Slot;
use crate::mcp::wire::INVALID_REQUEST;
use crate::mcp::{Fault, Message as Incoming, Peer};
use crate::session::{AgentSession, Attached};
use axum::extract::Request;
use axum::response::Response;
use connection::{Connection, Times};
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use hyper::upgrade::Upgraded;
use kruxos_types::CallError;
use line::{Line, Text, close_frame};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The subprotocol.
const SUBPROTOCOL: &str = "mcp";
/// A client that holds several connections as one program says so with one value on all of them.
const CLIENT_HEADER: HeaderName = HeaderName::from_static("kruxos-client");
/// A client without credentials in the head has this long to initialize, or as long as for a head.
const PROVE_WITHIN: Duration = Duration::from_secs(10);

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
    let mut response = refusal::of_part(
        StatusCode::UPGRADE_REQUIRED,
        "Upgrade",
        "this is no WebSocket handshake of version 13",
        "the handshake of RFC 6455",
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
        let server = &self.http.mcp.gateway.config.server;
        let unproved = proved.is_none().then_some(UNPROVED_BODY_BYTES);
        let times = Times::new(server);
        let mut line = Line::new(upgraded, server.max_message_bytes, unproved).await;
        let (session, attached, first) = match proved {
            Some((session, attached)) => (session, attached, None),
            None => match self.prove(&mut line).await {
                Ok((session, attached, first)) => (session, attached, Some(first)),
                Err(close) => return line.farewell(close, times.write).await,
            },
        };
        Connection::new(self.peer(&session), attached, line, times)
            .serve(first)
            .await;
        drop(slot);
    }

    /// Waits for an `initialize` that proves its sender.
    async fn prove(
        &self,
        line: &mut Line,
    ) -> Result<(Arc<AgentSession>, Attached, Text), CloseFrame> {
        let refused = |reason: &str| close_frame(CloseCode::Policy, reason);
        let gateway = &self.http.mcp.gateway;
        let head = Duration::from_secs(gateway.config.server.head_timeout_seconds);
        let patience = PROVE_WITHIN.min(head);
        let Ok(Some(first)) = timeout(patience, line.first_text()).await else {
            return Err(refused("initialize with credentials was expected"));
        };
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
                line.lift();
                Ok((session, attached, first))
            }
            Err(error) => {
                let mut fault = Fault::of_error(INVALID_REQUEST, &error);
                fault.id = id;
                line.push(Message::text(fault.to_text()));
                Err(refused(error.error_type().code()))
            }
        }
    }
}
