//! 2026-07-28: no handshake, no session; every request says its revision and what its client can do.

use super::changes::{Change, FILE_FILTER};
use super::era::{MODERN, capabilities};
use super::legacy::{INSTRUCTIONS, server_info};
use super::params::{Meta, Params};
use super::wire::{
    Fault, HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, MISSING_CAPABILITY,
    UNSUPPORTED_VERSION, answer, notification, to_text,
};
use super::{Asked, Outbox, Outcome, Peer, Reply, RequestId, tasks, tools};
use crate::session::Attached;
use data_encoding::BASE64;
use kruxos_types::Object;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

/// What is served.
const METHODS: &str = "server/discover, tools/list, tools/call, subscriptions/listen, tasks/get, \
    tasks/update, tasks/cancel or kruxos/checkApproval";
/// What the gateway offers changes only with its build.
const DISCOVER_TTL_MS: u64 = 300_000;

/// The headers that must agree with the body.
#[derive(Debug, Default, Clone)]
pub struct HeaderFacts {
    /// `MCP-Protocol-Version`.
    pub version: Option<String>,
    /// `Mcp-Method`.
    pub method: Option<String>,
    /// `Mcp-Name`.
    pub name: Option<String>,
    /// `Mcp-Param-*`, by the lower-case name after the prefix. Only tools whose schema says
    /// `x-mcp-header` have them, and of the gateway's own none does.
    pub params: Vec<(String, String)>,
}

/// Answers one request.
pub(crate) async fn request(
    peer: &Peer,
    id: &RequestId,
    method: &str,
    raw: Option<&RawValue>,
    headers: Option<&HeaderFacts>,
    out: &Outbox,
    cancel: CancellationToken,
) -> Reply {
    match checked(peer, id, method, raw, headers, out, cancel).await {
        Ok(Some(result)) => Reply {
            text: Some(answer(id, &result)),
            status: 0,
        },
        Ok(None) => Reply::silent(),
        Err(fault) => {
            let status = http_status(&fault);
            Reply::fault(&fault.of(id.clone()), status)
        }
    }
}

/// Faults of the protocol have statuses of their own; a fault of a method's own is an answer.
fn http_status(fault: &Fault) -> u16 {
    match fault.code {
        METHOD_NOT_FOUND => 404,
        HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION | INVALID_PARAMS => 400,
        INTERNAL_ERROR => 500,
        _ => 0,
    }
}

async fn checked(
    peer: &Peer,
    id: &RequestId,
    method: &str,
    raw: Option<&RawValue>,
    headers: Option<&HeaderFacts>,
    out: &Outbox,
    cancel: CancellationToken,
) -> Outcome {
    let params = Params::read(raw)?;
    let meta = params._meta.as_ref();
    check_meta(meta)?;
    if let Some(headers) = headers {
        check_headers(headers, method, &params)?;
    }
    let version = meta
        .and_then(|meta| meta.version.as_deref())
        .unwrap_or_default();
    if version != MODERN.as_str() {
        let facts = Object::from_iter([
            ("supported".to_owned(), json!([MODERN.as_str()])),
            ("requested".to_owned(), json!(version)),
        ]);
        let message = "unsupported protocol version";
        return Err(Fault::new(UNSUPPORTED_VERSION, message).with_facts(facts));
    }
    let client = meta.map(Meta::client_name).unwrap_or_default();
    let asked = Asked {
        peer,
        id,
        version: MODERN,
        client: &client,
        out,
        cancel,
    };
    #[cfg(feature = "conformance-fixtures")]
    super::fixtures::check_param_headers(&params, headers)?;
    route(&asked, method, raw, &params).await
}

