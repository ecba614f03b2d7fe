//! Setting one key in the configuration file without losing its comments.
//!
//! The text is edited line by line, then parsed again: unless the result is exactly the old
//! document with that one key changed, the file is written anew from the document and the old text
//! kept beside it.

use crate::config::{Config, ConfigError};
use crate::gateway::Gateway;
use crate::layout::write_private;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Two writers at once would lose the change of one.
static WRITING: Mutex<()> = Mutex::new(());

/// Why a key could not be set.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetError {
    /// The value or the file as a whole is not valid.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// The file is not a YAML mapping of plain keys.
    #[error("{0} is not a configuration file: {1}")]
    Unreadable(String, String),
    /// The file system refused.
    #[error("cannot write {0}: {1}")]
    Io(String, std::io::Error),
}

/// The file that the gateway reads at its next start.
pub(super) fn path(gateway: &Gateway) -> PathBuf {
    let default = || gateway.layout.data_dir.join("config.yaml");
    gateway.config.file.clone().unwrap_or_else(default)
}

/// Sets `key`; answers the value as the configuration understands it and as it may be shown.
pub(super) fn set(file: &Path, key: &str, value: &Value) -> Result<Value, SetError> {
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let config = Config::default().with(key, &text, key)?;
    let normal = config.secret_value(key).unwrap_or(Value::Null);
    let shown = file.display().to_string();
    let old = match std::fs::read_to_string(file) {
        Ok(old) => old,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(SetError::Io(shown, error)),
    };
    let document =
        parse(&old).map_err(|why| SetError::Unreadable(shown.clone(), why.to_string()))?;
    let parts: Vec<&str> = key.split('.').collect();
    let wanted = with_key(document, &parts, &normal);
    let edited =
        edit(&old, &parts, &normal).filter(|new| parse(new).is_ok_and(|value| value == wanted));
    let rewritten = edited.is_none();
    let new = match edited {
        Some(new) => new,
        None => serde_saphyr::to_string(&wanted)
            .map_err(|error| SetError::Unreadable(shown.clone(), error.to_string()))?,
    };
    check(file, &new)?;
    let refuse = |error| SetError::Io(shown.clone(), error);
    if rewritten {
        write_private(&file.with_extension("yaml.bak"), old.as_bytes()).map_err(refuse)?;
    }
    write_private(file, new.as_bytes()).map_err(refuse)?;
    Ok(config.get(key).unwrap_or(Value::Null))
}

/// The whole file must load before it replaces the old one.
fn check(file: &Path, text: &str) -> Result<(), SetError> {
    let draft = file.with_extension("yaml.draft");
    let refuse = |error| SetError::Io(draft.display().to_string(), error);
    write_private(&draft, text.as_bytes()).map_err(refuse)?;
    let loaded = Config::load(Some(&draft), [], &[]);
    std::fs::remove_file(&draft).map_err(refuse)?;
    loaded.map(drop).map_err(SetError::from)
}

/// Why the file cannot be edited by key.
#[derive(Debug, thiserror::Error)]
enum Unparsed {
    #[error("{0}")]
    Yaml(#[from] serde_saphyr::Error),
    #[error("expected a mapping")]
    NoMapping,
}

fn parse(text: &str) -> Result<Value, Unparsed> {
    // A file of nothing but comments is an empty document.
    let blank = text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim().starts_with('#'));
    if blank {
        return Ok(Value::Object(Map::new()));
    }
    let parsed: Value = serde_saphyr::from_str(text)?;
    match parsed {
        Value::Object(_) => Ok(parsed),
        _ => Err(Unparsed::NoMapping),
    }
}

fn with_key(document: Value, parts: &[&str], value: &Value) -> Value {
    let Some((first, rest)) = parts.split_first() else {
        return value.clone();
    };
    let mut map = match document {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let inner = map.remove(*first).unwrap_or(Value::Null);
    map.insert((*first).to_owned(), with_key(inner, rest, value));
    Value::Object(map)
}

/// The text with one key of a block mapping set, or nothing where the text is not that plain.
fn edit(text: &str, parts: &[&str], value: &Value) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let (mut from, mut to, mut indent) = (0, lines.len(), 0);
    let (last, outer) = parts.split_last()?;
    for (depth, part) in outer.iter().enumerate() {
        let Some(at) = find(&lines, from, to, indent, part) else {
            let new = nested(parts.get(depth..)?, indent, value);
            return Some(joined(insert(lines, to, new)));
        };
        if !value_of(lines.get(at)?, part).is_empty() {
            return None;
        }
        to = end_of_block(&lines, at + 1, to, indent);
        from = at + 1;
        let first = lines.get(from..to)?.iter().find(|line| is_content(line));
        indent = first.map_or(indent + 2, |line| indent_of(line));
    }
    match find(&lines, from, to, indent, last) {
        Some(at) => {
            let end = end_of_block(&lines, at + 1, to, indent);
            lines.splice(at..end, nested(&[last], indent, value));
        }
        None => lines = insert(lines, to, nested(&[last], indent, value)),
    }
    Some(joined(lines))
}

