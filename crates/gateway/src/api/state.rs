//! `/state/{agent}`: the state explorer over an agent's persistent keys.

use super::agents::known;
use super::error::{Answer, ApiError};
use super::extract::{Body, By, Params, page_limit, state_key};
use crate::gateway::Gateway;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/state/{agent}/keys", get(list))
        .route(
            "/state/{agent}/keys/{*key}",
            get(value).put(set).delete(delete),
        )
        .route("/state/{agent}/history/{*key}", get(history))
        .route("/state/{agent}/quota", get(quota))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    values: bool,
    limit: Option<usize>,
}

async fn list(
    By(_): By,
    State(gateway): State<Gateway>,
    Path(agent): Path<String>,
    Params(query): Params<ListQuery>,
) -> Answer {
    let agent = known(&gateway, &agent)?.name;
    let limit = page_limit(query.limit)?;
    let (keys, total, bytes) = gateway
        .store
        .state_list(&agent, &query.prefix, query.values, limit)
        .await?;
    Ok(Json(
        json!({"keys": keys, "total": total, "total_size_bytes": bytes}),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueQuery {
    version: Option<u64>,
}

async fn value(
    By(_): By,
    State(gateway): State<Gateway>,
    Path((agent, key)): Path<(String, String)>,
    Params(query): Params<ValueQuery>,
) -> Answer {
    let agent = known(&gateway, &agent)?.name;
    state_key(&key)?;
    let found = gateway.store.state_get(&agent, &key, query.version).await?;
    let mut shown = json!(found.ok_or_else(|| no_key(&key))?);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("key".to_owned(), json!(key));
    }
    Ok(Json(shown))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewValue {
    value: Value,
}

async fn set(
    By(by): By,
    State(gateway): State<Gateway>,
    Path((agent, key)): Path<(String, String)>,
    Body(NewValue { value }): Body<NewValue>,
) -> Answer {
    let agent = known(&gateway, &agent)?.name;
    state_key(&key)?;
    let outcome = gateway.store.state_set(&agent, &key, value).await?;
    let facts = json!({"agent": agent, "key": key, "version": outcome.version});
    gateway.audit_admin(&by, "state set", facts).await?;
    Ok(Json(json!(outcome)))
}

async fn delete(
    By(by): By,
    State(gateway): State<Gateway>,
    Path((agent, key)): Path<(String, String)>,
) -> Answer {
    let agent = known(&gateway, &agent)?.name;
    state_key(&key)?;
    if !gateway.store.state_delete(&agent, &key).await? {
        return Err(no_key(&key));
    }
    gateway
        .audit_admin(&by, "state deleted", json!({"agent": agent, "key": key}))
        .await?;
    Ok(Json(json!({"key": key, "deleted": true})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryQuery {
    limit: Option<usize>,
}

async fn history(
    By(_): By,
    State(gateway): State<Gateway>,
    Path((agent, key)): Path<(String, String)>,
    Params(query): Params<HistoryQuery>,
) -> Answer {
    let agent = known(&gateway, &agent)?.name;
    state_key(&key)?;
    let limit = page_limit(query.limit)?;
    let found = gateway.store.state_history(&agent, &key, limit).await?;
    Ok(Json(
        json!({"key": key, "versions": found.ok_or_else(|| no_key(&key))?}),
    ))
}

async fn quota(By(_): By, State(gateway): State<Gateway>, Path(agent): Path<String>) -> Answer {
    let agent = known(&gateway, &agent)?.name;
    Ok(Json(json!(gateway.store.state_quota(&agent).await?)))
}

fn no_key(key: &str) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        CallError::new(ErrorType::KeyNotFound).with("key", key),
    )
}
