//! The spine: every call, from whatever door, takes these stops and no other way exists.
//!
//! admit → decide → (hold) → begin → run → finish. It runs detached from the connection, so a client
//! that hangs up cannot tear a call in half.

use crate::decisions::Decision;
use crate::detached::Detached;
use crate::gateway::Gateway;
use crate::metrics::Outcome;
use crate::session::AgentSession;
use kruxos_audit::{AuditError, Begun, Durability, Finished, Kind, Part, Record, Status};
use kruxos_capabilities::{Held, Permit};
use kruxos_catalog::{Definition, SideEffect};
use kruxos_policy::{Query, RateRefusal, Touched, Verdict};
use kruxos_store::{Approval, ClaimedGrant};
use kruxos_types::{CallError, ErrorType, Interface, Object, Tier};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Who calls, through which door.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The caller's live session: proves the principal.
    pub session: Arc<AgentSession>,
    /// The door.
    pub interface: Interface,
}

/// What happens to a call that needs a person's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Keep it open this long, then answer [`CallAnswer::Pending`].
    UpTo(Duration),
    /// Answer [`CallAnswer::Pending`] at once: the client follows it by task or by id.
    Detach,
}

/// Tells a waiting client that its call still lives.
pub type ProgressSink = Arc<dyn Fn(String) + Send + Sync>;

/// One call.
pub struct CallRequest {
    /// Any spelling of a capability's name that the catalogue resolves.
    pub name: String,
    /// The arguments as sent.
    pub arguments: Value,
    /// How long a held call stays open.
    pub hold: Hold,
    /// Where progress goes, if the client asked for it.
    pub progress: Option<ProgressSink>,
    /// Cancelled when the client gives up. A call that has begun runs to its end and is audited.
    pub cancel: CancellationToken,
    /// Facts for the audit entry, such as the client's name and its request id.
    pub metadata: Object,
}

impl CallRequest {
    /// A call that nobody waits long for, with nothing but a name and arguments.
    #[must_use]
    pub fn new(name: impl Into<String>, arguments: Value) -> Self {
        Self {
            name: name.into(),
            arguments,
            hold: Hold::Detach,
            progress: None,
            cancel: CancellationToken::new(),
            metadata: Object::new(),
        }
    }
}

/// How a call ended.
#[derive(Debug)]
pub enum CallAnswer {
    /// The capability's result.
    Done(Value),
    /// A structured error.
    Failed(CallError),
    /// It waits for a person; the error is `ApprovalPending`, to be shown as a normal result.
    Pending(Box<Approval>, CallError),
    /// The client gave up before the call began.
    Cancelled,
}

/// A call whose name and arguments are good.
pub(crate) struct Admitted {
    pub(crate) definition: &'static Definition,
    pub(crate) inputs: Object,
    /// Paths that it changes and no input names: policy must see them too.
    pub(crate) touches: Vec<Touched>,
}

impl Gateway {
    /// Makes a call. Everything that has an effect goes through here. A caller that goes away leaves the
    /// call running: see [`Detached`].
    pub async fn call(&self, caller: Caller, request: CallRequest) -> CallAnswer {
        let gateway = self.clone();
        let work = async move { spine(&gateway, &caller, request).await };
        Detached::new(&self.tasks, work).await
    }
}

