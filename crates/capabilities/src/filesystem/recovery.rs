//! The ways out that a definition declares, with the arguments of this very case filled in.

use kruxos_catalog::Definition;
use kruxos_types::{CallError, Object, RecoveryAction};
use serde_json::Value;

/// The few inputs that a way out may need, kept while the handler consumes the rest.
pub(super) struct Hints {
    path: Option<String>,
    /// Small inputs that make a call worth repeating with `overwrite`.
    again: Option<Object>,
}

impl Hints {
    pub(super) fn of(inputs: &Object) -> Hints {
        let text = |key: &str| inputs.get(key).and_then(Value::as_str).map(str::to_owned);
        let repeatable = inputs.contains_key("overwrite");
        Hints {
            path: text("path").or_else(|| text("source")),
            again: repeatable.then(|| inputs.clone()),
        }
    }
}

/// Gives an error the recovery actions of the definition, where it declares this error.
pub(super) fn with_declared(error: CallError, definition: &Definition, hints: &Hints) -> CallError {
    let declared = definition
        .errors
        .iter()
        .find(|declared| declared.error == error.error_type());
    let actions = declared.map_or_else(
        || error.recovery_actions(),
        |declared| declared.recovery.clone(),
    );
    // The path the error is about, which need not be the one that was asked for.
    let about = error
        .context()
        .get("path")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let path = about.or_else(|| hints.path.clone());
    let filled = actions
        .into_iter()
        .map(|action| fill(action, definition, path.as_deref(), hints))
        .collect();
    error.recover_by(filled)
}

fn fill(
    mut action: RecoveryAction,
    definition: &Definition,
    path: Option<&str>,
    hints: &Hints,
) -> RecoveryAction {
    let one = |key: &str, value: &str| Object::from_iter([(key.to_owned(), Value::from(value))]);
    let capability = action.capability.as_deref();
    action.inputs = match (action.action.as_ref(), capability, path) {
        ("overwrite", Some(name), _) if name == definition.name => {
            let mut again = hints.again.clone();
            if let Some(again) = &mut again {
                again.insert("overwrite".to_owned(), Value::Bool(true));
            }
            again
        }
        ("try_binary", Some("filesystem.read"), Some(path)) => {
            let mut inputs = one("path", path);
            inputs.insert("encoding".to_owned(), "base64".into());
            Some(inputs)
        }
        ("list_contents", Some("filesystem.list"), Some(path)) => Some(one("path", path)),
        (_, Some("filesystem.list"), Some(path)) => Some(one("path", parent(path))),
        (_, Some("filesystem.search"), Some(path)) => {
            let mut inputs = one("path", ".");
            inputs.insert("pattern".to_owned(), name_glob(path).into());
            Some(inputs)
        }
        (_, Some("filesystem.stat" | "filesystem.read"), Some(path)) => Some(one("path", path)),
        _ => None,
    };
    action
}

/// The directory above a path as an agent writes it.
fn parent(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => "/",
        Some((parent, _)) => parent,
        None => ".",
    }
}

/// A glob that finds the path's last name anywhere.
fn name_glob(path: &str) -> String {
    let name = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path);
    let mut glob = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
            glob.push('\\');
        }
        glob.push(character);
    }
    if glob.is_empty() {
        "*".to_owned()
    } else {
        glob
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_up_is_one_the_agent_may_use() {
        assert_eq!(parent("notes/todo.md"), "notes");
        assert_eq!(parent("todo.md"), ".");
        assert_eq!(parent("/workspace/a/"), "/workspace");
    }

    #[test]
    fn names_with_special_characters_are_searched_literally() {
        assert_eq!(name_glob("a/b[1].md"), "b\\[1\\].md");
    }
}
