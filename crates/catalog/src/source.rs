//! A definition as it is written: what the YAML files hold, and the embedded catalogue in JSON.
//! Names of errors and patterns are plain text here; `rules` checks them.

use crate::definition::{Annotations, Example, Executor, FieldType, SideEffect, Status};
use kruxos_types::Tier;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One capability as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Dotted name.
    pub name: String,
    /// Version of the definition.
    pub version: String,
    /// Whether it can be called.
    pub status: Status,
    /// The definition's own tier.
    pub tier: Tier,
    /// Where it runs.
    pub executor: Executor,
    /// What it changes, as a class.
    pub side_effect: SideEffect,
    /// MCP hints.
    pub annotations: Annotations,
    /// What it does.
    pub purpose: String,
    /// When to choose it.
    pub when_to_use: String,
    /// Worked examples.
    pub patterns: Vec<Example>,
    /// What it changes, in a sentence.
    pub side_effects: String,
    /// In the order of the file.
    pub inputs: Vec<FieldSource>,
    /// In the order of the file.
    pub outputs: Vec<FieldSource>,
    /// In the order of the file.
    pub errors: Vec<ErrorSource>,
    /// Free tags.
    pub tags: Vec<String>,
}

/// An input or output as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldSource {
    /// The JSON key.
    pub name: String,
    /// Type and constraints.
    #[serde(rename = "is")]
    pub spec: FieldSpec,
}

/// Type, constraints and text of an input or output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldSpec {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// Inputs say whether they must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// Outputs that may be absent.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// May be `null`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nullable: bool,
    /// Any JSON value, in spite of the type's name.
    #[serde(default, skip_serializing_if = "is_false")]
    pub any: bool,
    /// Holds what somebody wrote, stored or received: the audit log keeps its size and SHA-256 only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub content: bool,
    /// Used when an input is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The only values allowed.
    #[serde(default, rename = "enum", skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<Value>>,
    /// Least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Value>,
    /// Greatest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<Value>,
    /// Least length of a text, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u64>,
    /// Greatest length of a text, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
    /// Least number of items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_items: Option<u64>,
    /// Greatest number of items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_items: Option<u64>,
    /// A regular expression that a text must match somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// More JSON Schema for objects and arrays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// For the model and the documentation.
    pub description: String,
}

/// A declared error as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorSource {
    /// The error's code.
    pub error: String,
    /// What the caller can do about it here.
    pub recovery: Vec<RecoverySource>,
}

/// A recovery action as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoverySource {
    /// The verb.
    pub action: String,
    /// What to do, in a sentence.
    pub description: String,
    /// The capability that does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}
