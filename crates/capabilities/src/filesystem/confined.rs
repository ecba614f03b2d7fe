//! The way of a file call into a confined worker and back. In the gateway, [`request`] spends a permit
//! and makes the bytes that a worker is sent; in the worker, [`serve`] runs them. It asks for
//! [`Confined`], which nothing but a worker's loop can make: without a permit no handler runs anywhere
//! else.

use super::{
    Files, MAX_UNDO_DIFF, MAX_UNDO_ROWS, Scope, UndoOptions, UndoReport, arguments, execute,
    preview, recovery, restore, undo,
};
use crate::Permit;
use kruxos_catalog::{Catalog, Definition};
use kruxos_sandbox::worker::Confined;
use kruxos_types::{CallError, Object, Principal, RecoveryAction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

/// Ways out that are taken over from a worker's error; definitions declare fewer.
const MAX_RECOVERY: usize = 16;

/// Longest text of one field of an undo's report, in bytes: a path of 4,096 bytes whose characters all are
/// written as escapes.
const MAX_UNDO_TEXT: usize = 32 << 10;

/// What a worker is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Run,
    Preview,
    UnnamedPath,
    Undo,
}

#[derive(Serialize)]
struct Request<'a> {
    wanted: Wanted,
    capability: &'a str,
    session: Option<&'a str>,
    inputs: &'a Object,
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<&'a UndoOptions>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Received {
    wanted: Wanted,
    capability: String,
    session: Option<String>,
    inputs: Object,
    #[serde(default)]
    undo: Option<UndoOptions>,
}

/// What a worker says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default)]
    ok: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    internal: Option<String>,
}

/// What an agent's workers are told when they start: goes into `BoxSpec::worker_setup` as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Whose files these are.
    pub principal: Principal,
    /// The workspace's real path, as in the box's spec.
    pub workspace: PathBuf,
    /// How long deleted files are kept, in seconds.
    pub trash_keep_seconds: u64,
    /// What undo may keep, in bytes.
    pub undo_quota: u64,
    /// Labels of what is at `/mnt/<label>`.
    pub mounts: Vec<String>,
}

impl Setup {
    /// The bytes for `BoxSpec::worker_setup`.
    ///
    /// # Errors
    /// The path is not UTF-8.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(io::Error::other)
    }
}

/// Spends a permit for one call in a worker, in a session as of [`super::run_in_session`].
///
/// # Errors
/// `Internal` if the inputs cannot be written as JSON.
pub fn request(
    definition: &Definition,
    permit: Permit,
    session: Option<&str>,
) -> Result<Vec<u8>, CallError> {
    write(Wanted::Run, definition, &permit.spend(), session)
}

/// Asks a worker for [`super::preview`], which changes nothing.
///
/// # Errors
/// As [`request`].
pub fn preview_request(definition: &Definition, inputs: &Object) -> Result<Vec<u8>, CallError> {
    write(Wanted::Preview, definition, inputs, None)
}

/// Asks a worker for [`super::unnamed_path`], which changes nothing; the answer is a string or null.
///
/// # Errors
/// As [`request`].
pub fn unnamed_path_request(
    definition: &Definition,
    inputs: &Object,
) -> Result<Vec<u8>, CallError> {
    write(Wanted::UnnamedPath, definition, inputs, None)
}

/// Asks a worker for [`super::undo`]. It takes no permit, since it is no call: whoever asks has seen to it
/// that an operator wants it and that the log says so. [`undo_report`] reads the answer.
///
/// # Errors
/// As [`request`].
pub fn undo_request(options: &UndoOptions) -> Result<Vec<u8>, CallError> {
    let request = Request {
        wanted: Wanted::Undo,
        capability: "",
        session: None,
        inputs: &Object::new(),
        undo: Some(options),
    };
    serde_json::to_vec(&request).map_err(CallError::internal_failure)
}

/// A worker's report of an undo, as far as it keeps to the bounds of one.
///
/// # Errors
/// `Internal` for what is no report, or a larger one.
pub fn undo_report(answer: Value, options: &UndoOptions) -> Result<UndoReport, CallError> {
    let refuse =
        |why: &str| CallError::internal_failure(format!("a worker's report of an undo: {why}"));
    let report: UndoReport =
        serde_json::from_value(answer).map_err(|error| refuse(&error.to_string()))?;
    // `unified_diff` ends a cut diff with a line that says so, and the last header may stand over.
    let diff_fits = report.diff.len() <= MAX_UNDO_DIFF + MAX_UNDO_TEXT;
    let rows_fit = report.changes.len() <= MAX_UNDO_ROWS
        && report.changes.iter().all(|row| {
            let texts = [&row.capability, &row.path, &row.change, &row.verdict];
            let reason = row.reason.iter();
            texts
                .into_iter()
                .chain(reason)
                .all(|text| text.len() <= MAX_UNDO_TEXT)
        });
    if !diff_fits || !rows_fit {
        return Err(refuse("it is larger than one can be"));
    }
    if report.session != options.session || report.applied != options.recorded_as.is_some() {
        return Err(refuse("it is of another undo"));
    }
    Ok(report)
}

