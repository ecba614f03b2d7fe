//! The ways out that a definition declares, with the arguments of this very case filled in.

use super::trouble::Cause;
use kruxos_catalog::Definition;
use kruxos_types::{CallError, Object, RecoveryAction};
use serde_json::Value;

/// The inputs that a way out may need, kept while the handler consumes the rest.
pub(super) struct Hints {
    path: Option<Value>,
    name: Option<Value>,
    /// Inputs to repeat a call with, where they are few and small.
    again: Object,
}

/// What makes a call to a remote, and a new repository, worth repeating as it was.
const REPEATED: [&str; 4] = ["path", "remote", "branch", "initial_branch"];

impl Hints {
    pub(super) fn of(inputs: &Object) -> Hints {
        let kept = |key: &&str| Some(((*key).to_owned(), inputs.get(*key)?.clone()));
        Hints {
            path: inputs.get("path").cloned(),
            name: inputs.get("name").cloned(),
            again: REPEATED.iter().filter_map(kept).collect(),
        }
    }
}

/// Gives an error the recovery actions of the definition, where it declares this error.
pub(super) fn with_declared(error: CallError, definition: &Definition, hints: &Hints) -> CallError {
    let declared = definition
        .errors
        .iter()
        .find(|declared| declared.error == error.error_type());
    let Some(declared) = declared else {
        return error;
    };
    let cause = Cause::of(&error);
    let actions = declared.recovery.iter().cloned();
    let helps = actions.filter(|action| helps(action, cause));
    let filled = helps.map(|action| fill(action, definition, hints));
    let mut actions: Vec<RecoveryAction> = filled.collect();
    if cause == Some(Cause::Policy) {
        add_ways_to_be_allowed(&mut actions);
    }
    error.recover_by(actions)
}

/// To repeat a call that needs a credential or a policy, or to ask for the other of both, helps nobody.
fn helps(action: &RecoveryAction, cause: Option<Cause>) -> bool {
    let (needs_other_help, is_known) = match cause {
        None => return true,
        Some(Cause::Authentication) => (true, false),
        Some(Cause::Policy) => (true, true),
        Some(Cause::Network) => (false, true),
    };
    match action.action.as_ref() {
        "retry" => !needs_other_help,
        "check_auth" => !is_known,
        _ => true,
    }
}

fn add_ways_to_be_allowed(actions: &mut Vec<RecoveryAction>) {
    let action = |action: &'static str, description: &'static str, capability: &'static str| {
        RecoveryAction {
            action: action.into(),
            description: description.into(),
            capability: Some(capability.into()),
            inputs: None,
        }
    };
    let looks = |action: &RecoveryAction| action.capability.as_deref() == Some("agent.policy");
    if !actions.iter().any(looks) {
        let what = "See which hosts your policy allows.";
        actions.push(action("check_policy", what, "agent.policy"));
    }
    let what = "Ask the operator to allow the host.";
    actions.push(action("request_access", what, "alerts.send"));
}

fn fill(mut action: RecoveryAction, definition: &Definition, hints: &Hints) -> RecoveryAction {
    let capability = action.capability.as_deref().unwrap_or_default();
    let Some(path) = hints.path.clone() else {
        return action;
    };
    let on_path = |more: &[(&str, Value)]| {
        let path = ("path".to_owned(), path.clone());
        let more = more
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()));
        Some(std::iter::once(path).chain(more).collect::<Object>())
    };
    action.inputs = match (action.action.as_ref(), capability) {
        ("retry", name) if name == definition.name => Some(hints.again.clone()),
        ("switch", "git.branch") => hints
            .name
            .as_ref()
            .and_then(|name| on_path(&[("action", "switch".into()), ("name", name.clone())])),
        ("list_branches", "git.branch") => on_path(&[("action", "list".into())]),
        (_, "git.status" | "git.diff" | "git.log" | "git.pull") => on_path(&[]),
        _ => None,
    };
    action
}
