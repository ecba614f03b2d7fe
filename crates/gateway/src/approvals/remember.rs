//! What a decision would remember beyond its call, worked out before anything is stored: the conditions of
//! a grant, or the rule that «always» writes and whether that can have an effect.

use super::pattern::{self, Pattern};
use crate::gateway::Gateway;
use jiff::{SignedDuration, Timestamp};
use kruxos_audit::Kind;
use kruxos_catalog::Definition;
use kruxos_policy::{PolicySet, Query, Source, Sources, Touched, validate_among};
use kruxos_store::{Approval, GrantScope, NewGrant};
use kruxos_types::{CallError, ErrorType, GrantId, Object, Principal, PrincipalKind, Tier};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// How far back history is looked at for calls that the pattern would have covered.
const HISTORY: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Calls of history that are looked at, newest first.
const HISTORY_CALLS: usize = 2_000;
/// Of these, how many are told one by one.
const HISTORY_TOLD: usize = 5;
/// What a task grant has where the operator says nothing.
const TASK_USES: u64 = 20;
const TASK_SECONDS: u64 = 3_600;
/// Most that one may have.
const MAX_USES: u64 = 10_000;
const MAX_SECONDS: u64 = 30 * 24 * 3_600;

/// How far the operator wants the decision to reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    #[default]
    Once,
    Session,
    Task,
    Always,
}

/// What the operator says of what is to be remembered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    pub(crate) scope: Scope,
    /// Inputs that may be anything.
    pub(crate) open: Vec<String>,
    /// Further conditions of the policy language, or others in the place of the narrow ones.
    pub(crate) conditions: Object,
    pub(crate) uses: Option<u64>,
    pub(crate) expires_in_seconds: Option<u64>,
}

/// The call that is decided: with the inputs that would run.
pub(crate) struct Subject<'a> {
    pub(crate) approval: &'a Approval,
    pub(crate) definition: &'static Definition,
    pub(crate) inputs: &'a Object,
    pub(crate) workspace: &'a str,
    pub(crate) touches: &'a [Touched],
}

impl Subject<'_> {
    pub(crate) fn query(&self, now: Timestamp) -> Query<'_> {
        Query {
            principal: &self.approval.principal,
            definition: self.definition,
            inputs: self.inputs,
            interface: super::interface(&self.approval.interface),
            now,
            workspace: self.workspace,
            touches: self.touches,
        }
    }
}

/// What is remembered, worked out and shown, not yet stored.
pub(crate) struct Plan {
    pub(crate) what: Remembered,
    /// Conditions as they are shown.
    pub(crate) shown: Object,
    /// Stands for everything above: who accepts has to say it.
    pub(crate) seen: String,
}

pub(crate) enum Remembered {
    Grant(Box<NewGrant>),
    Rule(Rule),
}

/// A policy file with the rule that «always» writes.
pub(crate) struct Rule {
    /// Relative to the policy directory.
    pub(crate) file: String,
    pub(crate) before: Option<String>,
    pub(crate) after: String,
    /// Why it would change nothing: what still holds such calls.
    pub(crate) futile: Option<String>,
    diff: String,
}

/// Works out what a wish comes to; nothing for a decision of this call only.
///
/// # Errors
/// A condition that is none or that this very call does not meet, an input that does not exist, a number
/// out of range; a policy file that cannot be extended.
pub(crate) fn plan(
    gateway: &Gateway,
    subject: &Subject<'_>,
    wish: &Wish,
    by: &str,
) -> Result<Option<Plan>, CallError> {
    let approval = subject.approval;
    for name in &wish.open {
        if !subject
            .definition
            .inputs
            .iter()
            .any(|field| *field.name == **name)
        {
            let reason = format!("{} has no input '{name}'", subject.definition.name);
            return Err(CallError::invalid_input(
                "open",
                &reason,
                "names of its inputs",
            ));
        }
    }
    let mut conditions = pattern::narrow(subject.definition, subject.inputs, &wish.open);
    conditions.extend(wish.conditions.clone());
    let capability = subject.definition.name;
    let pattern = Pattern::new(gateway, &approval.principal, capability, conditions)?;
    if !pattern.covers(&subject.query(gateway.clock.now())) {
        let reason = "the call that is decided does not meet them itself";
        let expected = "conditions that hold for this call";
        return Err(CallError::invalid_input("conditions", reason, expected));
    }
    let shown = pattern::shown(gateway, subject.definition, pattern.conditions());
    let (what, exact) = match wish.scope {
        Scope::Once => return Ok(None),
        Scope::Session | Scope::Task => {
            let grant = grant(gateway, subject, wish, pattern.conditions(), &shown, by)?;
            let exact = json!([grant.scope, grant.uses, wish.expires_in_seconds]);
            (Remembered::Grant(Box::new(grant)), exact)
        }
        Scope::Always => {
            let rule = rule(gateway, subject, pattern.conditions(), by)?;
            let exact = json!([rule.file, rule.before, rule.after]);
            (Remembered::Rule(rule), exact)
        }
    };
    let stands_for = json!([approval.id, pattern.conditions(), exact]);
    let seen = Sha256::digest(stands_for.to_string().as_bytes());
    Ok(Some(Plan {
        what,
        shown,
        seen: data_encoding::HEXLOWER.encode(&seen),
    }))
}

