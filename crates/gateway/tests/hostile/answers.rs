//! What an answer must look like, whatever was asked.

use serde_json::Value;
use std::path::Path;

/// Marks of Rust's debug output and of system errors as Rust prints them.
const DEBUG_MARKS: &[&str] = &[
    "Some(",
    "None)",
    "Ok(",
    "Err(",
    "CallError {",
    "Error {",
    "Os {",
    "Object {",
    "String(\"",
    "Number(",
    "panicked",
    "os error",
    "src/",
    ".rs:",
];

/// What became of a call.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was carried out.
    Done,
    /// A structured error.
    Refused(Value),
    /// The message itself was at fault.
    Fault(Value),
}

/// Reads the answer of `/rpc`.
pub(crate) fn from_rpc(answer: Value) -> Outcome {
    match answer.get("error") {
        None => Outcome::Done,
        Some(error) if error["data"]["error_type"].is_string() => {
            Outcome::Refused(error["data"].clone())
        }
        Some(error) => Outcome::Fault(error.clone()),
    }
}

/// Reads the answer of `/mcp`: the facts must be the same in text and structure.
pub(crate) fn from_mcp(answer: Value) -> Outcome {
    if let Some(error) = answer.get("error") {
        return match error["data"]["error_type"].is_string() {
            true => Outcome::Refused(error["data"].clone()),
            false => Outcome::Fault(error.clone()),
        };
    }
    let result = &answer["result"];
    let facts = result["structuredContent"].clone();
    let text = result["content"][0]["text"].as_str().expect("text");
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), facts);
    match result["isError"].as_bool() {
        Some(true) => Outcome::Refused(facts),
        _ => Outcome::Done,
    }
}

/// The body of an answer as one JSON message, whether alone or as an event.
pub(crate) fn message(body: &[u8]) -> Value {
    let text = std::str::from_utf8(body).unwrap();
    let json = match text.starts_with('{') {
        true => text,
        false => text
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("data:"))
            .unwrap_or_else(|| panic!("no message in {text:?}")),
    };
    serde_json::from_str(json).unwrap()
}

/// Every key of the shape, words for a person, no debug output, nothing of the data directory but the
/// workspace.
pub(crate) fn assert_structured(error: &Value, data_dir: &Path, workspace: &Path, what: &str) {
    for key in ["error_type", "description", "agent_description"] {
        let text = error[key].as_str().unwrap_or_default();
        assert!(!text.trim().is_empty(), "{what}: no {key} in {error}");
        for mark in DEBUG_MARKS {
            assert!(!text.contains(mark), "{what}: {mark} in {key}: {text}");
        }
    }
    assert!(error["retryable"].is_boolean(), "{what}: {error}");
    assert!(error["context"].is_object(), "{what}: {error}");
    let recovery = error["recovery_actions"].as_array().expect("actions");
    for action in recovery {
        assert!(action["action"].is_string(), "{what}: {error}");
        assert!(action["description"].is_string(), "{what}: {error}");
    }
    let all = error
        .to_string()
        .replace(workspace.to_str().unwrap(), "/workspace");
    assert!(
        !all.contains(data_dir.to_str().unwrap()),
        "{what}: the data directory in {error}"
    );
    assert_ne!(error["error_type"], "Internal", "{what}: {error}");
}

/// A JSON-RPC error with a code and a sentence.
pub(crate) fn assert_fault(error: &Value, what: &str) {
    assert!(error["code"].is_i64(), "{what}: {error}");
    let text = error["message"].as_str().unwrap_or_default();
    assert!(!text.is_empty(), "{what}: {error}");
    for mark in DEBUG_MARKS {
        assert!(!text.contains(mark), "{what}: {mark} in {text}");
    }
    assert_ne!(error["code"], -32603, "{what}: {error}");
}

/// The error is about this argument or something inside it.
pub(crate) fn assert_names(error: &Value, field: &str, what: &str) {
    assert_eq!(error["error_type"], "InvalidInput", "{what}: {error}");
    let field = if field.is_empty() { "\"\"" } else { field };
    let named = error["context"]["field"].as_str().unwrap_or_default();
    let inside = named
        .strip_prefix(field)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    assert!(inside, "{what}: names {named:?} in {error}");
    assert!(
        error["description"].as_str().unwrap().contains(named),
        "{what}: {error}"
    );
}