async fn spine(gateway: &Gateway, caller: &Caller, mut request: CallRequest) -> CallAnswer {
    let started = Instant::now();
    let mut admitted = match admit(gateway, caller, &mut request).await {
        Ok(admitted) => admitted,
        Err(error) => {
            return refuse(gateway, caller, &request, None, "admit", error, started).await;
        }
    };
    let (definition, inputs) = (admitted.definition, &admitted.inputs);
    match gateway.touched(&caller.session, definition, inputs).await {
        Ok(touches) => admitted.touches = touches,
        Err(error) => {
            let error = declared(definition, error);
            let known = Some(&admitted);
            return refuse(gateway, caller, &request, known, "paths", error, started).await;
        }
    }
    if request.cancel.is_cancelled() {
        return CallAnswer::Cancelled;
    }
    let policy = gateway.policy.current();
    let query = query(gateway, caller, &admitted);
    let verdict = match policy.decide(&query, &gateway.rates) {
        Ok(verdict) => verdict,
        Err(refusal) => {
            let error = rate_limited(refusal);
            return refuse(
                gateway,
                caller,
                &request,
                Some(&admitted),
                "policy",
                error,
                started,
            )
            .await;
        }
    };
    let told = &caller.session.decisions;
    let decision = told.told(&policy, &query, &verdict, &gateway.audit);
    match verdict.tier() {
        Tier::Autonomous | Tier::Notify => {
            let record = record(
                gateway,
                caller,
                &admitted,
                decision.audited.clone(),
                request.metadata,
            );
            let right = Right {
                verdict: &verdict,
                grant: None,
            };
            run_permitted(gateway, caller, admitted, right, record, started).await
        }
        Tier::ApprovalRequired => {
            ask(
                gateway, caller, request, admitted, &verdict, &decision, started,
            )
            .await
        }
        Tier::Blocked => {
            let error = denied(&admitted, &decision.json);
            let mut record = record(
                gateway,
                caller,
                &admitted,
                decision.audited.clone(),
                request.metadata,
            );
            record.metadata.insert("stage".to_owned(), json!("policy"));
            gateway.announce_refusal(caller, admitted.definition, &error);
            gateway.count(admitted.definition, Tier::Blocked, Outcome::Denied, started);
            answer_refusal(gateway, record, Status::Denied, error, started).await
        }
    }
}

/// A call that a person has to decide: a grant decided it in advance, or it is held.
async fn ask(
    gateway: &Gateway,
    caller: &Caller,
    request: CallRequest,
    admitted: Admitted,
    verdict: &Verdict,
    decision: &Decision,
    started: Instant,
) -> CallAnswer {
    let granted = {
        let query = query(gateway, caller, &admitted);
        crate::approvals::granted(gateway, caller, &admitted, &query, &decision.json).await
    };
    match granted {
        Ok(Some(grant)) => {
            let audited = decision.audited.clone();
            let mut record = record(gateway, caller, &admitted, audited, request.metadata);
            record
                .metadata
                .extend(crate::approvals::grant_facts(grant.grant()));
            let right = Right {
                verdict,
                grant: Some(grant),
            };
            run_permitted(gateway, caller, admitted, right, record, started).await
        }
        Ok(None) => {
            let (decision, generation) = (decision.json.clone(), verdict.generation());
            crate::approvals::hold(gateway, caller, request, admitted, decision, generation).await
        }
        Err(error) => {
            let known = Some(&admitted);
            refuse(gateway, caller, &request, known, "policy", error, started).await
        }
    }
}

/// The first stop: a session that may call, a name that exists, arguments that fit it.
async fn admit(
    gateway: &Gateway,
    caller: &Caller,
    request: &mut CallRequest,
) -> Result<Admitted, CallError> {
    let session = &caller.session;
    session.touch(gateway.clock.now());
    if session.ended.is_cancelled() {
        return Err(session.expired());
    }
    if gateway.agents.is_paused(&session.profile.principal) {
        return Err(CallError::new(ErrorType::SessionPaused)
            .with("agent", &*session.profile.principal.name));
    }
    let definition = gateway.catalog.resolve(&request.name)?;
    let inputs = definition.admit(std::mem::take(&mut request.arguments))?;
    Ok(Admitted {
        definition,
        inputs,
        touches: Vec::new(),
    })
}

/// Why a call may run: policy alone, or policy and a grant.
struct Right<'a> {
    verdict: &'a Verdict,
    grant: Option<ClaimedGrant>,
}

impl Right<'_> {
    fn permit(&self, begun: &Begun, inputs: Object) -> Result<Permit, Held> {
        match &self.grant {
            Some(grant) => Permit::by_grant(grant, self.verdict, begun, inputs),
            None => Permit::by_verdict(self.verdict, begun, inputs),
        }
    }
}

