//! `/approvals`: what waits for a person, and the decision.

use super::Operator;
use super::error::{Answer, ApiError};
use super::extract::{Body, By, Params, agent_name, bounded, page_limit};
use super::policies;
use crate::approvals::remember::{self, Plan, Remembered, Rule, Scope, Subject, Wish};
use crate::approvals::{interface, shown_inputs};
use crate::call::Caller;
use crate::gateway::Gateway;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use kruxos_catalog::Definition;
use kruxos_policy::Touched;
use kruxos_store::{Approval, ApprovalState, Decision, Edit, Remember, TransitionError};
use kruxos_types::{ApprovalId, CallError, ErrorType, Object, Principal, Tier};
use serde::Deserialize;
use serde_json::{Value, json};

/// Requests decided by one call of the API.
const MAX_BATCH: usize = 100;

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/approvals", get(list))
        .route("/approvals/accept", post(accept_all))
        .route("/approvals/reject", post(reject_all))
        .route("/approvals/{id}", get(show))
        .route("/approvals/{id}/plan", post(plan))
        .route("/approvals/{id}/accept", post(accept))
        .route("/approvals/{id}/reject", post(reject))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    state: Option<ApprovalState>,
    agent: Option<String>,
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
    let found = gateway
        .store
        .approvals(query.state, principal.as_ref(), limit)
        .await?;
    Ok(Json(Value::Array(found.iter().map(row).collect())))
}

/// One request. While it is pending and its agent is there, what would change is looked at again: `stale`
/// says whether that differs from the preview, `preview_now` what it is now.
async fn show(By(_): By, State(gateway): State<Gateway>, Path(id): Path<String>) -> Answer {
    let id = ApprovalId::from_text(&id);
    let found = gateway.store.approval(&id).await?;
    let approval = found.ok_or_else(|| unknown(&id))?;
    let mut shown = json!(approval);
    if approval.state == ApprovalState::Pending
        && let Some((approval, inputs)) = gateway.store.approval_inputs(&id).await?
        && let Some(now) = preview(&gateway, &approval, &inputs).await?
    {
        shown["stale"] = json!(now != approval.preview);
        if now != approval.preview {
            shown["preview_now"] = now;
        }
    }
    Ok(Json(shown))
}

fn unknown(id: &ApprovalId) -> ApiError {
    ApiError::not_found("id", id.as_str(), "an id of the approvals list")
}

/// What a call would change now; nothing when its principal has no session to look from.
async fn preview(
    gateway: &Gateway,
    approval: &Approval,
    inputs: &Object,
) -> Result<Option<Value>, CallError> {
    let definition = gateway.catalog.resolve(&approval.capability)?;
    let Some(session) = gateway.sessions.get(&approval.principal) else {
        return Ok(None);
    };
    let caller = Caller {
        session,
        interface: interface(&approval.interface),
    };
    Ok(Some(gateway.preview(&caller, definition, inputs).await))
}

/// How to accept; everything but the reason may be left out.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Acceptance {
    /// Told to the agent.
    reason: Option<String>,
    scope: Scope,
    /// With a scope: inputs that may be anything.
    open: Vec<String>,
    /// With a scope: conditions of the policy language.
    conditions: Object,
    uses: Option<u64>,
    expires_in_seconds: Option<u64>,
    /// With a scope: what `plan` answered for the same wish.
    seen: Option<String>,
    /// Inputs that run in the place of those that were asked for; null leaves one out. The others stay as
    /// they are, for who decides does not see secrets and long content.
    set: Object,
}

impl Acceptance {
    fn wish(&self) -> Result<Wish, ApiError> {
        bounded("reason", self.reason.as_deref().unwrap_or_default())?;
        let wish = Wish {
            scope: self.scope,
            open: self.open.clone(),
            conditions: self.conditions.clone(),
            uses: self.uses,
            expires_in_seconds: self.expires_in_seconds,
        };
        let is_more = !wish.open.is_empty()
            || !wish.conditions.is_empty()
            || wish.uses.is_some()
            || wish.expires_in_seconds.is_some();
        match wish.scope {
            Scope::Once if is_more => Err(ApiError::invalid(
                "scope",
                "a decision of this call only remembers nothing",
                "session, task or always",
            )),
            Scope::Always if wish.uses.is_some() || wish.expires_in_seconds.is_some() => {
                Err(ApiError::invalid(
                    "scope",
                    "a rule has neither a number of uses nor an end",
                    "session or task",
                ))
            }
            _ => Ok(wish),
        }
    }
}

/// A pending request with the inputs that would run.
struct Considered {
    approval: Approval,
    definition: &'static Definition,
    inputs: Object,
    edited: bool,
    workspace: String,
    touches: Vec<Touched>,
}

