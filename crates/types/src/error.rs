use crate::{ErrorType, Object};
use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// One thing the caller can do about an error.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecoveryAction {
    /// A short machine-readable verb, such as `check_scope`.
    pub action: Cow<'static, str>,
    /// What to do, in a sentence.
    pub description: Cow<'static, str>,
    /// The capability that does it, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<Cow<'static, str>>,
    /// Arguments for that capability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Object>,
}

/// The one error that leaves the gateway, on every interface:
/// `{error_type, description, agent_description, recovery_actions, retryable, retry_after?, context}`.
///
/// Texts come from the catalogue (`errors.yaml`) with the context filled in, so the same cause reads
/// the same everywhere. What only an operator may see goes to [`CallError::internal`] and is never
/// serialised.
#[derive(Clone)]
pub struct CallError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    error_type: ErrorType,
    detail: Option<String>,
    recovery: Option<Vec<RecoveryAction>>,
    retry_after: Option<u64>,
    context: Object,
    internal: Option<String>,
}

impl CallError {
    /// An error of the catalogue, with its own recovery actions and an empty context.
    #[must_use]
    pub fn new(error_type: ErrorType) -> Self {
        Self(Box::new(Inner {
            error_type,
            detail: None,
            recovery: None,
            retry_after: error_type.spec().retry_after,
            context: Object::new(),
            internal: None,
        }))
    }

    /// `InvalidInput` that names the field, what is wrong with it and what would be right.
    #[must_use]
    pub fn invalid_input(field: &str, reason: &str, expected: &str) -> Self {
        Self::new(ErrorType::InvalidInput)
            .with("field", field)
            .with("reason", reason)
            .with("expected", expected)
    }

    /// `Internal`: the caller gets a trace id, the log gets the cause.
    #[must_use]
    pub fn internal_failure(cause: impl fmt::Display) -> Self {
        let trace = crate::TraceId::random();
        Self::new(ErrorType::Internal)
            .with("trace_id", trace.as_str())
            .internal(cause)
    }

    /// Adds one fact to the context.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.context.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a sentence to both descriptions: what this case has beyond the catalogue's text.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Keeps a cause for the log. Never serialised.
    #[must_use]
    pub fn internal(mut self, cause: impl fmt::Display) -> Self {
        self.0.internal = Some(cause.to_string());
        self
    }

    /// Replaces the catalogue's recovery actions, for instance by those a definition declares.
    #[must_use]
    pub fn recover_by(mut self, recovery: Vec<RecoveryAction>) -> Self {
        self.0.recovery = Some(recovery);
        self
    }

    /// Says after how many seconds a retry makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Whether [`CallError::recover_by`] gave it recovery actions of its own.
    #[must_use]
    pub fn has_own_recovery(&self) -> bool {
        self.0.recovery.is_some()
    }

    /// Which error of the catalogue this is.
    #[must_use]
    pub fn error_type(&self) -> ErrorType {
        self.0.error_type
    }

    /// The facts of this case.
    #[must_use]
    pub fn context(&self) -> &Object {
        &self.0.context
    }

    /// The cause kept for the log.
    #[must_use]
    pub fn internal_cause(&self) -> Option<&str> {
        self.0.internal.as_deref()
    }

    /// Seconds after which a retry makes sense.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.0.retry_after
    }

    /// What happened, for the operator.
    #[must_use]
    pub fn description(&self) -> String {
        self.render(self.0.error_type.spec().description)
    }

    /// What happened and what to do next, for the model.
    #[must_use]
    pub fn agent_description(&self) -> String {
        self.render(self.0.error_type.spec().agent_description)
    }

    /// What the caller can do.
    #[must_use]
    pub fn recovery_actions(&self) -> Vec<RecoveryAction> {
        if let Some(recovery) = &self.0.recovery {
            return recovery.clone();
        }
        let from_spec = |spec: &crate::RecoverySpec| RecoveryAction {
            action: Cow::Borrowed(spec.action),
            description: Cow::Borrowed(spec.description),
            capability: spec.capability.map(Cow::Borrowed),
            inputs: None,
        };
        self.0
            .error_type
            .spec()
            .recovery
            .iter()
            .map(from_spec)
            .collect()
    }

    /// Reads back what [`CallError::to_json`] wrote, for a result that was stored. A code that this
    /// build does not know becomes `Internal`.
    #[must_use]
    pub fn from_json(json: &Value) -> Self {
        let known = json["error_type"].as_str().and_then(ErrorType::from_code);
        let Some(error_type) = known else {
            return Self::internal_failure("a stored error has an unknown type");
        };
        let mut error = Self::new(error_type);
        if let Value::Object(context) = &json["context"] {
            error.0.context = context.clone();
        }
        error.0.retry_after = json["retry_after"].as_u64();
        let description = error.description();
        let stored = json["description"].as_str().unwrap_or_default();
        error.0.detail = stored
            .strip_prefix(&description)
            .map(|rest| rest.trim().to_owned())
            .filter(|rest| !rest.is_empty());
        error
    }

    /// The structured error as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }

    /// Fills `{key}` from the context; a key that the context lacks is left out with its braces.
    fn render(&self, template: &str) -> String {
        let mut text = String::with_capacity(template.len() + 32);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let Some((key, tail)) = after.split_once('}') else {
                text.push('{');
                rest = after;
                continue;
            };
            match self.0.context.get(key) {
                Some(Value::String(value)) => text.push_str(value),
                Some(value) => text.push_str(&value.to_string()),
                None => {}
            }
            rest = tail;
        }
        text.push_str(rest);
        if let Some(detail) = &self.0.detail {
            text.push(' ');
            text.push_str(detail);
        }
        text
    }
}

impl Serialize for CallError {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("error_type", self.0.error_type.code())?;
        map.serialize_entry("description", &self.description())?;
        map.serialize_entry("agent_description", &self.agent_description())?;
        map.serialize_entry("recovery_actions", &self.recovery_actions())?;
        map.serialize_entry("retryable", &self.0.error_type.spec().retryable)?;
        if let Some(seconds) = self.0.retry_after {
            map.serialize_entry("retry_after", &seconds)?;
        }
        map.serialize_entry("context", &self.0.context)?;
        map.end()
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.error_type.code(), self.description())
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallError")
            .field("error_type", &self.0.error_type.code())
            .field("context", &self.0.context)
            .field("detail", &self.0.detail)
            .field("internal", &self.0.internal)
            .finish()
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serialises_to_the_documented_shape_and_hides_the_internal_cause() {
        let error = CallError::new(ErrorType::FileNotFound)
            .with("path", "/workspace/a")
            .internal("ENOENT on /secret/place");
        let json = error.to_json();
        assert_eq!(json["error_type"], "FileNotFound");
        assert_eq!(json["context"]["path"], "/workspace/a");
        assert!(json["recovery_actions"].is_array());
        assert!(json["retryable"].is_boolean());
        assert!(!json.to_string().contains("secret"));
    }

    #[test]
    fn a_lone_brace_in_a_template_survives() {
        let error = CallError::new(ErrorType::Internal);
        assert_eq!(error.render("a { b"), "a { b");
        assert_eq!(error.render("a {nothing} b"), "a  b");
    }
}
