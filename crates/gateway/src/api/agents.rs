//! `/agents`: registering, editing, tokens, supervision, and what policy gives each agent.

use super::Operator;
use super::error::{Answer, ApiError};
use super::extract::{Body, By, Params, agent_name, bounded, bounded_object, page_limit};
use crate::agents::{CreateAgent, DEFAULT_GROUP, Supervision};
use crate::gateway::Gateway;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use kruxos_catalog::Status;
use kruxos_store::{Agent, AgentPatch, AgentStatus};
use kruxos_types::{ErrorType, Object, Principal};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/agents", get(list).post(create))
        .route("/agents/{name}", get(show).patch(edit).delete(delete))
        .route("/agents/{name}/pause", post(pause))
        .route("/agents/{name}/resume", post(resume))
        .route("/agents/{name}/kill", post(kill))
        .route("/agents/{name}/rotate", post(rotate))
        .route("/agents/{name}/revoke", post(revoke))
        .route("/agents/{name}/restore", post(restore))
        .route("/agents/{name}/policy", get(policy))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<usize>,
    /// The last name of the page before.
    cursor: Option<String>,
}

async fn list(
    By(_): By,
    State(gateway): State<Gateway>,
    Params(query): Params<ListQuery>,
) -> Answer {
    let limit = page_limit(query.limit)?;
    let after = query.cursor.unwrap_or_default();
    let mut rest = gateway
        .agents
        .all()
        .into_iter()
        .filter(|agent| agent.name.as_str() > &*after);
    let page: Vec<Agent> = rest.by_ref().take(limit).collect();
    let cursor = rest
        .next()
        .and(page.last())
        .map(|agent| agent.name.to_string());
    let agents: Vec<Value> = page.iter().map(|agent| shown(&gateway, agent)).collect();
    Ok(Json(json!({"agents": agents, "next_cursor": cursor})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAgent {
    name: String,
    #[serde(default)]
    purpose: String,
    policy_group: Option<String>,
    #[serde(default)]
    settings: Object,
}

async fn create(
    By(by): By,
    State(gateway): State<Gateway>,
    Body(new): Body<NewAgent>,
) -> Answer<(StatusCode, Json<Value>)> {
    let name = agent_name(&new.name)?;
    bounded("purpose", &new.purpose)?;
    bounded_object("settings", &new.settings)?;
    if gateway.agents.get(name.as_str()).is_some() {
        return Err(ApiError::conflict(
            &format!("agent {name}"),
            "exists",
            "The name is taken.",
        ));
    }
    let new = CreateAgent {
        name,
        purpose: new.purpose,
        policy_group: new.policy_group.unwrap_or_else(|| DEFAULT_GROUP.to_owned()),
        settings: new.settings,
    };
    let made = gateway.create_agent(new, &by).await?;
    Ok((
        StatusCode::CREATED,
        Json(with_token(&gateway, &made.agent, &made.token)),
    ))
}

async fn show(By(_): By, State(gateway): State<Gateway>, Path(name): Path<String>) -> Answer {
    let agent = known(&gateway, &name)?;
    let state = gateway.store.state_quota(&agent.name).await?;
    let principal = Principal::agent(agent.name.as_str());
    let pending = gateway.store.pending_approvals(Some(&principal)).await?;
    let mut shown = shown(&gateway, &agent);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("state".to_owned(), json!(state));
        fields.insert("pending_approvals".to_owned(), json!(pending));
        fields.insert(
            "endpoint".to_owned(),
            json!(super::system::endpoint(&gateway)),
        );
    }
    Ok(Json(shown))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    purpose: Option<String>,
    policy_group: Option<String>,
    settings: Option<Object>,
}

async fn edit(
    By(by): By,
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    Body(patch): Body<Patch>,
) -> Answer {
    let agent = known(&gateway, &name)?;
    if let Some(purpose) = &patch.purpose {
        bounded("purpose", purpose)?;
    }
    if let Some(settings) = &patch.settings {
        bounded_object("settings", settings)?;
    }
    let patch = AgentPatch {
        purpose: patch.purpose,
        policy_group: patch.policy_group,
        settings: patch.settings,
    };
    let agent = gateway.edit_agent(&agent.name, patch, &by).await?;
    Ok(Json(shown(&gateway, &agent)))
}

async fn delete(By(by): By, State(gateway): State<Gateway>, Path(name): Path<String>) -> Answer {
    let agent = known(&gateway, &name)?;
    gateway.delete_agent(&agent.name, &by).await?;
    Ok(Json(
        json!({"name": agent.name, "deleted": true, "workspace": agent.workspace}),
    ))
}

async fn pause(By(by): By, State(gateway): State<Gateway>, Path(name): Path<String>) -> Answer {
    supervise(&gateway, &name, Supervision::Pause, &by).await
}

async fn resume(By(by): By, State(gateway): State<Gateway>, Path(name): Path<String>) -> Answer {
    supervise(&gateway, &name, Supervision::Resume, &by).await
}

async fn kill(By(by): By, State(gateway): State<Gateway>, Path(name): Path<String>) -> Answer {
    supervise(&gateway, &name, Supervision::Kill, &by).await
}

async fn rotate(By(by): By, State(gateway): State<Gateway>, Path(name): Path<String>) -> Answer {
    let agent = known(&gateway, &name)?;
    let made = gateway.rotate_agent(&agent.name, &by).await?;
    Ok(Json(with_token(&gateway, &made.agent, &made.token)))
}

async fn revoke(By(by): By, State(gateway): State<Gateway>, Path(name): Path<String>) -> Answer {
    supervise(&gateway, &name, Supervision::Revoke, &by).await
}

async fn restore(By(by): By, State(gateway): State<Gateway>, Path(name): Path<String>) -> Answer {
    supervise(&gateway, &name, Supervision::Restore, &by).await
}

/// What policy in force says of an agent before any input is known.
async fn policy(By(_): By, State(gateway): State<Gateway>, Path(name): Path<String>) -> Answer {
    let agent = known(&gateway, &name)?;
    let principal = Principal::agent(agent.name.as_str());
    let set = gateway.policy.current();
    let available = gateway
        .catalog
        .all()
        .iter()
        .filter(|one| one.status == Status::Available);
    let capabilities: Object = available
        .map(|one| {
            let tier = set.listed_tier(&principal, one);
            (
                one.name.to_string(),
                json!(tier.unwrap_or(kruxos_types::Tier::Blocked)),
            )
        })
        .collect();
    Ok(Json(json!({
        "agent": agent.name,
        "policy_group": agent.policy_group,
        "generation": set.generation(),
        "rules": set.rules_for(&principal),
        "capabilities": capabilities,
    })))
}

async fn supervise(gateway: &Gateway, name: &str, what: Supervision, by: &Operator) -> Answer {
    let agent = known(gateway, name)?;
    match gateway.supervise_agent(&agent.name, what, by).await {
        Ok(agent) => Ok(Json(shown(gateway, &agent))),
        Err(error) if error.error_type() == ErrorType::ConflictError => {
            let status = error.context().get("actual_version").cloned();
            Err(ApiError::from(error).with("status", status))
        }
        Err(error) => Err(error.into()),
    }
}

/// The agent, or 404.
pub(super) fn known(gateway: &Gateway, name: &str) -> Result<Agent, ApiError> {
    gateway
        .agents
        .get(name)
        .ok_or_else(|| ApiError::not_found("agent", name, "a name of the agents list"))
}

/// An agent with its live session.
fn shown(gateway: &Gateway, agent: &Agent) -> Value {
    let mut shown = json!(agent);
    let session = gateway.sessions.get(&Principal::agent(agent.name.as_str()));
    if let Some(fields) = shown.as_object_mut() {
        if session.is_some() && agent.status == AgentStatus::Registered {
            fields.insert("status".to_owned(), json!(AgentStatus::Active));
        }
        fields.insert(
            "session".to_owned(),
            json!(session.map(|session| session.to_json())),
        );
    }
    shown
}

fn with_token(gateway: &Gateway, agent: &Agent, token: &str) -> Value {
    json!({
        "name": agent.name,
        "token": token,
        "workspace": agent.workspace,
        "endpoint": super::system::endpoint(gateway),
    })
}
