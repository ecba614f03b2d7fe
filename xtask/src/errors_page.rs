//! `docs/errors.md`.

use crate::errors::{ErrorEntry, Recovery};
use kruxos_catalog::Source;
use std::fmt::Write;

const HEAD: &str = "\
<!-- Generated from errors.yaml by `cargo xtask gen`. Do not edit. -->
# Errors

Every error has the same shape on every interface: `error_type`, `description` (for the operator),
`agent_description` (for the model), `recovery_actions`, `retryable`, `retry_after` where it is known, and
`context`. On MCP it is a tool result with `isError: true`; on `/rpc` it is `error.data`; on REST
interfaces it is the body, with the HTTP status below.

A capability returns the errors that its definition declares, with the recovery actions declared there,
and those marked «any capability». `{name}` in a text is filled from the context.
";

/// The page.
pub(crate) fn page(errors: &[ErrorEntry], sources: &[Source]) -> String {
    let mut text = String::from(HEAD);
    text.push_str("\n| error_type | retry | HTTP | exception |\n|---|---|---|---|\n");
    for error in errors {
        row(&mut text, error);
    }
    for error in errors {
        section(&mut text, error, sources);
    }
    text
}

// Writing to a String cannot fail, so the results below are dropped.

fn row(text: &mut String, ErrorEntry { code, entry }: &ErrorEntry) {
    let anchor = anchor(code);
    let retry = retry(entry.retryable, entry.retry_after);
    let (status, exception) = (entry.http_status, &entry.exception);
    let _ = writeln!(
        text,
        "| [`{code}`](#{anchor}) | {retry} | {status} | `{exception}` |"
    );
}

fn retry(retryable: bool, after: Option<u64>) -> String {
    match (retryable, after) {
        (false, _) => "no".to_owned(),
        (true, None) => "yes".to_owned(),
        (true, Some(seconds)) => format!("after {seconds} s"),
    }
}

fn section(text: &mut String, ErrorEntry { code, entry }: &ErrorEntry, sources: &[Source]) {
    let _ = writeln!(text, "\n## `{code}`\n\n{}\n", entry.description);
    let _ = writeln!(text, "> {}\n", entry.agent_description);
    for action in &entry.recovery {
        let _ = writeln!(text, "{}", recovery_line(action));
    }
    let context = match entry.context.as_slice() {
        [] => "none".to_owned(),
        keys => keys
            .iter()
            .map(|key| format!("`{key}`"))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let _ = writeln!(
        text,
        "\nContext: {context}. Returned by: {}.",
        returned_by(code, entry.common, sources)
    );
}

fn recovery_line(action: &Recovery) -> String {
    let capability = action
        .capability
        .as_deref()
        .map(|name| format!(" (`{name}`)"));
    format!(
        "- `{}`: {}{}",
        action.action,
        action.description,
        capability.unwrap_or_default()
    )
}

fn returned_by(code: &str, common: bool, sources: &[Source]) -> String {
    if common {
        return "any capability".to_owned();
    }
    let names: Vec<String> = sources
        .iter()
        .filter(|source| source.errors.iter().any(|error| error.error == code))
        .map(|source| format!("`{}`", source.name))
        .collect();
    if names.is_empty() {
        "no capability today".to_owned()
    } else {
        names.join(", ")
    }
}

/// The anchor that Markdown renderers make of a heading.
pub(crate) fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    kept.map(|c| c.to_ascii_lowercase()).collect()
}
