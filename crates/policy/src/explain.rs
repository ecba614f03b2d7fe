//! The same decision in words, and what policy says before any call is made.

use crate::compile::{Rule, Table};
use crate::condition::{Test, restricts};
use crate::decide::{Counting, LAYERS};
use crate::rate::{RateCounters, RateRefusal};
use crate::sections::{NetworkPolicy, Sandbox};
use crate::shadow::{ShadowAnswer, ShadowVerdict};
use crate::{PolicyLayer, PolicySet, Query, Verdict};
use kruxos_catalog::Definition;
use kruxos_types::{Principal, PrincipalKind, Tier};
use serde::Serialize;
use serde_json::{Value, json};

/// A decision with its reasons: spec/policy.md, «Every decision explains itself».
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Explanation {
    pub tier: Tier,
    /// Outermost first, the definition last; layers without an answer have no tier.
    pub layers: Vec<LayerAnswer>,
    pub winner: String,
    pub rate: Option<RateUse>,
    pub generation: u64,
    /// A rate limit refuses the call, whatever its tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RateRefusal>,
    /// What the files in shadow mode would have made of it, where that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowAnswer<'static>>,
}

/// What one layer says.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct LayerAnswer {
    pub layer: String,
    pub tier: Option<Tier>,
    pub file: Option<String>,
    pub line: Option<usize>,
    pub rule: Option<String>,
    pub reason: Option<String>,
    /// `ceiling` or `baseline`.
    pub force: Option<&'static str>,
    /// Of a call with several paths, the one that makes the rule answer, by the name of its input;
    /// absent where the rule answers for the call as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// The state of the rate limit that a decision counted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct RateUse {
    pub used: u32,
    pub max: u32,
    /// Seconds.
    pub window: u64,
}

/// A verdict for the audit entry: the shape of [`Explanation`], borrowed, without what is empty.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct AuditDecision<'a> {
    pub tier: Tier,
    pub layers: Vec<AuditLayer<'a>>,
    pub winner: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateUse>,
    pub generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowAnswer<'a>>,
}

/// One layer of an [`AuditDecision`].
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct AuditLayer<'a> {
    pub layer: &'static str,
    pub tier: Option<Tier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
}

impl PolicySet {
    /// The same decision with its reasons, counting nothing.
    #[must_use]
    pub fn explain(&self, query: &Query<'_>, rates: &RateCounters) -> Explanation {
        let outcome = self.outcome(query, rates, Counting::Peek);
        let compact = self.explanation_of(query, &outcome.verdict);
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let layers = compact.layers.iter().map(|layer| LayerAnswer {
            layer: layer.layer.to_owned(),
            tier: layer.tier,
            file: owned(layer.file),
            line: layer.line,
            rule: owned(layer.rule),
            reason: owned(layer.reason),
            force: layer.force,
            path: owned(layer.path),
        });
        Explanation {
            tier: compact.tier,
            layers: layers.collect(),
            winner: compact.winner.to_owned(),
            rate: compact.rate,
            generation: compact.generation,
            refusal: outcome.refusal,
            shadow: compact.shadow.map(ShadowAnswer::into_owned),
        }
    }

    /// A verdict of this set for the audit entry. One allocation; made for every call.
    ///
    /// `query` is the one that was decided. A verdict of another generation is told without its
    /// layers, since their rules are no longer known.
    #[must_use]
    pub fn explanation_of<'a>(
        &'a self,
        query: &Query<'_>,
        verdict: &'a Verdict,
    ) -> AuditDecision<'a> {
        let mut layers = Vec::with_capacity(LAYERS + 1);
        let shape = self.shapes.get(query.definition.id.index());
        if verdict.generation() == self.generation {
            let slots = slots(query.principal.kind)
                .into_iter()
                .zip(self.tables(query.principal))
                .zip(&verdict.answers);
            for ((layer, table), answer) in slots {
                let mut told = AuditLayer::empty(layer);
                if let Some((answer, rule)) = answer
                    .and_then(|answer| Some((answer, table?.rules.get(answer.rule as usize)?)))
                {
                    told.fill(rule, answer.tier);
                    told.path = shape
                        .zip(answer.path)
                        .and_then(|(shape, slot)| shape.name_of(query, slot));
                }
                layers.push(told);
            }
            let mut definition = AuditLayer::empty(PolicyLayer::Definition);
            definition.tier = Some(query.definition.tier);
            definition.force = Some("baseline");
            layers.push(definition);
        }
        AuditDecision {
            tier: verdict.tier(),
            layers,
            winner: verdict.winner().as_str(),
            rate: verdict.rate,
            generation: verdict.generation(),
            shadow: verdict.shadow().map(ShadowVerdict::told),
        }
    }

    /// The tier a capability has for a principal before any input is known: `None` if every call would
    /// be blocked (so it is not listed), else the least restrictive tier a call could get.
    #[must_use]
    pub fn listed_tier(&self, principal: &Principal, definition: &Definition) -> Option<Tier> {
        let capability = definition.id.index();
        let mut ceiling = Tier::Autonomous;
        // The least restrictive baseline among those that could be the nearest one.
        let mut baseline: Option<Tier> = None;
        let mut decided = false;
        for table in self.tables(principal).into_iter().rev().flatten() {
            let possible = Possible::of(table, capability, principal.kind);
            if !decided {
                baseline = least(baseline, possible.baseline);
                decided = possible.always_baseline;
            }
            ceiling = ceiling.max(possible.ceiling.unwrap_or(Tier::Autonomous));
        }
        if !decided {
            baseline = least(baseline, Some(definition.tier));
        }
        let tier = ceiling.max(baseline.unwrap_or(Tier::Blocked));
        (tier < Tier::Blocked).then_some(tier)
    }

    /// The tier of what no rule names, for `agent.policy`: the nearest `defaults`. `None` leaves each
    /// capability with the tier of its definition.
    #[must_use]
    pub fn default_tier(&self, principal: &Principal) -> Option<Tier> {
        self.tables(principal)
            .into_iter()
            .rev()
            .flatten()
            .find_map(|table| table.defaults)
    }

    /// Rules that apply to a principal, for `agent.policy`: outermost layer first.
    #[must_use]
    pub fn rules_for(&self, principal: &Principal) -> Vec<Value> {
        let tables = self.tables(principal).into_iter().flatten();
        tables
            .flat_map(|table| table.rules.iter().map(|rule| shown(table.layer, rule)))
            .collect()
    }

    /// What a principal may reach over the network: the nearest file's list, less what any layer denies.
    #[must_use]
    pub fn network_for(&self, principal: &Principal) -> NetworkPolicy {
        let mut policy = NetworkPolicy::default();
        for table in self.tables(principal).into_iter().flatten() {
            if !table.network.allow.is_empty() {
                policy.allow.clone_from(&table.network.allow);
            }
            policy.deny.extend_from_slice(&table.network.deny);
        }
        policy
    }

    /// The tightest sandbox limits of every layer.
    #[must_use]
    pub fn sandbox_for(&self, principal: &Principal) -> Sandbox {
        let tables = self.tables(principal).into_iter().flatten();
        tables.fold(Sandbox::default(), |sandbox, table| {
            sandbox.tightened_by(table.sandbox)
        })
    }
}

