//! `/policies/simulate`: what the log's calls would get under other policy files.

use super::audit::unreadable;
use super::error::{Answer, ApiError};
use super::events::sent;
use super::extract::{Body, By, agent_name};
use crate::gateway::Gateway;
use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::routing::post;
use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use kruxos_audit::{Entry, Kind, Query, Status};
use kruxos_policy::simulate::{Recorded, Replayed, Simulation};
use kruxos_policy::{PolicySet, Source, Sources, Touched};
use kruxos_types::{CallError, ErrorType, Interface, PrincipalKind, Tier};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

/// Calls that one simulation looks at; of more, the oldest are looked at and the summary says so.
const MAX_CALLS: u64 = 1_000_000;
/// Entries that are read at a time.
const PAGE: usize = 1_000;
/// Differences that wait for a slow reader; then the log's reading waits too.
const WAITING: usize = 64;
/// Simulations at a time: each takes a processor.
static AT_WORK: Semaphore = Semaphore::const_new(2);

pub(super) fn routes() -> Router<Gateway> {
    Router::new().route("/policies/simulate", post(simulate))
}

/// Policy files to be tried.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Text by name below the directory of policy files: `org.yaml`, `agents/coder.yaml`, ….
    files: BTreeMap<String, String>,
    /// The files stand for all there are; otherwise each takes the place of its namesake in force.
    #[serde(default)]
    whole: bool,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    agent: Option<String>,
}

