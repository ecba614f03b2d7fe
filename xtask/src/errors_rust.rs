//! `crates/types/src/error_type.rs`, laid out as rustfmt would.

use crate::errors::{Entry, ErrorEntry, Recovery};
use std::fmt::Write;

const TYPES: &str = include_str!("templates/types.rs.txt");
const METHODS: &str = include_str!("templates/methods.rs.txt");

/// The module's text.
pub(crate) fn module(errors: &[ErrorEntry]) -> String {
    let mut text =
        String::from("// Generated from errors.yaml by `cargo xtask gen`. Do not edit.\n\n");
    text.push_str("/// The errors of the catalogue.\n");
    text.push_str("#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n");
    text.push_str("pub enum ErrorType {\n");
    for error in errors {
        line(&mut text, 1, &format!("/// `{}`", error.code));
        line(&mut text, 1, &format!("{},", error.variant()));
    }
    text.push_str("}\n\n");
    text.push_str(TYPES);
    text.push_str(
        "\nimpl ErrorType {\n    /// Every error.\n    pub const ALL: &'static [ErrorType] = &[\n",
    );
    for error in errors {
        line(&mut text, 2, &format!("ErrorType::{},", error.variant()));
    }
    text.push_str("    ];\n\n");
    text.push_str(METHODS);
    text.push_str("}\n\n");
    // Texts are longer than a line may be, and rustfmt gives up on an expression that has such a one.
    text.push_str("#[rustfmt::skip]\n");
    line(
        &mut text,
        0,
        &format!("static SPECS: [ErrorSpec; {}] = [", errors.len()),
    );
    for ErrorEntry { code, entry } in errors {
        line(&mut text, 1, "ErrorSpec {");
        spec(&mut text, code, entry);
        line(&mut text, 1, "},");
    }
    text.push_str("];\n");
    text
}

fn spec(text: &mut String, code: &str, entry: &Entry) {
    let mut field = |name: &str, value: String| line(text, 2, &format!("{name}: {value},"));
    let retry_after = entry
        .retry_after
        .map_or("None".to_owned(), |s| format!("Some({s})"));
    field("code", quoted(code));
    field("retryable", entry.retryable.to_string());
    field("retry_after", retry_after);
    field("description", quoted(&entry.description));
    field("agent_description", quoted(&entry.agent_description));
    field("context", format!("&{:?}", entry.context));
    field("http_status", entry.http_status.to_string());
    field("common", entry.common.to_string());
    field("exception", quoted(&entry.exception));
    line(text, 2, "recovery: &[");
    for action in &entry.recovery {
        line(text, 3, &recovery(action));
    }
    line(text, 2, "],");
}

fn recovery(action: &Recovery) -> String {
    let capability = action.capability.as_deref();
    format!(
        "RecoverySpec {{ action: {}, description: {}, capability: {} }},",
        quoted(&action.action),
        quoted(&action.description),
        capability.map_or("None".to_owned(), |name| format!("Some({})", quoted(name))),
    )
}

/// A Rust string literal.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn line(text: &mut String, indent: usize, content: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{:1$}{content}", "", indent * 4);
}
