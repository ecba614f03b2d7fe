//! `POST /rpc`: JSON-RPC 2.0 for programs that are no MCP clients. Batches are run and answered in order.

use super::http::{Http, proved_body};
use super::refusal::{self, decorate, status_of};
use crate::call::{CallAnswer, CallRequest, Caller, Hold};
use crate::mcp::approval_status;
use crate::mcp::wire::{
    Fault, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, Message, PARSE_ERROR, RequestId,
    answer, params, text_of, to_text,
};
use crate::session::AgentSession;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use kruxos_catalog::{Definition, Status};
use kruxos_types::{CallError, ErrorType, Interface, Object, PrincipalKind};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// JSON-RPC codes of ours, from the range that the specification leaves to servers.
const RATE_LIMITED: i32 = -32000;
const POLICY_DENIED: i32 = -32001;
const APPROVAL_PENDING: i32 = -32002;
const NOT_AUTHENTICATED: i32 = -32003;
/// What is served.
const METHODS: &str = "capabilities.list, capabilities.describe, capabilities.invoke, session.create, \
    session.end or approvals.status";
/// Messages in one batch.
const MAX_BATCH: usize = 100;

/// `/rpc`.
pub(crate) async fn rpc(State(http): State<Arc<Http>>, request: Request) -> Response {
    let (identity, bytes) = match proved_body(&http, request).await {
        Ok(Ok((identity, _, bytes))) => (identity, bytes),
        Ok(Err(response)) => return response,
        Err(error) => return refused(&error),
    };
    let session = match http.mcp.gateway.session_for(&identity).await {
        Ok(session) => session,
        Err(error) => return refused(&error),
    };
    let door = Rpc {
        http: &http,
        session,
    };
    let text = match text_of(&bytes) {
        Ok(text) => text,
        Err(problem) => return refusal::json(StatusCode::OK, problem.to_text()),
    };
    let body = match text.trim_start().starts_with('[') {
        true => door.batch(text).await,
        false => door.one(text).await,
    };
    match body {
        Some(body) => refusal::json(StatusCode::OK, body),
        None => refusal::empty(StatusCode::NO_CONTENT),
    }
}

/// A caller that is refused before its message is read still gets a JSON-RPC answer.
fn refused(error: &CallError) -> Response {
    let body = fault_of(error).to_text();
    let mut response = refusal::json(status_of(error.error_type()), body);
    decorate(&mut response, error);
    response
}

/// A structured error as a JSON-RPC error: its code by kind, itself as `data`.
fn fault_of(error: &CallError) -> Fault {
    let code = match error.error_type() {
        ErrorType::RateLimited | ErrorType::AuthRateLimited => RATE_LIMITED,
        ErrorType::PolicyDenied => POLICY_DENIED,
        ErrorType::ApprovalPending => APPROVAL_PENDING,
        ErrorType::AuthInvalidCredentials
        | ErrorType::AuthAgentRevoked
        | ErrorType::AuthUserTokenRevoked
        | ErrorType::NotAuthenticated
        | ErrorType::SessionExpired => NOT_AUTHENTICATED,
        ErrorType::InvalidInput | ErrorType::CapabilityNotFound => INVALID_PARAMS,
        _ => INTERNAL_ERROR,
    };
    Fault::of_error(code, error)
}

struct Rpc<'a> {
    http: &'a Http,
    session: Arc<AgentSession>,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    category: Option<String>,
}

#[derive(Deserialize)]
struct Describe {
    name: String,
}

#[derive(Deserialize)]
struct Invoke {
    #[serde(alias = "name")]
    capability: String,
    #[serde(default, alias = "inputs")]
    arguments: Option<Value>,
}

#[derive(Deserialize)]
struct ApprovalStatus {
    request_id: String,
    #[serde(default)]
    wait_seconds: Option<u64>,
}

