//! Reading a request's body within bounds of size and time.

use super::refusal;
use axum::body::{Body, Bytes};
use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kruxos_types::CallError;
use std::time::Duration;

/// The whole body must arrive within this: 16 MiB over a slow line takes a minute.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

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
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await;
    match collected {
        Err(_) => Err(Problem::TooSlow),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::TooLarge),
        Ok(Err(_)) => Err(Problem::Broken),
    }
}

impl Problem {
    /// The answer. Nothing of the message was understood, so it is no JSON-RPC answer.
    pub(crate) fn response(&self, limit: usize) -> Response {
        let (status, reason) = match self {
            Problem::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "is too large"),
            Problem::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "did not arrive within 60 seconds",
            ),
            Problem::Broken => (StatusCode::BAD_REQUEST, "broke off"),
        };
        let expected = format!("at most {limit} bytes (server.max_message_bytes)");
        let error = CallError::invalid_input("body", reason, &expected);
        refusal::json(status, error.to_json().to_string())
    }
}
