//! The language as a JSON Schema, for editors: made from the tables that the reader checks files with.
//!
//! It says less than the reader: what only the catalogue, the layer or another rule can tell (which inputs
//! a capability has, whether a ceiling may be set, whether an expression compiles) is not in it.

use crate::TEMPLATES;
use crate::pattern::categories;
use crate::sections::{MAX_CPU_PERCENT, MAX_MEMORY_MB, MAX_PIDS, SANDBOX_FIELDS};
use crate::syntax::conditions::{CONDITIONS, Form, MAX_EXPRESSION, MAX_SIZE, WEEKDAYS};
use crate::syntax::rule::{
    ENTRY_FIELDS, MAX_EXAMPLES, MAX_LIMIT, MAX_REASON, MAX_WINDOW, NESTED_FIELDS, RATE_FIELDS,
    RULE_FIELDS,
};
use crate::syntax::{FIELDS, MAX_LIST, MAX_RULES};
use kruxos_catalog::Catalog;
use kruxos_types::{Interface, PrincipalKind, Tier};
use serde_json::{Map, Value, json};

/// The schema of a policy file (JSON Schema, draft 2020-12), with the capabilities of this catalogue.
#[must_use]
pub fn schema(catalog: &Catalog) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kruxos policy",
        "description": "Rules about what agents and users may do. An empty file is a policy without rules.",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties(&FIELDS, file_field),
        "$defs": {
            "tier": {"enum": Tier::ALL.map(Tier::as_str), "description": "From the most permissive to the most restrictive."},
            "pattern": {"enum": patterns(catalog), "description": "A capability, `category.*` (any depth below) or `*`."},
            "enforce": {"enum": ["ceiling", "baseline"], "description": "A ceiling binds every layer below; a baseline is the answer unless a nearer layer has one. Only the system's and the organisation's files set ceilings."},
            "reason": {"type": "string", "maxLength": MAX_REASON, "description": "Shown to whoever the rule decides about."},
            "conditions": conditions(),
            "rate_limit": rate_limit(),
            "examples": {
                "type": "object",
                "additionalProperties": false,
                "description": "Calls that the rule holds for, or not; checked when the file is loaded.",
                "properties": {
                    "match": {"type": "array", "maxItems": MAX_EXAMPLES},
                    "no_match": {"type": "array", "maxItems": MAX_EXAMPLES},
                },
            },
            "rule": {
                "type": "object",
                "additionalProperties": false,
                "properties": properties(&RULE_FIELDS, rule_field),
                "required": ["tier"],
                "oneOf": [{"required": ["match"]}, {"required": ["capability"]}],
                "not": {"required": ["condition", "conditions"]},
            },
            "nested_rule": {
                "type": "object",
                "additionalProperties": false,
                "properties": properties(&NESTED_FIELDS, rule_field),
                "required": ["tier"],
                "not": {"required": ["condition", "conditions"]},
            },
            "entry": {
                "type": "object",
                "additionalProperties": false,
                "properties": properties(&ENTRY_FIELDS, rule_field),
                "anyOf": [{"required": ["tier"]}, {"required": ["rules"]}],
            },
            "host": {"type": "string", "description": "`name.example`, `*.suffix`, with `:port` after and `scheme://` before it if wanted."},
        },
    })
}

/// The fields of a table, each with what `schema` says about it.
fn properties(fields: &[&str], schema: fn(&str) -> Value) -> Map<String, Value> {
    let pairs = fields.iter().map(|name| ((*name).to_owned(), schema(name)));
    pairs.collect()
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn file_field(name: &str) -> Value {
    match name {
        "version" => json!({"type": ["string", "number"]}),
        "extends" => json!({
            "description": "A template, or another policy file by its name.",
            "anyOf": [{"enum": TEMPLATES}, {"type": "string", "pattern": "\\.yaml$"}],
        }),
        "mode" => json!({
            "enum": ["enforce", "shadow"],
            "description": "shadow: evaluated and told in the audit log, not enforced.",
        }),
        "enforce" => reference("enforce"),
        "defaults" => json!({
            "description": "What no rule of the file answers.",
            "type": "object",
            "additionalProperties": false,
            "properties": {"tier": reference("tier"), "reason": reference("reason")},
            "required": ["tier"],
        }),
        "capabilities" => json!({
            "description": "Answers by the most specific pattern, where no rule of `rules` holds.",
            "type": "object",
            "propertyNames": reference("pattern"),
            "additionalProperties": reference("entry"),
        }),
        "rules" => json!({
            "description": "Tried from top to bottom; the first that holds answers.",
            "type": "array",
            "maxItems": MAX_RULES,
            "items": reference("rule"),
        }),
        "network" => json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "allow": {"type": "array", "items": host(true)},
                "deny": {"type": "array", "items": host(false)},
            },
        }),
        "sandbox" => json!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties(&SANDBOX_FIELDS, sandbox_field),
        }),
        // `name` and `description`.
        _ => json!({"type": "string"}),
    }
}

