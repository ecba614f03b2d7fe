//! What decides between layers: the most restrictive of every ceiling that answers and of the
//! nearest baseline. A call with several paths is decided as a whole and for each of them, and the most
//! restrictive of that counts (`condition` says why).

use crate::compile::{Origin, Rate, Rule, Table};
use crate::explain::RateUse;
use crate::facts::{Facts, View};
use crate::rate::{RateCounters, RateRefusal, Use};
use crate::shadow::{ShadowKey, ShadowVerdict};
use crate::{DEFAULT_TEMPLATE, PolicyLayer, PolicySet, Query};
use kruxos_types::{Principal, PrincipalKind, Tier};
use smallvec::SmallVec;
use std::sync::Arc;

/// Layers with rules of their own; the definition comes behind them.
pub(crate) const LAYERS: usize = 5;

/// One layer's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Answer {
    /// Position in the layer's table.
    pub(crate) rule: u32,
    /// After an exceeded rate limit, what it escalates to.
    pub(crate) tier: Tier,
    /// Whether it takes part: ceilings always do, of the baselines only the nearest.
    pub(crate) counts: bool,
    /// The slot of the path that it was found for; none when it is for the call as a whole.
    pub(crate) path: Option<u8>,
}

/// The answer. Only [`PolicySet::decide`] makes one.
#[derive(Debug, Clone)]
pub struct Verdict {
    tier: Tier,
    generation: u64,
    winner: PolicyLayer,
    pub(crate) answers: [Option<Answer>; LAYERS],
    pub(crate) rate: Option<RateUse>,
    origin: Option<Arc<Origin>>,
    shadow: Option<ShadowVerdict>,
}

/// Everything that the explanation of a verdict depends on besides principal and capability: two
/// verdicts with equal reasons are told in the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reasons {
    tier: Tier,
    generation: u64,
    winner: PolicyLayer,
    answers: [Option<Answer>; LAYERS],
    shadow: Option<ShadowKey>,
}

impl Verdict {
    /// What its explanation depends on; `None` when the state of a rate limit is part of it, which is
    /// another one at every call.
    #[must_use]
    pub fn reasons(&self) -> Option<Reasons> {
        self.rate.is_none().then_some(Reasons {
            tier: self.tier,
            generation: self.generation,
            winner: self.winner,
            answers: self.answers,
            shadow: self.shadow.as_ref().map(ShadowVerdict::key),
        })
    }

    /// The tier that won.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// The generation of the rules that decided.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The layer that won: the outermost of those that gave the tier.
    #[must_use]
    pub fn winner(&self) -> PolicyLayer {
        self.winner
    }

    /// What the winning rule gives as its reason.
    #[must_use]
    pub fn winner_reason(&self) -> Option<&str> {
        self.origin.as_ref()?.reason.as_deref()
    }

    /// The winning rule's name in its file, such as `capabilities.email.send`.
    #[must_use]
    pub fn winner_rule(&self) -> Option<&str> {
        self.origin.as_ref().map(|origin| &*origin.name)
    }

    /// File and line of the winning rule.
    #[must_use]
    pub fn winner_place(&self) -> Option<(&str, usize)> {
        let origin = self.origin.as_ref()?;
        (!origin.file.is_empty()).then_some((&*origin.file, origin.place.line as usize))
    }

    /// What would have been decided with the files in shadow mode in force; only where that is another
    /// tier, or a refusal by a rate limit.
    #[must_use]
    pub fn shadow(&self) -> Option<&ShadowVerdict> {
        self.shadow.as_ref()
    }

    /// The winning rule, for those who tell of it elsewhere.
    pub(crate) fn origin(&self) -> Option<&Arc<Origin>> {
        self.origin.as_ref()
    }

    /// The state of the rate limit that the call counted against.
    #[must_use]
    pub fn rate(&self) -> Option<RateUse> {
        self.rate
    }
}

/// Whether a decision counts against rate limits or only looks at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counting {
    Take,
    Peek,
    /// Takes from limits of files in shadow mode and looks at all others.
    TakeShadow,
}

impl Counting {
    fn in_shadow(self) -> Counting {
        match self {
            Counting::Take => Counting::TakeShadow,
            other => other,
        }
    }

    fn takes(self, rate: &Rate) -> bool {
        match self {
            Counting::Take => true,
            Counting::Peek => false,
            Counting::TakeShadow => rate.shadow,
        }
    }
}

/// A decision before it is told: with its refusal, if a limit refused it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) refusal: Option<RateRefusal>,
}

impl PolicySet {
    /// Decides a call and counts it against the rate limits it matches. No allocation on the hit path.
    ///
    /// A limit that is used up leaves the window alone; a call that is refused or blocked counts
    /// nowhere.
    ///
    /// # Errors
    /// A rate limit is used up and names no more restrictive tier.
    pub fn decide(&self, query: &Query<'_>, rates: &RateCounters) -> Result<Verdict, RateRefusal> {
        let outcome = self.outcome(query, rates, Counting::Take);
        match outcome.refusal {
            Some(refusal) => Err(refusal),
            None => Ok(outcome.verdict),
        }
    }