/// Every decision that would differ as an event, and a summary at the end.
async fn simulate(
    By(_): By,
    State(gateway): State<Gateway>,
    Body(asked): Body<Asked>,
) -> Answer<Sse<impl Stream<Item = Result<Sent, Infallible>>>> {
    let sources = sources(&gateway, &asked)?;
    let agent = match &asked.agent {
        Some(name) => Some(agent_name(name)?.to_string()),
        None => None,
    };
    let permit = AT_WORK.try_acquire().map_err(|_| {
        CallError::new(ErrorType::ResourceExhausted)
            .with("resource", "policy simulations at a time")
            .with("limit", 2)
    })?;
    let (catalog, generation) = (gateway.catalog, gateway.policy.mark().0);
    let compile = move || PolicySet::compile(&sources, catalog, generation);
    let compiled = tokio::task::spawn_blocking(compile)
        .await
        .map_err(CallError::internal_failure)?;
    let (set, warnings) = compiled.map_err(|found| {
        let reason = found.first().map(ToString::to_string).unwrap_or_default();
        ApiError::invalid("files", &reason, "policy files that compile")
            .with("diagnostics", json!(found))
    })?;
    let query = Query {
        kind: Some(Kind::Call),
        agent,
        from: asked.from,
        to: asked.to,
        limit: PAGE,
        newest_first: false,
        ..Query::default()
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    let work = Work {
        gateway: gateway.clone(),
        simulation: Simulation::new(set),
        sender,
        totals: Totals::default(),
        _permit: permit,
    };
    let warnings = json!(warnings);
    drop(tokio::task::spawn_blocking(move || {
        work.run(query, warnings)
    }));
    let events = stream::unfold(receiver, |mut receiver| async move {
        let event: Value = receiver.recv().await?;
        Some((Ok(sent(&event)), receiver))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// The files to be tried, with what stays in force around them.
fn sources(gateway: &Gateway, asked: &Asked) -> Result<Sources, ApiError> {
    let now = gateway.policy.sources();
    let mut sources = match asked.whole {
        true => Sources {
            groups: now.groups,
            data_dir: now.data_dir,
            ..Sources::default()
        },
        false => now,
    };
    for (name, text) in &asked.files {
        super::extract::bounded("files", name)?;
        let source = Source {
            file: name.clone(),
            text: text.clone(),
        };
        let agent = name
            .strip_prefix("agents/")
            .map(|file| file.strip_suffix(".yaml").unwrap_or(file));
        match (name.as_str(), agent) {
            ("system.yaml", _) => sources.system = Some(source),
            ("org.yaml", _) => sources.organisation = Some(source),
            ("user.yaml", _) => sources.user = Some(source),
            (_, Some(agent)) => {
                let agent = agent_name(agent)?.to_string();
                sources.agents.insert(agent, source);
            }
            _ => drop(sources.shared.insert(name.clone(), source)),
        }
    }
    Ok(sources)
}

/// What became of the calls.
#[derive(Debug, Default)]
struct Totals {
    calls: u64,
    same: u64,
    differ: u64,
    undecided: u64,
    /// Not decided again: no decision was recorded, or what was called is not known any more.
    not_replayed: u64,
    /// The log has entries that can no longer be read.
    damaged: u64,
}

/// A simulation at work, on a thread of its own.
struct Work {
    gateway: Gateway,
    simulation: Simulation,
    sender: mpsc::Sender<Value>,
    totals: Totals,
    _permit: SemaphorePermit<'static>,
}

impl Work {
    fn run(mut self, mut query: Query, warnings: Value) {
        let truncated = loop {
            if self.gateway.stopping.is_cancelled() {
                return;
            }
            let page = match self.gateway.audit.query(&query) {
                Ok(page) => page,
                Err(error) => {
                    let error = unreadable(&error);
                    let _ = self.sender.blocking_send(
                        json!({"type": "error", "description": error.description()}),
                    );
                    return;
                }
            };
            self.totals.damaged += page.damaged.len() as u64;
            for entry in &page.entries {
                if let Some(event) = self.replay(entry)
                    && self.sender.blocking_send(event).is_err()
                {
                    // Nobody listens any more.
                    return;
                }
            }
            let full = self.totals.calls >= MAX_CALLS;
            query.after_seq = page.entries.last().map(|last| last.seq);
            if !page.more || full || query.after_seq.is_none() {
                break page.more;
            }
        };
        let Totals {
            calls,
            same,
            differ,
            undecided,
            not_replayed,
            damaged,
        } = self.totals;
        let _ = self.sender.blocking_send(json!({
            "type": "summary", "calls": calls, "same": same, "differ": differ, "undecided": undecided,
            "not_replayed": not_replayed, "damaged": damaged, "truncated": truncated, "warnings": warnings,
        }));
    }

    /// Decides a call again: the event that tells of it, unless it is the same.
    fn replay(&mut self, entry: &Entry) -> Option<Value> {
        // A call that a person approved has an entry when it is held and one when it runs; it was decided
        // once, at the first.
        if entry.metadata.contains_key("approval_request_id") && entry.status != Status::Pending {
            return None;
        }
        self.totals.calls += 1;
        let Some((replayed, decided)) = self.replayed(entry) else {
            self.totals.not_replayed += 1;
            return None;
        };
        let shown = |kind: &str| {
            json!({
                "type": kind, "seq": entry.seq, "timestamp": entry.timestamp, "actor": entry.actor,
                "capability": entry.capability, "interface": entry.interface, "inputs": entry.inputs,
                "was": decided.map_or("rate_limited", Tier::as_str),
            })
        };
        match replayed {
            Replayed::Same => {
                self.totals.same += 1;
                None
            }
            Replayed::Undecided { inputs } => {
                self.totals.undecided += 1;
                let mut event = shown("undecided");
                event["not_recorded"] = json!(inputs);
                Some(event)
            }
            Replayed::Differs(instead) => {
                self.totals.differ += 1;
                let mut event = shown("difference");
                event["would_be"] = json!(instead);
                Some(event)
            }
        }
    }

    fn replayed(&self, entry: &Entry) -> Option<(Replayed, Option<Tier>)> {
        let definition = self.gateway.catalog.get(entry.capability.as_deref()?)?;
        let decided = match &entry.policy_decision {
            Some(decision) => Some(serde_json::from_value(decision["tier"].clone()).ok()?),
            // Refused before it was decided, unless policy's own limit did it.
            None if entry.metadata.get("stage")? == "policy" => None,
            None => return None,
        };
        let interface = entry.interface.as_deref()?;
        let touches = entry.metadata.get("restored_path").and_then(Value::as_str);
        let touches: Vec<Touched> = touches.map(crate::touched::recorded).into_iter().collect();
        let recorded = Recorded {
            principal: &entry.actor,
            definition,
            inputs: entry.inputs.as_ref()?.as_object()?,
            interface: Interface::ALL
                .into_iter()
                .find(|door| door.as_str() == interface)?,
            at: entry.timestamp.parse().ok()?,
            workspace: &self.workspace(entry),
            touches: &touches,
            decided,
        };
        Some((self.simulation.replay(&recorded), decided))
    }

    /// The caller's workspace; of an agent that is gone, where it was.
    fn workspace(&self, entry: &Entry) -> String {
        let name = match entry.actor.kind {
            PrincipalKind::Agent => &*entry.actor.name,
            PrincipalKind::User | PrincipalKind::System => "user",
        };
        let known = self
            .gateway
            .agents
            .get(name)
            .filter(|_| entry.actor.kind == PrincipalKind::Agent);
        known.map_or_else(
            || {
                self.gateway
                    .layout
                    .workspace_root
                    .join(name)
                    .display()
                    .to_string()
            },
            |agent| agent.workspace,
        )
    }
}
