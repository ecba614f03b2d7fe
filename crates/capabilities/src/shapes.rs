//! From admitted arguments to a handler's own types, and from what it found to its answer.

use kruxos_types::{CallError, Object};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The handler's own type for arguments that admission has already checked. What it missed is still an
/// error and not a guess.
pub(crate) fn arguments<T: DeserializeOwned>(inputs: Object) -> Result<T, CallError> {
    serde_json::from_value(Value::Object(inputs)).map_err(|error| {
        CallError::invalid_input(
            "arguments",
            &error.to_string(),
            "the arguments of the definition",
        )
    })
}

/// An object of these fields. Unlike `json!`, which serialises what it is given, this moves it: the
/// content of a file or a thousand matches are not copied once more.
pub(crate) fn object<const FIELDS: usize>(fields: [(&str, Value); FIELDS]) -> Value {
    Value::Object(
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}