    pub(crate) fn outcome(
        &self,
        query: &Query<'_>,
        rates: &RateCounters,
        counting: Counting,
    ) -> Outcome {
        // Before the call is counted, so that both look at the same state of the limits.
        let shadow = self
            .shadow_tables(query.principal)
            .map(|tables| self.among(&tables, query, rates, counting.in_shadow()));
        let tables = self.tables(query.principal);
        let mut outcome = self.among(&tables, query, rates, counting);
        outcome.verdict.shadow = shadow.and_then(|shadow| shadow.unlike(&outcome));
        outcome
    }

    /// The decision of these tables.
    fn among(
        &self,
        tables: &[Option<&Table>; LAYERS],
        query: &Query<'_>,
        rates: &RateCounters,
        counting: Counting,
    ) -> Outcome {
        let capability = query.definition.id.index();
        let mut found = Found::default();
        match self.shapes.get(capability) {
            Some(shape) => {
                let facts = Facts::new(query, shape, self.data_dir.as_deref());
                found.look(tables, capability, &facts);
            }
            None => found.definition_counts = true,
        }
        let definition = found.definition_counts.then_some(query.definition.tier);
        let mut limits = Limits {
            query,
            rates,
            counting,
            rate: None,
            refusal: None,
        };
        if found.strictest(definition) < Tier::Blocked {
            limits.apply(&mut found);
        }
        let tier = found.strictest(definition);
        if tier == Tier::Blocked && limits.refusal.take().is_some() {
            limits.rate = None;
        }
        let told = found.told();
        let answers = told.map(|told| told.map(|candidate| candidate.answer));
        let winner = told
            .iter()
            .zip(tables)
            .filter_map(|(candidate, table)| Some((candidate.as_ref()?, (*table)?)))
            .find(|(candidate, _)| candidate.answer.counts && candidate.answer.tier == tier);
        let verdict = Verdict {
            tier,
            generation: self.generation,
            winner: winner.map_or(PolicyLayer::Definition, |(_, table)| table.layer),
            answers,
            rate: limits.rate,
            origin: winner.map(|(winner, _)| winner.rule.origin.clone()),
            shadow: None,
        };
        Outcome {
            verdict,
            refusal: limits.refusal,
        }
    }

    /// The layers of a principal, outermost first. The gateway's own calls have only the built-in
    /// protections above the definition.
    pub(crate) fn tables(&self, principal: &Principal) -> [Option<&Table>; LAYERS] {
        let (system, organisation) = (self.system.as_ref(), self.organisation.as_ref());
        let built_in = Some(&self.built_in);
        match principal.kind {
            PrincipalKind::System => [built_in, None, None, None, None],
            PrincipalKind::User => [built_in, system, organisation, None, self.user.as_ref()],
            PrincipalKind::Agent => {
                let (template, own) = match self.agents.get(&*principal.name) {
                    Some(layers) => (Some(&*layers.template), layers.own.as_ref()),
                    None => (
                        self.templates
                            .get(DEFAULT_TEMPLATE)
                            .map(|template| &**template),
                        None,
                    ),
                };
                [built_in, system, organisation, template, own]
            }
        }
    }
}

/// A rule that answers, for the call as a whole or for one of its paths.
#[derive(Debug, Clone, Copy)]
struct Candidate<'p> {
    rule: &'p Rule,
    answer: Answer,
}

