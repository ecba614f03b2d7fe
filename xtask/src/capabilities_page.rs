//! `docs/capabilities.md`.

use crate::errors::ErrorEntry;
use crate::errors_page::anchor;
use kruxos_catalog::{ErrorSource, Executor, FieldSource, FieldSpec, Source, Status};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

const HEAD: &str = "\
<!-- Generated from definitions/ by `cargo xtask gen`. Do not edit. -->
# Capabilities

What an agent can call. On MCP the dots of a name become `__`: `filesystem.read` is the tool
`filesystem__read`. The tier is the definition's own; a policy may set another. Besides the errors listed,
every capability may return those marked «any capability» in [the error catalogue](errors.md). Capabilities
marked *planned* are defined but neither listed nor callable yet.

Lengths of texts are in bytes of UTF-8. Unknown arguments are refused. Of fields marked *(content)* the audit
log keeps size and SHA-256 only.
";

/// The page.
pub(crate) fn page(sources: &[Source], errors: &[ErrorEntry]) -> String {
    let mut categories: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    for source in sources {
        let category = source.name.split('.').next().unwrap_or_default();
        categories.entry(category).or_default().push(source);
    }
    let mut text = String::from(HEAD);
    contents(&mut text, &categories);
    for (category, sources) in &categories {
        let _ = writeln!(text, "\n## {category}");
        for source in sources {
            capability(&mut text, source, errors);
        }
    }
    text
}

// Writing to a String cannot fail, so the results below are dropped.

fn contents(text: &mut String, categories: &BTreeMap<&str, Vec<&Source>>) {
    text.push_str("\n| category | capabilities |\n|---|---|\n");
    for (category, sources) in categories {
        let links: Vec<String> = sources
            .iter()
            .map(|source| link(category, source))
            .collect();
        let _ = writeln!(text, "| [{category}](#{category}) | {} |", links.join(", "));
    }
}

fn link(category: &str, source: &Source) -> String {
    let short = source
        .name
        .strip_prefix(category)
        .unwrap_or(&source.name)
        .trim_start_matches('.');
    let link = format!("[{short}](#{})", anchor(&source.name));
    match source.status {
        Status::Available => link,
        Status::Planned => format!("{link} *(planned)*"),
    }
}

fn capability(text: &mut String, source: &Source, errors: &[ErrorEntry]) {
    let _ = writeln!(text, "\n### {}\n", source.name);
    if source.status == Status::Planned {
        text.push_str("*Planned: neither listed nor callable yet.*\n\n");
    }
    let _ = writeln!(text, "{}\n\n{}\n", source.purpose, source.when_to_use);
    let _ = writeln!(
        text,
        "Tier `{}` · {} · {} · version {} · {}\n",
        source.tier,
        hints(source),
        executor(source.executor),
        source.version,
        source
            .tags
            .iter()
            .map(|tag| format!("`{tag}`"))
            .collect::<Vec<_>>()
            .join(" "),
    );
    let _ = writeln!(text, "Side effects: {}\n", source.side_effects);
    for example in &source.patterns {
        let inputs = Value::Object(example.inputs.clone());
        let _ = writeln!(text, "- {}: `{inputs}`", example.title);
    }
    inputs(text, &source.inputs);
    outputs(text, &source.outputs);
    declared(text, &source.errors, errors);
}

fn hints(source: &Source) -> String {
    let hints = source.annotations;
    let effect = match (hints.read_only, hints.destructive) {
        (true, _) => "read-only",
        (false, true) => "may overwrite or remove",
        (false, false) => "not destructive",
    };
    let repeat = if hints.idempotent {
        "safe to repeat"
    } else {
        "repeating does it again"
    };
    let world = if hints.open_world {
        ", reaches outside"
    } else {
        ""
    };
    format!("{effect}, {repeat}{world}")
}

fn executor(executor: Executor) -> &'static str {
    match executor {
        Executor::InProcess => "runs in the gateway",
        Executor::Worker => "runs in the agent's worker",
        Executor::Egress => "runs in the egress client",
    }
}

