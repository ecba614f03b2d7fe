//! `errors.yaml`: reading and checking.

use anyhow::{Context, Result, bail};
use kruxos_catalog::Source;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

/// Exceptions of the SDKs (spec of the error catalogue).
const EXCEPTIONS: [&str; 22] = [
    "AuthenticationError",
    "RateLimitedError",
    "SessionLimitError",
    "SessionExpiredError",
    "SessionPausedError",
    "PolicyDeniedError",
    "ApprovalRequiredError",
    "ApprovalRejectedError",
    "ApprovalExpiredError",
    "InvalidInputError",
    "CapabilityNotFoundError",
    "PathOutOfScopeError",
    "FileNotFoundError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "ResourceExhaustedError",
    "TimeoutError",
    "ConflictError",
    "ServiceUnavailableError",
    "BatchProtectionError",
    "CapabilityError",
    "KruxosError",
];

/// One error of the catalogue.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) retryable: bool,
    #[serde(default)]
    pub(crate) retry_after: Option<u64>,
    pub(crate) http_status: u16,
    pub(crate) common: bool,
    pub(crate) exception: String,
    pub(crate) context: Vec<String>,
    pub(crate) description: String,
    pub(crate) agent_description: String,
    pub(crate) recovery: Vec<Recovery>,
}

/// What the caller can do.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recovery {
    pub(crate) action: String,
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) capability: Option<String>,
}

/// An error with its code.
#[derive(Debug)]
pub(crate) struct ErrorEntry {
    pub(crate) code: String,
    pub(crate) entry: Entry,
}

impl ErrorEntry {
    /// The name of the enum's variant: `auth.rate_limited` is `AuthRateLimited`.
    pub(crate) fn variant(&self) -> String {
        let capitalised = |word: &str| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        };
        self.code.split(['.', '_']).map(capitalised).collect()
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    errors: InOrder,
}

struct InOrder(Vec<ErrorEntry>);

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrderVisitor)
    }
}

struct InOrderVisitor;

impl<'de> Visitor<'de> for InOrderVisitor {
    type Value = InOrder;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of error codes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<InOrder, A::Error> {
        let mut entries = Vec::new();
        while let Some((code, entry)) = access.next_entry()? {
            entries.push(ErrorEntry { code, entry });
        }
        Ok(InOrder(entries))
    }
}

/// Reads `errors.yaml` and checks what does not need the definitions.
pub(crate) fn read(root: &Path) -> Result<Vec<ErrorEntry>> {
    let text = fs::read_to_string(root.join("errors.yaml")).context("reading errors.yaml")?;
    let errors = parse(&text)?;
    let problems: Vec<String> = errors
        .iter()
        .flat_map(problems)
        .chain(repeated(&errors))
        .collect();
    if problems.is_empty() {
        return Ok(errors);
    }
    bail!("{}", problems.join("\n"));
}

fn parse(text: &str) -> Result<Vec<ErrorEntry>> {
    let mut options = serde_saphyr::Options::default();
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    options.strict_booleans = true;
    options.with_snippet = false;
    let file: File = serde_saphyr::from_str_with_options(text, options).context("errors.yaml")?;
    Ok(file.errors.0)
}

fn problems(error: &ErrorEntry) -> Vec<String> {
    let ErrorEntry { code, entry } = error;
    let mut found = Vec::new();
    let mut refuse = |problem: String| found.push(format!("errors.yaml: {code}: {problem}"));
    for text in [&entry.description, &entry.agent_description] {
        if text.trim().is_empty() {
            refuse("a description is empty".to_owned());
        }
        for key in placeholders(text).filter(|key| !entry.context.iter().any(|known| known == key))
        {
            refuse(format!("{{{key}}} is not in its context"));
        }
    }
    if sentences(&entry.agent_description) < 2 {
        refuse(
            "agent_description says what happened and what to do next: two sentences".to_owned(),
        );
    }
    if entry.recovery.is_empty() {
        refuse("it has no recovery action".to_owned());
    }
    if entry.retry_after.is_some() && !entry.retryable {
        refuse("it says when to retry but is not retryable".to_owned());
    }
    if !EXCEPTIONS.contains(&entry.exception.as_str()) {
        refuse(format!("{} is not a class of the SDKs", entry.exception));
    }
    if !(200..600).contains(&entry.http_status) {
        refuse(format!("{} is not an HTTP status", entry.http_status));
    }
    found
}

/// Two errors must not share a code or a variant.
fn repeated(errors: &[ErrorEntry]) -> Vec<String> {
    let mut variants = BTreeMap::new();
    errors
        .iter()
        .filter_map(|error| {
            let other = variants.insert(error.variant(), &error.code)?;
            Some(format!(
                "errors.yaml: {} and {other} are the same variant",
                error.code
            ))
        })
        .collect()
}

/// The `{key}`s of a text.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}').map(|(key, _)| key))
}

fn sentences(text: &str) -> usize {
    let ends = text.match_indices(['.', ';', ':']).filter(|(at, _)| {
        let after = text.get(at + 1..).unwrap_or_default();
        after.is_empty() || after.starts_with(' ')
    });
    ends.count()
}

/// Checks what needs the definitions: the capabilities of recovery actions exist.
pub(crate) fn check_capabilities(errors: &[ErrorEntry], sources: &[Source]) -> Result<()> {
    let names: BTreeSet<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    for ErrorEntry { code, entry } in errors {
        for capability in entry
            .recovery
            .iter()
            .filter_map(|action| action.capability.as_deref())
        {
            if !names.contains(capability) {
                bail!("errors.yaml: {code}: no capability is named '{capability}'");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(replace: (&str, &str)) -> Result<Vec<ErrorEntry>> {
        let text = "errors:\n  auth.bad_thing:\n    retryable: false\n    http_status: 400\n    common: true\n    \
                    exception: CapabilityError\n    context: [path]\n    description: \"Bad {path}.\"\n    \
                    agent_description: \"It is bad. Do better.\"\n    recovery:\n      - {action: fix, description: Fix it.}\n";
        assert!(text.contains(replace.0));
        parse(&text.replace(replace.0, replace.1))
    }

    #[test]
    fn an_entry_is_read_with_its_variant() {
        let errors = one(("Bad", "Worse")).unwrap();
        assert_eq!(errors[0].variant(), "AuthBadThing");
        assert_eq!(problems(&errors[0]), Vec::<String>::new());
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, wanted) in [
            ("{path}", "{file}", "{file} is not in its context"),
            ("It is bad. Do better.", "It is bad", "two sentences"),
            ("CapabilityError", "OopsError", "OopsError is not a class"),
            (
                "http_status: 400",
                "http_status: 4",
                "4 is not an HTTP status",
            ),
        ] {
            let found = problems(&one((from, to)).unwrap()[0]);
            assert!(
                found.iter().any(|problem| problem.contains(wanted)),
                "{wanted}: {found:?}"
            );
        }
        assert!(
            one(("common: true", "comon: true")).is_err(),
            "unknown keys are refused"
        );
        assert!(one(("context: [path]", "context: [path]\n    context: [path]")).is_err());
    }
}
