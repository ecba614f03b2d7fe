//! Decisions and what follows from them, whatever else happens at the same time.

use crate::support::World;
use kruxos_audit::{Kind, Query};
use kruxos_gateway::agents::Supervision;
use kruxos_gateway::operator::Operator;
use kruxos_store::ApprovalState;
use kruxos_types::{AgentName, ApprovalId, Interface, Principal};
use serde_json::{Value, json};

/// An agent `a` with a call that waits.
async fn held() -> (World, String, ApprovalId) {
    let world = World::with(|config| config.approval.hold_seconds = 0).await;
    let token = world.agent("a").await;
    world
        .policy("a", "  system.time: {tier: approval_required}\n")
        .await;
    world.ask(&token, "tools/call", time()).await;
    let id = world.pending().await;
    (world, token, id)
}

fn time() -> Value {
    json!({"name": "system__time", "arguments": {}})
}

fn agent() -> AgentName {
    AgentName::new("a").unwrap()
}

fn operator() -> Operator {
    Operator::person("operator", Interface::Cli)
}

async fn set(world: &World, what: Supervision) {
    world
        .gateway
        .supervise_agent(&agent(), what, &operator())
        .await
        .unwrap();
}

async fn state(world: &World, id: &ApprovalId) -> ApprovalState {
    let found = world.gateway.store.approval(id).await.unwrap();
    found.unwrap().state
}

/// The states that the audit log has of all requests, oldest first.
fn audited(world: &World) -> Vec<String> {
    let query = Query {
        kind: Some(Kind::Decision),
        newest_first: false,
        ..Query::default()
    };
    let page = world.gateway.audit.query(&query).unwrap();
    let state = |entry: &kruxos_audit::Entry| entry.metadata["state"].as_str().unwrap().to_owned();
    page.entries.iter().map(state).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_approved_while_the_agent_is_paused_runs_when_it_is_resumed() {
    let (world, _, id) = held().await;
    set(&world, Supervision::Pause).await;
    world.accept(&id).await;
    assert_eq!(audited(&world), ["approved"]);
    assert_eq!(state(&world, &id).await, ApprovalState::Approved);
    set(&world, Supervision::Resume).await;
    let done = world
        .gateway
        .await_approval(&id, &Principal::agent("a"), crate::support::PATIENCE)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(done.state, ApprovalState::Executed, "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_deleted_agent_end_in_the_audit_log_and_for_those_who_wait() {
    let (world, _, id) = held().await;
    let principal = Principal::agent("a");
    let waiting = world
        .gateway
        .await_approval(&id, &principal, crate::support::PATIENCE);
    let (name, operator) = (agent(), operator());
    let deleting = world.gateway.delete_agent(&name, &operator);
    let (ended, deleted) = tokio::join!(waiting, deleting);
    deleted.unwrap();
    assert_eq!(ended.unwrap().unwrap().state, ApprovalState::Cancelled);
    assert_eq!(audited(&world), ["cancelled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_call_that_cannot_begin_is_audited_as_failed() {
    let (world, _, id) = held().await;
    set(&world, Supervision::Revoke).await;
    world.accept(&id).await;
    let done = world
        .gateway
        .await_approval(&id, &Principal::agent("a"), crate::support::PATIENCE)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(done.state, ApprovalState::Failed, "{done:?}");
    let query = Query {
        capability: Some("system.time".to_owned()),
        status: Some(kruxos_audit::Status::Error),
        kind: Some(Kind::Call),
        ..Query::default()
    };
    let failed = world.gateway.audit.query(&query).unwrap().entries;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].metadata["approval_request_id"], id.as_str());
}
