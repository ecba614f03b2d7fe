//! Input of the API: bodies and queries with unknown fields refused, everything bounded.

use super::error::ApiError;
use super::{MAX_BODY_BYTES, Operator};
use crate::listen::came_too_slowly;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use kruxos_types::{AgentName, CallError, ErrorType, Object};
use serde::de::DeserializeOwned;

/// Items of one page unless the caller asks for fewer or more.
const DEFAULT_LIMIT: usize = 100;
/// Items of one page at most: what still fits a screenful of memory on both sides.
pub(super) const MAX_LIMIT: usize = 1000;
/// Free text such as a purpose or a reason, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 4096;
/// Keys of persistent state, in bytes (spec/state.md).
const MAX_KEY_BYTES: usize = 512;

/// A JSON body of type `T`. Needs `Content-Type: application/json`, which a browser form cannot send.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            let reason = "the body is not declared as JSON";
            let error = CallError::invalid_input("Content-Type", reason, "application/json");
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| unread(&rejection))?;
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            ApiError::invalid(
                "body",
                &error.to_string(),
                "a JSON object of the documented fields",
            )
        })?;
        Ok(Self(value))
    }
}

/// Why a body was not read.
fn unread(rejection: &BytesRejection) -> ApiError {
    let (status, reason) = match came_too_slowly(rejection) {
        true => (
            StatusCode::REQUEST_TIMEOUT,
            "did not arrive in time (server.body_timeout_seconds)".to_owned(),
        ),
        false => (rejection.status(), rejection.body_text()),
    };
    let expected = format!("at most {MAX_BODY_BYTES} bytes");
    ApiError::new(status, CallError::invalid_input("body", &reason, &expected))
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media = value.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/json")
}

/// Query parameters of type `T`.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::invalid(
                "query",
                &rejection.body_text(),
                "the documented parameters",
            )),
        }
    }
}

/// Who acts; 401 when the door proved nobody.
pub(super) struct By(pub(super) Operator);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let operator = parts.extensions.get::<Operator>();
        operator
            .map(|operator| Self(operator.clone()))
            .ok_or_else(|| {
                let error = CallError::new(ErrorType::NotAuthenticated)
                    .with("reason", "this door proved no operator");
                ApiError::new(StatusCode::UNAUTHORIZED, error)
            })
    }
}

/// How many items a page has.
pub(super) fn page_limit(asked: Option<usize>) -> Result<usize, ApiError> {
    match asked {
        None => Ok(DEFAULT_LIMIT),
        Some(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        Some(_) => Err(ApiError::invalid(
            "limit",
            "is out of range",
            &format!("1 to {MAX_LIMIT}"),
        )),
    }
}

/// An agent's name from a path or body.
pub(super) fn agent_name(text: &str) -> Result<AgentName, ApiError> {
    AgentName::new(text)
        .map_err(|error| ApiError::invalid("agent", &error.to_string(), "the name of an agent"))
}

/// Refuses free text that is too long.
pub(super) fn bounded(field: &str, text: &str) -> Result<(), ApiError> {
    if text.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    Err(ApiError::invalid(
        field,
        "is too long",
        &format!("at most {MAX_TEXT_BYTES} bytes"),
    ))
}

/// Refuses a state key that is empty or too long.
pub(super) fn state_key(key: &str) -> Result<(), ApiError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        let expected = format!("1 to {MAX_KEY_BYTES} bytes");
        return Err(ApiError::invalid("key", "has the wrong length", &expected));
    }
    Ok(())
}

/// Refuses settings that are too large to keep in memory for every agent.
pub(super) fn bounded_object(field: &str, object: &Object) -> Result<(), ApiError> {
    const MAX_OBJECT_BYTES: usize = 64 * 1024;
    let size = serde_json::to_vec(object).map_or(usize::MAX, |bytes| bytes.len());
    if size <= MAX_OBJECT_BYTES {
        return Ok(());
    }
    Err(ApiError::invalid(
        field,
        "is too large",
        &format!("at most {MAX_OBJECT_BYTES} bytes"),
    ))
}