/// The last three stops of a call that may run: begin its audit, run it, finish its audit.
async fn run_permitted(
    gateway: &Gateway,
    caller: &Caller,
    admitted: Admitted,
    right: Right<'_>,
    record: Record,
    started: Instant,
) -> CallAnswer {
    let definition = admitted.definition;
    let tier = right.verdict.tier();
    let session = &caller.session;
    let Ok(_slot) = session.slots.clone().try_acquire_owned() else {
        let error = CallError::new(ErrorType::ResourceExhausted)
            .with("resource", "calls at work in one session")
            .with("limit", gateway.config.server.max_calls_per_session);
        return answer_refusal(gateway, record, Status::Error, error, started).await;
    };
    let begun = match begin(gateway, definition, record).await {
        Ok(begun) => begun,
        Err(error) => return CallAnswer::Failed(unaudited(&error)),
    };
    let result = match right.permit(&begun, admitted.inputs) {
        Ok(permit) => {
            gateway.announce_start(caller, definition, tier);
            gateway.execute(caller, definition, permit).await
        }
        Err(Held(tier)) => Err(CallError::internal_failure(format!(
            "tier {tier:?} reached the executor"
        ))),
    };
    finish(gateway, caller, definition, tier, begun, result, started).await
}

/// Begins a call's audit: an intent on disk before anything with side effects starts.
pub(crate) async fn begin(
    gateway: &Gateway,
    definition: &Definition,
    record: Record,
) -> Result<Begun, AuditError> {
    let waits = definition.side_effect != SideEffect::None || gateway.audits_strictly();
    if !waits {
        return gateway.audit.begin_read(record);
    }
    let mut begun = gateway.audit.begin_effect(record)?;
    begun.durable().await?;
    Ok(begun)
}

/// Writes how a call ended and turns it into the answer. If the end cannot be written, the caller
/// hears that instead of a success nobody could prove.
pub(crate) async fn finish(
    gateway: &Gateway,
    caller: &Caller,
    definition: &'static Definition,
    tier: Tier,
    begun: Begun,
    result: Result<Value, CallError>,
    started: Instant,
) -> CallAnswer {
    let result = result.and_then(|output| {
        definition.check_output(&output)?;
        Ok(output)
    });
    let result = result.map_err(|error| declared(definition, error));
    let status = if result.is_ok() {
        Status::Success
    } else {
        Status::Error
    };
    let outcome = if result.is_ok() {
        Outcome::Success
    } else {
        Outcome::Error
    };
    let (output_summary, metadata) = match &result {
        Ok(output) => (
            Some(crate::summary::of_output(definition, output)),
            Object::new(),
        ),
        Err(error) => (None, gateway.recorded_error(Some(definition), error)),
    };
    let finished = Finished {
        status,
        output_summary,
        duration_us: micros(started),
        resource_usage: None,
        metadata,
    };
    gateway.announce_end(caller, definition, &result, finished.duration_us);
    gateway.count(definition, tier, outcome, started);
    if let Err(error) = begun.finish(finished).await {
        return CallAnswer::Failed(unaudited(&error));
    }
    match result {
        Ok(output) => CallAnswer::Done(output),
        Err(error) => {
            gateway.note_escape(caller, definition, &error).await;
            CallAnswer::Failed(error)
        }
    }
}

/// Only an error that the definition declares, or one common to all, leaves a capability; it carries
/// the definition's own way out.
fn declared(definition: &Definition, error: CallError) -> CallError {
    if !definition.declares(error.error_type()) {
        return CallError::internal_failure(format!(
            "{} returned undeclared {error:?}",
            definition.name
        ));
    }
    if let Some(cause) = error.internal_cause() {
        tracing::warn!(capability = %definition.name, error = error.error_type().code(), cause, "call failed");
    }
    match definition.recovery_for(error.error_type()) {
        Some(recovery) if !error.has_own_recovery() => error.recover_by(recovery.to_vec()),
        _ => error,
    }
}