/// After the last line with content before `to`, so that comments of the next block stay with it.
fn insert(mut lines: Vec<String>, to: usize, new: Vec<String>) -> Vec<String> {
    let before = lines.iter().take(to).rposition(|line| is_content(line));
    let at = before.map_or(to, |last| last + 1);
    lines.splice(at..at, new);
    lines
}

fn nested(parts: &[&str], indent: usize, value: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for (depth, part) in parts.iter().enumerate() {
        let pad = " ".repeat(indent + 2 * depth);
        let end = if depth + 1 == parts.len() {
            format!(" {value}")
        } else {
            String::new()
        };
        lines.push(format!("{pad}{part}:{end}"));
    }
    lines
}

fn joined(lines: Vec<String>) -> String {
    lines.into_iter().map(|line| line + "\n").collect()
}

fn find(lines: &[String], from: usize, to: usize, indent: usize, key: &str) -> Option<usize> {
    (from..to).find(|at| {
        lines.get(*at).is_some_and(|line| {
            is_content(line)
                && indent_of(line) == indent
                && line
                    .trim_start()
                    .strip_prefix(key)
                    .is_some_and(|rest| rest.starts_with(':'))
        })
    })
}

/// What follows `key:` on its line, without a comment.
fn value_of<'a>(line: &'a str, key: &str) -> &'a str {
    let rest = line
        .trim_start()
        .get(key.len() + 1..)
        .unwrap_or_default()
        .trim();
    if rest.starts_with('#') { "" } else { rest }
}

/// The first line from `from` on that no longer belongs to the entry above it.
fn end_of_block(lines: &[String], from: usize, to: usize, indent: usize) -> usize {
    let belongs = |line: &String| {
        indent_of(line) > indent
            || (indent_of(line) == indent && line.trim_start().starts_with("- "))
    };
    let mut end = from;
    for at in from..to {
        match lines.get(at) {
            Some(line) if !is_content(line) => {}
            Some(line) if belongs(line) => end = at + 1,
            _ => break,
        }
    }
    end
}

fn is_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    fn after(text: &str, key: &str, value: Value) -> String {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.yaml");
        std::fs::write(&file, text).unwrap();
        set(&file, key, &value).unwrap();
        let left: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .flatten()
            .collect();
        assert!(
            left.iter()
                .all(|entry| !entry.file_name().to_string_lossy().ends_with("draft"))
        );
        std::fs::read_to_string(&file).unwrap()
    }

    #[test]
    fn comments_and_order_stay() {
        let text = "# mine\nserver:\n  # the port\n  port: 1 # old\n  host: 127.0.0.1\n\n# logs\nlog:\n  filter: info\n";
        let new = after(text, "server.port", json!(7));
        assert_eq!(new, text.replace("port: 1 # old", "port: 7"));
        let new = after(text, "server.health_port", json!(8));
        assert_eq!(
            new,
            text.replace(
                "  host: 127.0.0.1\n",
                "  host: 127.0.0.1\n  health_port: 8\n"
            )
        );
        let new = after(text, "approval.hold_seconds", json!(3));
        assert!(
            new.starts_with(text) && new.ends_with("approval:\n  hold_seconds: 3\n"),
            "{new}"
        );
    }

    #[test]
    fn a_block_list_is_replaced_whole() {
        let text = "server:\n  allowed_origins:\n    - https://a\n    - https://b\n  port: 1\n";
        let new = after(text, "server.allowed_origins", json!(["https://c"]));
        assert_eq!(
            new,
            "server:\n  allowed_origins: [\"https://c\"]\n  port: 1\n"
        );
    }

    #[test]
    fn a_flow_mapping_is_written_anew_with_every_other_key() {
        let new = after(
            "server: {port: 1, health_port: 2}\n",
            "server.port",
            json!(9),
        );
        let document = parse(&new).unwrap();
        assert_eq!(document, json!({"server": {"port": 9, "health_port": 2}}));
    }

    #[test]
    fn a_secret_is_written_and_not_answered() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.yaml");
        let hooks = json!([{"url": "https://h.example/x", "secret": "s3cr3t"}]);
        let answered = set(&file, "approval.webhooks", &hooks).unwrap();
        assert!(!answered.to_string().contains("s3cr3t"), "{answered}");
        set(&file, "server.port", &json!(1)).unwrap();
        let config = Config::load(Some(&file), [], &[]).unwrap();
        assert_eq!(config.approval.webhooks[0].secret.bytes(), b"s3cr3t");
    }

    #[test]
    fn an_invalid_value_leaves_the_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.yaml");
        std::fs::write(&file, "server:\n  port: 1\n").unwrap();
        assert!(set(&file, "server.port", &json!(70000)).is_err());
        assert!(set(&file, "server.prot", &json!(1)).is_err());
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "server:\n  port: 1\n"
        );
        assert_eq!(
            set(&file, "log.filter", &json!("true")).unwrap(),
            json!("true")
        );
    }
}
