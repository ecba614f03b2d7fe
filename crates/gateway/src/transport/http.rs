//! `/mcp` over HTTP, for both eras. `2026-07-28` answers each POST by itself; the revisions before it
//! have sessions, and streams that go on when the client leaves.

use super::credentials::{from_head, from_meta, query_value};
use super::legacy_sessions::{LegacySession, LegacySessions};
use super::refusal::{self, refusal};
use super::sse::{self, Place, Until};
use super::{Ends, body, streaming, websocket};
use crate::auth::Identity;
use crate::mcp::wire::{INVALID_REQUEST, text_of};
use crate::mcp::{Change, Era, Fault, HeaderFacts, Mcp, Message, Peer, Reply, Version};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use kruxos_types::{CallError, ErrorType};
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;

const SESSION_HEADER: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION_HEADER: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
/// A body that must prove its sender itself is read no further than this.
pub(crate) const UNPROVED_BODY_BYTES: usize = 64 * 1024;
/// What a person sees who opens the port in a browser.
const PAGE: &str = "kruxos gateway: AI agents connect here.\n\n\
    MCP (Streamable HTTP or WebSocket): /mcp\nJSON-RPC 2.0: POST /rpc\n\n\
    Every request needs «Authorization: Bearer <token>». `kruxos agent create NAME` makes a token.\n";

/// What all HTTP requests share.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) mcp: Arc<Mcp>,
    pub(crate) sessions: LegacySessions,
}

impl Http {
    pub(crate) fn new(mcp: Arc<Mcp>) -> Self {
        Self {
            mcp,
            sessions: LegacySessions::default(),
        }
    }
}

/// A path that exists, with a method that it does not serve.
pub(crate) async fn no_method() -> Response {
    // The router adds which methods it allows.
    let (reason, expected) = ("is not allowed on this path", "see the Allow header");
    refusal::of_part(StatusCode::METHOD_NOT_ALLOWED, "method", reason, expected)
}

pub(crate) async fn not_found() -> Response {
    let expected = "/mcp or /rpc; see /";
    refusal::of_part(StatusCode::NOT_FOUND, "path", "nothing is here", expected)
}

/// `GET /`: a WebSocket, or a page that says what this port is.
pub(crate) async fn root(State(http): State<Arc<Http>>, request: Request) -> Response {
    if websocket::is_upgrade(request.headers()) {
        return or_refuse(websocket::upgrade(http, request).await);
    }
    refusal::page(PAGE)
}

/// `/mcp`.
pub(crate) async fn mcp(State(http): State<Arc<Http>>, request: Request) -> Response {
    if websocket::is_upgrade(request.headers()) {
        return or_refuse(websocket::upgrade(http, request).await);
    }
    match *request.method() {
        Method::POST => or_refuse(post(&http, request).await),
        Method::GET => or_refuse(listen(&http, request).await),
        Method::DELETE => or_refuse(delete(&http, request)),
        _ => refusal::not_allowed("GET, POST, DELETE"),
    }
}

fn or_refuse(result: Result<Response, CallError>) -> Response {
    result.unwrap_or_else(|error| refusal(&error))
}

/// Both ends of the request's connection.
pub(crate) fn ends(parts: &Parts) -> Result<Ends, CallError> {
    let ends = parts.extensions.get::<Ends>().copied();
    ends.ok_or_else(|| CallError::internal_failure("a request came without its connection"))
}

/// The toolset that the query names.
///
/// # Errors
/// `InvalidInput` with the names there are.
pub(crate) fn toolset(http: &Http, uri: &http::Uri) -> Result<Option<Arc<str>>, CallError> {
    let Some(name) = query_value(uri, "toolset") else {
        return Ok(None);
    };
    let known = &http.mcp.gateway.config.server.toolsets;
    if known.contains_key(&name) {
        return Ok(Some(name.into()));
    }
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    let expected = if names.is_empty() {
        "none is configured".to_owned()
    } else {
        names.join(", ")
    };
    Err(CallError::invalid_input(
        "toolset",
        "there is no toolset of this name",
        &expected,
    ))
}

