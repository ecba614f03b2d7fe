//! Recorded calls decided again under other rules.
//!
//! The log keeps facts, not contents: of a redacted input only its size may be known. A call whose
//! decision under the new rules could depend on what is not known is counted as undecided, never guessed.

use crate::builtin::Hazard;
use crate::condition::Test;
use crate::facts::Shape;
use crate::{PolicySet, Query, RateCounters, Touched};
use jiff::Timestamp;
use kruxos_catalog::Definition;
use kruxos_types::{Interface, Object, Principal, Tier};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Bytes of content that is stood in for by as many others.
const MAX_CONTENT: u64 = 16 << 20;

/// A call as the log has it.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Recorded<'a> {
    pub principal: &'a Principal,
    pub definition: &'a Definition,
    /// As recorded: [`Simulation::replay`] finds what is redacted in it.
    pub inputs: &'a Object,
    pub interface: Interface,
    pub at: Timestamp,
    pub workspace: &'a str,
    pub touches: &'a [Touched],
    /// What was decided; `None` for a call that a rate limit refused.
    pub decided: Option<Tier>,
}

/// What the new rules make of a call.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Replayed {
    Same,
    Differs(Instead),
    /// The new rules look at inputs that the log does not have.
    Undecided {
        inputs: Vec<String>,
    },
}

/// The decision that would be another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Instead {
    /// A tier or `rate_limited`.
    pub tier: &'static str,
    pub winner: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The new rules and what they have counted so far: calls are given in the order in which they were made.
#[derive(Debug)]
pub struct Simulation {
    set: PolicySet,
    rates: RateCounters,
}

impl Simulation {
    /// A simulation of these rules, with nothing counted.
    #[must_use]
    pub fn new(set: PolicySet) -> Simulation {
        Simulation {
            set,
            rates: RateCounters::default(),
        }
    }

    /// Decides a call again.
    #[must_use]
    pub fn replay(&self, call: &Recorded<'_>) -> Replayed {
        let unknown = self.unknown(call);
        let inputs = match unknown {
            Unknown::Nothing => None,
            Unknown::Inputs(inputs) => return Replayed::Undecided { inputs },
            Unknown::Size(inputs) => Some(inputs),
        };
        let query = Query {
            principal: call.principal,
            definition: call.definition,
            inputs: inputs.as_ref().unwrap_or(call.inputs),
            interface: call.interface,
            now: call.at,
            workspace: call.workspace,
            touches: call.touches,
        };
        let instead = match self.set.decide(&query, &self.rates) {
            Ok(verdict) if Some(verdict.tier()) == call.decided => return Replayed::Same,
            Ok(verdict) => Instead {
                tier: verdict.tier().as_str(),
                winner: verdict.winner().as_str(),
                file: verdict.winner_place().map(|(file, _)| file.to_owned()),
                line: verdict.winner_place().map(|(_, line)| line),
                rule: verdict.winner_rule().map(str::to_owned),
                reason: verdict.winner_reason().map(str::to_owned),
            },
            Err(_) if call.decided.is_none() => return Replayed::Same,
            Err(_) => Instead {
                tier: "rate_limited",
                winner: "rate_limit",
                file: None,
                line: None,
                rule: None,
                reason: None,
            },
        };
        Replayed::Differs(instead)
    }

    /// What of the call the rules look at and the log does not have.
    fn unknown(&self, call: &Recorded<'_>) -> Unknown {
        let redacted: Vec<(&String, Option<u64>)> = call
            .inputs
            .iter()
            .filter_map(|(name, value)| Some((name, redaction(value)?)))
            .collect();
        if redacted.is_empty() {
            return Unknown::Nothing;
        }
        let looked_at = self.set.looks_at(call.principal, call.definition);
        let mut filled = call.inputs.clone();
        let mut inputs = Vec::new();
        for (name, size) in redacted {
            match size.filter(|size| *size <= MAX_CONTENT) {
                _ if !looked_at.values.contains(name) && looked_at.size.as_ref() != Some(name) => {
                    // Nobody looks at it, so anything may stand there; what was recorded does.
                }
                Some(size) if !looked_at.values.contains(name) => {
                    let text = "x".repeat(usize::try_from(size).unwrap_or_default());
                    filled.insert(name.clone(), Value::from(text));
                }
                _ => inputs.push(name.clone()),
            }
        }
        match inputs.is_empty() {
            true => Unknown::Size(filled),
            false => Unknown::Inputs(inputs),
        }
    }
}

