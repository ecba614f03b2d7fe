//! Files in `mode: shadow`: evaluated beside what is enforced and told where they would have decided
//! otherwise, with no say in anything.

use crate::compile::{Origin, Table};
use crate::decide::{LAYERS, Outcome};
use crate::index::Ready;
use crate::{PolicyLayer, PolicySet};
use kruxos_types::{Principal, PrincipalKind, Tier};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

/// The tables of files in shadow mode.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    system: Option<Table>,
    organisation: Option<Table>,
    user: Option<Table>,
    agents: HashMap<Box<str>, Table, BuildHasherDefault<Ready>>,
}

impl Shadow {
    /// Keeps a table; what is enforced in its place is nothing.
    pub(crate) fn add(&mut self, table: Table, agent: &str) -> Option<Table> {
        match table.layer {
            PolicyLayer::System => self.system = Some(table),
            PolicyLayer::Organisation => self.organisation = Some(table),
            PolicyLayer::User => self.user = Some(table),
            _ => drop(self.agents.insert(agent.into(), table)),
        }
        None
    }

    pub(crate) fn if_any(self) -> Option<Box<Shadow>> {
        let any = self.tables().next().is_some();
        any.then(|| Box::new(self))
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        let layers = [&self.system, &self.organisation, &self.user];
        layers.into_iter().flatten().chain(self.agents.values())
    }
}

impl PolicySet {
    /// A principal's layers as if the files in shadow mode were enforced; `None` when none of them is
    /// about this principal.
    pub(crate) fn shadow_tables(&self, principal: &Principal) -> Option<[Option<&Table>; LAYERS]> {
        let shadow = self.shadow.as_deref()?;
        let own = match principal.kind {
            PrincipalKind::System => return None,
            PrincipalKind::User => shadow.user.as_ref(),
            PrincipalKind::Agent => shadow.agents.get(&*principal.name),
        };
        let (system, organisation) = (shadow.system.as_ref(), shadow.organisation.as_ref());
        system.or(organisation).or(own)?;
        let [
            built_in,
            enforced_system,
            enforced_organisation,
            template,
            enforced_own,
        ] = self.tables(principal);
        Some([
            built_in,
            system.or(enforced_system),
            organisation.or(enforced_organisation),
            template,
            own.or(enforced_own),
        ])
    }
}

/// What would have been decided with the files in shadow mode in force.
#[derive(Debug, Clone)]
pub struct ShadowVerdict {
    tier: Tier,
    winner: PolicyLayer,
    rate_limited: bool,
    origin: Option<Arc<Origin>>,
}

/// What tells two of them apart, besides the rule's words: file, line and column of the winning rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ShadowKey {
    tier: Tier,
    winner: PolicyLayer,
    rate_limited: bool,
    place: Option<(u32, u32)>,
}

/// A [`ShadowVerdict`] in words, as explanations and audit entries have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct ShadowAnswer<'a> {
    pub tier: Tier,
    /// The layer that would have won.
    pub winner: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    /// A limit that names no other tier would have refused the call.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rate_limited: bool,
}

impl ShadowVerdict {
    /// The tier that would have won.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// The layer that would have won.
    #[must_use]
    pub fn winner(&self) -> PolicyLayer {
        self.winner
    }

    /// Whether a rate limit would have refused the call.
    #[must_use]
    pub fn rate_limited(&self) -> bool {
        self.rate_limited
    }

    pub(crate) fn key(&self) -> ShadowKey {
        let place = self.origin.as_ref().map(|origin| origin.place);
        ShadowKey {
            tier: self.tier,
            winner: self.winner,
            rate_limited: self.rate_limited,
            place: place.map(|place| (place.line, place.column)),
        }
    }

    pub(crate) fn told(&self) -> ShadowAnswer<'_> {
        let origin = self.origin.as_deref();
        let placed = origin.filter(|origin| !origin.file.is_empty());
        ShadowAnswer {
            tier: self.tier,
            winner: self.winner.as_str(),
            file: placed.map(|origin| Cow::Borrowed(&*origin.file)),
            line: placed.map(|origin| origin.place.line as usize),
            rule: origin.map(|origin| Cow::Borrowed(&*origin.name)),
            reason: origin.and_then(|origin| origin.reason.as_deref().map(Cow::Borrowed)),
            rate_limited: self.rate_limited,
        }
    }
}

impl ShadowAnswer<'_> {
    pub(crate) fn into_owned(self) -> ShadowAnswer<'static> {
        let owned = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        ShadowAnswer {
            tier: self.tier,
            winner: self.winner,
            file: owned(self.file),
            line: self.line,
            rule: owned(self.rule),
            reason: owned(self.reason),
            rate_limited: self.rate_limited,
        }
    }
}

impl Outcome {
    /// This outcome, of the tables with those in shadow mode, if it differs from what is enforced.
    pub(crate) fn unlike(self, enforced: &Outcome) -> Option<ShadowVerdict> {
        let rate_limited = self.refusal.is_some();
        let differs = self.verdict.tier() != enforced.verdict.tier()
            || rate_limited != enforced.refusal.is_some();
        differs.then(|| ShadowVerdict {
            tier: self.verdict.tier(),
            winner: self.verdict.winner(),
            rate_limited,
            origin: self.verdict.origin().cloned(),
        })
    }
}
