//! What the audit log keeps of results: shape and size, never content.

use kruxos_types::{CallError, Object};
use serde_json::{Value, json};

/// Strings up to this length are facts (a state, a checksum); longer ones are content.
const SHORT_BYTES: usize = 80;

/// A result's scalars, and the size of everything else.
pub(crate) fn of_output(output: &Value) -> Value {
    let Value::Object(fields) = output else {
        return Value::Null;
    };
    fields
        .iter()
        .map(|(name, value)| (name.clone(), of_field(name, value)))
        .collect::<Object>()
        .into()
}

fn of_field(name: &str, value: &Value) -> Value {
    // A short file is content too.
    match value {
        Value::String(text)
            if text.len() > SHORT_BYTES || matches!(name, "content" | "diff" | "body") =>
        {
            json!({ "bytes": text.len() })
        }
        Value::Array(items) => json!({ "items": items.len() }),
        Value::Object(fields) => json!({ "fields": fields.len() }),
        scalar => scalar.clone(),
    }
}

/// Which error it was and on what.
pub(crate) fn of_error(error: &CallError) -> Object {
    let mut facts = Object::new();
    facts.insert("error_type".to_owned(), json!(error.error_type().code()));
    facts.insert(
        "error_context".to_owned(),
        Value::Object(error.context().clone()),
    );
    if let Some(cause) = error.internal_cause() {
        facts.insert("cause".to_owned(), json!(cause));
    }
    facts
}
