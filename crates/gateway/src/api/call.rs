//! `/call`: a call as an agent or as the operator, through the whole pipeline.

use super::agents::known;
use super::error::{Answer, ApiError};
use super::extract::{Body, By};
use crate::call::{CallAnswer, CallRequest, Caller, Hold};
use crate::gateway::Gateway;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use kruxos_types::{Interface, Object, Principal};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Longest a caller may hold the request open for an approval: a day.
const MAX_WAIT_SECONDS: u64 = 86_400;
/// Characters of a capability's name that are looked at.
const MAX_NAME_BYTES: usize = 256;

pub(super) fn routes() -> Router<Gateway> {
    Router::new().route("/call", post(call))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCall {
    capability: String,
    /// Who calls; the operator when absent.
    agent: Option<String>,
    #[serde(default)]
    inputs: Object,
    /// How long a call that needs approval is held.
    #[serde(default)]
    wait_seconds: u64,
}

/// Answers 200 with the result, 202 with the pending request, or the call's own error.
async fn call(
    By(by): By,
    State(gateway): State<Gateway>,
    Body(new): Body<NewCall>,
) -> Answer<(StatusCode, Json<Value>)> {
    if new.wait_seconds > MAX_WAIT_SECONDS {
        let expected = format!("at most {MAX_WAIT_SECONDS}");
        return Err(ApiError::invalid("wait_seconds", "is too long", &expected));
    }
    if new.capability.len() > MAX_NAME_BYTES {
        let expected = format!("at most {MAX_NAME_BYTES} bytes");
        return Err(ApiError::invalid("capability", "is too long", &expected));
    }
    let principal = match &new.agent {
        Some(name) => Principal::agent(known(&gateway, name)?.name.as_str()),
        None => by.principal.clone(),
    };
    let session = gateway.session_of(&principal).await?;
    let mut request = CallRequest::new(new.capability, Value::Object(new.inputs));
    request.hold = match new.wait_seconds {
        0 => Hold::Detach,
        seconds => Hold::UpTo(Duration::from_secs(seconds)),
    };
    request
        .metadata
        .insert("called_by".to_owned(), json!(by.principal.to_string()));
    // Dropped with this request when the client hangs up: a held call then stays in the queue.
    let left = request.cancel.clone().drop_guard();
    let answer = gateway
        .call(
            Caller {
                session,
                interface: by.interface.unwrap_or(Interface::Cli),
            },
            request,
        )
        .await;
    drop(left);
    match answer {
        CallAnswer::Done(result) => Ok((
            StatusCode::OK,
            Json(json!({"status": "success", "result": result})),
        )),
        CallAnswer::Pending(approval, error) => {
            let id = approval.id.as_str();
            let body = json!({"status": "pending", "request_id": id, "error": error.to_json()});
            Ok((StatusCode::ACCEPTED, Json(body)))
        }
        CallAnswer::Failed(error) => Err(error.into()),
        CallAnswer::Cancelled => {
            let error = kruxos_types::CallError::internal_failure("cancelled without a caller");
            Err(error.into())
        }
    }
}