/// Who asks, as far as the head tells.
enum Caller {
    Proved(Identity),
    /// By the id of a session whose client can send no credentials.
    BySession(Arc<LegacySession>),
    Unproved,
}

fn caller(http: &Http, parts: &Parts, ends: Ends) -> Result<Caller, CallError> {
    let gateway = &http.mcp.gateway;
    if let Some(proof) = from_head(gateway, &parts.headers, &parts.uri, ends) {
        return proof.map(Caller::Proved);
    }
    let by_id = header(&parts.headers, &SESSION_HEADER).and_then(|id| http.sessions.proved(id));
    Ok(by_id.map_or(Caller::Unproved, Caller::BySession))
}

async fn post(http: &Arc<Http>, request: Request) -> Result<Response, CallError> {
    let (parts, body) = request.into_parts();
    let ends = ends(&parts)?;
    let gateway = &http.mcp.gateway;
    let caller = caller(http, &parts, ends)?;
    let limit = match &caller {
        Caller::Unproved if may_hold_initialize(&parts.headers) => UNPROVED_BODY_BYTES,
        Caller::Unproved => return Err(gateway.tokens.missing(ends.peer.ip())),
        Caller::Proved(_) | Caller::BySession(_) => gateway.config.server.max_message_bytes,
    };
    if !is_json(&parts.headers) {
        return Ok(refusal::not_json());
    }
    let bytes = match body::read(&parts.headers, body, limit).await {
        Ok(bytes) => bytes,
        Err(_) if matches!(caller, Caller::Unproved) => {
            return Err(gateway.tokens.missing(ends.peer.ip()));
        }
        Err(problem) => return Ok(problem.response(limit, &gateway.config.server)),
    };
    let by_body = matches!(caller, Caller::Unproved);
    let session = match caller {
        Caller::Proved(identity) => gateway.session_for(&identity).await?,
        Caller::BySession(known) => known.session.clone(),
        Caller::Unproved => {
            let identity = prove_by_body(http, &bytes, ends)?;
            gateway.session_for(&identity).await?
        }
    };
    let peer = Peer {
        mcp: http.mcp.clone(),
        session,
        toolset: toolset(http, &parts.uri)?,
        address: ends.peer,
        link: None,
        over_http: true,
    };
    answer_post(http, &parts.headers, peer, bytes, by_body).await
}

/// Only `initialize` may bring its own credentials, and it begins a session.
fn may_hold_initialize(headers: &HeaderMap) -> bool {
    !headers.contains_key(SESSION_HEADER)
}

fn prove_by_body(http: &Http, body: &Bytes, ends: Ends) -> Result<Identity, CallError> {
    let gateway = &http.mcp.gateway;
    let meta = match text_of(body).and_then(Message::read) {
        Ok(Message::Request { method, params, .. }) if method == "initialize" => {
            crate::mcp::meta_of(params)
        }
        _ => None,
    };
    from_meta(gateway, meta, ends)
}

/// Which era a POST belongs to, and what goes on from there.
async fn answer_post(
    http: &Arc<Http>,
    headers: &HeaderMap,
    peer: Peer,
    bytes: Bytes,
    by_body: bool,
) -> Result<Response, CallError> {
    let version = header(headers, &VERSION_HEADER);
    let known = version.and_then(Version::named);
    let accepts_events = accepts_events(headers);
    if version.is_some() && !known.is_some_and(Version::is_legacy) {
        return Ok(streaming::modern(peer, bytes, header_facts(headers), accepts_events).await);
    }
    if let Some(id) = header(headers, &SESSION_HEADER) {
        let principal = &peer.session.profile.principal;
        return Ok(match http.sessions.get(id, principal) {
            Some(session) => streaming::legacy(peer, session, bytes, accepts_events).await,
            None => no_session(id),
        });
    }
    match text_of(&bytes).and_then(Message::read) {
        Ok(Message::Request { method, .. }) if method == "initialize" => {
            Ok(initialize(http, peer, bytes, by_body).await)
        }
        Ok(Message::Request { method, params, .. })
            if method == "server/discover"
                || crate::mcp::meta_of(params).is_some_and(|meta| meta.version.is_some()) =>
        {
            Ok(streaming::modern(peer, bytes.clone(), header_facts(headers), accepts_events).await)
        }
        Ok(_) => Ok(fault(
            &Fault::new(
                INVALID_REQUEST,
                "Mcp-Session-Id is missing; begin with initialize",
            ),
            StatusCode::BAD_REQUEST,
        )),
        Err(problem) => Ok(fault(&problem, StatusCode::BAD_REQUEST)),
    }
}