#[cfg_attr(
    not(feature = "conformance-fixtures"),
    allow(unused_variables, reason = "only the fixtures read parameters again")
)]
async fn route(
    asked: &Asked<'_>,
    method: &str,
    raw: Option<&RawValue>,
    params: &Params<'_>,
) -> Outcome {
    #[cfg(feature = "conformance-fixtures")]
    if let Some(outcome) = super::fixtures::method(asked, method, raw) {
        return outcome;
    }
    let capabilities = params
        ._meta
        .as_ref()
        .and_then(|meta| meta.capabilities.as_ref());
    let takes_tasks = capabilities.is_some_and(tasks::declared);
    match method {
        "tools/call" => tools::call(asked, params, takes_tasks).await,
        "tools/list" => tools::list(asked, params),
        "server/discover" => Ok(Some(discover())),
        "subscriptions/listen" => listen(asked, params).await,
        "tasks/get" | "tasks/update" | "tasks/cancel" if !takes_tasks => Err(tasks::undeclared()),
        "tasks/get" => tasks::get(asked, params).await,
        "tasks/update" => tasks::update(asked, params).await,
        "tasks/cancel" => tasks::cancel(asked, params).await,
        "kruxos/checkApproval" => tools::check_approval(asked, params).await,
        _ => Err(Fault::no_method(method, METHODS)),
    }
}

fn check_meta(meta: Option<&Meta<'_>>) -> Result<(), Fault> {
    let missing = |key: &str| {
        Err(Fault::new(
            INVALID_PARAMS,
            format!("invalid params: _meta lacks io.modelcontextprotocol/{key}"),
        ))
    };
    let version = meta.and_then(|meta| meta.version.as_ref());
    let capabilities = meta.and_then(|meta| meta.capabilities.as_ref());
    match (version, capabilities) {
        (None, _) => missing("protocolVersion"),
        (_, None) => missing("clientCapabilities"),
        (_, Some(capabilities)) if !capabilities.is_object() => Err(Fault::new(
            INVALID_PARAMS,
            "invalid params: clientCapabilities must be an object",
        )),
        _ => Ok(()),
    }
}

/// Intermediaries route by these headers, so a body that says something else is refused.
fn check_headers(headers: &HeaderFacts, method: &str, params: &Params<'_>) -> Result<(), Fault> {
    let version = params
        ._meta
        .as_ref()
        .and_then(|meta| meta.version.as_deref());
    same("MCP-Protocol-Version", headers.version.as_deref(), version)?;
    same("Mcp-Method", headers.method.as_deref(), Some(method))?;
    let name = match method {
        "tools/call" | "prompts/get" => params.name.as_deref(),
        "resources/read" => params.uri.as_deref(),
        "tasks/get" | "tasks/update" | "tasks/cancel" => params.task_id.as_deref(),
        _ => return Ok(()),
    };
    let header = match headers.name.as_deref().map(decode_header) {
        Some(None) => return Err(Fault::new(HEADER_MISMATCH, "Mcp-Name is not valid base64")),
        Some(Some(header)) => Some(header),
        None => None,
    };
    same("Mcp-Name", header.as_deref(), name)
}

fn same(name: &str, header: Option<&str>, body: Option<&str>) -> Result<(), Fault> {
    if header == body {
        return Ok(());
    }
    let what = match header {
        None => "is missing",
        Some(_) => "does not match the body",
    };
    Err(Fault::new(
        HEADER_MISMATCH,
        format!("header mismatch: {name} {what}"),
    ))
}

/// A header's value: as it is, or `=?base64?…?=` where it would not fit a header. `None` when the
/// base64 is broken.
pub(crate) fn decode_header(value: &str) -> Option<Cow<'_, str>> {
    let coded = value
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="));
    let Some(coded) = coded else {
        return Some(Cow::Borrowed(value));
    };
    let bytes = BASE64.decode(coded.as_bytes()).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn discover() -> String {
    let mut found = json!({
        "supportedVersions": [MODERN.as_str()],
        "capabilities": capabilities(MODERN),
        "instructions": INSTRUCTIONS,
        "resultType": "complete",
        "cacheScope": "private",
        "ttlMs": DISCOVER_TTL_MS,
    });
    found["_meta"] = json!({"io.modelcontextprotocol/serverInfo": server_info()});
    to_text(&found)
}

/// What one subscription asked for and is told.
struct Wanted {
    tools: bool,
    files: bool,
}

impl Wanted {
    fn read(params: &Params<'_>) -> Result<Self, Fault> {
        let raw = params.notifications.ok_or_else(|| {
            Fault::new(INVALID_PARAMS, "invalid params: notifications is missing")
        })?;
        let filter: Value =
            serde_json::from_str(raw.get()).map_err(|error| Fault::params(&error))?;
        if !filter.is_object() {
            return Err(Fault::new(
                INVALID_PARAMS,
                "invalid params: notifications must be an object",
            ));
        }
        Ok(Self {
            tools: filter["toolsListChanged"] == true,
            files: filter[FILE_FILTER] == true,
        })
    }

