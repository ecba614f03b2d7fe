//! YAML text to the raw form of a definition file, with the place of everything that a rule may
//! complain about.

use crate::definition::{Annotations, Example, Executor, SideEffect, Status};
use crate::source::{FieldSpec, RecoverySource};
use kruxos_types::Tier;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Budget, MergeKeyPolicy, Options, Spanned};
use std::fmt;
use std::marker::PhantomData;

/// Bytes of one definition file: ten times the largest of ours.
pub const MAX_FILE_BYTES: usize = 512 * 1024;
/// Nesting that no definition comes near.
const MAX_DEPTH: usize = 32;
/// YAML anchors and their uses: enough to share a recovery action, too few to blow a file up.
const MAX_ALIASES: usize = 256;
/// Nodes that aliases may add.
const MAX_REPLAYED: usize = 20_000;
/// Nodes of one file: ten times the largest of ours.
const MAX_NODES: usize = 100_000;

/// Where something stands; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl Place {
    pub(crate) const START: Place = Place { line: 1, column: 1 };

    pub(crate) fn of<T>(spanned: &Spanned<T>) -> Place {
        Place::at(spanned.referenced)
    }

    fn at(location: serde_saphyr::Location) -> Place {
        Place {
            line: location.line().max(1),
            column: location.column().max(1),
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFile {
    pub(crate) category: Spanned<String>,
    pub(crate) capabilities: Ordered<RawCapability>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCapability {
    pub(crate) version: Spanned<String>,
    pub(crate) status: Status,
    pub(crate) tier: Spanned<Tier>,
    pub(crate) executor: Executor,
    pub(crate) side_effect: SideEffect,
    pub(crate) annotations: Spanned<Annotations>,
    pub(crate) purpose: Spanned<String>,
    pub(crate) when_to_use: Spanned<String>,
    pub(crate) patterns: Vec<Spanned<Example>>,
    pub(crate) side_effects: Spanned<String>,
    pub(crate) inputs: Ordered<FieldSpec>,
    pub(crate) outputs: Ordered<FieldSpec>,
    pub(crate) errors: Ordered<Vec<Spanned<RecoverySource>>>,
    pub(crate) tags: Vec<Spanned<String>>,
}

/// A mapping in the order of the file.
pub(crate) struct Ordered<V>(pub(crate) Vec<(Spanned<String>, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Ordered<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OrderedVisitor(PhantomData))
    }
}

struct OrderedVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for OrderedVisitor<V> {
    type Value = Ordered<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Ordered<V>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = access.next_entry()? {
            pairs.push(pair);
        }
        Ok(Ordered(pairs))
    }
}

/// Why a text is no definition file.
pub(crate) struct Unreadable {
    pub(crate) place: Place,
    pub(crate) message: String,
}

/// Parses bytes within the limits above. Unknown keys, keys that are there twice and wrong types are
/// refused with their place.
pub(crate) fn parse(bytes: &[u8]) -> Result<RawFile, Unreadable> {
    let refuse = |place, message: String| Err(Unreadable { place, message });
    if bytes.len() > MAX_FILE_BYTES {
        let message = format!(
            "the file has {} bytes; at most {MAX_FILE_BYTES} are read",
            bytes.len()
        );
        return refuse(Place::START, message);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64;
            return refuse(
                Place { line, column: 1 },
                "the file is not UTF-8".to_owned(),
            );
        }
    };
    serde_saphyr::from_str_with_options(text, options()).or_else(|error| {
        let place = error.location().map_or(Place::START, Place::at);
        refuse(place, message(&error))
    })
}

fn options() -> Options {
    let mut budget = Budget::default();
    budget.max_depth = MAX_DEPTH;
    budget.flow_nesting_limit = MAX_DEPTH;
    budget.max_aliases = MAX_ALIASES;
    budget.max_anchors = MAX_ALIASES;
    budget.max_nodes = MAX_NODES;
    budget.max_events = MAX_NODES * 2;
    budget.max_documents = 1;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.alias_limits.max_total_replayed_events = MAX_REPLAYED;
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    options.merge_keys = MergeKeyPolicy::Error;
    options.strict_booleans = true;
    options.with_snippet = false;
    options
}

/// The parser's message without the place, which stands before it, and without advice about the
/// parser's own options.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    let text = text.split(" at line ").next().unwrap_or_default();
    text.split(", set DuplicateKeyPolicy")
        .next()
        .unwrap_or_default()
        .to_owned()
}
