//! `k=v` on the command line as the inputs of a capability.

use crate::failure::Failure;
use serde_json::{Map, Value};
use std::path::Path;

/// A file given as `k=@file`: the default bound of a String input (10 MiB).
const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;

/// Inputs from `k=v` pairs over a JSON object. `schema` is the capability's input schema: a value
/// for a string field stays text, any other is JSON where it parses as such and text otherwise.
/// `k=@file` reads a file; `k=@@text` is text that starts with `@`.
pub(crate) fn build(
    pairs: &[String],
    json: Option<&str>,
    schema: &Value,
) -> Result<Map<String, Value>, Failure> {
    let mut inputs = match json {
        Some(text) => object(text)?,
        None => Map::new(),
    };
    for pair in pairs {
        let Some((key, text)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage(format!("'{pair}' is not KEY=VALUE")));
        };
        let text = match text.strip_prefix('@') {
            Some(literal) if literal.starts_with('@') => literal.to_owned(),
            Some(path) => read(Path::new(path))?,
            None => text.to_owned(),
        };
        inputs.insert(key.to_owned(), value(text, &schema["properties"][key]));
    }
    Ok(inputs)
}

fn object(text: &str) -> Result<Map<String, Value>, Failure> {
    let text = match text.strip_prefix('@') {
        Some(path) => read(Path::new(path))?,
        None => text.to_owned(),
    };
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("--input is not a JSON object: {error}")))
}

fn value(text: String, field: &Value) -> Value {
    if field["type"] == "string" {
        return Value::String(text);
    }
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

fn read(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let refuse = |error: std::io::Error| Failure::failed(format!("cannot read {shown}: {error}"));
    if std::fs::metadata(path).map_err(refuse)?.len() > MAX_FILE_BYTES {
        return Err(Failure::failed(format!(
            "{shown} is larger than {MAX_FILE_BYTES} bytes"
        )));
    }
    std::fs::read_to_string(path).map_err(refuse)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({"properties": {"path": {"type": "string"}, "limit": {"type": "integer"}}})
    }

    fn built(pairs: &[&str]) -> Value {
        let pairs: Vec<String> = pairs.iter().map(|&pair| pair.to_owned()).collect();
        Value::Object(build(&pairs, None, &schema()).unwrap())
    }

    #[test]
    fn values_follow_the_schema() {
        assert_eq!(
            built(&["path=12", "limit=12"]),
            json!({"path": "12", "limit": 12})
        );
        assert_eq!(
            built(&["path=a=b", "other=true"]),
            json!({"path": "a=b", "other": true})
        );
        assert_eq!(
            built(&["value={\"a\":[1]}", "x=not json"]),
            json!({"value": {"a": [1]}, "x": "not json"})
        );
        assert_eq!(built(&["path="]), json!({"path": ""}));
    }

    #[test]
    fn files_and_literal_at_signs() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        std::fs::write(&file, "{\"a\": 1}").unwrap();
        let at = format!("path=@{}", file.display());
        let as_json = format!("x=@{}", file.display());
        assert_eq!(
            built(&[&at, &as_json, "y=@@me"]),
            json!({"path": "{\"a\": 1}", "x": {"a": 1}, "y": "@me"})
        );
        let missing = build(&["a=@/nonexistent/file".to_owned()], None, &schema()).unwrap_err();
        assert!(missing.message.contains("/nonexistent/file"));
    }

    #[test]
    fn what_is_no_pair_or_no_object_is_a_usage_error() {
        for pairs in [["path"], ["=x"]] {
            let pairs: Vec<String> = pairs.iter().map(|&pair| pair.to_owned()).collect();
            assert_eq!(build(&pairs, None, &schema()).unwrap_err().exit as u8, 2);
        }
        assert_eq!(
            build(&[], Some("[1]"), &schema()).unwrap_err().exit as u8,
            2
        );
        let both = build(&["a=1".to_owned()], Some("{\"a\": 0, \"b\": 2}"), &schema()).unwrap();
        assert_eq!(Value::Object(both), json!({"a": 1, "b": 2}));
    }
}
