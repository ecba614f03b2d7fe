//! Revisions that begin with `initialize`.

use super::changes::level_named;
use super::era::{Version, capabilities};
use super::params::{Params, client_name};
use super::wire::{Fault, INVALID_PARAMS, INVALID_REQUEST, answer, params, to_text};
use super::{Agreed, Asked, Link, Outbox, Outcome, Peer, Reply, RequestId, tools};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;

/// What a model should know before it calls anything.
pub(crate) const INSTRUCTIONS: &str = "\
kruxos stands between you and this machine: each call is checked by policy and audited, and some calls \
wait until a person agrees. Tools are named category__name, such as filesystem__read. Your files are below \
/workspace; relative paths start there. A tool's _meta says its tier under kruxos/tier: autonomous and \
notify run at once, approval_required waits for a person. A call that waits longer than the connection \
is held answers with ApprovalPending and a request_id: it is queued, not refused. Go on with other work and \
make the same call with the same arguments later to get its result; do not repeat it in a loop. Errors are \
JSON with error_type, agent_description and recovery_actions: do what these say instead of repeating the \
call. Long results come in parts; ask for the next with offset and limit.";

/// What is served after `initialize`.
const METHODS: &str = "ping, tools/list, tools/call, logging/setLevel or kruxos/checkApproval";

/// Answers one request.
pub(crate) async fn request(
    peer: &Peer,
    id: &RequestId,
    method: &str,
    raw: Option<&RawValue>,
    out: &Outbox,
    cancel: CancellationToken,
) -> Reply {
    let outcome = match (method, peer.link.as_deref().and_then(Link::agreed)) {
        ("initialize", _) => initialize(peer, raw),
        ("ping", _) => Ok(Some("{}".to_owned())),
        (_, None) => Err(Fault::new(
            INVALID_REQUEST,
            "the first request must be initialize",
        )),
        (_, Some(agreed)) => {
            let (version, client) = (agreed.version, agreed.client.as_str());
            let asked = Asked {
                peer,
                id,
                version,
                client,
                out,
                cancel,
            };
            after_initialize(&asked, method, raw).await
        }
    };
    match outcome {
        Ok(Some(result)) => Reply {
            text: Some(answer(id, &result)),
            status: 0,
        },
        Ok(None) => Reply::silent(),
        Err(fault) => Reply::fault(&fault.of(id.clone()), 0),
    }
}

async fn after_initialize(asked: &Asked<'_>, method: &str, raw: Option<&RawValue>) -> Outcome {
    #[cfg(feature = "conformance-fixtures")]
    if let Some(outcome) = super::fixtures::method(asked, method, raw) {
        return outcome;
    }
    match method {
        "tools/call" => tools::call(asked, &Params::read(raw)?, false).await,
        "tools/list" => tools::list(asked, &Params::read(raw)?),
        "logging/setLevel" => set_level(asked, &Params::read(raw)?),
        "kruxos/checkApproval" => tools::check_approval(asked, &Params::read(raw)?).await,
        _ => Err(Fault::no_method(method, METHODS)),
    }
}

#[derive(Deserialize)]
struct Initialize<'a> {
    #[serde(borrow, rename = "protocolVersion")]
    version: Cow<'a, str>,
    #[serde(default)]
    capabilities: Value,
    #[serde(default, rename = "clientInfo")]
    client: Value,
}

fn initialize(peer: &Peer, raw: Option<&RawValue>) -> Outcome {
    let asked: Initialize<'_> = params(raw)?;
    let link = peer.link.as_ref().ok_or_else(|| {
        Fault::new(
            INVALID_REQUEST,
            "initialize needs a connection or a session",
        )
    })?;
    let version = Version::negotiate(&asked.version, peer.over_http);
    let agreed = Agreed {
        version,
        client: client_name(&asked.client),
        capabilities: asked.capabilities,
    };
    if link.agreed.set(agreed).is_err() {
        return Err(Fault::new(
            INVALID_REQUEST,
            "this connection is initialized already",
        ));
    }
    link.log_level
        .store(level_named("info").unwrap_or_default(), Ordering::Relaxed);
    Ok(Some(to_text(&json!({
        "protocolVersion": version.as_str(),
        "capabilities": capabilities(version),
        "serverInfo": server_info(),
        "instructions": INSTRUCTIONS,
    }))))
}

pub(crate) fn server_info() -> Value {
    json!({"name": "kruxos", "title": "kruxos gateway", "version": env!("CARGO_PKG_VERSION")})
}

fn set_level(asked: &Asked<'_>, params: &Params<'_>) -> Outcome {
    let name = Params::required(params.level.as_ref(), "level")?;
    let level = level_named(name).ok_or_else(|| {
        Fault::new(
            INVALID_PARAMS,
            "invalid params: level is no log level of MCP",
        )
    })?;
    if let Some(link) = &asked.peer.link {
        link.log_level.store(level, Ordering::Relaxed);
    }
    Ok(Some("{}".to_owned()))
}

impl Link {
    /// The least severe level that the client wants to hear, as a position among the eight of MCP.
    #[must_use]
    pub fn log_level(&self) -> u8 {
        self.log_level.load(Ordering::Relaxed)
    }
}