impl Considered {
    async fn new(gateway: &Gateway, id: &ApprovalId, set: &Object) -> Result<Considered, ApiError> {
        let found = gateway.store.approval_inputs(id).await?;
        let (approval, asked) = match found {
            Some((approval, asked)) if approval.state == ApprovalState::Pending => {
                (approval, asked)
            }
            _ => {
                let known = gateway.store.approval(id).await?;
                let known = known.ok_or_else(|| unknown(id))?;
                return Err(TransitionError::Conflict(Box::new(known)).into());
            }
        };
        let definition = gateway.catalog.resolve(&approval.capability)?;
        let mut inputs = asked.clone();
        for (name, value) in set {
            match value {
                Value::Null => drop(inputs.remove(name)),
                value => drop(inputs.insert(name.clone(), value.clone())),
            }
        }
        let inputs = definition.admit(Value::Object(inputs))?;
        let edited = inputs != asked;
        let workspace = policies::workspace_of(gateway, &approval.principal);
        let touches = gateway
            .would_touch(&approval.principal, &workspace, definition, &inputs)
            .await?;
        Ok(Considered {
            approval,
            definition,
            inputs,
            edited,
            workspace,
            touches,
        })
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            approval: &self.approval,
            definition: self.definition,
            inputs: &self.inputs,
            workspace: &self.workspace,
            touches: &self.touches,
        }
    }

    /// Policy has the same say on an operator's inputs as on the agent's.
    fn tier(&self, gateway: &Gateway) -> Result<Tier, ApiError> {
        let query = self.subject();
        let query = query.query(gateway.clock.now());
        let explained = gateway.policy.current().explain(&query, &gateway.rates);
        if explained.tier < Tier::Blocked {
            return Ok(explained.tier);
        }
        let error = CallError::new(ErrorType::PolicyDenied)
            .with("rule", explained.winner.as_str())
            .with("capability", self.definition.name)
            .with("layer", explained.winner.as_str())
            .detail("Policy blocks the call with these inputs; nothing was decided.");
        Err(ApiError::new(StatusCode::FORBIDDEN, error))
    }
}

/// What accepting would do: what would run, its tier, what would change, and what would be remembered.
async fn plan(
    By(by): By,
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    Body(wanted): Body<Acceptance>,
) -> Answer {
    let id = ApprovalId::from_text(&id);
    let wish = wanted.wish()?;
    let considered = Considered::new(&gateway, &id, &wanted.set).await?;
    let tier = considered.tier(&gateway)?;
    let preview = preview(&gateway, &considered.approval, &considered.inputs).await?;
    let inputs = shown_inputs(&gateway, considered.definition, &considered.inputs);
    let worked_out = move || {
        let subject = considered.subject();
        let plan = remember::plan(&gateway, &subject, &wish, &by.principal.name)?;
        plan.map(|plan| plan.told(&gateway, &subject, &wish))
            .transpose()
    };
    let remember = policies::blocking(worked_out).await??;
    Ok(Json(json!({
        "id": id,
        "inputs": inputs,
        "tier": tier,
        "preview": preview,
        "seen": remember.as_ref().map(|plan| plan["seen"].clone()),
        "remember": remember,
    })))
}

async fn accept(
    By(by): By,
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    Body(wanted): Body<Acceptance>,
) -> Answer {
    let id = ApprovalId::from_text(&id);
    let wish = wanted.wish()?;
    others_call(&gateway, &id, &by).await?;
    let name = by.principal.name.to_string();
    if wish.scope == Scope::Once && wanted.set.is_empty() {
        let decision = Decision::Accept {
            by: name,
            reason: wanted.reason,
            remember: Remember::Once,
            edit: None,
        };
        return Ok(Json(row(&gateway.decide(&id, decision).await?)));
    }
    let considered = Considered::new(&gateway, &id, &wanted.set).await?;
    considered.tier(&gateway)?;
    let edit = considered.edited.then(|| Edit {
        exact_inputs: considered.inputs.clone(),
        shown_inputs: shown_inputs(&gateway, considered.definition, &considered.inputs),
    });
    let planning = (gateway.clone(), name.clone());
    let worked_out = move || {
        let (gateway, name) = planning;
        remember::plan(&gateway, &considered.subject(), &wish, &name)
    };
    let plan = policies::blocking(worked_out).await??;
    if let Some(plan) = &plan {
        was_seen(plan, wanted.seen.as_deref())?;
    }
    let (remember, rule) = match plan {
        None => (Remember::Once, None),
        Some(plan) => match plan.what {
            Remembered::Grant(grant) => (Remember::Grant(grant), None),
            Remembered::Rule(rule) => {
                if let Some(futile) = &rule.futile {
                    let refusal = ApiError::conflict(&rule.file, "without effect", futile);
                    return Err(refusal.with("why_not", futile.as_str()));
                }
                let told = json!({"file": rule.file, "conditions": plan.shown});
                (Remember::Always(told), Some(rule))
            }
        },
    };
    let decision = Decision::Accept {
        by: name,
        reason: wanted.reason,
        remember,
        edit,
    };
    let mut answer = row(&gateway.decide(&id, decision).await?);
    if let Some(rule) = rule {
        answer["policy"] = written(&gateway, &by, rule).await;
    }
    Ok(Json(answer))
}