fn grant(
    gateway: &Gateway,
    subject: &Subject<'_>,
    wish: &Wish,
    conditions: &Object,
    shown: &Object,
    by: &str,
) -> Result<NewGrant, CallError> {
    let within = |field: &str, value: Option<u64>, most: u64| match value {
        Some(0) => Err(CallError::invalid_input(
            field,
            "is 0",
            &format!("1 to {most}"),
        )),
        Some(value) if value > most => Err(CallError::invalid_input(
            field,
            "is too large",
            &format!("1 to {most}"),
        )),
        other => Ok(other),
    };
    let mut uses = within("uses", wish.uses, MAX_USES)?;
    let mut seconds = within("expires_in_seconds", wish.expires_in_seconds, MAX_SECONDS)?;
    let scope = match wish.scope {
        Scope::Task => {
            uses = uses.or(Some(TASK_USES));
            seconds = seconds.or(Some(TASK_SECONDS));
            GrantScope::Task
        }
        _ => GrantScope::Session,
    };
    let now = gateway.clock.now();
    let expires_at = seconds.and_then(|seconds| {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        now.checked_add(SignedDuration::from_secs(seconds)).ok()
    });
    // What policy says of the call that would run, which the operator may have edited.
    let said = gateway
        .policy
        .current()
        .explain(&subject.query(now), &gateway.rates);
    let said = serde_json::to_value(said).unwrap_or(Value::Null);
    Ok(NewGrant {
        id: GrantId::random(),
        scope,
        granted_by: by.to_owned(),
        conditions: conditions.clone(),
        shown: Value::Object(shown.clone()),
        rule_digest: pattern::rule_digest(&said),
        uses,
        expires_at,
    })
}

fn rule(
    gateway: &Gateway,
    subject: &Subject<'_>,
    conditions: &Object,
    by: &str,
) -> Result<Rule, CallError> {
    let principal = &subject.approval.principal;
    let file = file_of(principal);
    let sources = gateway.policy.sources();
    let before = own_source(&sources, principal).map(|source| source.text.clone());
    let reason = format!("always, by {by} with {}", subject.approval.id);
    let text = json!({
        "match": {"capability": subject.definition.name},
        "conditions": conditions,
        "tier": Tier::Autonomous,
        "reason": reason,
    });
    let after = super::always::with_rule(before.as_deref(), &principal.name, &text)?;
    let mut then = sources.clone();
    let source = Source {
        file: file.clone(),
        text: after.clone(),
    };
    let layer = kruxos_policy::layer_of(&source);
    let found = validate_among(&source, layer, gateway.catalog, &sources);
    if let Some(problem) = found.into_iter().find(|problem| problem.fatal) {
        return Err(unextendable(&file, &problem.to_string()));
    }
    match principal.kind {
        PrincipalKind::Agent => drop(then.agents.insert(principal.name.to_string(), source)),
        PrincipalKind::User | PrincipalKind::System => then.user = Some(source),
    }
    let (compiled, _) = PolicySet::compile(&then, gateway.catalog, 0).map_err(|found| {
        unextendable(
            &file,
            &found.first().map(ToString::to_string).unwrap_or_default(),
        )
    })?;
    let explained = compiled.explain(&subject.query(gateway.clock.now()), &gateway.rates);
    let futile = (explained.tier >= Tier::ApprovalRequired).then(|| {
        let winner = explained
            .layers
            .iter()
            .find(|layer| layer.layer == explained.winner);
        let place = winner.and_then(|layer| Some((layer.file.as_deref()?, layer.line?)));
        let place = place.map_or_else(String::new, |(file, line)| format!(" ({file}:{line})"));
        format!(
            "the {} layer{place} still makes such calls {}; no rule of {file} goes below that",
            explained.winner,
            explained.tier.as_str()
        )
    });
    let diff = similar::TextDiff::from_lines(before.as_deref().unwrap_or_default(), &after)
        .unified_diff()
        .header(&format!("a/{file}"), &format!("b/{file}"))
        .to_string();
    Ok(Rule {
        file,
        before,
        after,
        futile,
        diff,
    })
}

