//! Reading a request's body within a bound of size. The listener bounds its time.

use super::refusal;
use crate::config::Server;
use crate::listen::came_too_slowly;
use axum::body::{Body, Bytes};
use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kruxos_types::CallError;

/// Why a body was not read.
#[derive(Debug)]
pub(crate) enum Problem {
    TooLarge,
    TooSlow,
    Broken,
}

/// Reads at most `limit` bytes. A body that says it is larger is not begun.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if declared
        .and_then(|text| text.parse::<usize>().ok())
        .is_some_and(|length| length > limit)
    {
        return Err(Problem::TooLarge);
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::TooLarge),
        Err(error) if came_too_slowly(&*error) => Err(Problem::TooSlow),
        Err(_) => Err(Problem::Broken),
    }
}

impl Problem {
    /// The answer. Nothing of the message was understood, so it is no JSON-RPC answer.
    pub(crate) fn response(&self, limit: usize, server: &Server) -> Response {
        let (status, reason) = match self {
            Problem::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "is too large".to_owned()),
            Problem::TooSlow => {
                let seconds = server.body_timeout_seconds;
                let reason =
                    format!("did not arrive within {seconds} s (server.body_timeout_seconds)");
                (StatusCode::REQUEST_TIMEOUT, reason)
            }
            Problem::Broken => (StatusCode::BAD_REQUEST, "broke off".to_owned()),
        };
        let expected = format!("at most {limit} bytes (server.max_message_bytes)");
        let error = CallError::invalid_input("body", &reason, &expected);
        refusal::json(status, error.to_json().to_string())
    }
}
