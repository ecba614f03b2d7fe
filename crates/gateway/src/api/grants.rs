//! `/grants`: approvals given in advance.

use super::error::{Answer, ApiError};
use super::extract::{By, Params, agent_name, page_limit};
use crate::gateway::Gateway;
use axum::extract::{Path, State};
use axum::routing::{delete, get};
use axum::{Json, Router};
use kruxos_types::{ErrorType, GrantId, Principal};
use serde::Deserialize;
use serde_json::json;

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/grants", get(list))
        .route("/grants/{id}", delete(revoke))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    agent: Option<String>,
    /// Also those that cover nothing any more.
    #[serde(default)]
    all: bool,
    limit: Option<usize>,
}

async fn list(
    By(_): By,
    State(gateway): State<Gateway>,
    Params(query): Params<ListQuery>,
) -> Answer {
    let limit = page_limit(query.limit)?;
    let agent = query.agent.as_deref().map(agent_name).transpose()?;
    let principal = agent.map(|name| Principal::agent(name.as_str()));
    let grants = gateway
        .store
        .grants(principal.as_ref(), !query.all, limit)
        .await?;
    Ok(Json(json!(grants)))
}

async fn revoke(By(by): By, State(gateway): State<Gateway>, Path(id): Path<String>) -> Answer {
    match gateway.revoke_grant(&GrantId::from_text(&id), &by).await {
        Ok(grant) => Ok(Json(json!(grant))),
        Err(error) if error.error_type() == ErrorType::InvalidInput => Err(ApiError::not_found(
            "id",
            &id,
            "an id of the grants that still cover calls",
        )),
        Err(error) => Err(error.into()),
    }
}
