//! What decides between layers: the most restrictive of every ceiling that answers and of the
//! nearest baseline.

use crate::compile::{Origin, Rate, Rule, Table};
use crate::explain::RateUse;
use crate::facts::Facts;
use crate::rate::{RateCounters, RateRefusal, Use};
use crate::{DEFAULT_TEMPLATE, PolicyLayer, PolicySet, Query};
use kruxos_types::{Principal, PrincipalKind, Tier};
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
}

/// Everything that the explanation of a verdict depends on besides principal and capability: two
/// verdicts with equal reasons are told in the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reasons {
    tier: Tier,
    generation: u64,
    winner: PolicyLayer,
    answers: [Option<Answer>; LAYERS],
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
        let capability = query.definition.id.index();
        let tables = self.tables(query.principal);
        let mut answers: [Option<Answer>; LAYERS] = [None; LAYERS];
        let mut rules: [Option<&Rule>; LAYERS] = [None; LAYERS];
        if let Some(shape) = self.shapes.get(capability) {
            let facts = Facts::new(query, shape, self.data_dir.as_deref());
            let slots = tables.iter().zip(answers.iter_mut().zip(&mut rules));
            for (table, (answer, found)) in slots {
                if let Some((number, rule)) =
                    table.and_then(|table| table.answer(capability, &facts))
                {
                    *answer = Some(Answer {
                        rule: number,
                        tier: rule.tier,
                        counts: rule.ceiling,
                    });
                    *found = Some(rule);
                }
            }
        }
        let nearest = rules
            .iter()
            .rposition(|rule| rule.is_some_and(|rule| !rule.ceiling));
        if let Some(answer) = nearest
            .and_then(|layer| answers.get_mut(layer))
            .and_then(Option::as_mut)
        {
            answer.counts = true;
        }
        let definition = nearest.is_none().then_some(query.definition.tier);
        let tier = strictest(&answers, definition);
        let mut limits = Limits {
            query,
            rates,
            counting,
            rate: None,
            refusal: None,
        };
        if tier < Tier::Blocked {
            limits.apply(&mut answers, &rules);
        }
        let tier = strictest(&answers, definition);
        if tier == Tier::Blocked && limits.refusal.take().is_some() {
            limits.rate = None;
        }
        let winner = answers
            .iter()
            .position(|answer| answer.is_some_and(|answer| answer.counts && answer.tier == tier));
        let layer_of = |position: usize| {
            tables
                .get(position)
                .copied()
                .flatten()
                .map(|table| table.layer)
        };
        let verdict = Verdict {
            tier,
            generation: self.generation,
            winner: winner.and_then(layer_of).unwrap_or(PolicyLayer::Definition),
            answers,
            rate: limits.rate,
            origin: winner
                .and_then(|layer| rules.get(layer).copied().flatten())
                .map(|rule| rule.origin.clone()),
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

/// The most restrictive of what counts.
fn strictest(answers: &[Option<Answer>; LAYERS], definition: Option<Tier>) -> Tier {
    let counted = answers
        .iter()
        .flatten()
        .filter(|answer| answer.counts)
        .map(|answer| answer.tier);
    counted.chain(definition).max().unwrap_or(Tier::Blocked)
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
    fn apply(&mut self, answers: &mut [Option<Answer>; LAYERS], rules: &[Option<&Rule>; LAYERS]) {
        let mut taken: [Option<&Rate>; LAYERS] = [None; LAYERS];
        let mut blocked = false;
        for ((answer, rule), taken) in answers.iter_mut().zip(rules).zip(&mut taken) {
            let (Some(answer), Some(rate)) =
                (answer.as_mut(), rule.and_then(|rule| rule.rate.as_ref()))
            else {
                continue;
            };
            if !answer.counts {
                continue;
            }
            let (principal, now) = (self.query.principal, self.query.now);
            let found = match self.counting {
                Counting::Take => self.rates.take(rate, principal, now),
                Counting::Peek => self.rates.peek(rate, principal, now),
            };
            self.note(rate, found);
            if found.admitted {
                *taken = Some(rate);
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
        if self.counting == Counting::Take && (blocked || self.refusal.is_some()) {
            taken
                .iter()
                .flatten()
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