/// A legacy client's first request: a session comes of it.
async fn initialize(http: &Arc<Http>, mut peer: Peer, bytes: Bytes, by_body: bool) -> Response {
    let session = LegacySessions::prepare(&peer.session, by_body);
    peer.link = Some(session.link.clone());
    let reply = streaming::one(peer, Era::Legacy, bytes, None).await;
    let mut response = of_reply(reply);
    if session.link.agreed().is_none() {
        return response;
    }
    http.sessions.keep(&session);
    if let Ok(id) = HeaderValue::from_str(&session.id) {
        response.headers_mut().insert(SESSION_HEADER, id);
    }
    response
}

/// `GET /mcp` of a session: the stream of what it is told unasked, or a broken stream taken up again.
async fn listen(http: &Arc<Http>, request: Request) -> Result<Response, CallError> {
    let (parts, _) = request.into_parts();
    let session = match session_of(http, &parts).await? {
        Found::Session(session) => session,
        Found::None(response) => return Ok(response),
    };
    let Some(agreed) = session.link.agreed() else {
        return Ok(no_session(&session.id));
    };
    let resumable = agreed.version.has_resumable_streams();
    let last = header(&parts.headers, &LAST_EVENT).and_then(Place::read);
    if let Some(place) = last.filter(|place| resumable && place.stream != 0) {
        return Ok(sse::follow(session.log.clone(), place, true, false, None));
    }
    let ends = ends(&parts)?;
    let peer = Peer {
        mcp: http.mcp.clone(),
        session: session.session.clone(),
        toolset: None,
        address: ends.peer,
        link: Some(session.link.clone()),
        over_http: true,
    };
    let attached = peer.attach(&format!("{}@{}", agreed.client, ends.peer.ip()))?;
    let until = Until {
        replaced: session.take_listener(),
        attached,
    };
    tell_changes(http, &session);
    let (from, is_new) = match last.filter(|_| resumable) {
        Some(place) => (place, false),
        None => (session.log.listen(), true),
    };
    Ok(sse::follow(
        session.log.clone(),
        from,
        resumable,
        is_new,
        Some(until),
    ))
}

/// From the first listening stream on, writes changes into the session's log, so that a client that
/// comes back finds what it missed.
fn tell_changes(http: &Http, session: &Arc<LegacySession>) {
    if session.starts_telling() {
        return;
    }
    let gateway = http.mcp.gateway.clone();
    let session = session.clone();
    let mut events = gateway.events.subscribe_changes();
    drop(gateway.tasks.spawn(async move {
        loop {
            let change = tokio::select! {
                () = session.ended.cancelled() => return,
                event = events.recv() => match event {
                    Ok(event) => Change::of(&event, &session.session),
                    Err(RecvError::Lagged(_)) => Some(Change::Tools),
                    Err(RecvError::Closed) => return,
                },
            };
            let level = session.link.log_level();
            if let Some(text) = change.and_then(|change| change.legacy(level)) {
                session.log.append(0, &text);
            }
        }
    }));
}

