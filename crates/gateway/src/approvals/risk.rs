//! What makes a held call worth a second look, in plain words, from its definition and exact inputs.

use kruxos_catalog::{Definition, FieldType};
use kruxos_types::Object;
use serde_json::Value;

/// Programs that run text as a program: what they do is in their arguments.
const INTERPRETERS: [&str; 14] = [
    "sh", "bash", "dash", "zsh", "fish", "python", "python3", "perl", "ruby", "node", "php", "lua",
    "awk", "env",
];
/// Depth to which inputs are looked through; admission allows no more.
const MAX_DEPTH: usize = 64;

/// Notes for who decides, the gravest first.
pub(super) fn notes(definition: &Definition, inputs: &Object) -> Vec<String> {
    let mut notes = Vec::new();
    if definition.annotations.destructive {
        notes.push("can destroy data".to_owned());
    }
    if inputs.get("recursive") == Some(&Value::Bool(true)) {
        notes.push("takes whole directories".to_owned());
    }
    if let Some(program) = interpreter(inputs) {
        notes.push(format!(
            "runs whatever is written in the arguments of {program}"
        ));
    }
    for field in &definition.inputs {
        let path = inputs.get(&*field.name).and_then(Value::as_str);
        if let Some(path) = path.filter(|_| field.kind == FieldType::FilesystemPath) {
            notes.extend(about_path(path, definition.annotations.read_only));
        }
    }
    if definition.annotations.open_world {
        notes.push("reaches outside this machine".to_owned());
    }
    if inputs.values().any(|value| hides(value, MAX_DEPTH)) {
        notes.push(
            "holds control, bidirectional or zero-width characters; they are shown as \\u{…}"
                .to_owned(),
        );
    }
    notes.dedup();
    notes
}

/// The program of a command that is an interpreter, and is given something to interpret.
fn interpreter(inputs: &Object) -> Option<&str> {
    let command = inputs.get("command").and_then(Value::as_str)?;
    let name = command.rsplit('/').next().unwrap_or(command);
    let has_arguments = inputs
        .get("args")
        .and_then(Value::as_array)
        .is_some_and(|args| !args.is_empty());
    let has_input = inputs.get("stdin").is_some_and(|stdin| !stdin.is_null());
    (INTERPRETERS.contains(&name) && (has_arguments || has_input)).then_some(name)
}

fn about_path(path: &str, read_only: bool) -> Option<String> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    if path.starts_with("/mnt/") {
        let label = parts.nth(1).unwrap_or_default();
        let does = if read_only { "reads" } else { "changes" };
        return Some(format!(
            "{does} a directory of the host, mounted as /mnt/{label}"
        ));
    }
    let executed_later = |part: &str| matches!(part, "hooks" | ".git" | ".vscode" | ".github");
    (!read_only && parts.any(executed_later))
        .then(|| "changes files that other programs run or obey".to_owned())
}

/// Whether a text somewhere in the value would not be seen as it is. Line breaks and tabs are seen.
fn hides(value: &Value, depth: usize) -> bool {
    match value {
        Value::String(text) => text.chars().any(|character| {
            (character.is_control() && !matches!(character, '\n' | '\r' | '\t'))
                || kruxos_capabilities::filesystem::is_invisible(character)
        }),
        Value::Array(items) if depth > 0 => items.iter().any(|item| hides(item, depth - 1)),
        Value::Object(fields) if depth > 0 => fields.values().any(|field| hides(field, depth - 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use kruxos_catalog::Catalog;
    use serde_json::json;

    fn of(capability: &str, inputs: Value) -> Vec<String> {
        let definition = Catalog::builtin().get(capability).unwrap();
        notes(definition, inputs.as_object().unwrap())
    }

    #[test]
    fn what_is_dangerous_is_said_and_what_is_not_is_not() {
        let shell = of(
            "process.run",
            json!({"command": "/bin/bash", "args": ["-c", "make"]}),
        );
        assert!(
            shell.iter().any(|note| note.contains("arguments of bash")),
            "{shell:?}"
        );
        let plain = of("process.run", json!({"command": "make", "args": ["test"]}));
        assert!(
            !plain.iter().any(|note| note.contains("arguments of")),
            "{plain:?}"
        );
        let hidden = of(
            "filesystem.write",
            json!({"path": "a", "content": "x\u{202e}y"}),
        );
        assert!(
            hidden.iter().any(|note| note.contains("zero-width")),
            "{hidden:?}"
        );
        let mount = of(
            "filesystem.write",
            json!({"path": "/mnt/src/a", "content": "x\ty\n"}),
        );
        assert_eq!(
            mount
                .iter()
                .filter(|note| note.contains("/mnt/src"))
                .count(),
            1,
            "{mount:?}"
        );
        let hook = of(
            "filesystem.write",
            json!({"path": ".git/hooks/pre-commit", "content": ""}),
        );
        assert!(
            hook.iter().any(|note| note.contains("run or obey")),
            "{hook:?}"
        );
        let quiet = of(
            "filesystem.write",
            json!({"path": "notes.md", "content": "hello"}),
        );
        assert!(
            !quiet.iter().any(|note| note.contains("zero-width")),
            "{quiet:?}"
        );
    }
}
