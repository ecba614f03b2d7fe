//! The Model Context Protocol, apart from any transport.
//!
//! Transports read messages and write answers; what a method means is decided here, in one
//! dispatcher for all of them. `era` knows what each revision allows, `modern` speaks the stateless
//! 2026-07-28, `legacy` the revisions that begin with `initialize`, and both call `tools`.

pub mod approval_status;
mod changes;
pub mod era;
#[cfg(feature = "conformance-fixtures")]
mod fixtures;
mod legacy;
mod listing;
mod modern;
mod params;
pub mod tasks;
mod tools;
pub mod wire;

pub use changes::Change;
pub use era::Version;
pub use modern::HeaderFacts;
pub use params::{Meta, meta as meta_of};
pub use wire::{Fault, Message, RequestId};

use crate::gateway::Gateway;
use crate::layout::LayoutError;
use crate::session::AgentSession;
use listing::Listings;
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tasks::TaskIds;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Who serves: the gateway with what the protocol keeps between messages.
#[derive(Debug)]
pub struct Mcp {
    /// The gateway behind it.
    pub gateway: Gateway,
    pub(crate) listings: Listings,
    pub(crate) task_ids: TaskIds,
    #[cfg(feature = "conformance-fixtures")]
    pub(crate) fixtures: fixtures::Fixtures,
}

impl Mcp {
    /// The protocol on a gateway.
    ///
    /// # Errors
    /// The key that makes task ids unguessable cannot be read.
    pub fn new(gateway: Gateway) -> Result<Arc<Self>, LayoutError> {
        Ok(Arc::new(Self {
            task_ids: TaskIds::new(&gateway.layout.approval_key()?),
            listings: Listings::default(),
            #[cfg(feature = "conformance-fixtures")]
            fixtures: fixtures::Fixtures::default(),
            gateway,
        }))
    }
}

/// One caller on one connection, or one HTTP request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Who serves.
    pub mcp: Arc<Mcp>,
    /// The caller's session: proves the principal.
    pub session: Arc<AgentSession>,
    /// The toolset chosen by `?toolset=`.
    pub toolset: Option<Arc<str>>,
    /// Where the caller is.
    pub address: SocketAddr,
    /// What outlives one message, where something does: a WebSocket or a legacy HTTP session.
    pub link: Option<Arc<Link>>,
    /// Whether messages come by HTTP requests of their own.
    pub over_http: bool,
}

/// Requests at work on one link. Held calls go on when a legacy HTTP client leaves, so connections
/// alone do not bound them.
const MAX_RUNNING: usize = 256;

/// What `initialize` agreed on.
#[derive(Debug, Clone)]
pub struct Agreed {
    /// The revision.
    pub version: Version,
    /// `name/version` as the client calls itself; shown and audited, never trusted.
    pub client: String,
    /// What the client can do.
    pub capabilities: Value,
}

/// The memory of a connection or of a legacy HTTP session.
#[derive(Debug, Default)]
pub struct Link {
    agreed: OnceLock<Agreed>,
    log_level: AtomicU8,
    initialized: AtomicBool,
    running: Mutex<HashMap<RequestId, CancellationToken>>,
    #[cfg(feature = "conformance-fixtures")]
    pub(crate) asked: fixtures::AskedOfClient,
}

impl Link {
    /// What `initialize` agreed on, once it has.
    #[must_use]
    pub fn agreed(&self) -> Option<&Agreed> {
        self.agreed.get()
    }

    /// Whether the client has said `notifications/initialized`: before, it hears nothing unasked.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        self.initialized.load(Ordering::Relaxed)
    }

    /// Ends a running request, as `notifications/cancelled` asks.
    fn cancel(&self, id: &RequestId) {
        if let Some(token) = self.running().get(id) {
            token.cancel();
        }
    }

    /// Notes a request that can be cancelled, until the guard is dropped.
    fn register(
        self: &Arc<Self>,
        id: &RequestId,
        token: CancellationToken,
    ) -> Result<Running, &'static str> {
        let mut running = self.running();
        if running.contains_key(id) {
            return Err("this id is in use by a request at work");
        }
        if running.len() >= MAX_RUNNING {
            return Err("256 requests of this connection or session are at work already");
        }
        running.insert(id.clone(), token);
        drop(running);
        Ok(Running {
            link: self.clone(),
            id: id.clone(),
        })
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<RequestId, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a request out of its link's list when it ends.
struct Running {
    link: Arc<Link>,
    id: RequestId,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.link.running().remove(&self.id);
    }
}

/// What goes to the client besides the answer.
#[derive(Debug)]
pub enum Outgoing {
    /// A notification, or a request of the gateway's.
    Message(String),
    /// Close this event stream; the client takes it up again.
    #[cfg(feature = "conformance-fixtures")]
    BreakStream,
}

/// Messages that wait for a slow client. Past it they are dropped: they are progress and hints, and
/// the answer itself never goes this way.
pub const OUTBOX_CAPACITY: usize = 256;

