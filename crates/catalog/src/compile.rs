//! From a definition as written to the one that the gateway works with.

use crate::definition::{CapabilityId, DeclaredError, Definition, Field};
use crate::schema::{self, Side};
use crate::source::{ErrorSource, FieldSource, Source};
use kruxos_types::{ErrorType, RecoveryAction};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

/// Characters of a tool's description (spec/mcp.md: clients cut or refuse longer ones).
pub const MAX_DESCRIPTION_CHARS: usize = 4_095;
/// Characters of a tool's name (spec/mcp.md).
pub const MAX_TOOL_NAME_CHARS: usize = 40;

/// A source that cannot become a definition. The loader refuses such a file with the place; this is
/// what is left for a catalogue that did not come from the loader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{capability}: {problem}")]
pub struct BadSource {
    /// Which.
    pub capability: String,
    /// What is wrong.
    pub problem: String,
}

/// Makes a definition with this position.
pub(crate) fn definition(source: Source, id: CapabilityId) -> Result<Definition, BadSource> {
    let refuse = |problem: String| BadSource {
        capability: source.name.clone(),
        problem,
    };
    let input_shape =
        schema::record(&source.inputs, Side::Input).map_err(|error| refuse(error.to_string()))?;
    let output_shape =
        schema::record(&source.outputs, Side::Output).map_err(|error| refuse(error.to_string()))?;
    let errors = source
        .errors
        .iter()
        .map(|error| {
            declared(error).ok_or_else(|| refuse(format!("'{}' is not an error", error.error)))
        })
        .collect::<Result<_, _>>()?;
    let name = interned(&source.name);
    Ok(Definition {
        id,
        name,
        category: name.split('.').next().unwrap_or(name),
        tool_name: tool_name(name),
        description: description(&source),
        input_schema: schema::root(&source.inputs, Side::Input),
        output_schema: schema::root(&source.outputs, Side::Output),
        inputs: source
            .inputs
            .into_iter()
            .map(|field| compiled(field, Side::Input))
            .collect(),
        outputs: source
            .outputs
            .into_iter()
            .map(|field| compiled(field, Side::Output))
            .collect(),
        version: source.version,
        status: source.status,
        tier: source.tier,
        purpose: source.purpose,
        when_to_use: source.when_to_use,
        patterns: source.patterns,
        annotations: source.annotations,
        side_effects: source.side_effects,
        side_effect: source.side_effect,
        executor: source.executor,
        errors,
        tags: source.tags,
        input_shape,
        output_shape,
    })
}

fn compiled(field: FieldSource, side: Side) -> Field {
    Field {
        schema: schema::of_field(&field.spec),
        kind: field.spec.kind,
        required: schema::is_required(&field.spec, side),
        nullable: field.spec.nullable,
        content: field.spec.content,
        default: field.spec.default,
        description: field.spec.description,
        name: field.name,
    }
}

fn declared(source: &ErrorSource) -> Option<DeclaredError> {
    let error = ErrorType::from_code(&source.error)?;
    let recovery = source.recovery.iter().map(|action| RecoveryAction {
        action: Cow::Owned(action.action.clone()),
        description: Cow::Owned(action.description.clone()),
        capability: action.capability.clone().map(Cow::Owned),
        inputs: None,
    });
    Some(DeclaredError {
        error,
        recovery: recovery.collect(),
    })
}

/// The name as an MCP tool.
pub(crate) fn tool_name(name: &str) -> String {
    name.replace('.', "__")
}

/// The text for `tools/list`: what, when, and examples as a model would write them.
pub(crate) fn description(source: &Source) -> String {
    let mut text = format!("{}\n\n{}", source.purpose.trim(), source.when_to_use.trim());
    if !source.patterns.is_empty() {
        text.push_str("\n\nExamples:");
    }
    for example in &source.patterns {
        let inputs = serde_json::Value::Object(example.inputs.clone());
        // Writing to a String cannot fail.
        let _ = write!(text, "\n- {}: {inputs}", example.title.trim());
    }
    text
}

/// One copy of each name for the life of the program. Names are few and a reload repeats them, so
/// what is leaked is bounded by the distinct names ever loaded.
fn interned(name: &str) -> &'static str {
    static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_with(HashSet::new);
    if let Some(known) = names.get(name) {
        return known;
    }
    let leaked: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(leaked);
    leaked
}
