//! `/config`: the table of keys with the values in force, and setting one in the file.

use super::config_file;
use super::error::{Answer, ApiError};
use super::extract::{Body, By};
use crate::config::{Config, KEYS};
use crate::gateway::Gateway;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use kruxos_types::CallError;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/config", get(show))
        .route("/config/{key}", get(show_key).put(set))
}

fn row(gateway: &Gateway, key: &crate::config::Key) -> Value {
    json!({
        "key": key.path,
        "value": gateway.config.get(key.path),
        "default": Config::default().get(key.path),
        "live": key.live,
        "doc": key.doc,
    })
}

async fn show(By(_): By, State(gateway): State<Gateway>) -> Answer {
    let keys: Vec<Value> = KEYS.iter().map(|key| row(&gateway, key)).collect();
    Ok(Json(
        json!({"file": config_file::path(&gateway), "keys": keys}),
    ))
}

async fn show_key(By(_): By, State(gateway): State<Gateway>, Path(path): Path<String>) -> Answer {
    let key = KEYS.iter().find(|key| key.path == path);
    let key = key.ok_or_else(|| unknown(&gateway, &path))?;
    Ok(Json(row(&gateway, key)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewValue {
    value: Value,
}

/// Writes one key into the configuration file, if the whole file is then valid.
async fn set(
    By(by): By,
    State(gateway): State<Gateway>,
    Path(path): Path<String>,
    Body(NewValue { value }): Body<NewValue>,
) -> Answer {
    let key = KEYS.iter().find(|key| key.path == path);
    let key = key.ok_or_else(|| unknown(&gateway, &path))?;
    let file = config_file::path(&gateway);
    let written = config_file::set(&file, key.path, &value)
        .map_err(|error| ApiError::invalid(key.path, &error.to_string(), key.doc))?;
    let facts = json!({"key": key.path, "value": written, "file": file});
    gateway
        .audit_admin(&by, "configuration changed", facts)
        .await?;
    Ok(Json(json!({
        "key": key.path,
        "value": written,
        "file": file,
        // No key is taken over by a running gateway unless its row says so.
        "restart_needed": !key.live,
    })))
}

/// The configuration's own message, with the nearest key.
fn unknown(gateway: &Gateway, path: &str) -> ApiError {
    let path: String = path.chars().take(128).collect();
    let reason = match gateway.config.with(&path, "null", "config") {
        Err(error) => error.to_string(),
        Ok(_) => "is not a key".to_owned(),
    };
    let error = CallError::invalid_input("key", &reason, "a key of `kruxos config show`");
    ApiError::new(axum::http::StatusCode::NOT_FOUND, error)
}