/// The file that holds a principal's own rules.
fn file_of(principal: &Principal) -> String {
    match principal.kind {
        PrincipalKind::Agent => format!("agents/{}.yaml", principal.name),
        PrincipalKind::User | PrincipalKind::System => "user.yaml".to_owned(),
    }
}

fn own_source<'a>(sources: &'a Sources, principal: &Principal) -> Option<&'a Source> {
    match principal.kind {
        PrincipalKind::Agent => sources.agents.get(&*principal.name),
        PrincipalKind::User | PrincipalKind::System => sources.user.as_ref(),
    }
}

pub(super) fn unextendable(file: &str, why: &str) -> CallError {
    CallError::new(ErrorType::ConflictError)
        .with("resource", file)
        .with(
            "expected_version",
            "a policy file that a rule can be added to",
        )
        .with("actual_version", why)
        .detail("Add the rule by hand, or decide once. Nothing was changed.")
}

impl Plan {
    /// For who decides, with what the pattern would have covered lately.
    ///
    /// # Errors
    /// The audit log's.
    pub(crate) fn told(
        &self,
        gateway: &Gateway,
        subject: &Subject<'_>,
        wish: &Wish,
    ) -> Result<Value, CallError> {
        let mut told = json!({
            "capability": subject.definition.name,
            "conditions": self.shown,
            "history": self.history(gateway, subject, wish)?,
            "seen": self.seen,
        });
        match &self.what {
            Remembered::Grant(grant) => {
                told["scope"] = json!(grant.scope);
                told["uses"] = json!(grant.uses);
                told["expires_at"] = json!(grant.expires_at);
            }
            Remembered::Rule(rule) => {
                told["scope"] = json!("always");
                told["file"] = json!(rule.file);
                told["diff"] = json!(rule.diff);
                told["has_effect"] = json!(rule.futile.is_none());
                told["why_not"] = json!(rule.futile);
            }
        }
        Ok(told)
    }

    /// Calls of the last week that the pattern would have covered. The log keeps content by its size, so
    /// the pattern is compared in that form too.
    fn history(
        &self,
        gateway: &Gateway,
        subject: &Subject<'_>,
        wish: &Wish,
    ) -> Result<Value, CallError> {
        let principal = &subject.approval.principal;
        let capability = subject.definition.name;
        let mut recorded = self.shown.clone();
        recorded.extend(wish.conditions.clone());
        let pattern = Pattern::new(gateway, principal, capability, recorded)?;
        let name = Some(principal.name.to_string());
        let is_agent = principal.kind == PrincipalKind::Agent;
        let now = gateway.clock.now();
        let query = kruxos_audit::Query {
            agent: name.clone().filter(|_| is_agent),
            user: name.filter(|_| !is_agent),
            capability: Some(capability.to_owned()),
            kind: Some(Kind::Call),
            from: now.checked_sub(HISTORY).ok(),
            limit: HISTORY_CALLS,
            newest_first: true,
            ..kruxos_audit::Query::default()
        };
        let page = gateway
            .audit
            .query(&query)
            .map_err(CallError::internal_failure)?;
        let mut calls = 0_u32;
        let mut covered = Vec::new();
        for entry in &page.entries {
            let Some(Value::Object(inputs)) = &entry.inputs else {
                continue;
            };
            // The call that is decided is not history.
            if entry.metadata.get("approval_request_id") == Some(&json!(subject.approval.id)) {
                continue;
            }
            calls += 1;
            let then = Query {
                inputs,
                now: entry.timestamp.parse().unwrap_or(now),
                ..subject.query(now)
            };
            if pattern.covers(&then) {
                covered.push(json!({
                    "seq": entry.seq,
                    "timestamp": entry.timestamp,
                    "status": entry.status,
                }));
            }
        }
        let number = covered.len();
        covered.truncate(HISTORY_TOLD);
        Ok(json!({"days": 7, "calls": calls, "covered": number, "newest": covered}))
    }
}
