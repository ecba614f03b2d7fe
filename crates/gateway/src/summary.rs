//! What the audit log keeps of a call's inputs and results. Their definition says which of them hold
//! content; of that, size and SHA-256 stay, in results always and in inputs unless
//! `audit.include_content`.

use crate::gateway::Gateway;
use kruxos_audit::content_summary;
use kruxos_catalog::Definition;
use kruxos_types::{CallError, Object};
use serde_json::{Value, json};

impl Gateway {
    /// [`of_inputs`] as this gateway is configured.
    pub(crate) fn recorded_inputs(&self, of: Option<&Definition>, inputs: &Object) -> Value {
        of_inputs(of, inputs, self.config.audit.include_content)
    }

    /// [`of_error`] as this gateway is configured.
    pub(crate) fn recorded_error(&self, of: Option<&Definition>, error: &CallError) -> Object {
        of_error(of, error, self.config.audit.include_content)
    }
}

/// Strings up to this length are facts (a state, a checksum); of longer ones the log keeps the length.
const SHORT_BYTES: usize = 80;

/// Inputs as they are recorded. Without a definition nobody knows what is content, so all of it is.
fn of_inputs(definition: Option<&Definition>, inputs: &Object, include_content: bool) -> Value {
    let recorded = inputs.iter().map(|(name, value)| {
        let content = definition.is_none_or(|known| known.is_content_input(name));
        let value = match content && !include_content {
            true => content_summary(value),
            false => value.clone(),
        };
        (name.clone(), value)
    });
    recorded.collect::<Object>().into()
}

/// A result's scalars, and the size of everything else.
pub(crate) fn of_output(definition: &Definition, output: &Value) -> Value {
    let Value::Object(fields) = output else {
        return Value::Null;
    };
    fields
        .iter()
        .map(|(name, value)| (name.clone(), of_field(definition, name, value)))
        .collect::<Object>()
        .into()
}

fn of_field(definition: &Definition, name: &str, value: &Value) -> Value {
    if definition.is_content_output(name) {
        return content_summary(value);
    }
    match value {
        Value::String(text) if text.len() > SHORT_BYTES => json!({ "bytes": text.len() }),
        Value::Array(items) => json!({ "items": items.len() }),
        Value::Object(fields) => json!({ "fields": fields.len() }),
        scalar => scalar.clone(),
    }
}

/// Which error it was and on what. Errors repeat inputs under their names, such as a pattern that is
/// none, and what is content there is content here.
fn of_error(definition: Option<&Definition>, error: &CallError, include_content: bool) -> Object {
    let context = error.context().iter().map(|(name, value)| {
        let content = definition.is_some_and(|known| known.is_content_input(name));
        let value = match content && !include_content {
            true => content_summary(value),
            false => value.clone(),
        };
        (name.clone(), value)
    });
    let mut facts = Object::new();
    facts.insert("error_type".to_owned(), json!(error.error_type().code()));
    facts.insert("error_context".to_owned(), Value::Object(context.collect()));
    if let Some(cause) = error.internal_cause() {
        facts.insert("cause".to_owned(), json!(cause));
    }
    facts
}
