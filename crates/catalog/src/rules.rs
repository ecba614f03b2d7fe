//! What a definition must be beyond its syntax.

use crate::check;
use crate::compile::{self, MAX_DESCRIPTION_CHARS, MAX_TOOL_NAME_CHARS};
use crate::definition::{Example, FieldType, SideEffect};
use crate::schema::{self, Side};
use crate::shape::{Rule, Shape};
use crate::source::{ErrorSource, FieldSource, FieldSpec, RecoverySource, Source};
use crate::yaml::{Ordered, Place, RawCapability};
use kruxos_types::Tier;
use serde_json::Value;
use serde_saphyr::Spanned;
use std::collections::HashSet;

/// Most worked examples of one capability: each costs every model tokens.
const MAX_EXAMPLES: usize = 3;

/// Collects problems with their places.
pub(crate) type Report<'a> = &'a mut dyn FnMut(Place, String);

/// A definition that keeps the rules, with what only the whole catalogue can check.
pub(crate) struct Checked {
    pub(crate) source: Source,
    /// The capabilities that its recovery actions name.
    pub(crate) references: Vec<(String, Place)>,
}

/// Whether a category or one part of a capability's name is well formed: `[a-z][a-z0-9]*`, words
/// joined by single underscores.
pub(crate) fn is_name(text: &str) -> bool {
    let starts = |word: &str| word.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let words = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    starts(text) && text.split('_').all(words)
}

/// Checks one capability of a file and turns it into a source.
pub(crate) fn capability(
    category: &str,
    name: Spanned<String>,
    raw: RawCapability,
    known_error: &dyn Fn(&str) -> bool,
    report: Report<'_>,
) -> Checked {
    let place = Place::of(&name);
    check_name(category, &name, report);
    check_texts(&raw, report);
    check_annotations(&raw, report);
    let references = check_errors(&raw, known_error, report);
    let (inputs, input_shape) = fields(raw.inputs, Side::Input, report);
    let (outputs, _) = fields(raw.outputs, Side::Output, report);
    if outputs.is_empty() {
        report(place, "it has no outputs".to_owned());
    }
    check_patterns(&raw.patterns, place, input_shape.as_ref(), report);
    let source = Source {
        name: name.value,
        version: raw.version.value,
        status: raw.status,
        tier: raw.tier.value,
        executor: raw.executor,
        side_effect: raw.side_effect,
        annotations: raw.annotations.value,
        purpose: raw.purpose.value.trim().to_owned(),
        when_to_use: raw.when_to_use.value.trim().to_owned(),
        patterns: raw
            .patterns
            .into_iter()
            .map(|pattern| pattern.value)
            .collect(),
        side_effects: raw.side_effects.value.trim().to_owned(),
        inputs,
        outputs,
        errors: raw.errors.0.into_iter().map(error_source).collect(),
        tags: raw.tags.into_iter().map(|tag| tag.value).collect(),
    };
    let characters = compile::description(&source).chars().count();
    if characters > MAX_DESCRIPTION_CHARS {
        let message = format!(
            "purpose, when_to_use and patterns make a description of {characters} characters; at most \
             {MAX_DESCRIPTION_CHARS} are allowed"
        );
        report(place, message);
    }
    Checked { source, references }
}

fn error_source((error, recovery): (Spanned<String>, Vec<Spanned<RecoverySource>>)) -> ErrorSource {
    ErrorSource {
        error: error.value,
        recovery: recovery.into_iter().map(|action| action.value).collect(),
    }
}

fn check_name(category: &str, name: &Spanned<String>, report: Report<'_>) {
    let place = Place::of(name);
    let text = name.value.as_str();
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() < 2 || !parts.iter().all(|part| is_name(part)) {
        let message = format!(
            "'{text}' is not a capability's name: parts of a-z, 0-9 and single '_' joined by dots"
        );
        report(place, message);
    } else if parts.first() != Some(&category) {
        report(
            place,
            format!("'{text}' does not belong to category '{category}'"),
        );
    }
    let characters = compile::tool_name(text).chars().count();
    if characters > MAX_TOOL_NAME_CHARS {
        let message = format!(
            "'{text}' makes a tool name of {characters} characters; at most {MAX_TOOL_NAME_CHARS} are allowed"
        );
        report(place, message);
    }
}

fn check_texts(raw: &RawCapability, report: Report<'_>) {
    let texts = [
        ("purpose", &raw.purpose),
        ("when_to_use", &raw.when_to_use),
        ("side_effects", &raw.side_effects),
    ];
    for (key, text) in texts {
        if text.value.trim().is_empty() {
            report(Place::of(text), format!("'{key}' is empty"));
        }
    }
    let version = raw.version.value.split('.');
    if !version
        .clone()
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    {
        report(
            Place::of(&raw.version),
            format!("'{}' is not a version", raw.version.value),
        );
    }
    if raw.tier.value == Tier::Blocked {
        let message = "a definition's own tier cannot be blocked; that is a policy's business";
        report(Place::of(&raw.tier), message.to_owned());
    }
    let mut seen = HashSet::new();
    for tag in &raw.tags {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if tag.value.is_empty() || !tag.value.bytes().all(allowed) {
            report(
                Place::of(tag),
                format!("'{}' is not a tag of a-z, 0-9 and '-'", tag.value),
            );
        }
        if !seen.insert(tag.value.as_str()) {
            report(
                Place::of(tag),
                format!("the tag '{}' is there twice", tag.value),
            );
        }
    }
}

