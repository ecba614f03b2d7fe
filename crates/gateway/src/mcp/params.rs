//! Parameters of requests, read once, with everything that any method uses.

use super::wire::{Fault, INVALID_PARAMS, RequestId, params};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Longest client name or version that is shown and audited, in characters.
const MAX_CLIENT_CHARS: usize = 64;

/// `_meta` of a request.
#[derive(Debug, Default, Deserialize)]
pub struct Meta<'a> {
    /// 2026-07-28: the revision of this request.
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion")]
    pub version: Option<Cow<'a, str>>,
    /// 2026-07-28: what the client can do, said anew each time.
    #[serde(default, rename = "io.modelcontextprotocol/clientCapabilities")]
    pub capabilities: Option<Value>,
    /// 2026-07-28: what the client calls itself.
    #[serde(default, rename = "io.modelcontextprotocol/clientInfo")]
    pub client: Option<Value>,
    /// Under which token the client wants progress.
    #[serde(default, rename = "progressToken")]
    pub progress_token: Option<Value>,
    /// Credentials of clients that cannot set headers.
    #[serde(borrow, default, rename = "kruxos/auth")]
    pub auth: Option<Credentials<'a>>,
}

/// Credentials inside `initialize`.
#[derive(Debug, Deserialize)]
pub struct Credentials<'a> {
    /// The agent's name; it must be the token's.
    #[serde(borrow, default)]
    pub agent: Option<Cow<'a, str>>,
    /// The token.
    #[serde(borrow)]
    pub token: Cow<'a, str>,
}

impl Meta<'_> {
    /// `name/version` of the client.
    pub(crate) fn client_name(&self) -> String {
        self.client.as_ref().map_or_else(String::new, client_name)
    }

    /// The progress token, if it is one.
    pub(crate) fn progress(&self) -> Option<Value> {
        self.progress_token
            .clone()
            .filter(|token| token.is_string() || token.is_number())
    }
}

/// `name/version` of an `Implementation` object, cut to a length fit for a log line.
pub(crate) fn client_name(info: &Value) -> String {
    let part = |key: &str| -> String {
        let text = info[key].as_str().unwrap_or_default();
        text.chars()
            .filter(|c| !c.is_control())
            .take(MAX_CLIENT_CHARS)
            .collect()
    };
    format!("{}/{}", part("name"), part("version"))
}

/// Every member that some method reads. Others are left alone.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Params<'a> {
    #[serde(borrow, default)]
    pub(crate) _meta: Option<Meta<'a>>,
    #[serde(borrow, default)]
    pub(crate) name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) uri: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "taskId")]
    pub(crate) task_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) cursor: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) notifications: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) request_id: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(crate) wait_seconds: Option<u64>,
    #[serde(borrow, default)]
    pub(crate) level: Option<Cow<'a, str>>,
    #[cfg(feature = "conformance-fixtures")]
    #[serde(default, rename = "inputResponses")]
    pub(crate) input_responses: Option<Value>,
    #[cfg(feature = "conformance-fixtures")]
    #[serde(borrow, default, rename = "requestState")]
    pub(crate) request_state: Option<Cow<'a, str>>,
}

impl<'a> Params<'a> {
    pub(crate) fn read(raw: Option<&'a RawValue>) -> Result<Self, Fault> {
        params(raw)
    }

    pub(crate) fn required<'b>(
        value: Option<&'b Cow<'a, str>>,
        name: &'static str,
    ) -> Result<&'b str, Fault> {
        value
            .map(|text| &**text)
            .ok_or_else(|| Fault::new(INVALID_PARAMS, format!("invalid params: {name} is missing")))
    }

    /// The call's arguments; absent ones are an empty object.
    pub(crate) fn arguments(&self) -> Result<Value, Fault> {
        match self.arguments {
            None => Ok(Value::Object(serde_json::Map::new())),
            Some(raw) => serde_json::from_str(raw.get()).map_err(|error| Fault::params(&error)),
        }
    }
}

/// Reads only `_meta`, for a door that must know who asks before anything else.
#[must_use]
pub fn meta(raw: Option<&RawValue>) -> Option<Meta<'_>> {
    #[derive(Deserialize)]
    struct Only<'a> {
        #[serde(borrow, default)]
        _meta: Option<Meta<'a>>,
    }
    serde_json::from_str::<Only<'_>>(raw?.get()).ok()?._meta
}

/// The id that `notifications/cancelled` names.
pub(crate) fn cancelled_id(raw: Option<&RawValue>) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct Cancelled<'a> {
        #[serde(borrow, rename = "requestId")]
        id: &'a RawValue,
    }
    let cancelled: Cancelled<'_> = serde_json::from_str(raw?.get()).ok()?;
    RequestId::read(cancelled.id)
}