/// The names of a principal's layers, the definition left out.
fn slots(kind: PrincipalKind) -> [PolicyLayer; LAYERS] {
    let nearest = if kind == PrincipalKind::User {
        PolicyLayer::User
    } else {
        PolicyLayer::Agent
    };
    [
        PolicyLayer::BuiltIn,
        PolicyLayer::System,
        PolicyLayer::Organisation,
        PolicyLayer::Template,
        nearest,
    ]
}

fn force(rule: &Rule) -> &'static str {
    if rule.ceiling { "ceiling" } else { "baseline" }
}

impl<'a> AuditLayer<'a> {
    fn empty(layer: PolicyLayer) -> Self {
        AuditLayer {
            layer: layer.as_str(),
            tier: None,
            file: None,
            line: None,
            rule: None,
            reason: None,
            force: None,
            path: None,
        }
    }

    fn fill(&mut self, rule: &'a Rule, tier: Tier) {
        let origin = &rule.origin;
        self.tier = Some(tier);
        if !origin.file.is_empty() {
            self.file = Some(&origin.file);
            self.line = Some(origin.place.line as usize);
        }
        self.rule = Some(&origin.name);
        self.reason = origin.reason.as_deref();
        self.force = Some(force(rule));
    }
}

/// A rule as an agent sees it.
fn shown(layer: PolicyLayer, rule: &Rule) -> Value {
    let origin = &rule.origin;
    let mut shown = json!({
        "layer": layer.as_str(),
        "rule": &*origin.name,
        "capability": &*origin.pattern,
        "tier": rule.tier,
        "force": force(rule),
    });
    let Some(object) = shown.as_object_mut() else {
        return shown;
    };
    if !rule.conditions.is_empty() {
        let conditions = rule.conditions.iter().map(|condition| &*condition.text);
        object.insert("conditions".to_owned(), conditions.collect());
        if rule.conditions.iter().any(|one| one.test.is_about_paths()) {
            let paths = if restricts(rule.tier, rule.ceiling) {
                "any"
            } else {
                "all"
            };
            object.insert("paths".to_owned(), Value::from(paths));
        }
    }
    if let Some(rate) = &rule.rate {
        let limit =
            json!({"max": rate.max, "window": rate.window_ms / 1_000, "on_exceed": rate.on_exceed});
        object.insert("rate_limit".to_owned(), limit);
    }
    if let Some(reason) = &origin.reason {
        object.insert("reason".to_owned(), Value::from(&**reason));
    }
    shown
}

/// What a layer could answer for a capability, whatever the inputs.
struct Possible {
    /// The least restrictive ceiling of any call; `None` if a call could have none.
    ceiling: Option<Tier>,
    /// The least restrictive baseline that a call could have.
    baseline: Option<Tier>,
    /// Every call has a baseline here.
    always_baseline: bool,
}

impl Possible {
    fn of(table: &Table, capability: usize, kind: PrincipalKind) -> Possible {
        let (mut ceiling, mut baseline) = (None, None);
        let (mut any_baseline, mut any_ceiling, mut certain) = (false, false, false);
        for rule in table.rules_of(capability) {
            let other_kind = |test: &Test| matches!(test, Test::PrincipalType(kinds) if kinds & (1 << kind as u8) == 0);
            if rule
                .conditions
                .iter()
                .any(|condition| other_kind(&condition.test))
            {
                continue;
            }
            let list = if rule.ceiling {
                &mut ceiling
            } else {
                &mut baseline
            };
            *list = least(*list, Some(rule.tier));
            any_ceiling |= rule.ceiling;
            any_baseline |= !rule.ceiling;
            let always = |test: &Test| {
                matches!(
                    test,
                    Test::PrincipalType(_) | Test::Hazard(crate::builtin::Hazard::Always)
                )
            };
            if rule
                .conditions
                .iter()
                .all(|condition| always(&condition.test))
            {
                certain = true;
                break;
            }
        }
        Possible {
            ceiling: ceiling.filter(|_| certain && !any_baseline),
            baseline,
            always_baseline: certain && !any_ceiling,
        }
    }
}

fn least(a: Option<Tier>, b: Option<Tier>) -> Option<Tier> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
