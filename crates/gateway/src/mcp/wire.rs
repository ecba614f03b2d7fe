//! JSON-RPC 2.0 as MCP uses it: reading one message, writing answers and notifications.

use kruxos_types::{CallError, Object};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The text is not JSON.
pub const PARSE_ERROR: i32 = -32700;
/// JSON, but not a JSON-RPC message.
pub const INVALID_REQUEST: i32 = -32600;
/// No such method.
pub const METHOD_NOT_FOUND: i32 = -32601;
/// The method exists, its parameters are wrong.
pub const INVALID_PARAMS: i32 = -32602;
/// The gateway failed.
pub const INTERNAL_ERROR: i32 = -32603;
/// 2026-07-28: an HTTP header and the body disagree.
pub const HEADER_MISMATCH: i32 = -32020;
/// 2026-07-28: the client did not declare what the request needs.
pub const MISSING_CAPABILITY: i32 = -32021;
/// 2026-07-28: the version asked for is not served.
pub const UNSUPPORTED_VERSION: i32 = -32022;

/// Longest request id that is echoed, in bytes: ids are counters or UUIDs.
const MAX_ID_BYTES: usize = 256;

/// A request's id exactly as it was sent: a JSON string or number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// The id as JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    pub(crate) fn read(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        let first = text.as_bytes().first()?;
        let fits = matches!(first, b'"' | b'-' | b'0'..=b'9') && text.len() <= MAX_ID_BYTES;
        fits.then(|| Self(text.into()))
    }
}

/// One message, split but not yet understood.
#[derive(Debug)]
pub enum Message<'a> {
    /// Wants an answer.
    Request {
        /// Its id.
        id: RequestId,
        /// Its method.
        method: Cow<'a, str>,
        /// Its parameters, unparsed.
        params: Option<&'a RawValue>,
    },
    /// Wants none.
    Notification {
        /// Its method.
        method: Cow<'a, str>,
        /// Its parameters, unparsed.
        params: Option<&'a RawValue>,
    },
    /// Answers a request that the gateway made.
    Response {
        /// The request's id.
        id: RequestId,
        /// The result, or nothing if it is an error.
        result: Option<&'a RawValue>,
    },
}

/// A protocol fault: what becomes the `error` of a JSON-RPC answer.
#[derive(Debug, Clone)]
pub struct Fault {
    /// JSON-RPC code.
    pub code: i32,
    /// One sentence for the client's developer.
    pub message: Cow<'static, str>,
    /// The structured error, where the code alone does not say which.
    error: Option<CallError>,
    /// What the revision wants in `data` beside it.
    facts: Option<Object>,
    /// The id of the message at fault, if it could be read.
    pub id: Option<RequestId>,
}

