//! `/user-tokens`: tokens of people.

use super::error::{Answer, ApiError};
use super::extract::{Body, By};
use crate::gateway::Gateway;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

/// A label is a name in audit entries and tables.
const MAX_LABEL_CHARS: usize = 64;

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/user-tokens", get(list).post(create))
        .route("/user-tokens/{id}", delete(revoke))
}

async fn list(By(_): By, State(gateway): State<Gateway>) -> Answer {
    Ok(Json(json!(gateway.store.user_tokens().await?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    label: String,
}

async fn create(
    By(by): By,
    State(gateway): State<Gateway>,
    Body(NewToken { label }): Body<NewToken>,
) -> Answer<(StatusCode, Json<Value>)> {
    let fits = (1..=MAX_LABEL_CHARS).contains(&label.chars().count());
    let plain = label
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c));
    if !fits || !plain {
        let expected = format!("1 to {MAX_LABEL_CHARS} of a-z, A-Z, 0-9, - _ . @");
        return Err(ApiError::invalid("label", "is not a label", &expected));
    }
    let (stored, token) = gateway.create_user_token(&label, &by).await?;
    let made = json!({"id": stored.id, "label": stored.label, "token": token});
    Ok((StatusCode::CREATED, Json(made)))
}

async fn revoke(By(by): By, State(gateway): State<Gateway>, Path(id): Path<String>) -> Answer {
    let live = gateway.store.user_tokens().await?;
    let known = live
        .iter()
        .any(|token| token.revoked_at.is_none() && (token.id == id || token.label == id));
    if !known {
        return Err(ApiError::not_found(
            "id",
            &id,
            "an id or label of a live User token",
        ));
    }
    Ok(Json(json!(gateway.revoke_user_token(&id, &by).await?)))
}
