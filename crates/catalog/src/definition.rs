use crate::shape::Shape;
use kruxos_types::{ErrorType, Object, RecoveryAction, Tier};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A capability's position in the catalogue: what rules are compiled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CapabilityId(pub(crate) u16);

impl CapabilityId {
    /// The position.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Whether a capability can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Listed and callable.
    Available,
    /// Defined, neither listed nor callable.
    Planned,
}

/// Where a capability runs (spec/sandbox.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// In the gateway: pure or gateway-owned data.
    InProcess,
    /// With the agent's files or programs.
    Worker,
    /// Through the egress client.
    Egress,
}

/// What a capability changes, which decides how durable its audit entries are before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SideEffect {
    /// Nothing.
    None,
    /// Something on this machine.
    Local,
    /// Something outside.
    External,
}

/// The four hints of MCP tools, set honestly for each capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Annotations {
    pub read_only: bool,
    pub destructive: bool,
    pub idempotent: bool,
    pub open_world: bool,
}

/// The types of spec/capabilities.json.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum FieldType {
    String,
    Integer,
    Float,
    Boolean,
    Object,
    Array,
    FilesystemPath,
    GlobPattern,
    #[serde(rename = "URL")]
    Url,
    DateTime,
    #[serde(rename = "SHA256")]
    Sha256,
    AgentId,
    SessionId,
    CronExpression,
    Signal,
}

impl FieldType {
    /// The name in the definitions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            FieldType::String => "String",
            FieldType::Integer => "Integer",
            FieldType::Float => "Float",
            FieldType::Boolean => "Boolean",
            FieldType::Object => "Object",
            FieldType::Array => "Array",
            FieldType::FilesystemPath => "FilesystemPath",
            FieldType::GlobPattern => "GlobPattern",
            FieldType::Url => "URL",
            FieldType::DateTime => "DateTime",
            FieldType::Sha256 => "SHA256",
            FieldType::AgentId => "AgentId",
            FieldType::SessionId => "SessionId",
            FieldType::CronExpression => "CronExpression",
            FieldType::Signal => "Signal",
        }
    }
}

/// A worked example: arguments that pass admission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// What it does, in a few words.
    pub title: String,
    /// The arguments.
    pub inputs: Object,
}

/// An input or output of a capability.
#[derive(Debug, Clone)]
pub struct Field {
    /// The JSON key.
    pub name: String,
    /// Its type.
    pub kind: FieldType,
    /// Whether it must be there.
    pub required: bool,
    /// Whether it may be `null`.
    pub nullable: bool,
    /// Whether it holds what somebody wrote, stored or received (the text of a file or a message, the
    /// body of a request, a stored value, a program's output) rather than facts about it.
    pub content: bool,
    /// What is used when it is not.
    pub default: Option<Value>,
    /// For the model and the documentation.
    pub description: String,
    /// The JSON Schema of this one value.
    pub schema: Value,
}

/// An error that a capability may return, with its own way out.
#[derive(Debug, Clone)]
pub struct DeclaredError {
    /// Which.
    pub error: ErrorType,
    /// The recovery actions of this capability for it.
    pub recovery: Vec<RecoveryAction>,
}

/// Everything known of one capability.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Position in the catalogue.
    pub id: CapabilityId,
    /// Dotted name, such as `filesystem.read`.
    pub name: &'static str,
    /// The part before the first dot: `state.persistent.get` has category `state`.
    pub category: &'static str,
    /// The name as an MCP tool: dots become `__`.
    pub tool_name: String,
    /// Version of the definition.
    pub version: String,
    /// Whether it can be called.
    pub status: Status,
    /// The definition's own tier, the outermost baseline.
    pub tier: Tier,
    /// What it does, one or two sentences.
    pub purpose: String,
    /// When a model should choose it, and when something else.
    pub when_to_use: String,
    /// The whole text for `tools/list`: purpose, when to use, patterns. Under 4,096 characters.
    pub description: String,
    /// Worked examples; their inputs pass admission.
    pub patterns: Vec<Example>,
    /// MCP hints.
    pub annotations: Annotations,
    /// What it changes, in a sentence.
    pub side_effects: String,
    /// What it changes, as a class.
    pub side_effect: SideEffect,
    /// Where it runs.
    pub executor: Executor,
    /// Inputs in the order of the definition.
    pub inputs: Vec<Field>,
    /// Outputs in the order of the definition.
    pub outputs: Vec<Field>,
    /// Errors it may return besides the common ones.
    pub errors: Vec<DeclaredError>,
    /// Free tags.
    pub tags: Vec<String>,
    /// JSON Schema (2020-12) of the arguments: plain object, `additionalProperties: false`.
    pub input_schema: Value,
    /// JSON Schema of the result.
    pub output_schema: Value,
    pub(crate) input_shape: Shape,
    pub(crate) output_shape: Shape,
}

impl Definition {
    /// Whether the capability may return this error: it declares it, or every capability may.
    #[must_use]
    pub fn declares(&self, error: ErrorType) -> bool {
        error.spec().common || self.recovery_for(error).is_some()
    }

    /// Whether an input of this name holds content: see [`Field::content`].
    #[must_use]
    pub fn is_content_input(&self, name: &str) -> bool {
        is_content(&self.inputs, name)
    }

    /// Whether an output of this name holds content: see [`Field::content`].
    #[must_use]
    pub fn is_content_output(&self, name: &str) -> bool {
        is_content(&self.outputs, name)
    }

    /// The capability's own recovery actions for an error that it declares.
    #[must_use]
    pub fn recovery_for(&self, error: ErrorType) -> Option<&[RecoveryAction]> {
        let declared = self
            .errors
            .iter()
            .find(|declared| declared.error == error)?;
        Some(&declared.recovery)
    }
}

fn is_content(fields: &[Field], name: &str) -> bool {
    fields
        .iter()
        .any(|field| field.content && field.name == name)
}
