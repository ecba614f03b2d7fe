//! What the API answers when it refuses: the structured error, with a fitting HTTP status.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kruxos_store::{Approval, ApprovalState, StoreError, TransitionError};
use kruxos_types::{CallError, ErrorType, Object};
use serde_json::{Value, json};

/// A refusal.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    error: CallError,
    /// Facts beside the structured error, such as `status` of a decided request.
    extra: Object,
}

/// What every handler answers.
pub(super) type Answer<T = Json<Value>> = Result<T, ApiError>;

impl ApiError {
    /// An error with a status of its own.
    pub(super) fn new(status: StatusCode, error: CallError) -> Self {
        Self {
            status,
            error,
            extra: Object::new(),
        }
    }

    /// Something that was named does not exist. `list` is how to find what does.
    pub(super) fn not_found(field: &str, name: &str, list: &str) -> Self {
        let name: String = name.chars().take(128).collect();
        let error = CallError::invalid_input(field, &format!("'{name}' does not exist"), list);
        Self::new(StatusCode::NOT_FOUND, error)
    }

    /// The thing is in a state that does not allow it.
    pub(super) fn conflict(resource: &str, state: &str, why: &str) -> Self {
        let error = CallError::new(ErrorType::ConflictError)
            .with("resource", resource)
            .with("actual_version", state)
            .detail(why);
        let mut refusal = Self::new(StatusCode::CONFLICT, error);
        refusal.extra.insert("status".to_owned(), json!(state));
        refusal
    }

    /// A bad field.
    pub(super) fn invalid(field: &str, reason: &str, expected: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            CallError::invalid_input(field, reason, expected),
        )
    }

    /// What happened, for a list that shows a refusal beside what went well.
    pub(super) fn description(&self) -> String {
        self.error.description().to_string()
    }

    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        let status = StatusCode::from_u16(error.error_type().spec().http_status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, error)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::NotFound(_) => Some(StatusCode::NOT_FOUND),
            StoreError::Exists(_) => Some(StatusCode::CONFLICT),
            _ => None,
        };
        let mut refusal = Self::from(CallError::from(error));
        refusal.status = status.unwrap_or(refusal.status);
        refusal
    }
}

impl From<TransitionError> for ApiError {
    fn from(error: TransitionError) -> Self {
        match error {
            TransitionError::NotFound(id) => {
                Self::not_found("id", id.as_str(), "an id of the approvals list")
            }
            TransitionError::Conflict(approval) => decided_already(&approval),
            TransitionError::Store(error) => error.into(),
        }
    }
}

fn decided_already(approval: &Approval) -> ApiError {
    let state = approval.state_name();
    let error = match approval.state {
        ApprovalState::Expired => {
            CallError::new(ErrorType::ApprovalExpired).with("request_id", approval.id.as_str())
        }
        _ => {
            let by = approval.decided_by.as_deref().unwrap_or("the gateway");
            CallError::new(ErrorType::ConflictError)
                .with("resource", approval.id.as_str())
                .with("expected_version", "pending")
                .with("actual_version", state)
                .with("decided_by", by)
                .detail(format!("The request is {state} already, by {by}."))
        }
    };
    ApiError::new(StatusCode::CONFLICT, error)
        .with("status", state)
        .with("decided_by", json!(approval.decided_by))
        .with("decided_at", json!(approval.decided_at))
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Some(cause) = self.error.internal_cause() {
            tracing::error!(
                error = self.error.error_type().code(),
                cause,
                "an API request failed"
            );
        }
        let mut body = self.error.to_json();
        if let Some(fields) = body.as_object_mut() {
            fields.extend(self.extra);
        }
        (self.status, Json(body)).into_response()
    }
}

/// No such path.
pub(super) async fn no_route(uri: axum::http::Uri) -> ApiError {
    ApiError::not_found("path", uri.path(), "a path of the control API")
}

/// The path exists, the method does not.
pub(super) async fn no_method(method: axum::http::Method) -> ApiError {
    let error = CallError::invalid_input(
        "method",
        &format!("{method} is not allowed on this path"),
        "a method of the control API",
    );
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, error)
}