fn host(private: bool) -> Value {
    let mut fields = json!({"host": reference("host")});
    if let (true, Some(fields)) = (private, fields.as_object_mut()) {
        fields.insert("allow_private".to_owned(), json!({"type": "boolean"}));
    }
    let long = json!({"type": "object", "additionalProperties": false, "properties": fields, "required": ["host"]});
    json!({"anyOf": [reference("host"), long]})
}

fn sandbox_field(name: &str) -> Value {
    let limit = |most: i64| json!({"type": "integer", "minimum": 1, "maximum": most});
    match name {
        "memory_mb" => limit(MAX_MEMORY_MB),
        "cpu_percent" => limit(MAX_CPU_PERCENT),
        "pids" => limit(MAX_PIDS),
        "network" => json!({"enum": ["none", "proxied"]}),
        // `seccomp`.
        _ => json!({"enum": ["default", "strict"]}),
    }
}

fn rule_field(name: &str) -> Value {
    match name {
        "match" => json!({"anyOf": [
            reference("pattern"),
            {"type": "object", "additionalProperties": false, "properties": {"capability": reference("pattern")}, "required": ["capability"]},
        ]}),
        "capability" => reference("pattern"),
        "condition" | "conditions" => reference("conditions"),
        "rules" => json!({"type": "array", "items": reference("nested_rule")}),
        name => reference(name),
    }
}

fn rate_limit() -> Value {
    let field = |name: &str| match name {
        "on_exceed" | "escalate_to" => reference("tier"),
        "window" => {
            json!({"type": "integer", "minimum": 1, "maximum": MAX_WINDOW, "description": "Seconds."})
        }
        _ => json!({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}),
    };
    let counts = RATE_FIELDS
        .iter()
        .filter(|name| name.starts_with("max_per_"));
    let mut spellings = vec![json!({"required": ["max", "window"]})];
    spellings.extend(counts.map(|name| json!({"required": [name]})));
    json!({
        "description": "At most so many calls in a sliding window, for each principal.",
        "type": "object",
        "additionalProperties": false,
        "properties": properties(&RATE_FIELDS, field),
        "oneOf": spellings,
        "not": {"required": ["on_exceed", "escalate_to"]},
    })
}

fn conditions() -> Value {
    let fields = CONDITIONS.map(|(name, form)| (name.to_owned(), condition(form)));
    json!({
        "description": "All must hold. A condition about an input that the call does not have never holds.",
        "type": "object",
        "additionalProperties": false,
        "minProperties": 1,
        "properties": fields.into_iter().collect::<Map<_, _>>(),
    })
}

fn condition(form: Form) -> Value {
    // One, or a list of at least one.
    let some = |one: Value| json!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_LIST}]});
    let by_input =
        |value: Value| json!({"type": "object", "additionalProperties": value, "minProperties": 1});
    match form {
        Form::Paths | Form::Hosts | Form::Words => some(json!({"type": "string"})),
        Form::Globs => some(json!({"type": "string", "maxLength": MAX_EXPRESSION})),
        Form::Size => {
            json!({"type": "integer", "minimum": 0, "maximum": MAX_SIZE, "description": "Bytes."})
        }
        Form::Expression => {
            json!({"type": "string", "maxLength": MAX_EXPRESSION, "format": "regex"})
        }
        Form::InputValues => by_input(json!(true)),
        Form::InputLists => by_input(json!({"type": "array", "minItems": 1})),
        Form::InputNumbers => by_input(json!({"type": "number"})),
        Form::Times => some(json!({
            "type": "string",
            "pattern": "^[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9]$",
            "description": "UTC, 24 hours, the end excluded; may cross midnight.",
        })),
        Form::Weekdays => some(json!({"enum": WEEKDAYS.map(|(name, _)| name)})),
        Form::Principals => {
            let kinds = [
                PrincipalKind::Agent,
                PrincipalKind::User,
                PrincipalKind::System,
            ];
            some(json!({"enum": kinds.map(PrincipalKind::as_str)}))
        }
        Form::Interfaces => some(json!({"enum": Interface::ALL.map(Interface::as_str)})),
    }
}

/// Every pattern that matches something.
fn patterns(catalog: &Catalog) -> Vec<String> {
    let names = catalog
        .all()
        .iter()
        .map(|definition| definition.name.to_owned());
    let below = categories(catalog)
        .into_iter()
        .map(|name| format!("{name}.*"));
    let mut patterns: Vec<String> = names.chain(below).chain(["*".to_owned()]).collect();
    patterns.sort_unstable();
    patterns
}
