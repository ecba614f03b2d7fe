//! Policy as a pure function: compiled rules, a call's facts, rate counters and the time in; a tier
//! with its explanation out. No I/O, no clock, no model.

use jiff::Timestamp;
use kruxos_catalog::{Catalog, Definition};
use kruxos_types::{Interface, Object, Principal, Tier};
use serde::Serialize;
use std::collections::BTreeMap;

/// One policy file as text, with the name that messages and explanations show.
#[derive(Debug, Clone)]
pub struct Source {
    /// Shown in messages: a path below the data directory or `<inline>`.
    pub file: String,
    /// YAML.
    pub text: String,
}

/// The files of one generation of policy.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Sources {
    pub system: Option<Source>,
    pub organisation: Option<Source>,
    /// By agent name.
    pub agents: BTreeMap<String, Source>,
    pub user: Option<Source>,
    /// Template by agent's policy group (`personal-permissive`, …); the three shipped ones are known by name.
    pub groups: BTreeMap<String, String>,
}

/// A problem in a policy file, with its place.
#[derive(Debug, Clone, PartialEq, Serialize, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
#[allow(missing_docs)]
pub struct Diagnostic {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
    /// `true` stops the file from being used; `false` is a warning.
    pub fatal: bool,
}

/// Compiled rules of every layer. Immutable; one generation.
#[derive(Debug)]
pub struct PolicySet {
    generation: u64,
}

/// What a decision is about.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Query<'a> {
    pub principal: &'a Principal,
    pub definition: &'a Definition,
    /// Admitted inputs.
    pub inputs: &'a Object,
    pub interface: Interface,
    pub now: Timestamp,
    /// The agent's workspace at its real path; relative paths and `/workspace/…` are below it.
    pub workspace: &'a str,
}

/// The answer. Only [`PolicySet::decide`] makes one.
#[derive(Debug, Clone)]
pub struct Verdict {
    tier: Tier,
    generation: u64,
}

/// Sliding windows by (principal, rule). Shared by all decisions; survives restarts through
/// [`RateCounters::snapshot`].
#[derive(Debug, Default)]
pub struct RateCounters {}

/// A refusal by a rate limit that names no other tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct RateRefusal {
    pub used: u32,
    pub max: u32,
    pub window_seconds: u64,
    pub retry_after_seconds: u64,
}

/// A decision with its reasons: spec/policy.md, «Every decision explains itself».
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Explanation {
    pub tier: Tier,
    pub layers: Vec<LayerAnswer>,
    pub winner: String,
    pub rate: Option<RateUse>,
    pub generation: u64,
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
}

/// The state of the rate limit that a decision counted against.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs)]
pub struct RateUse {
    pub used: u32,
    pub max: u32,
    pub window: u64,
}

impl PolicySet {
    /// Compiles every layer. On fatal problems there is no set; warnings come beside it.
    ///
    /// # Errors
    /// Every fatal problem found, with file, line, column and the nearest valid name.
    pub fn compile(_sources: &Sources, _catalog: &Catalog, _generation: u64) -> Result<(PolicySet, Vec<Diagnostic>), Vec<Diagnostic>> {
        todo!()
    }

    /// Which generation this is.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Decides a call and counts it against the rate limits it matches. No allocation on the hit path.
    ///
    /// # Errors
    /// A rate limit is used up and names no more restrictive tier.
    pub fn decide(&self, _query: &Query<'_>, _rates: &RateCounters) -> Result<Verdict, RateRefusal> {
        todo!()
    }

    /// The same decision with its reasons, counting nothing.
    #[must_use]
    pub fn explain(&self, _query: &Query<'_>, _rates: &RateCounters) -> Explanation {
        todo!()
    }

    /// The tier a capability has for a principal before any input is known: `None` if every call would
    /// be blocked (so it is not listed), else the least restrictive tier a call could get.
    #[must_use]
    pub fn listed_tier(&self, _principal: &Principal, _definition: &Definition) -> Option<Tier> {
        todo!()
    }

    /// Rules that apply to a principal, for `agent.policy`: outermost layer first.
    #[must_use]
    pub fn rules_for(&self, _principal: &Principal) -> Vec<serde_json::Value> {
        todo!()
    }
}

impl Verdict {
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
}

impl RateCounters {
    /// All windows that still count, for storage.
    #[must_use]
    pub fn snapshot(&self, _now: Timestamp) -> serde_json::Value {
        todo!()
    }

    /// Restores what [`RateCounters::snapshot`] gave; entries that no longer parse are dropped.
    #[must_use]
    pub fn restore(_snapshot: &serde_json::Value, _now: Timestamp) -> RateCounters {
        todo!()
    }
}
