//! `/agents/{name}/mounts`: directories of the host that an agent sees.

use super::agents::known;
use super::error::{Answer, ApiError};
use super::extract::{Body, By};
use crate::gateway::Gateway;
use crate::mounts::shown;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, patch};
use axum::{Json, Router};
use kruxos_store::MountPatch;
use kruxos_types::AgentName;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/agents/{name}/mounts", get(list).post(add))
        .route("/agents/{name}/mounts/{label}", patch(edit).delete(remove))
}

async fn list(By(_): By, State(gateway): State<Gateway>, Path(name): Path<String>) -> Answer {
    let agent = known(&gateway, &name)?;
    let mounts = gateway.store.mounts_of(&agent.name).await?;
    let mounts: Vec<Value> = mounts.iter().map(shown).collect();
    Ok(Json(json!({"mounts": mounts})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMount {
    label: String,
    source: String,
    #[serde(default)]
    read_only: bool,
}

async fn add(
    By(by): By,
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    Body(new): Body<NewMount>,
) -> Answer<(StatusCode, Json<Value>)> {
    let agent = known(&gateway, &name)?;
    let added = gateway
        .add_mount(&agent.name, &new.label, &new.source, !new.read_only, &by)
        .await?;
    let mut shown = shown(&added.mount);
    shown["scanned_for_sockets"] = added.scanned.into();
    Ok((StatusCode::CREATED, Json(shown)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    label: Option<String>,
    read_only: Option<bool>,
}

async fn edit(
    By(by): By,
    State(gateway): State<Gateway>,
    Path((name, label)): Path<(String, String)>,
    Body(edit): Body<Edit>,
) -> Answer {
    let agent = known(&gateway, &name)?;
    must_have(&gateway, &agent.name, &label).await?;
    let patch = MountPatch {
        label: edit.label,
        writable: edit.read_only.map(|read_only| !read_only),
    };
    let mount = gateway.edit_mount(&agent.name, &label, patch, &by).await?;
    Ok(Json(shown(&mount)))
}

async fn remove(
    By(by): By,
    State(gateway): State<Gateway>,
    Path((name, label)): Path<(String, String)>,
) -> Answer {
    let agent = known(&gateway, &name)?;
    must_have(&gateway, &agent.name, &label).await?;
    let mount = gateway.remove_mount(&agent.name, &label, &by).await?;
    Ok(Json(shown(&mount)))
}

/// 404 for a label that the agent does not have.
async fn must_have(gateway: &Gateway, agent: &AgentName, label: &str) -> Result<(), ApiError> {
    let mounts = gateway.store.mounts_of(agent).await?;
    match mounts.iter().any(|mount| mount.label == label) {
        true => Ok(()),
        false => Err(ApiError::not_found(
            "label",
            label,
            "a label of the agent's mounts",
        )),
    }
}
