//! What changes between two sets of policy files: which principal gets another tier for which
//! capability, as such and under the conditions of either's rules.
//!
//! Rules are compared by what they decide. For each capability there is one call that meets no condition,
//! and for each rule of either side one that meets all of its conditions and some at their edges
//! (`probes`). A difference that only another combination of inputs would show is not found.

mod probes;
mod sample;

use crate::compile::{Rule, Table};
use crate::facts::VIRTUAL_WORKSPACE;
use crate::{Diagnostic, PolicySet, Query, RateCounters, Sources, Verdict};
use kruxos_catalog::{Catalog, Definition};
use kruxos_types::{Object, Principal, Tier};
use probes::{Probe, Probes};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Differences that are kept: more than a person reads; how many there are is told.
const MAX_DIFFERENCES: usize = 10_000;

/// What one side decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[allow(missing_docs)]
pub struct Side {
    pub tier: Tier,
    pub winner: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The tightest rate limit that counts the call: calls and seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<(u32, u64)>,
}

/// A pair of principal and capability for which the sides differ, and an example of a call.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Difference {
    /// `agent NAME`, `any other agent` or `user`.
    pub principal: String,
    pub capability: &'static str,
    pub old: Side,
    pub new: Side,
    /// The call that shows it; absent where it differs for a call that meets no condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<Example>,
}

/// A call that meets the conditions of a rule.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Example {
    pub inputs: Object,
    pub interface: &'static str,
    pub at: String,
}

/// Everything found.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs)]
pub struct Diff {
    pub differences: Vec<Difference>,
    /// How many of them are left out of `differences`, which is bounded.
    pub left_out: usize,
    /// Calls that were compared.
    pub probes: usize,
    /// Rules for which no call could be made up that meets their conditions: what they decide was not
    /// compared.
    pub rules_not_reached: usize,
}

/// Compares two sets of files.
///
/// # Errors
/// Every fatal problem of either side.
pub fn compare(old: &Sources, new: &Sources, catalog: &Catalog) -> Result<Diff, Vec<Diagnostic>> {
    let (old_set, new_set) = match (
        PolicySet::compile(old, catalog, 1),
        PolicySet::compile(new, catalog, 1),
    ) {
        (Ok((old, _)), Ok((new, _))) => (old, new),
        (old, new) => {
            let problems = [old.err(), new.err()].into_iter().flatten().flatten();
            return Err(problems.collect());
        }
    };
    let mut diff = Diff::default();
    for (shown, principal) in principals(old, new) {
        for definition in catalog.all() {
            let pair = Pair {
                sides: [&old_set, &new_set],
                principal: &principal,
                definition,
            };
            pair.compare(&shown, &mut diff);
        }
    }
    Ok(diff)
}

/// Every agent that either side knows, one that neither does, and a user.
fn principals(old: &Sources, new: &Sources) -> Vec<(String, Principal)> {
    let names: BTreeSet<&String> = [old, new]
        .into_iter()
        .flat_map(|side| side.agents.keys().chain(side.groups.keys()))
        .collect();
    let named = names
        .iter()
        .map(|name| (format!("agent {name}"), Principal::agent(name)));
    // No agent can have an empty name.
    let other = ("any other agent".to_owned(), Principal::agent(""));
    let user = ("user".to_owned(), Principal::user("user"));
    named.chain([other, user]).collect()
}

/// Two sets of rules for one principal and one capability.
struct Pair<'a> {
    sides: [&'a PolicySet; 2],
    principal: &'a Principal,
    definition: &'a Definition,
}

impl Pair<'_> {
    fn compare(&self, shown: &str, diff: &mut Diff) {
        let mut found: BTreeMap<(Side, Side), Option<Probe>> = BTreeMap::new();
        let plain = Probe::default();
        if let Some(sides) = self.differing(&plain, diff) {
            found.insert(sides, None);
        }
        let mut probes = Probes::new(self.definition);
        for rule in self.rules() {
            let reached = probes.of_rule(rule, |probe| self.meets(rule, probe));
            diff.rules_not_reached += usize::from(!reached);
        }
        for probe in probes.into_vec() {
            if let Some(sides) = self.differing(&probe, diff) {
                found.entry(sides).or_insert(Some(probe));
            }
        }
        for ((old, new), probe) in found {
            if diff.differences.len() >= MAX_DIFFERENCES {
                diff.left_out += 1;
                continue;
            }
            diff.differences.push(Difference {
                principal: shown.to_owned(),
                capability: self.definition.name,
                old,
                new,
                example: probe.map(|probe| probe.shown()),
            });
        }
    }

    /// Rules that files gave the principal for the capability, but for those that hold for every call.
    fn rules(&self) -> impl Iterator<Item = &Rule> {
        let capability = self.definition.id.index();
        let written = |table: &&Table| table.layer != crate::PolicyLayer::BuiltIn;
        let tables = self
            .sides
            .into_iter()
            .flat_map(|set| set.tables(self.principal));
        let rules = tables
            .flatten()
            .filter(written)
            .flat_map(move |table| table.rules_of(capability));
        rules.filter(|rule| {
            let other = |kinds: u8| kinds & (1 << self.principal.kind as u8) == 0;
            let for_others = rule.conditions.iter().any(|condition| {
                matches!(condition.test, crate::condition::Test::PrincipalType(kinds) if other(kinds))
            });
            !rule.conditions.is_empty() && !for_others
        })
    }

    fn query<'q>(&'q self, probe: &'q Probe) -> Query<'q> {
        Query {
            principal: self.principal,
            definition: self.definition,
            inputs: &probe.inputs,
            interface: probe.interface,
            now: probe.at,
            workspace: VIRTUAL_WORKSPACE,
            touches: &[],
        }
    }

    /// How many of the rule's conditions a call meets, from the first.
    fn meets(&self, rule: &Rule, probe: &Probe) -> usize {
        let shape = crate::facts::Shape::of(self.definition);
        let query = self.query(probe);
        let facts = crate::facts::Facts::new(&query, &shape, None);
        let holds = |condition: &&crate::condition::Condition| condition.test.holds(&facts);
        rule.conditions.iter().take_while(holds).count()
    }

    /// Both decisions about a call, where they are not the same.
    fn differing(&self, probe: &Probe, diff: &mut Diff) -> Option<(Side, Side)> {
        diff.probes += 1;
        let query = self.query(probe);
        let [old, new] = self.sides.map(|set| {
            // Nothing is counted yet, so no limit refuses.
            set.decide(&query, &RateCounters::default()).ok()
        });
        let (old, new) = (Side::of(&old?), Side::of(&new?));
        ((old.tier, old.limit) != (new.tier, new.limit)).then_some((old, new))
    }
}

impl Side {
    fn of(verdict: &Verdict) -> Side {
        let place = verdict.winner_place();
        Side {
            tier: verdict.tier(),
            winner: verdict.winner().as_str(),
            file: place.map(|(file, _)| file.to_owned()),
            line: place.map(|(_, line)| line),
            rule: verdict.winner_rule().map(str::to_owned),
            limit: verdict.rate().map(|rate| (rate.max, rate.window)),
        }
    }
}