/// Where notifications about one request, or on one connection, go.
#[derive(Debug, Clone)]
pub struct Outbox(Option<mpsc::Sender<Outgoing>>);

impl Outbox {
    /// An outbox with its reader.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Outgoing>) {
        let (sender, receiver) = mpsc::channel(OUTBOX_CAPACITY);
        (Self(Some(sender)), receiver)
    }

    /// For a door that can only answer.
    #[must_use]
    pub fn closed() -> Self {
        Self(None)
    }

    /// Whether nothing can be said but the answer.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_none()
    }

    /// Sends, or drops the message when the client is too slow.
    pub fn send(&self, message: String) {
        self.put(Outgoing::Message(message));
    }

    pub(crate) fn put(&self, message: Outgoing) {
        if let Some(sender) = &self.0
            && sender.try_send(message).is_err()
        {
            tracing::debug!("a notification was dropped: the client is gone or too slow");
        }
    }
}

/// How a message is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Stateless, each request with its own `_meta`.
    Modern,
    /// After `initialize`, or `initialize` itself.
    Legacy,
}

/// The answer to a message.
#[derive(Debug, Default)]
pub struct Reply {
    /// One JSON-RPC answer; none for notifications and for requests that were cancelled.
    pub text: Option<String>,
    /// The HTTP status that goes with it, where the transport has one. 0 stands for 200 or 202.
    pub status: u16,
}

impl Reply {
    /// No answer.
    #[must_use]
    pub fn silent() -> Self {
        Self::default()
    }

    /// An error answer.
    #[must_use]
    pub fn fault(fault: &Fault, status: u16) -> Self {
        Self {
            text: Some(fault.to_text()),
            status,
        }
    }
}

/// One request on its way through the dispatcher.
pub(crate) struct Asked<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) id: &'a RequestId,
    pub(crate) version: Version,
    pub(crate) client: &'a str,
    pub(crate) out: &'a Outbox,
    pub(crate) cancel: CancellationToken,
}

/// What a method gives: a result as JSON text, nothing (cancelled), or a fault.
pub(crate) type Outcome = Result<Option<String>, Fault>;

/// Handles one message and answers it. `headers` are there on HTTP, where 2026-07-28 wants them to
/// agree with the body. Cancelling `cancel` gives up waiting; what has begun runs to its end.
pub async fn dispatch(
    peer: &Peer,
    era: Era,
    message: Message<'_>,
    headers: Option<&HeaderFacts>,
    out: &Outbox,
    cancel: CancellationToken,
) -> Reply {
    match message {
        Message::Request { id, method, params } => {
            let registered = peer
                .link
                .as_ref()
                .map(|link| link.register(&id, cancel.clone()));
            let _running = match registered.transpose() {
                Ok(running) => running,
                Err(why) => {
                    return Reply::fault(&Fault::new(wire::INVALID_REQUEST, why).of(id), 400);
                }
            };
            match era {
                Era::Modern => {
                    modern::request(peer, &id, &method, params, headers, out, cancel).await
                }
                Era::Legacy => legacy::request(peer, &id, &method, params, out, cancel).await,
            }
        }
        Message::Notification { method, params } => {
            note(peer, &method, params);
            Reply::silent()
        }
        Message::Response { id, result } => {
            take_response(peer, &id, result);
            Reply::silent()
        }
    }
}

/// Notifications mean the same in every revision; those without a meaning here are dropped, as
/// JSON-RPC asks.
fn note(peer: &Peer, method: &str, raw: Option<&serde_json::value::RawValue>) {
    let Some(link) = &peer.link else {
        return;
    };
    match method {
        "notifications/initialized" => link.initialized.store(true, Ordering::Relaxed),
        "notifications/cancelled" => {
            if let Some(id) = params::cancelled_id(raw) {
                link.cancel(&id);
            }
        }
        _ => {}
    }
}

/// The gateway asks its clients nothing, so their answers are dropped; the conformance fixtures do ask.
#[cfg_attr(not(feature = "conformance-fixtures"), allow(unused_variables))]
fn take_response(peer: &Peer, id: &RequestId, result: Option<&serde_json::value::RawValue>) {
    #[cfg(feature = "conformance-fixtures")]
    if let Some(link) = &peer.link {
        link.asked.take(id, result);
    }
}

impl Peer {
    /// Registers a long connection and says so where another had to give way.
    ///
    /// # Errors
    /// `session.limit` where `session.on_conflict` is `reject`.
    pub fn attach(
        &self,
        client: &str,
    ) -> Result<crate::session::Attached, kruxos_types::CallError> {
        let gateway = &self.mcp.gateway;
        let (attached, replaced) = gateway
            .sessions
            .attach(&self.session, client, self.address)?;
        if !replaced.is_empty() {
            changes::announce_replaced(gateway, &self.session, self.address, &replaced);
        }
        Ok(attached)
    }
}