/// What the layers answer, for every view of the call.
#[derive(Default)]
struct Found<'p> {
    /// The first answer of each layer: all there is, but for calls with several paths.
    first: [Option<Candidate<'p>>; LAYERS],
    /// Other rules of a layer that other paths of the call meet, each once.
    more: SmallVec<[(usize, Candidate<'p>); 2]>,
    /// Whether some view of the call has no baseline but the definition's.
    definition_counts: bool,
}

impl<'p> Found<'p> {
    /// Asks every layer, for the call as a whole and, where a rule looks at paths, for each of its
    /// paths: see `condition`.
    fn look(&mut self, tables: &[Option<&'p Table>; LAYERS], capability: usize, facts: &Facts<'_>) {
        self.look_at(View::Whole, tables, capability, facts);
        let by_path = |table: &&Table| table.is_by_path(capability);
        if tables.iter().flatten().any(by_path) {
            for view in facts.views().filter(|view| *view != View::Whole) {
                self.look_at(view, tables, capability, facts);
            }
        }
    }

    fn look_at(
        &mut self,
        view: View,
        tables: &[Option<&'p Table>; LAYERS],
        capability: usize,
        facts: &Facts<'_>,
    ) {
        facts.look_at(view);
        let mut nearest = None;
        for (layer, table) in tables.iter().enumerate() {
            let answer = table.and_then(|table| table.answer(capability, facts));
            let Some((number, rule)) = answer else {
                continue;
            };
            self.note(layer, number, rule, facts.slot());
            if !rule.ceiling {
                nearest = Some((layer, number));
            }
        }
        match nearest.and_then(|(layer, number)| self.known(layer, number)) {
            Some(baseline) => baseline.answer.counts = true,
            None => self.definition_counts = true,
        }
    }

    fn note(&mut self, layer: usize, number: u32, rule: &'p Rule, path: Option<u8>) {
        let candidate = Candidate {
            rule,
            answer: Answer {
                rule: number,
                tier: rule.tier,
                counts: rule.ceiling,
                path,
            },
        };
        if let Some(slot @ None) = self.first.get_mut(layer) {
            *slot = Some(candidate);
        } else if self.known(layer, number).is_none() {
            self.more.push((layer, candidate));
        }
    }

    fn known(&mut self, layer: usize, number: u32) -> Option<&mut Candidate<'p>> {
        let first = self.first.get_mut(layer).and_then(Option::as_mut);
        let more = self.more.iter_mut().filter(|(at, _)| *at == layer);
        first
            .into_iter()
            .chain(more.map(|(_, candidate)| candidate))
            .find(|candidate| candidate.answer.rule == number)
    }

    /// The most restrictive of what counts.
    fn strictest(&self, definition: Option<Tier>) -> Tier {
        let more = self.more.iter().map(|(_, candidate)| candidate);
        let counted = self
            .first
            .iter()
            .flatten()
            .chain(more)
            .filter(|candidate| candidate.answer.counts)
            .map(|candidate| candidate.answer.tier);
        counted.chain(definition).max().unwrap_or(Tier::Blocked)
    }

    /// One answer of each layer: of several the most restrictive that counts, of equal ones the first.
    fn told(self) -> [Option<Candidate<'p>>; LAYERS] {
        let weight = |candidate: &Candidate<'_>| (candidate.answer.counts, candidate.answer.tier);
        let mut told = self.first;
        for (layer, candidate) in self.more {
            if let Some(Some(kept)) = told.get_mut(layer)
                && weight(kept) < weight(&candidate)
            {
                *kept = candidate;
            }
        }
        told
    }
}

/// The rate limits of one decision.
struct Limits<'a, 'q> {
    query: &'a Query<'q>,
    rates: &'a RateCounters,
    counting: Counting,
    rate: Option<RateUse>,
    refusal: Option<RateRefusal>,
}

impl Limits<'_, '_> {
    /// Asks every limit that takes part. Either all of them count the call or none does.
    fn apply(&mut self, found: &mut Found<'_>) {
        let mut taken: SmallVec<[&Rate; LAYERS]> = SmallVec::new();
        let mut blocked = false;
        let more = found.more.iter_mut().map(|(_, candidate)| candidate);
        for candidate in found.first.iter_mut().flatten().chain(more) {
            let answer = &mut candidate.answer;
            let Some(rate) = candidate.rule.rate.as_ref().filter(|_| answer.counts) else {
                continue;
            };
            // The rules of one entry share its limit: a call counts once, whichever of them it meets.
            if taken.iter().any(|known| known.key == rate.key) {
                continue;
            }
            let (principal, now) = (self.query.principal, self.query.now);
            let found = match self.counting.takes(rate) {
                true => self.rates.take(rate, principal, now),
                false => self.rates.peek(rate, principal, now),
            };
            self.note(rate, found);
            if found.admitted {
                taken.push(rate);
                continue;
            }
            match rate.on_exceed {
                Some(tier) => {
                    answer.tier = answer.tier.max(tier);
                    blocked |= answer.tier == Tier::Blocked;
                }
                None => self.refuse(rate, found),
            }
        }
        if blocked || self.refusal.is_some() {
            taken
                .iter()
                .filter(|rate| self.counting.takes(rate))
                .for_each(|rate| self.rates.give_back(rate, self.query.principal));
        }
    }

    /// Keeps the limit with the least left, which is the one worth showing.
    fn note(&mut self, rate: &Rate, found: Use) {
        let left = |used: u32, max: u32| max.saturating_sub(used);
        let tighter = self
            .rate
            .is_none_or(|kept| left(found.used, rate.max) < left(kept.used, kept.max));
        if tighter {
            self.rate = Some(RateUse {
                used: found.used,
                max: rate.max,
                window: seconds(rate),
            });
        }
    }

    /// Keeps the refusal that lasts longest.
    fn refuse(&mut self, rate: &Rate, found: Use) {
        if self
            .refusal
            .is_none_or(|kept| kept.retry_after_seconds < found.retry_after)
        {
            self.refusal = Some(RateRefusal {
                used: found.used,
                max: rate.max,
                window_seconds: seconds(rate),
                retry_after_seconds: found.retry_after,
            });
        }
    }
}

fn seconds(rate: &Rate) -> u64 {
    u64::try_from(rate.window_ms / 1_000).unwrap_or(0)
}