impl Fault {
    /// A fault that its code explains, not yet tied to a message.
    #[must_use]
    pub fn new(code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            error: None,
            facts: None,
            id: None,
        }
    }

    /// A structured error as a fault, in its own words.
    #[must_use]
    pub fn of_error(code: i32, error: &CallError) -> Self {
        Self::new(code, error.description()).with_error(error.clone())
    }

    /// `-32602` for parameters that do not parse.
    #[must_use]
    pub fn params(error: &serde_json::Error) -> Self {
        Self::new(INVALID_PARAMS, format!("invalid params: {error}"))
    }

    /// `-32601`, with the methods that there are.
    #[must_use]
    pub fn no_method(method: &str, served: &str) -> Self {
        let shown: String = method.chars().take(128).collect();
        let message = format!("method not found: {shown}");
        let error = CallError::invalid_input("method", &message, served);
        Self::new(METHOD_NOT_FOUND, message).with_error(error)
    }

    /// Says which structured error it is.
    #[must_use]
    pub fn with_error(mut self, error: CallError) -> Self {
        self.error = Some(error);
        self
    }

    /// Adds members that the revision wants in `data`.
    #[must_use]
    pub fn with_facts(mut self, facts: Object) -> Self {
        self.facts = Some(facts);
        self
    }

    /// Ties the fault to a message.
    #[must_use]
    pub fn of(mut self, id: RequestId) -> Self {
        self.id = Some(id);
        self
    }

    /// `error.data`, on every door: the structured error, and beside its members what the revision wants.
    fn data(&self) -> serde_json::Value {
        let error = self.error.clone().unwrap_or_else(|| self.structured());
        let mut data = error.to_json();
        if let (Some(members), Some(facts)) = (data.as_object_mut(), &self.facts) {
            members.extend(facts.clone());
        }
        data
    }

    /// The structured error of a fault that its code explains.
    fn structured(&self) -> CallError {
        let (field, expected) = match self.code {
            PARSE_ERROR => ("message", "one JSON-RPC 2.0 message, as JSON in UTF-8"),
            INVALID_REQUEST => ("message", "a JSON-RPC 2.0 request, notification or answer"),
            METHOD_NOT_FOUND => ("method", "a method that this door serves"),
            INVALID_PARAMS => ("params", "the parameters of the method"),
            HEADER_MISMATCH => ("headers", "headers that say the same as the body"),
            MISSING_CAPABILITY => ("capabilities", "a client that declares what it asks for"),
            UNSUPPORTED_VERSION => ("protocolVersion", "a revision that is served"),
            _ => {
                let error = CallError::internal_failure(&self.message);
                let trace_id = error.context().get("trace_id").and_then(|id| id.as_str());
                tracing::error!(trace_id, cause = %self.message, "a request failed");
                return error;
            }
        };
        CallError::invalid_input(field, &self.message, expected)
    }

    /// The answer. Its id is null where none could be read, as JSON-RPC asks.
    #[must_use]
    pub fn to_text(&self) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            code: i32,
            message: &'a str,
            data: serde_json::Value,
        }
        let body = Body {
            code: self.code,
            message: &self.message,
            data: self.data(),
        };
        let error = to_text(&body);
        let id = self.id.as_ref().map_or("null", RequestId::as_json);
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
    }
}

/// What a message's outer object may hold. Unknown members are left alone, as JSON-RPC allows.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Tells a member that is null from one that is not there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Message<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// `-32700` for text that is not JSON, `-32600` for JSON that is not a message.
    pub fn read(text: &'a str) -> Result<Self, Fault> {
        let envelope: Envelope<'a> = serde_json::from_str(text).map_err(|error| {
            if error.is_data() {
                Fault::new(INVALID_REQUEST, format!("not a JSON-RPC message: {error}"))
            } else {
                Fault::new(PARSE_ERROR, format!("not JSON: {error}"))
            }
        })?;
        envelope.sort()
    }
}

impl<'a> Envelope<'a> {
    fn sort(self) -> Result<Message<'a>, Fault> {
        let id = match self.id {
            None => None,
            Some(raw) => Some(RequestId::read(raw).ok_or_else(|| {
                Fault::new(
                    INVALID_REQUEST,
                    "id must be a string or a number of at most 256 bytes",
                )
            })?),
        };
        let refuse = |id: Option<RequestId>, message: &'static str| {
            let mut fault = Fault::new(INVALID_REQUEST, message);
            fault.id = id;
            Err(fault)
        };
        if self.jsonrpc.as_deref() != Some("2.0") {
            return refuse(id, "jsonrpc must be \"2.0\"");
        }
        let is_answer = self.result.is_some() || self.error.is_some();
        match (id, self.method) {
            (Some(id), Some(method)) => Ok(Message::Request {
                id,
                method,
                params: self.params,
            }),
            (None, Some(method)) => Ok(Message::Notification {
                method,
                params: self.params,
            }),
            (Some(id), None) if is_answer => Ok(Message::Response {
                id,
                result: self.result,
            }),
            (id, None) => refuse(
                id,
                "a message needs a method, or an id with a result or an error",
            ),
        }
    }
}

/// Checks that bytes from a transport are UTF-8.
///
/// # Errors
/// `-32700` with the place of the first bad byte.
pub fn text_of(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| {
        Fault::new(
            PARSE_ERROR,
            format!("not UTF-8 after byte {}", error.valid_up_to()),
        )
    })
}

