use crate::Definition;
use kruxos_types::{CallError, Object};
use serde_json::Value;

impl Definition {
    /// Checks a call's arguments against the definition and fills in defaults.
    ///
    /// # Errors
    /// `InvalidInput` that names the field (JSON-pointer-like, `edits[2].path`), the reason and what
    /// was expected. Unknown fields are refused with the nearest name.
    pub fn admit(&self, _arguments: Value) -> Result<Object, CallError> {
        todo!()
    }

    /// Checks a handler's result. `Err` names the first field that breaks the definition.
    ///
    /// # Errors
    /// `Internal` with the field as its internal cause.
    pub fn check_output(&self, _output: &Value) -> Result<(), CallError> {
        todo!()
    }
}