/// Nothing is remembered that the operator was not shown, and nothing else than that.
fn was_seen(plan: &Plan, seen: Option<&str>) -> Result<(), ApiError> {
    match seen {
        Some(seen) if seen == plan.seen => Ok(()),
        None => {
            let reason = "what would be remembered has to be looked at first";
            let expected = "`seen` of the answer of POST …/plan for the same wish";
            let error = CallError::invalid_input("seen", reason, expected);
            Err(ApiError::new(StatusCode::PRECONDITION_REQUIRED, error))
        }
        Some(_) => {
            let error = CallError::new(ErrorType::ConflictError)
                .with("resource", "what would be remembered")
                .with("expected_version", "what was looked at")
                .with("actual_version", "something else by now")
                .detail("Ask for the plan again. Nothing was decided.");
            Err(ApiError::new(StatusCode::PRECONDITION_FAILED, error))
        }
    }
}

/// Writes the rule of «always». The call is approved already; a file that was changed meanwhile leaves it at
/// that.
async fn written(gateway: &Gateway, by: &Operator, rule: Rule) -> Value {
    let file = match rule
        .file
        .strip_prefix("agents/")
        .and_then(|name| name.strip_suffix(".yaml"))
    {
        Some(agent) => policies::agent_file(agent),
        None => policies::layer_file("user"),
    };
    let seen = rule.before.as_deref().map(policies::etag);
    let done = match file {
        Ok(file) => policies::write(gateway, by, file, seen, rule.after).await,
        Err(refusal) => Err(refusal),
    };
    match done {
        Ok(_) => json!({"file": rule.file, "written": true, "generation": gateway.policy.mark().0}),
        Err(refusal) => {
            tracing::warn!(
                file = rule.file,
                why = refusal.description(),
                "the rule was not written"
            );
            json!({"file": rule.file, "written": false, "why_not": refusal.description()})
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    /// Told to the agent.
    reason: Option<String>,
}

async fn reject(
    By(by): By,
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    Body(Reason { reason }): Body<Reason>,
) -> Answer {
    bounded("reason", reason.as_deref().unwrap_or_default())?;
    let by = by.principal.name.to_string();
    let decision = Decision::Reject { by, reason };
    let decided = gateway
        .decide(&ApprovalId::from_text(&id), decision)
        .await?;
    Ok(Json(row(&decided)))
}

/// Several requests at once, each decided for itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    ids: Vec<String>,
    reason: Option<String>,
}

async fn accept_all(
    By(by): By,
    State(gateway): State<Gateway>,
    Body(batch): Body<Batch>,
) -> Answer {
    decide_all(&gateway, &by, batch, |by, reason| Decision::Accept {
        by,
        reason,
        remember: Remember::Once,
        edit: None,
    })
    .await
}

async fn reject_all(
    By(by): By,
    State(gateway): State<Gateway>,
    Body(batch): Body<Batch>,
) -> Answer {
    decide_all(&gateway, &by, batch, |by, reason| Decision::Reject {
        by,
        reason,
    })
    .await
}

/// Decides each; one that cannot be decided says why and keeps no other from it.
async fn decide_all(
    gateway: &Gateway,
    by: &Operator,
    batch: Batch,
    decision: impl Fn(String, Option<String>) -> Decision,
) -> Answer {
    bounded("reason", batch.reason.as_deref().unwrap_or_default())?;
    if batch.ids.is_empty() || batch.ids.len() > MAX_BATCH {
        let expected = format!("1 to {MAX_BATCH} ids");
        return Err(ApiError::invalid("ids", "has the wrong length", &expected));
    }
    let mut answers = Vec::with_capacity(batch.ids.len());
    for id in &batch.ids {
        let id = ApprovalId::from_text(id);
        let decision = decision(by.principal.name.to_string(), batch.reason.clone());
        let decided = match &decision {
            Decision::Accept { .. } => others_call(gateway, &id, by).await,
            Decision::Reject { .. } => Ok(()),
        };
        let decided = match decided {
            Ok(()) => gateway.decide(&id, decision).await.map_err(ApiError::from),
            Err(refusal) => Err(refusal),
        };
        answers.push(match decided {
            Ok(approval) => json!({"id": id, "state": approval.state}),
            Err(refusal) => json!({"id": id, "error": refusal.description()}),
        });
    }
    Ok(Json(json!({"decided": answers})))
}

/// Nobody approves their own call through the surface that it was made on (spec/approvals.md).
async fn others_call(gateway: &Gateway, id: &ApprovalId, by: &Operator) -> Result<(), ApiError> {
    let found = gateway.store.approval(id).await?;
    let own = |one: &Approval| {
        one.principal == by.principal
            && by
                .interface
                .is_some_and(|door| one.interface == door.as_str())
    };
    let Some(approval) = found.filter(own) else {
        return Ok(());
    };
    let error = CallError::new(ErrorType::PolicyDenied)
        .with("rule", "nobody approves their own call")
        .with("capability", approval.capability)
        .with("layer", "built_in");
    Err(ApiError::new(StatusCode::FORBIDDEN, error))
}

/// A request without its result, which can be large and is in the request's own page.
fn row(approval: &Approval) -> Value {
    let mut shown = json!(approval);
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("result");
    }
    shown
}