/// A successful answer around a result that is JSON text already.
#[must_use]
pub fn answer(id: &RequestId, result: &str) -> String {
    let mut text = String::with_capacity(result.len() + id.as_json().len() + 40);
    text.push_str(r#"{"jsonrpc":"2.0","id":"#);
    text.push_str(id.as_json());
    text.push_str(r#","result":"#);
    text.push_str(result);
    text.push('}');
    text
}

/// A notification.
#[must_use]
pub fn notification(method: &str, params: &impl Serialize) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"{method}","params":{}}}"#,
        to_text(params)
    )
}

/// Any value of ours as JSON. It cannot fail for the types used here; `null` if it ever did.
#[must_use]
pub fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| {
        tracing::error!(%error, "a value could not be written as JSON");
        "null".to_owned()
    })
}

/// Appends `text` as a JSON string.
pub fn push_escaped(target: &mut String, text: &str) {
    target.push_str(&to_text(&text));
}

/// Reads parameters; absent ones read as an empty object.
///
/// # Errors
/// `-32602` with the parser's message.
pub fn params<'a, T: Deserialize<'a>>(params: Option<&'a RawValue>) -> Result<T, Fault> {
    serde_json::from_str(params.map_or("{}", RawValue::get)).map_err(|error| Fault::params(&error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_kind_of_message_is_told_apart() {
        let request = r#"{"jsonrpc":"2.0","id":7,"method":"a","params":{"x":1}}"#;
        match Message::read(request).unwrap() {
            Message::Request { id, method, params } => {
                assert_eq!((id.as_json(), &*method), ("7", "a"));
                assert_eq!(params.unwrap().get(), r#"{"x":1}"#);
            }
            other => panic!("{other:?}"),
        }
        let note = Message::read(r#"{"jsonrpc":"2.0","method":"a"}"#).unwrap();
        assert!(matches!(note, Message::Notification { .. }));
        let reply = Message::read(r#"{"jsonrpc":"2.0","id":"q","result":null}"#).unwrap();
        assert!(matches!(
            reply,
            Message::Response {
                result: Some(_),
                ..
            }
        ));
    }

    #[test]
    fn faults_have_the_codes_of_json_rpc() {
        for (text, code) in [
            ("{", PARSE_ERROR),
            ("", PARSE_ERROR),
            ("[]", INVALID_REQUEST),
            ("7", INVALID_REQUEST),
            (r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#, INVALID_REQUEST),
            (
                r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#,
                INVALID_REQUEST,
            ),
            (r#"{"jsonrpc":"2.0","id":{},"method":"a"}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, INVALID_REQUEST),
        ] {
            assert_eq!(Message::read(text).unwrap_err().code, code, "{text}");
        }
        assert_eq!(text_of(b"{\"a\":\"\xff\"}").unwrap_err().code, PARSE_ERROR);
    }

    #[test]
    fn an_error_that_names_a_message_carries_its_id() {
        let fault = Message::read(r#"{"jsonrpc":"1.0","id":"x","method":"a"}"#).unwrap_err();
        assert!(
            fault.to_text().contains(r#""id":"x""#),
            "{}",
            fault.to_text()
        );
        assert!(
            Message::read("{")
                .unwrap_err()
                .to_text()
                .contains(r#""id":null"#)
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            drop(Message::read(&text));
        }

        #[test]
        fn an_answer_is_json_whatever_the_id(id in "[a-z\"\\\\\u{0}-\u{1f}]{0,20}") {
            let sent = serde_json::json!({"jsonrpc": "2.0", "id": id, "method": "m"}).to_string();
            let Message::Request { id: read, .. } = Message::read(&sent).unwrap() else {
                panic!("not a request");
            };
            let back: serde_json::Value = serde_json::from_str(&answer(&read, "{}")).unwrap();
            prop_assert_eq!(back["id"].as_str().unwrap(), id);
        }
    }
}