/// The hints must be honest: clients skip confirmation for what calls itself read-only. `side_effect`
/// is about the durability of the audit intent, so a look-up outside may be `external` and read-only,
/// and what changes only the session's memory may be `none`.
fn check_annotations(raw: &RawCapability, report: Report<'_>) {
    let hints = raw.annotations.value;
    let place = Place::of(&raw.annotations);
    if hints.read_only && hints.destructive {
        report(place, "what is read-only is not destructive".to_owned());
    }
    if hints.read_only && raw.side_effect == SideEffect::Local {
        report(
            place,
            "what changes something on this machine is not read-only".to_owned(),
        );
    }
    if raw.side_effect == SideEffect::External && !hints.open_world {
        report(place, "what acts outside has an open world".to_owned());
    }
}

fn check_errors(
    raw: &RawCapability,
    known_error: &dyn Fn(&str) -> bool,
    report: Report<'_>,
) -> Vec<(String, Place)> {
    let mut references = Vec::new();
    for (error, recovery) in &raw.errors.0 {
        let code = error.value.as_str();
        if !known_error(code) {
            report(
                Place::of(error),
                format!("'{code}' is not an error of errors.yaml"),
            );
        }
        if recovery.is_empty() {
            report(Place::of(error), format!("'{code}' has no recovery action"));
        }
        for action in recovery {
            let place = Place::of(action);
            if !is_name(&action.value.action) {
                report(
                    place,
                    format!("'{}' is not an action's name", action.value.action),
                );
            }
            if action.value.description.trim().is_empty() {
                report(place, "the recovery action has no description".to_owned());
            }
            references.extend(action.value.capability.clone().map(|name| (name, place)));
        }
    }
    references
}

fn fields(
    raw: Ordered<FieldSpec>,
    side: Side,
    report: Report<'_>,
) -> (Vec<FieldSource>, Option<Shape>) {
    let mut sources = Vec::new();
    let mut sound = true;
    for (name, spec) in raw.0 {
        let place = Place::of(&name);
        let mut refuse = |problem: &str| {
            sound = false;
            report(place, format!("{}: {problem}", name.value));
        };
        if !is_name(&name.value) {
            refuse("not a field's name: a-z, 0-9 and single '_'");
        }
        if spec.description.trim().is_empty() {
            refuse("it has no description");
        }
        for problem in side_problems(&spec, side) {
            refuse(problem);
        }
        match schema::shape(&spec, side) {
            Ok(shape) if has_bad_pattern(&shape) => {
                refuse("the pattern is not a regular expression")
            }
            Ok(_) => {}
            Err(error) => refuse(&error.0),
        }
        sources.push(FieldSource {
            name: name.value,
            spec,
        });
    }
    let shape = if sound {
        schema::record(&sources, side).ok()
    } else {
        None
    };
    (sources, shape)
}

fn side_problems(spec: &FieldSpec, side: Side) -> Vec<&'static str> {
    let mut problems = Vec::new();
    match side {
        Side::Input => {
            if spec.required.is_none() {
                problems.push("an input says whether it is required");
            }
            if spec.required == Some(true) && spec.default.is_some() {
                problems.push("a required input has no default");
            }
            if spec.optional {
                problems.push("'optional' is for outputs; an input says 'required: false'");
            }
            if spec.kind == FieldType::SessionId {
                problems.push("a session is never an input: it comes from the token");
            }
        }
        Side::Output => {
            if spec.required.is_some() || spec.default.is_some() {
                problems
                    .push("'required' and 'default' are for inputs; an output may be 'optional'");
            }
        }
    }
    problems
}

fn has_bad_pattern(shape: &Shape) -> bool {
    match &shape.rule {
        Rule::Text(text) => text
            .pattern
            .as_ref()
            .is_some_and(|pattern| !pattern.is_valid()),
        Rule::Array(list) => has_bad_pattern(&list.items),
        Rule::Object(record) => {
            record
                .members
                .iter()
                .any(|member| has_bad_pattern(&member.shape))
                || record.rest.as_ref().is_some_and(has_bad_pattern)
        }
        _ => false,
    }
}

fn check_patterns(
    patterns: &[Spanned<Example>],
    place: Place,
    shape: Option<&Shape>,
    report: Report<'_>,
) {
    if patterns.is_empty() || patterns.len() > MAX_EXAMPLES {
        let count = patterns.len();
        report(
            place,
            format!("it has {count} patterns; 1 to {MAX_EXAMPLES} are wanted"),
        );
    }
    for pattern in patterns {
        if pattern.value.title.trim().is_empty() {
            report(Place::of(pattern), "the pattern has no title".to_owned());
        }
        let inputs = Value::Object(pattern.value.inputs.clone());
        let checked = shape.map_or(Ok(false), |shape| check::value(&inputs, shape, 0));
        if let Err(fault) = checked {
            let message = format!(
                "the pattern is not admitted: {}: {}; expected {}",
                fault.field(),
                fault.reason,
                fault.expected
            );
            report(Place::of(pattern), message);
        }
    }
}