fn inputs(text: &mut String, fields: &[FieldSource]) {
    if fields.is_empty() {
        text.push_str("\nNo inputs.\n");
        return;
    }
    text.push_str("\n| input | type | | |\n|---|---|---|---|\n");
    for FieldSource { name, spec } in fields {
        let need = match (&spec.default, spec.required) {
            (Some(default), _) => format!("default `{default}`"),
            (None, Some(true)) => "required".to_owned(),
            (None, _) => "optional".to_owned(),
        };
        let _ = writeln!(
            text,
            "| `{name}` | {} | {need} | {} |",
            kind(spec),
            described(spec)
        );
    }
}

fn outputs(text: &mut String, fields: &[FieldSource]) {
    text.push_str("\n| output | type | |\n|---|---|---|\n");
    for FieldSource { name, spec } in fields {
        let absent = if spec.optional { ", may be absent" } else { "" };
        let _ = writeln!(
            text,
            "| `{name}` | {}{absent} | {} |",
            kind(spec),
            described(spec)
        );
    }
}

fn kind(spec: &FieldSpec) -> String {
    let name = if spec.any {
        "any JSON"
    } else {
        spec.kind.as_str()
    };
    let null = if spec.nullable && !spec.any {
        " or null"
    } else {
        ""
    };
    format!("{name}{null}")
}

/// The description and the constraints.
fn described(spec: &FieldSpec) -> String {
    let mut text = cell(&spec.description);
    if let Some(allowed) = &spec.allowed {
        let shown: Vec<String> = allowed
            .iter()
            .map(|value| format!("`{}`", plain(value)))
            .collect();
        let _ = write!(text, " One of {}.", shown.join(", "));
    }
    let number = |value: &Option<Value>| value.as_ref().map(Value::to_string);
    let count = |value: &Option<u64>| value.map(|value| value.to_string());
    let bounds = [
        (number(&spec.minimum), number(&spec.maximum), ""),
        (count(&spec.min_length), count(&spec.max_length), " bytes"),
        (count(&spec.min_items), count(&spec.max_items), " items"),
    ];
    for (low, high, unit) in bounds {
        let bound = match (low, high) {
            (Some(low), Some(high)) => format!("{low} to {high}{unit}"),
            (Some(low), None) => format!("At least {low}{unit}"),
            (None, Some(high)) => format!("At most {high}{unit}"),
            (None, None) => continue,
        };
        let _ = write!(text, " {bound}.");
    }
    if let Some(pattern) = &spec.pattern {
        let _ = write!(text, " Matches `{}`.", cell(pattern));
    }
    members(&mut text, spec.schema.as_ref());
    if spec.content {
        text.push_str(" *(content)*");
    }
    text
}

/// The members of a nested object, or of the objects in an array, one level deep.
fn members(text: &mut String, schema: Option<&Value>) {
    let Some(schema) = schema else { return };
    let object = schema.get("items").unwrap_or(schema);
    let Some(Value::Object(properties)) = object.get("properties") else {
        return;
    };
    let shown: Vec<String> = properties.keys().map(|name| format!("`{name}`")).collect();
    let _ = write!(text, " Members: {}.", shown.join(", "));
}

fn declared(text: &mut String, declared: &[ErrorSource], errors: &[ErrorEntry]) {
    if declared.is_empty() {
        return;
    }
    text.push_str("\n| error | what to do |\n|---|---|\n");
    for ErrorSource { error, recovery } in declared {
        let actions: Vec<String> = recovery
            .iter()
            .map(|action| {
                let capability = action
                    .capability
                    .as_deref()
                    .map(|name| format!(" (`{name}`)"));
                let description = cell(&action.description);
                format!(
                    "`{}`: {description}{}",
                    action.action,
                    capability.unwrap_or_default()
                )
            })
            .collect();
        let retry = errors
            .iter()
            .any(|known| known.code == *error && known.entry.retryable);
        let retry = if retry { ", retryable" } else { "" };
        let anchor = anchor(error);
        let actions = actions.join("<br>");
        let _ = writeln!(
            text,
            "| [`{error}`](errors.md#{anchor}){retry} | {actions} |"
        );
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Text that stays within its cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