fn write(
    wanted: Wanted,
    definition: &Definition,
    inputs: &Object,
    session: Option<&str>,
) -> Result<Vec<u8>, CallError> {
    let request = Request {
        wanted,
        capability: definition.name,
        session,
        inputs,
        undo: None,
    };
    serde_json::to_vec(&request).map_err(CallError::internal_failure)
}

/// In the worker: runs one request. Whatever it holds, the answer is one that [`answer`] reads.
#[must_use]
pub fn serve(_: &Confined, catalog: &Catalog, files: &Files, request: &[u8]) -> Vec<u8> {
    let answer = match run(catalog, files, request) {
        Ok(value) => json!({"ok": value}),
        Err(error) => json!({"error": error, "internal": error.internal_cause()}),
    };
    // Maps of strings always can be written; were it not so, no answer is an error too.
    serde_json::to_vec(&answer).unwrap_or_default()
}

fn run(catalog: &Catalog, files: &Files, request: &[u8]) -> Result<Value, CallError> {
    let received: Received =
        serde_json::from_slice(request).map_err(CallError::internal_failure)?;
    if received.wanted == Wanted::Undo {
        let options = received
            .undo
            .ok_or_else(|| CallError::internal_failure("an undo of nothing"))?;
        let report = undo::run(&options, files)?;
        return serde_json::to_value(report).map_err(CallError::internal_failure);
    }
    let definition = catalog
        .get(&received.capability)
        .ok_or_else(|| CallError::internal_failure("no such capability in the worker"))?;
    let inputs = received.inputs;
    if received.wanted == Wanted::Preview {
        return Ok(preview::of(definition.name, &inputs, files));
    }
    let hints = recovery::Hints::of(&inputs);
    let outcome = if received.wanted == Wanted::UnnamedPath {
        let scope = &Scope {
            files,
            capability: definition.name,
            session: None,
        };
        arguments(inputs)
            .and_then(|args| restore::origin(&args, scope))
            .map(Value::from)
    } else {
        execute(definition.name, inputs, files, received.session.as_deref())
    };
    outcome.map_err(|error| recovery::with_declared(error, definition, &hints))
}

/// In the gateway: reads a worker's answer, which may be anything.
///
/// # Errors
/// The call's own error; `Internal` if the answer is none.
pub fn answer(bytes: &[u8]) -> Result<Value, CallError> {
    let answer: Answer = serde_json::from_slice(bytes)
        .map_err(|error| CallError::internal_failure(format!("a worker's answer: {error}")))?;
    match answer {
        Answer {
            ok: Some(value),
            error: None,
            ..
        } => Ok(value),
        Answer {
            ok: None,
            error: Some(error),
            internal,
        } => Err(rebuild(&error, internal)),
        _ => Err(CallError::internal_failure(
            "a worker's answer is neither a result nor an error",
        )),
    }
}

fn rebuild(json: &Value, internal: Option<String>) -> CallError {
    let mut error = CallError::from_json(json);
    if let Some(actions) = json["recovery_actions"].as_array() {
        let actions = actions.iter().take(MAX_RECOVERY);
        error = error.recover_by(actions.filter_map(recovery_action).collect());
    }
    match internal {
        Some(cause) => error.internal(cause),
        None => error,
    }
}

fn recovery_action(json: &Value) -> Option<RecoveryAction> {
    let text = |key: &str| json[key].as_str().map(|text| Cow::Owned(text.to_owned()));
    Some(RecoveryAction {
        action: text("action")?,
        description: text("description")?,
        capability: text("capability"),
        inputs: json["inputs"].as_object().cloned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use kruxos_types::ErrorType;
    use proptest::prelude::*;

    #[test]
    fn an_error_comes_back_as_it_was() {
        let catalog = Catalog::builtin();
        let definition = catalog.get("filesystem.read").unwrap();
        let inputs = json!({"path": "notes/todo.md"});
        let error = recovery::with_declared(
            CallError::new(ErrorType::FileNotFound)
                .with("path", "/workspace/notes/todo.md")
                .detail("It was there yesterday.")
                .internal("ENOENT"),
            definition,
            &recovery::Hints::of(inputs.as_object().unwrap()),
        );
        let sent = json!({"error": error, "internal": error.internal_cause()});
        let back = answer(&serde_json::to_vec(&sent).unwrap()).unwrap_err();
        assert_eq!(back.to_json(), error.to_json());
        assert_eq!(back.internal_cause(), Some("ENOENT"));
    }

    #[test]
    fn an_answer_that_is_none_is_an_internal_error() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let answers = [
            "",
            "null",
            "[]",
            "{}",
            "{\"ok\": null}",
            "{\"ok\": 1, \"error\": {}}",
            "{\"more\": 1}",
            "{\"error\": {\"error_type\": \"NoSuch\"}}",
            "{\"error\": 7}",
            "{\"ok\": 1} x",
            &deep,
        ];
        for bytes in answers {
            let error = answer(bytes.as_bytes()).expect_err(bytes);
            assert_eq!(error.error_type(), ErrorType::Internal, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_worker_break_the_reader(bytes: Vec<u8>) {
            prop_assert!(answer(&bytes).is_err());
        }
    }
}