/// Audits and answers a call that was refused before policy gave a tier.
async fn refuse(
    gateway: &Gateway,
    caller: &Caller,
    request: &CallRequest,
    admitted: Option<&Admitted>,
    stage: &str,
    error: CallError,
    started: Instant,
) -> CallAnswer {
    let mut metadata = request.metadata.clone();
    metadata.insert("stage".to_owned(), json!(stage));
    let name: String = request.name.chars().take(128).collect();
    let record = Record {
        session_id: Some(caller.session.id.to_string()),
        interface: Some(caller.interface),
        capability: Some(admitted.map_or(name, |known| known.definition.name.to_string())),
        inputs: admitted
            .map(|known| gateway.recorded_inputs(Some(known.definition), &known.inputs)),
        metadata,
        ..Record::new(
            Kind::Call,
            caller.session.profile.principal.clone(),
            Status::Error,
        )
    };
    let status = if error.error_type() == ErrorType::RateLimited {
        Status::Denied
    } else {
        Status::Error
    };
    if let Some(known) = admitted {
        gateway.announce_refusal(caller, known.definition, &error);
    }
    answer_refusal(gateway, record, status, error, started).await
}

async fn answer_refusal(
    gateway: &Gateway,
    mut record: Record,
    status: Status,
    error: CallError,
    started: Instant,
) -> CallAnswer {
    record.status = status;
    record.duration_us = Some(micros(started));
    let name = record.capability.as_deref().unwrap_or_default();
    let facts = gateway.recorded_error(gateway.catalog.get(name), &error);
    record.metadata.extend(facts);
    match gateway.audit.append(record, Durability::Soon).await {
        Ok(_) => CallAnswer::Failed(error),
        Err(failure) => CallAnswer::Failed(unaudited(&failure)),
    }
}

pub(crate) fn query<'a>(
    gateway: &Gateway,
    caller: &'a Caller,
    admitted: &'a Admitted,
) -> Query<'a> {
    Query {
        principal: &caller.session.profile.principal,
        definition: admitted.definition,
        inputs: &admitted.inputs,
        interface: caller.interface,
        now: gateway.clock.now(),
        workspace: &caller.session.profile.workspace,
        touches: &admitted.touches,
    }
}

/// The record that a call's entries start from.
pub(crate) fn record(
    gateway: &Gateway,
    caller: &Caller,
    admitted: &Admitted,
    decision: impl Into<Part>,
    mut metadata: Object,
) -> Record {
    for touched in &admitted.touches {
        metadata.insert(touched.name.to_owned(), json!(touched.path));
    }
    Record {
        session_id: Some(caller.session.id.to_string()),
        interface: Some(caller.interface),
        capability: Some(admitted.definition.name.to_string()),
        inputs: Some(gateway.recorded_inputs(Some(admitted.definition), &admitted.inputs)),
        policy_decision: Some(decision.into()),
        metadata,
        ..Record::new(
            Kind::Call,
            caller.session.profile.principal.clone(),
            Status::Pending,
        )
    }
}

pub(crate) fn denied(admitted: &Admitted, decision: &Value) -> CallError {
    let winner = decision["winner"].as_str().unwrap_or("policy");
    let layers = decision["layers"].as_array();
    let answer = layers.and_then(|all| all.iter().find(|layer| layer["layer"] == winner));
    let text = |key: &str| {
        answer
            .and_then(|layer| layer[key].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let error = CallError::new(ErrorType::PolicyDenied)
        .with("rule", text("rule"))
        .with("capability", admitted.definition.name)
        .with("layer", winner);
    match text("reason") {
        reason if reason.is_empty() => error,
        reason => error.detail(format!("Reason: {reason}.")),
    }
}

fn rate_limited(refusal: RateRefusal) -> CallError {
    CallError::new(ErrorType::RateLimited)
        .with("limit", refusal.max)
        .with("window_seconds", refusal.window_seconds)
        .with("retry_after_seconds", refusal.retry_after_seconds)
        .retry_after(refusal.retry_after_seconds)
}

/// Nothing runs, and no success is claimed, that the log could not take.
pub(crate) fn unaudited(error: &AuditError) -> CallError {
    tracing::error!(%error, "the audit log refused an entry");
    CallError::new(ErrorType::ServiceUnavailable)
        .with("service", "audit")
        .with("reason", "the audit log cannot be written")
        .internal(error)
}

pub(crate) fn micros(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}
