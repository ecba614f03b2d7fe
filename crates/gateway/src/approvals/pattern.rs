//! Which calls are like one that was decided, in the language of policy conditions: what a grant covers and
//! what a rule written by «always» matches. As narrow as the call unless the operator widens it.

use crate::gateway::Gateway;
use kruxos_catalog::Definition;
use kruxos_policy::{PolicySet, Query, RateCounters, Source, Sources};
use kruxos_types::{CallError, Object, Principal, PrincipalKind, Tier};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Conditions as JSON, in bytes: what a person can still look through.
const MAX_CONDITIONS: usize = 64 << 10;

/// What is remembered of one call.
pub(crate) struct Pattern {
    conditions: Object,
    compiled: PolicySet,
}

/// The conditions that hold for exactly this call: every input of the definition as it is, null for what
/// was left out. `open` names inputs that may be anything.
pub(crate) fn narrow(definition: &Definition, inputs: &Object, open: &[String]) -> Object {
    let named = definition.inputs.iter().map(|field| field.name.as_str());
    let equal: Object = named
        .filter(|name| !open.iter().any(|open| open == name))
        .map(|name: &str| {
            let value = inputs.get(name).cloned().unwrap_or(Value::Null);
            (name.to_owned(), value)
        })
        .collect();
    if equal.is_empty() {
        return Object::new();
    }
    Object::from_iter([("input_equals".to_owned(), equal.into())])
}

impl Pattern {
    /// Compiles conditions for one capability and principal.
    ///
    /// # Errors
    /// `InvalidInput` with the compiler's own words.
    pub(crate) fn new(
        gateway: &Gateway,
        principal: &Principal,
        capability: &str,
        conditions: Object,
    ) -> Result<Pattern, CallError> {
        let refused = |reason: &str| {
            let expected =
                "conditions of the policy language, such as {\"path_prefix\": \"notes\"}";
            CallError::invalid_input("conditions", reason, expected)
        };
        let rule = json!({
            "match": {"capability": capability},
            "conditions": conditions,
            "tier": Tier::Autonomous,
        });
        // JSON is YAML. What no rule answers is blocked, so only covered calls come out autonomous.
        let text = json!({"defaults": {"tier": Tier::Blocked}, "rules": [rule]}).to_string();
        if text.len() > MAX_CONDITIONS {
            let reason = format!(
                "they are {} bytes long; at most {MAX_CONDITIONS} are remembered",
                text.len()
            );
            return Err(refused(&reason));
        }
        let source = Source {
            file: "<conditions>".to_owned(),
            text,
        };
        let mut sources = Sources {
            data_dir: gateway.policy.sources().data_dir,
            ..Sources::default()
        };
        match principal.kind {
            PrincipalKind::Agent => {
                drop(sources.agents.insert(principal.name.to_string(), source));
            }
            PrincipalKind::User | PrincipalKind::System => sources.user = Some(source),
        }
        match PolicySet::compile(&sources, gateway.catalog, 0) {
            Ok((compiled, _)) => Ok(Pattern {
                conditions,
                compiled,
            }),
            Err(found) => {
                let first = found.first().map(|problem| problem.message.clone());
                Err(refused(&first.unwrap_or_default()))
            }
        }
    }

    /// The conditions.
    pub(crate) fn conditions(&self) -> &Object {
        &self.conditions
    }

    /// Whether a call meets the conditions.
    pub(crate) fn covers(&self, query: &Query<'_>) -> bool {
        let verdict = self.compiled.decide(query, &RateCounters::default());
        verdict.is_ok_and(|verdict| verdict.tier() == Tier::Autonomous)
    }
}

/// Conditions as they are shown and as the log has inputs: content by size, secrets hidden.
pub(crate) fn shown(gateway: &Gateway, definition: &Definition, conditions: &Object) -> Object {
    let told = conditions.iter().map(|(name, condition)| {
        let condition = match (name.as_str(), condition) {
            ("input_equals", Value::Object(inputs)) => {
                gateway.recorded_inputs(Some(definition), inputs)
            }
            (_, other) => other.clone(),
        };
        (name.clone(), condition)
    });
    match kruxos_audit::redact(&Value::Object(told.collect())) {
        Value::Object(shown) => shown,
        _ => Object::new(),
    }
}

/// What policy says of a call, without where its rules stand: a grant covers calls for which policy says
/// the same as for the one that it was given for.
pub(crate) fn rule_digest(decision: &Value) -> String {
    let layers = decision["layers"].as_array();
    let said: Vec<Value> = layers
        .into_iter()
        .flatten()
        .map(|layer| json!([layer["layer"], layer["tier"], layer["rule"], layer["force"]]))
        .collect();
    data_encoding::HEXLOWER.encode(&Sha256::digest(Value::Array(said).to_string().as_bytes()))
}