fn delete(http: &Http, request: Request) -> Result<Response, CallError> {
    let (parts, _) = request.into_parts();
    let ends = ends(&parts)?;
    let caller = caller(http, &parts, ends)?;
    let Some(id) = header(&parts.headers, &SESSION_HEADER) else {
        return match caller {
            Caller::Unproved => Err(http.mcp.gateway.tokens.missing(ends.peer.ip())),
            Caller::Proved(_) | Caller::BySession(_) => Ok(refusal::not_allowed("POST")),
        };
    };
    let found = match caller {
        Caller::Proved(identity) => http.sessions.get(id, &identity.principal),
        Caller::BySession(session) => Some(session),
        Caller::Unproved => return Err(http.mcp.gateway.tokens.missing(ends.peer.ip())),
    };
    Ok(match found {
        Some(session) => {
            http.sessions.remove(&session);
            refusal::empty(StatusCode::NO_CONTENT)
        }
        None => no_session(id),
    })
}

enum Found {
    Session(Arc<LegacySession>),
    None(Response),
}

async fn session_of(http: &Http, parts: &Parts) -> Result<Found, CallError> {
    let ends = ends(parts)?;
    let identity = match caller(http, parts, ends)? {
        Caller::Proved(identity) => identity,
        Caller::BySession(session) => return Ok(Found::Session(session)),
        Caller::Unproved => return Err(http.mcp.gateway.tokens.missing(ends.peer.ip())),
    };
    let Some(id) = header(&parts.headers, &SESSION_HEADER) else {
        return Ok(Found::None(refusal::not_allowed("POST")));
    };
    let found = http.sessions.get(id, &identity.principal);
    Ok(found.map_or_else(|| Found::None(no_session(id)), Found::Session))
}

/// 404 for a session id that is unknown, over, or another principal's.
fn no_session(id: &str) -> Response {
    let shown: String = id.chars().take(64).collect();
    let error = CallError::new(ErrorType::SessionExpired).with("session_id", shown);
    let message = "session not found; begin with initialize";
    fault(
        &Fault::new(INVALID_REQUEST, message).with_error(error),
        StatusCode::NOT_FOUND,
    )
}

pub(crate) fn fault(fault: &Fault, status: StatusCode) -> Response {
    refusal::json(status, fault.to_text())
}

/// A reply as plain JSON; without one, 202.
pub(crate) fn of_reply(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status);
    match reply.text {
        Some(text) => refusal::json(status.unwrap_or(StatusCode::OK), text),
        None => refusal::empty(status.unwrap_or(StatusCode::ACCEPTED)),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn header_facts(headers: &HeaderMap) -> HeaderFacts {
    let text = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        Some(value.trim().to_owned())
    };
    let param = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = name.as_str().strip_prefix("mcp-param-")?.to_owned();
        Some((name, value.to_str().ok()?.trim().to_owned()))
    };
    HeaderFacts {
        version: text("mcp-protocol-version"),
        method: text("mcp-method"),
        name: text("mcp-name"),
        params: headers.iter().filter_map(param).collect(),
    }
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    accept.contains("text/event-stream") || accept.contains("*/*")
}

pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    kind.split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case("application/json")
}

/// The body of a request whose sender is proved, or the answer that refuses it.
pub(crate) async fn proved_body(
    http: &Http,
    request: Request<Body>,
) -> Result<Result<(Identity, Parts, Bytes), Response>, CallError> {
    let (parts, body) = request.into_parts();
    let ends = ends(&parts)?;
    let gateway = &http.mcp.gateway;
    let identity = from_head(gateway, &parts.headers, &parts.uri, ends)
        .unwrap_or_else(|| Err(gateway.tokens.missing(ends.peer.ip())))?;
    if !is_json(&parts.headers) {
        return Ok(Err(refusal::not_json()));
    }
    let limit = gateway.config.server.max_message_bytes;
    Ok(match body::read(&parts.headers, body, limit).await {
        Ok(bytes) => Ok((identity, parts, bytes)),
        Err(problem) => Err(problem.response(limit, &gateway.config.server)),
    })
}