impl Rpc<'_> {
    async fn batch(&self, text: &str) -> Option<String> {
        let messages: Vec<&RawValue> = match serde_json::from_str(text) {
            Ok(messages) => messages,
            Err(error) => {
                return Some(Fault::new(PARSE_ERROR, format!("not JSON: {error}")).to_text());
            }
        };
        if messages.is_empty() || messages.len() > MAX_BATCH {
            return Some(Fault::new(INVALID_REQUEST, "a batch holds 1 to 100 messages").to_text());
        }
        let mut answers = Vec::with_capacity(messages.len());
        for message in messages {
            answers.extend(self.one(message.get()).await);
        }
        (!answers.is_empty()).then(|| format!("[{}]", answers.join(",")))
    }

    /// Answers one message; a notification is carried out without an answer.
    async fn one(&self, text: &str) -> Option<String> {
        let message = match Message::read(text) {
            Ok(message) => message,
            Err(problem) => return Some(problem.to_text()),
        };
        match message {
            Message::Request { id, method, params } => {
                Some(finish(id, self.run(&method, params).await))
            }
            Message::Notification { method, params } => {
                drop(self.run(&method, params).await);
                None
            }
            Message::Response { .. } => None,
        }
    }

    async fn run(&self, method: &str, raw: Option<&RawValue>) -> Result<Value, Fault> {
        match method {
            "capabilities.list" => Ok(self.list(&params::<List>(raw)?)),
            "capabilities.describe" => self.describe(&params::<Describe>(raw)?),
            "capabilities.invoke" | "capabilities.call" => self.invoke(params(raw)?).await,
            "session.create" => Ok(self.session_facts()),
            "session.end" => {
                let gateway = &self.http.mcp.gateway;
                gateway
                    .end_session(&self.session.profile.principal, "ended by the client")
                    .await;
                Ok(json!({"ended": true, "session_id": self.session.id.as_str()}))
            }
            "approvals.status" => self.approval(&params::<ApprovalStatus>(raw)?).await,
            _ => Err(Fault::no_method(method, METHODS)),
        }
    }

    fn list(&self, wanted: &List) -> Value {
        let gateway = &self.http.mcp.gateway;
        let policy = gateway.policy.current();
        let chosen = |one: &&Definition| {
            let category = wanted.category.as_deref();
            one.status == Status::Available && category.is_none_or(|name| name == one.category)
        };
        let capabilities: Vec<Value> = gateway
            .catalog
            .all()
            .iter()
            .filter(chosen)
            .filter_map(|one| {
                let tier = policy.listed_tier(&self.session.profile.principal, one)?;
                Some(json!({
                    "name": one.name, "category": one.category, "version": one.version, "tier": tier,
                    "purpose": one.purpose, "tags": one.tags,
                }))
            })
            .collect();
        json!({"capabilities": capabilities})
    }

    fn describe(&self, wanted: &Describe) -> Result<Value, Fault> {
        let gateway = &self.http.mcp.gateway;
        let one = gateway
            .catalog
            .resolve(&wanted.name)
            .map_err(|error| fault_of(&error))?;
        let tier = gateway
            .policy
            .current()
            .listed_tier(&self.session.profile.principal, one);
        let errors: Vec<Value> = one
            .errors
            .iter()
            .map(|declared| json!({"error_type": declared.error.code(), "recovery_actions": declared.recovery}))
            .collect();
        Ok(json!({
            "name": one.name, "category": one.category, "version": one.version,
            "tier": tier.unwrap_or(kruxos_types::Tier::Blocked),
            "purpose": one.purpose, "when_to_use": one.when_to_use, "description": one.description,
            "input_schema": one.input_schema, "output_schema": one.output_schema,
            "annotations": {
                "read_only": one.annotations.read_only,
                "destructive": one.annotations.destructive,
                "idempotent": one.annotations.idempotent,
                "open_world": one.annotations.open_world,
            },
            "errors": errors, "tags": one.tags,
        }))
    }

    async fn invoke(&self, wanted: Invoke) -> Result<Value, Fault> {
        let gateway = &self.http.mcp.gateway;
        let approval = &gateway.config.approval;
        let seconds = match self.session.profile.principal.kind {
            PrincipalKind::User => approval.user_hold_seconds,
            PrincipalKind::Agent | PrincipalKind::System => approval.hold_seconds,
        };
        // A client that leaves a held call must not take its result: it will call again.
        let cancel = CancellationToken::new();
        let _left = cancel.clone().drop_guard();
        let request = CallRequest {
            name: wanted.capability,
            arguments: wanted.arguments.unwrap_or_else(|| json!({})),
            hold: Hold::UpTo(Duration::from_secs(seconds)),
            progress: None,
            cancel,
            metadata: Object::new(),
        };
        let caller = Caller {
            session: self.session.clone(),
            interface: Interface::Rpc,
        };
        match gateway.call(caller, request).await {
            CallAnswer::Done(output) => Ok(output),
            CallAnswer::Failed(error) | CallAnswer::Pending(_, error) => Err(fault_of(&error)),
            CallAnswer::Cancelled => Err(Fault::new(INTERNAL_ERROR, "the call was cancelled")),
        }
    }

    async fn approval(&self, wanted: &ApprovalStatus) -> Result<Value, Fault> {
        let wait = Duration::from_secs(wanted.wait_seconds.unwrap_or(0));
        let principal = &self.session.profile.principal;
        let status =
            approval_status::status(&self.http.mcp.gateway, principal, &wanted.request_id, wait)
                .await;
        status.map_err(|error| fault_of(&error))
    }

    fn session_facts(&self) -> Value {
        let profile = &self.session.profile;
        json!({
            "session_id": self.session.id.as_str(),
            "agent": &*profile.principal.name,
            "workspace": "/workspace",
            "policy_group": &*profile.policy_group,
            "purpose": &*profile.purpose,
            "connected_at": self.session.connected_at,
            "idle_timeout_seconds": self.http.mcp.gateway.config.session.idle_timeout_seconds,
        })
    }
}

fn finish(id: RequestId, result: Result<Value, Fault>) -> String {
    match result {
        Ok(result) => answer(&id, &to_text(&result)),
        Err(fault) => fault.of(id).to_text(),
    }
}