enum Unknown {
    Nothing,
    /// Only sizes matter, and those are known: the inputs with texts of these sizes.
    Size(Object),
    Inputs(Vec<String>),
}

/// `Some` for a recorded value that is not what was sent: with its size, where that is known.
fn redaction(value: &Value) -> Option<Option<u64>> {
    match value {
        Value::String(text) => text.contains("[REDACTED:").then_some(None),
        Value::Object(fields) if fields.len() == 2 && fields.contains_key("sha256") => {
            fields.get("size").and_then(Value::as_u64).map(Some)
        }
        Value::Object(fields) => fields.values().find_map(redaction).map(|_| None),
        Value::Array(items) => items.iter().find_map(redaction).map(|_| None),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// The inputs that decisions can depend on.
#[derive(Debug, Default)]
struct LookedAt {
    /// By what they hold.
    values: BTreeSet<String>,
    /// By its size.
    size: Option<String>,
}

impl PolicySet {
    fn looks_at(&self, principal: &Principal, definition: &Definition) -> LookedAt {
        let shape = Shape::of(definition);
        let mut seen = LookedAt::default();
        let tables = self.tables(principal).into_iter().flatten();
        for rule in tables.flat_map(|table| table.rules_of(definition.id.index())) {
            for condition in &rule.conditions {
                seen.add(&condition.test, &shape);
            }
        }
        seen
    }
}

impl LookedAt {
    fn add(&mut self, test: &Test, shape: &Shape) {
        let paths = || shape.paths.iter().map(|input| input.name.to_string());
        let program = ["command", "args", "stdin", "working_directory"].map(str::to_owned);
        match test {
            Test::PathPrefix(_) | Test::PathNotPrefix(_) | Test::PathGlob(_) => {
                self.values.extend(paths());
            }
            Test::ContentSize(..) => self.size = shape.content.as_deref().map(str::to_owned),
            Test::DomainIn(_) | Test::DomainNotIn(_) | Test::UrlSchemeIn(_) => {
                self.addresses(shape);
            }
            Test::MethodIn(_) => drop(self.values.insert("method".to_owned())),
            Test::CommandIn(_) | Test::CommandMatches(_) => {
                self.values.insert("command".to_owned());
            }
            Test::ArgsMatch(_) => drop(self.values.insert("args".to_owned())),
            Test::InputEquals(pairs) => self.named(pairs),
            Test::InputIn(pairs) => self.named(pairs),
            Test::InputCompare(_, pairs) => self.named(pairs),
            Test::Hazard(Hazard::SystemPath) => self.values.extend(paths()),
            Test::Hazard(Hazard::DataDir(_)) => {
                self.values.extend(paths());
                if shape.command {
                    self.values.extend(program);
                }
            }
            Test::Hazard(Hazard::Destruction) => self.values.extend(program),
            Test::Hazard(Hazard::OtherAgent) => drop(self.values.insert("agent".to_owned())),
            Test::Hazard(Hazard::UnreadableHost) => self.addresses(shape),
            Test::TimeOfDay(_)
            | Test::WeekdayIn(_)
            | Test::PrincipalType(_)
            | Test::InterfaceIn(_)
            | Test::Hazard(Hazard::Always) => {}
        }
    }

    fn addresses(&mut self, shape: &Shape) {
        let inputs = shape.urls.iter().chain(&shape.hosts);
        self.values.extend(inputs.map(|name| name.to_string()));
    }

    fn named<T>(&mut self, pairs: &[(Box<str>, T)]) {
        self.values
            .extend(pairs.iter().map(|(name, _)| name.to_string()));
    }
}
