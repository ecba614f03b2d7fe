//! Policy as a pure function: compiled rules, a call's facts, rate counters and the time in; a tier
//! with its explanation out. No I/O, no clock, no model.
//!
//! The way of a file: `yaml` (text → tree with places) → `syntax` (tree → rules, every problem with
//! its line) → `compile` (rules → one flat first-match list for each capability and layer) →
//! `decide` (lists → verdict) and `explain` (the same, in words). What decides between layers is in
//! `decide`; what one condition means is in `condition`.

mod builtin;
mod command;
mod compile;
mod condition;
mod decide;
mod diagnostic;
pub mod diff;
mod examples;
mod explain;
mod facts;
mod index;
mod load;
mod pattern;
mod rate;
mod schema;
mod sections;
mod shadow;
pub mod simulate;
mod syntax;
mod template;
pub mod testing;
mod url;
mod validate;
mod yaml;

pub use decide::{Reasons, Verdict};
pub use diagnostic::{Diagnostic, render_diagnostic};
pub use explain::{AuditDecision, AuditLayer, Explanation, LayerAnswer, RateUse};
pub use rate::{RateCounters, RateRefusal};
pub use schema::schema;
pub use sections::{HostRule, Network, NetworkPolicy, Sandbox, Seccomp};
pub use shadow::{ShadowAnswer, ShadowVerdict};
pub use template::{DEFAULT_TEMPLATE, TEMPLATES, template_text};
pub use validate::{layer_of, validate, validate_among, validate_as};

use compile::Table;
use jiff::Timestamp;
use kruxos_catalog::Definition;
use kruxos_types::{Interface, Object, Principal};
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

/// One policy file as text, with the name that messages and explanations show.
#[derive(Debug, Clone)]
pub struct Source {
    /// Shown in messages: a path below the data directory or `<inline>`.
    pub file: String,
    /// YAML.
    pub text: String,
}

impl Source {
    /// A file as it was read. Bytes that are not UTF-8 are refused with the place of the first one.
    ///
    /// # Errors
    /// The bytes are not UTF-8 or longer than a policy file may be.
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Source, Diagnostic> {
        yaml::text_of(file, bytes).map(|text| Source {
            file: file.to_owned(),
            text,
        })
    }
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
    /// Files that are nobody's own, by name: others may extend them, as they may each other.
    pub shared: BTreeMap<String, Source>,
    /// Template by agent's policy group (`personal-permissive`, …); the three shipped ones are known
    /// by name. An agent that is not here gets [`DEFAULT_TEMPLATE`]; an unknown template name gives
    /// a warning and the most restrictive template.
    pub groups: BTreeMap<String, String>,
    /// The gateway's data directory at its real path. Everything below it except the caller's own
    /// workspace (audit log, policy files, secrets, other agents' state) is then out of reach for
    /// path inputs and commands. `None` leaves that to the executor's own confinement.
    pub data_dir: Option<String>,
}

impl Sources {
    /// The file of this name, whoever's it is.
    pub(crate) fn named(&self, file: &str) -> Option<&Source> {
        [&self.system, &self.organisation, &self.user]
            .into_iter()
            .flatten()
            .chain(self.agents.values())
            .chain(self.shared.values())
            .find(|source| source.file == file)
    }
}

/// The layers, outermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum PolicyLayer {
    BuiltIn,
    System,
    Organisation,
    Template,
    Agent,
    User,
    Definition,
}

impl PolicyLayer {
    /// The name in explanations and in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            PolicyLayer::BuiltIn => "built_in",
            PolicyLayer::System => "system",
            PolicyLayer::Organisation => "organisation",
            PolicyLayer::Template => "template",
            PolicyLayer::Agent => "agent",
            PolicyLayer::User => "user",
            PolicyLayer::Definition => "definition",
        }
    }

    /// Whether this layer's rules are ceilings unless they say otherwise.
    #[must_use]
    pub const fn sets_ceilings(self) -> bool {
        matches!(
            self,
            PolicyLayer::BuiltIn | PolicyLayer::System | PolicyLayer::Organisation
        )
    }
}

/// Compiled rules of every layer. Immutable; one generation.
///
/// Built by `PolicySet::compile`; asked by `PolicySet::decide` and `PolicySet::explain`.
#[derive(Debug)]
pub struct PolicySet {
    generation: u64,
    shapes: Vec<facts::Shape>,
    data_dir: Option<Box<str>>,
    built_in: Table,
    system: Option<Table>,
    organisation: Option<Table>,
    templates: BTreeMap<&'static str, Arc<Table>>,
    agents: HashMap<Box<str>, AgentLayers, BuildHasherDefault<index::Ready>>,
    user: Option<Table>,
    /// Files in shadow mode; nothing on the way of a decision when there are none.
    shadow: Option<Box<shadow::Shadow>>,
}

/// What an agent has of its own.
#[derive(Debug)]
struct AgentLayers {
    template: Arc<Table>,
    own: Option<Table>,
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
    /// Paths that the call changes and no input names; conditions see them like path inputs.
    pub touches: &'a [Touched],
}

/// A path that a call changes although none of its inputs names it: `filesystem.restore` writes where
/// the entry of the trash came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// What explanations call it, such as `restored_path`.
    pub name: &'static str,
    /// As an agent would write it: below the workspace or absolute.
    pub path: String,
}

impl PolicySet {
    /// Which generation this is.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}
