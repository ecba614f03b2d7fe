//! The control socket's HTTP API: resource routes over the gateway's own methods. The dashboard and
//! the User API will serve the same routes behind their own doors.
//!
//! A door proves who acts and says so with an [`Operator`] extension; without one every route
//! answers 401. Handlers check input, ask the gateway and shape the answer, nothing else.

mod agents;
mod alerts;
mod approvals;
mod audit;
mod call;
mod changes;
mod config;
mod config_file;
mod control;
mod error;
mod events;
mod extract;
mod grants;
mod mounts;
mod policies;
mod policy_tools;
mod state;
mod system;
mod tokens;
mod verify;

pub use crate::operator::Operator;
pub use control::serve_control;

use crate::gateway::Gateway;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use error::ApiError;
use kruxos_types::CallError;

/// Largest request body: a state value of 10 MiB with room for its JSON escapes.
pub const MAX_BODY_BYTES: usize = 12 * 1024 * 1024;

/// Carries a change through although whoever asked for it leaves: a handler ends with its connection, and
/// a revocation that reached the database and not the memory would leave a token working.
async fn to_the_end(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match gateway.tasks.spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => ApiError::from(CallError::internal_failure(error)).into_response(),
    }
}

/// Every route. The caller adds the [`Operator`] that its door has proved.
pub fn router(gateway: Gateway) -> Router {
    Router::new()
        .merge(system::routes())
        .merge(agents::routes())
        .merge(mounts::routes())
        .merge(changes::routes())
        .merge(approvals::routes())
        .merge(grants::routes())
        .merge(state::routes())
        .merge(tokens::routes())
        .merge(alerts::routes())
        .merge(policies::routes())
        .merge(config::routes())
        .layer(from_fn_with_state(gateway.clone(), to_the_end))
        .merge(audit::routes())
        .merge(policy_tools::routes())
        .merge(events::routes())
        .merge(call::routes())
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::no_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(gateway)
}
