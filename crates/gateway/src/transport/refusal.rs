//! Answers to requests that get no further: the status and the structured error.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, StatusCode};
use kruxos_types::{CallError, ErrorType};

/// What an HTTP client sees of an error outside any call.
pub(crate) fn refusal(error: &CallError) -> Response {
    let status = status_of(error.error_type());
    let mut response = json(status, error.to_json().to_string());
    decorate(&mut response, error);
    response
}

/// Adds the headers that belong to an authentication failure.
pub(crate) fn decorate(response: &mut Response, error: &CallError) {
    let headers = response.headers_mut();
    if response_needs_challenge(error.error_type()) {
        headers.insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"kruxos\""),
        );
    }
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}

fn response_needs_challenge(error: ErrorType) -> bool {
    status_of(error) == StatusCode::UNAUTHORIZED
}

/// The HTTP status of an error that is answered before any dispatch.
pub(crate) fn status_of(error: ErrorType) -> StatusCode {
    match error {
        ErrorType::AuthInvalidCredentials
        | ErrorType::AuthAgentRevoked
        | ErrorType::AuthUserTokenRevoked
        | ErrorType::NotAuthenticated => StatusCode::UNAUTHORIZED,
        ErrorType::AuthRateLimited | ErrorType::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorType::SessionLimit => StatusCode::CONFLICT,
        ErrorType::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorType::InvalidInput => StatusCode::BAD_REQUEST,
        ErrorType::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A JSON response.
pub(crate) fn json(status: StatusCode, body: String) -> Response {
    with_body(
        status,
        HeaderValue::from_static("application/json"),
        Body::from(body),
    )
}

/// 200 with a page for a person.
pub(crate) fn page(body: &'static str) -> Response {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    with_body(StatusCode::OK, kind, Body::from(body))
}

/// What HTTP itself is refused for: the status, and a structured error that names the part at fault.
pub(crate) fn of_part(status: StatusCode, part: &str, reason: &str, expected: &str) -> Response {
    let error = CallError::invalid_input(part, reason, expected);
    json(status, error.to_json().to_string())
}

/// 415: a browser form cannot send JSON, so a page cannot post here without being asked first.
pub(crate) fn not_json() -> Response {
    of_part(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "Content-Type",
        "the body is not declared as JSON",
        "application/json",
    )
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// 405 with the methods that are allowed.
pub(crate) fn not_allowed(allowed: &'static str) -> Response {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let reason = "is not allowed on this path";
    let mut response = of_part(status, "method", reason, allowed);
    response
        .headers_mut()
        .insert(http::header::ALLOW, HeaderValue::from_static(allowed));
    response
}

pub(crate) fn with_body(status: StatusCode, kind: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    );
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    response
}