    fn acknowledged(&self) -> Value {
        let mut honoured = json!({});
        if self.tools {
            honoured["toolsListChanged"] = json!(true);
        }
        if self.files {
            honoured[FILE_FILTER] = json!(true);
        }
        honoured
    }

    fn wants(&self, change: &Change) -> bool {
        match change {
            Change::Tools => self.tools,
            Change::File(_) => self.files,
        }
    }
}

/// `subscriptions/listen`: says what it will tell, tells it, and answers when the stream must end.
async fn listen(asked: &Asked<'_>, params: &Params<'_>) -> Outcome {
    let wanted = Wanted::read(params)?;
    if asked.out.is_closed() {
        let message = "subscriptions/listen answers with a stream: accept text/event-stream";
        return Err(Fault::new(INVALID_PARAMS, message));
    }
    let session = &asked.peer.session;
    let attached = attach(asked)?;
    let subscription: Value = serde_json::from_str(asked.id.as_json()).unwrap_or(Value::Null);
    let gateway = &asked.peer.mcp.gateway;
    let mut events = gateway.events.subscribe_changes();
    asked.out.send(notification(
        "notifications/subscriptions/acknowledged",
        &json!({
            "notifications": wanted.acknowledged(),
            "_meta": {"io.modelcontextprotocol/subscriptionId": subscription},
        }),
    ));
    let closing = attached
        .as_ref()
        .map_or_else(|| session.ended.clone(), |kept| kept.close.clone());
    let reason = loop {
        let change = tokio::select! {
            () = asked.cancel.cancelled() => return Ok(None),
            () = gateway.stopping.cancelled() => break "gateway stopping".to_owned(),
            () = closing.cancelled() => break reason(attached.as_ref()),
            event = events.recv() => match event {
                Ok(event) => Change::of(&event, session),
                // What was missed may have been a change of the list, so it is said once more.
                Err(RecvError::Lagged(_)) => Some(Change::Tools),
                Err(RecvError::Closed) => break "gateway stopping".to_owned(),
            },
        };
        if let Some(change) = change.filter(|change| wanted.wants(change)) {
            asked.out.send(change.modern(&subscription));
        }
    };
    let meta = json!({
        "io.modelcontextprotocol/subscriptionId": subscription,
        "io.modelcontextprotocol/serverInfo": server_info(),
        "kruxos/reason": reason,
    });
    Ok(Some(to_text(
        &json!({"resultType": "complete", "_meta": meta}),
    )))
}

fn reason(attached: Option<&Attached>) -> String {
    attached.map_or_else(|| "session ended".to_owned(), Attached::reason)
}

/// A listening HTTP stream is a long connection like any other; a WebSocket is one already.
fn attach(asked: &Asked<'_>) -> Result<Option<Attached>, Fault> {
    if !asked.peer.over_http {
        return Ok(None);
    }
    let client = format!("{}@{}", asked.client, asked.peer.address.ip());
    let attached = asked.peer.attach(&client);
    attached
        .map(Some)
        .map_err(|error| Fault::of_error(INTERNAL_ERROR, &error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::tools::{MODERN_TAIL, cache_hints};
    use super::*;

    #[test]
    fn the_constant_tail_names_this_server() {
        let tail: Value = serde_json::from_str(&format!("{{{MODERN_TAIL}}}")).unwrap();
        let info = &tail["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(info["name"], server_info()["name"]);
        assert_eq!(info["version"], server_info()["version"]);
        assert!(cache_hints(1).starts_with(','));
    }

    #[test]
    fn header_values_may_be_base64() {
        assert_eq!(decode_header("plain").unwrap(), "plain");
        assert_eq!(decode_header("=?base64?SGVsbG8=?=").unwrap(), "Hello");
        assert_eq!(decode_header("=?base64?SGVsbG8?="), None);
        assert_eq!(decode_header("=?base64?SGVs!!!bG8=?="), None);
        assert_eq!(
            decode_header("=?base64?SGVsbG8=").unwrap(),
            "=?base64?SGVsbG8="
        );
    }
}
