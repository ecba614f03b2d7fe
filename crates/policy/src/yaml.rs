//! Text to a tree whose every node knows its line and column.

use crate::diagnostic::{Diagnostic, Place, Problems};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Budget, Spanned};
use std::fmt;

/// Bytes of one policy file: about ten times what 10,000 ordinary rules take.
pub(crate) const MAX_FILE_BYTES: usize = 1 << 20;
/// Nesting that no valid policy file comes near.
const MAX_DEPTH: usize = 32;
/// Uses of YAML anchors: enough to share a list, too few to blow a file up.
const MAX_ALIASES: usize = 1_000;
/// Nodes that aliases may add.
const MAX_REPLAYED: usize = 50_000;
/// Nodes of one file; 20,000 rules of a dozen nodes each.
const MAX_NODES: usize = 400_000;

/// A YAML value.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Seq(Vec<At>),
    Map(Vec<(Key, At)>),
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct At {
    pub(crate) node: Node,
    pub(crate) place: Place,
}

/// A mapping's key and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) place: Place,
}

impl At {
    /// What the value is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.node {
            Node::Null => "nothing",
            Node::Bool(_) => "a boolean",
            Node::Int(_) | Node::Float(_) => "a number",
            Node::Str(_) => "a string",
            Node::Seq(_) => "a list",
            Node::Map(_) => "a mapping",
        }
    }

    /// The same value as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.node {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(*value),
            Node::Int(value) => Value::from(*value),
            Node::Float(value) => Value::from(*value),
            Node::Str(value) => Value::from(value.as_str()),
            Node::Seq(items) => items.iter().map(At::to_json).collect(),
            Node::Map(pairs) => Value::Object(
                pairs
                    .iter()
                    .map(|(key, value)| (key.name.clone(), value.to_json()))
                    .collect(),
            ),
        }
    }
}

/// Bytes as text, or where they stop being UTF-8.
pub(crate) fn text_of(file: &str, bytes: &[u8]) -> Result<String, Diagnostic> {
    let refuse = |line: usize, message: String| Diagnostic {
        file: file.to_owned(),
        line,
        column: 1,
        message,
        fatal: true,
    };
    if bytes.len() > MAX_FILE_BYTES {
        return Err(refuse(1, too_long(bytes.len())));
    }
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|error| {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
            refuse(
                line,
                format!("the file is not UTF-8 (byte {})", error.valid_up_to()),
            )
        })
}

fn too_long(bytes: usize) -> String {
    format!("the file has {bytes} bytes; a policy file may have {MAX_FILE_BYTES}")
}

/// Parses one document. Problems go to `problems`; `None` means that there was a fatal one.
pub(crate) fn parse(text: &str, problems: &mut Problems<'_>) -> Option<At> {
    if text.len() > MAX_FILE_BYTES {
        problems.fatal(Place::START, too_long(text.len()));
        return None;
    }
    let mut budget = Budget::default();
    budget.max_depth = MAX_DEPTH;
    budget.flow_nesting_limit = MAX_DEPTH;
    budget.max_aliases = MAX_ALIASES;
    budget.max_anchors = MAX_ALIASES;
    budget.max_nodes = MAX_NODES;
    budget.max_events = MAX_NODES * 2;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    options.alias_limits.max_total_replayed_events = MAX_REPLAYED;
    options.merge_keys = serde_saphyr::MergeKeyPolicy::Error;
    options.strict_booleans = true;
    // A tag that nobody reads would let a file mean something else to its author than to us.
    options.reject_unsupported_tags = true;
    options.reject_tagged_field_names = true;
    options.with_snippet = false;
    match serde_saphyr::from_str_with_options::<Spanned<Node>>(text, options) {
        Ok(root) => Some(root.into()),
        Err(error) => {
            let place = error.location().map_or(Place::START, place_of);
            problems.fatal(place, describe(&error));
            None
        }
    }
}

/// The parser's message without the place that the diagnostic has already, and without advice about
/// the parser's own options.
fn describe(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    let text = text
        .split(", set DuplicateKeyPolicy")
        .next()
        .unwrap_or_default();
    format!(
        "not valid YAML: {}",
        text.lines().next().unwrap_or_default()
    )
}

fn place_of(location: serde_saphyr::Location) -> Place {
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    Place {
        line: narrow(location.line()),
        column: narrow(location.column()),
    }
}

impl From<Spanned<Node>> for At {
    fn from(spanned: Spanned<Node>) -> At {
        At {
            node: spanned.value,
            place: place_of(spanned.referenced),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        i64::try_from(value)
            .map(Node::Int)
            .map_err(|_| E::custom("a number is too large"))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Str(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Spanned<Node>>()? {
            items.push(item.into());
        }
        Ok(Node::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, value)) = access.next_entry::<Spanned<String>, Spanned<Node>>()? {
            let place = place_of(key.referenced);
            pairs.push((
                Key {
                    name: key.value,
                    place,
                },
                value.into(),
            ));
        }
        Ok(Node::Map(pairs))
    }
}
