//! From a field as written to its shape and its JSON Schema (2020-12).
//!
//! Lengths bind in bytes of UTF-8. JSON Schema counts characters, so what it lets through may still
//! be refused for its bytes, never the other way round.

use crate::check;
use crate::definition::FieldType;
use crate::formats;
use crate::shape::{
    Format, List, MAX_ITEMS, MAX_OUTPUT_ITEMS, MAX_OUTPUT_TEXT_BYTES, MAX_TEXT_BYTES, Member,
    Pattern, Record, Rule, Shape, Text,
};
use crate::source::{FieldSource, FieldSpec};
use kruxos_types::Object;
use serde_json::{Map, Value, json};

/// Nesting of `schema:`, far above what a definition needs.
const MAX_SCHEMA_DEPTH: usize = 16;

/// Whether a field is an argument or part of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Input,
    Output,
}

/// A field whose constraints make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadSchema(pub(crate) String);

fn bad<T>(problem: impl Into<String>) -> Result<T, BadSchema> {
    Err(BadSchema(problem.into()))
}

/// The shape of all inputs or outputs together.
pub(crate) fn record(fields: &[FieldSource], side: Side) -> Result<Shape, BadSchema> {
    let member = |field: &FieldSource| {
        let shape = shape(&field.spec, side)
            .map_err(|error| BadSchema(format!("{}: {}", field.name, error.0)))?;
        Ok(Member {
            name: field.name.as_str().into(),
            required: is_required(&field.spec, side),
            default: field.spec.default.clone(),
            shape,
        })
    };
    let members = fields.iter().map(member).collect::<Result<_, _>>()?;
    Ok(Shape::of(Rule::Object(Box::new(Record {
        members,
        rest: None,
        max_members: usize::MAX,
    }))))
}

pub(crate) fn is_required(spec: &FieldSpec, side: Side) -> bool {
    match side {
        Side::Input => spec.required == Some(true),
        Side::Output => !spec.optional,
    }
}

/// The shape of one field.
pub(crate) fn shape(spec: &FieldSpec, side: Side) -> Result<Shape, BadSchema> {
    if spec.any {
        constraints_fit(spec, &[])?;
        return Ok(Shape {
            nullable: spec.nullable,
            ..Shape::any()
        });
    }
    let rule = match spec.kind {
        FieldType::Boolean => {
            constraints_fit(spec, &[])?;
            Rule::Boolean
        }
        FieldType::Integer => {
            constraints_fit(spec, &["minimum", "maximum"])?;
            integer_rule(spec.minimum.as_ref(), spec.maximum.as_ref())?
        }
        FieldType::Float => {
            constraints_fit(spec, &["minimum", "maximum"])?;
            number_rule(spec.minimum.as_ref(), spec.maximum.as_ref())?
        }
        FieldType::Array => {
            constraints_fit(spec, &["min_items", "max_items", "schema"])?;
            array_field(spec, side)?
        }
        FieldType::Object => {
            constraints_fit(spec, &["schema"])?;
            object_field(spec, side)?
        }
        _ => {
            constraints_fit(spec, &["min_length", "max_length", "pattern"])?;
            text_field(spec, side)?
        }
    };
    let allowed = allowed(spec.allowed.as_deref(), &Shape::of(rule.clone()))?;
    let shape = Shape {
        nullable: spec.nullable,
        allowed,
        rule,
    };
    if let Some(default) = &spec.default
        && let Err(fault) = check::value(default, &shape, 1)
    {
        return bad(format!("the default is not admitted: {}", fault.reason));
    }
    Ok(shape)
}

/// Refuses constraints that do not belong to the type.
fn constraints_fit(spec: &FieldSpec, fitting: &[&str]) -> Result<(), BadSchema> {
    let given = [
        ("minimum", spec.minimum.is_some()),
        ("maximum", spec.maximum.is_some()),
        ("min_length", spec.min_length.is_some()),
        ("max_length", spec.max_length.is_some()),
        ("min_items", spec.min_items.is_some()),
        ("max_items", spec.max_items.is_some()),
        ("pattern", spec.pattern.is_some()),
        ("schema", spec.schema.is_some()),
    ];
    match given
        .iter()
        .find(|(name, given)| *given && !fitting.contains(name))
    {
        Some((name, _)) if spec.any => bad(format!("'{name}' does not go with 'any'")),
        Some((name, _)) => bad(format!("'{name}' does not go with {}", spec.kind.as_str())),
        None if spec.any && spec.allowed.is_some() => bad("'enum' does not go with 'any'"),
        None => Ok(()),
    }
}

fn text_field(spec: &FieldSpec, side: Side) -> Result<Rule, BadSchema> {
    let (format, (low, high)) = match side {
        Side::Input => (
            Format::of_input(spec.kind),
            Format::of_input(spec.kind).lengths(),
        ),
        Side::Output => (Format::of_output(spec.kind), (0, MAX_OUTPUT_TEXT_BYTES)),
    };
    let min = spec.min_length.map_or(Ok(low), size)?;
    let max = spec.max_length.map_or(Ok(high), size)?;
    text_rule(format, min, max, spec.pattern.as_deref())
}

fn text_rule(
    format: Format,
    min: usize,
    max: usize,
    pattern: Option<&str>,
) -> Result<Rule, BadSchema> {
    if min > max {
        return bad(format!(
            "the least length {min} is above the greatest {max}"
        ));
    }
    let pattern = pattern.map(Pattern::new);
    Ok(Rule::Text(Box::new(Text {
        format,
        min,
        max,
        pattern,
    })))
}

fn array_field(spec: &FieldSpec, side: Side) -> Result<Rule, BadSchema> {
    let schema = with_type(spec.schema.as_ref(), "array")?;
    let Rule::Array(mut list) = nested(&schema, side, 0)?.rule else {
        return bad("the schema of an Array has another type");
    };
    if let Some(min) = spec.min_items {
        list.min = size(min)?;
    }
    if let Some(max) = spec.max_items {
        list.max = size(max)?;
    }
    if list.min > list.max {
        return bad(format!(
            "the least number of items {} is above the greatest {}",
            list.min, list.max
        ));
    }
    Ok(Rule::Array(list))
}

fn object_field(spec: &FieldSpec, side: Side) -> Result<Rule, BadSchema> {
    let schema = with_type(spec.schema.as_ref(), "object")?;
    match nested(&schema, side, 0)?.rule {
        Rule::Object(record) => Ok(Rule::Object(record)),
        _ => bad("the schema of an Object has another type"),
    }
}

/// The nested schema with the type that the field's own type implies.
fn with_type(schema: Option<&Value>, implied: &str) -> Result<Value, BadSchema> {
    let mut schema = match schema {
        None => Object::new(),
        Some(Value::Object(schema)) => schema.clone(),
        Some(_) => return bad("'schema' is not a mapping"),
    };
    schema.entry("type").or_insert_with(|| Value::from(implied));
    Ok(Value::Object(schema))
}

/// Compiles the subset of JSON Schema that definitions use. Any other keyword is refused, so that
/// nothing is promised to a client that admission does not enforce.
fn nested(schema: &Value, side: Side, depth: usize) -> Result<Shape, BadSchema> {
    if depth > MAX_SCHEMA_DEPTH {
        return bad(format!(
            "'schema' is nested deeper than {MAX_SCHEMA_DEPTH} levels"
        ));
    }
    let Value::Object(schema) = schema else {
        return bad("a schema is not a mapping");
    };
    let (kind, nullable) = type_of(schema.get("type"))?;
    let keywords: &[&str] = match kind {
        None | Some("boolean") => &[],
        Some("integer" | "number") => &["minimum", "maximum"],
        Some("string") => &["minLength", "maxLength", "pattern"],
        Some("array") => &["items", "minItems", "maxItems"],
        Some("object") => &[
            "properties",
            "required",
            "additionalProperties",
            "maxProperties",
        ],
        Some(other) => return bad(format!("'{other}' is not a type that definitions use")),
    };
    let common = ["type", "description", "enum"];
    let other = schema
        .keys()
        .find(|key| !common.contains(&key.as_str()) && !keywords.contains(&key.as_str()));
    if let Some(other) = other {
        return bad(format!(
            "'{other}' does not go with type {}",
            kind.unwrap_or("any")
        ));
    }
    let rule = match kind {
        None => Rule::Any,
        Some("boolean") => Rule::Boolean,
        Some("integer") => integer_rule(schema.get("minimum"), schema.get("maximum"))?,
        Some("number") => number_rule(schema.get("minimum"), schema.get("maximum"))?,
        Some("string") => {
            let bound = if side == Side::Input {
                MAX_TEXT_BYTES
            } else {
                MAX_OUTPUT_TEXT_BYTES
            };
            let min = count(schema, "minLength")?.unwrap_or(0);
            let max = count(schema, "maxLength")?.unwrap_or(bound);
            text_rule(Format::Free, min, max, string(schema, "pattern")?)?
        }
        Some("array") => nested_array(schema, side, depth)?,
        Some(_) => nested_object(schema, side, depth)?,
    };
    let listed = match schema.get("enum") {
        None => None,
        Some(Value::Array(values)) => Some(values.as_slice()),
        Some(_) => return bad("'enum' is not a list"),
    };
    if nullable && listed.is_some_and(|values| !values.contains(&Value::Null)) {
        return bad("the type allows null, so 'enum' must list it");
    }
    let values: Option<Vec<Value>> = listed.map(|values| {
        values
            .iter()
            .filter(|value| !value.is_null())
            .cloned()
            .collect()
    });
    let allowed = allowed(values.as_deref(), &Shape::of(rule.clone()))?;
    Ok(Shape {
        nullable,
        allowed,
        rule,
    })
}

fn type_of(given: Option<&Value>) -> Result<(Option<&str>, bool), BadSchema> {
    match given {
        None => Ok((None, false)),
        Some(Value::String(kind)) => Ok((Some(kind), false)),
        Some(Value::Array(kinds)) => match kinds.as_slice() {
            [Value::String(kind), Value::String(null)] if null == "null" && kind != "null" => {
                Ok((Some(kind), true))
            }
            _ => bad("'type' is one name, or a name and null"),
        },
        Some(_) => bad("'type' is not a name"),
    }
}

fn nested_array(schema: &Object, side: Side, depth: usize) -> Result<Rule, BadSchema> {
    let bound = if side == Side::Input {
        MAX_ITEMS
    } else {
        MAX_OUTPUT_ITEMS
    };
    let items = schema
        .get("items")
        .map_or(Ok(Shape::any()), |items| nested(items, side, depth + 1))?;
    let min = count(schema, "minItems")?.unwrap_or(0);
    let max = count(schema, "maxItems")?.unwrap_or(bound);
    if min > max {
        return bad("'minItems' is above 'maxItems'");
    }
    Ok(Rule::Array(Box::new(List { items, min, max })))
}

fn nested_object(schema: &Object, side: Side, depth: usize) -> Result<Rule, BadSchema> {
    let none = Object::new();
    let properties = match schema.get("properties") {
        None => &none,
        Some(Value::Object(properties)) => properties,
        Some(_) => return bad("'properties' is not a mapping"),
    };
    let required: Vec<&str> = match schema.get("required") {
        None => Vec::new(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(_) => return bad("'required' is not a list"),
    };
    if let Some(name) = required
        .iter()
        .find(|name| !properties.contains_key(**name))
    {
        return bad(format!(
            "'required' names {name}, which 'properties' does not have"
        ));
    }
    let member = |(name, schema): (&String, &Value)| {
        Ok(Member {
            name: name.as_str().into(),
            required: required.contains(&name.as_str()),
            default: None,
            shape: nested(schema, side, depth + 1)?,
        })
    };
    let members = properties
        .iter()
        .map(member)
        .collect::<Result<_, BadSchema>>()?;
    let rest = match schema.get("additionalProperties") {
        None | Some(Value::Bool(true)) => Some(Shape::any()),
        Some(Value::Bool(false)) => None,
        Some(schema) => Some(nested(schema, side, depth + 1)?),
    };
    let bound = if side == Side::Input {
        MAX_ITEMS
    } else {
        MAX_OUTPUT_ITEMS
    };
    let max_members = count(schema, "maxProperties")?.unwrap_or(bound);
    Ok(Rule::Object(Box::new(Record {
        members,
        rest,
        max_members,
    })))
}

fn integer_rule(min: Option<&Value>, max: Option<&Value>) -> Result<Rule, BadSchema> {
    let bound = |value: Option<&Value>, otherwise: i64| match value {
        None => Ok(otherwise),
        Some(value) => value
            .as_i64()
            .ok_or_else(|| BadSchema("a bound is not an integer".into())),
    };
    let (min, max) = (bound(min, i64::MIN)?, bound(max, i64::MAX)?);
    if min > max {
        return bad(format!("the minimum {min} is above the maximum {max}"));
    }
    Ok(Rule::Integer { min, max })
}

fn number_rule(min: Option<&Value>, max: Option<&Value>) -> Result<Rule, BadSchema> {
    let bound = |value: Option<&Value>, otherwise: f64| match value {
        None => Ok(otherwise),
        Some(value) => value
            .as_f64()
            .ok_or_else(|| BadSchema("a bound is not a number".into())),
    };
    let (min, max) = (bound(min, f64::NEG_INFINITY)?, bound(max, f64::INFINITY)?);
    if min > max {
        return bad(format!("the minimum {min} is above the maximum {max}"));
    }
    Ok(Rule::Number { min, max })
}

fn allowed(values: Option<&[Value]>, shape: &Shape) -> Result<Box<[Value]>, BadSchema> {
    let Some(values) = values else {
        return Ok(Box::default());
    };
    if values.is_empty() {
        return bad("'enum' is empty");
    }
    let scalar = |value: &Value| value.is_string() || value.is_number();
    match values
        .iter()
        .find(|value| !scalar(value) || check::value(value, shape, 1).is_err())
    {
        Some(wrong) => bad(format!(
            "'enum' lists {wrong}, which the type does not allow"
        )),
        None => Ok(values.into()),
    }
}

fn count(schema: &Object, key: &str) -> Result<Option<usize>, BadSchema> {
    match schema.get(key) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(value) => size(value).map(Some),
            None => bad(format!("'{key}' is not a count")),
        },
    }
}

fn string<'a>(schema: &'a Object, key: &str) -> Result<Option<&'a str>, BadSchema> {
    match schema.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => bad(format!("'{key}' is not a string")),
    }
}

fn size(value: u64) -> Result<usize, BadSchema> {
    usize::try_from(value).map_err(|_| BadSchema("a length is too large".into()))
}

/// The JSON Schema of all inputs or outputs together: a plain object that allows nothing else.
pub(crate) fn root(fields: &[FieldSource], side: Side) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| (field.name.clone(), of_field(&field.spec)))
        .collect();
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| is_required(&field.spec, side))
        .map(|field| field.name.as_str())
        .collect();
    let mut root =
        json!({"type": "object", "properties": properties, "additionalProperties": false});
    if let Value::Object(root) = &mut root
        && !required.is_empty()
    {
        root.insert("required".to_owned(), json!(required));
    }
    root
}

/// The JSON Schema of one field.
pub(crate) fn of_field(spec: &FieldSpec) -> Value {
    let mut schema = match &spec.schema {
        Some(Value::Object(schema)) => schema.clone(),
        _ => Object::new(),
    };
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            schema.insert(key.to_owned(), value);
        }
    };
    let name = json_type(spec.kind);
    set(
        "type",
        (!spec.any).then(|| {
            if spec.nullable {
                json!([name, "null"])
            } else {
                json!(name)
            }
        }),
    );
    let mut allowed = spec.allowed.clone();
    match spec.kind {
        FieldType::Url => set("format", Some(json!("uri"))),
        FieldType::DateTime => set("format", Some(json!("date-time"))),
        FieldType::Sha256 => set("pattern", Some(json!("^[0-9a-fA-F]{64}$"))),
        FieldType::Signal if allowed.is_none() => {
            allowed = Some(formats::SIGNALS.iter().map(|name| json!(name)).collect());
        }
        _ => {}
    }
    if spec.nullable
        && let Some(allowed) = &mut allowed
    {
        allowed.push(Value::Null);
    }
    set("enum", allowed.map(Value::Array));
    set("minimum", spec.minimum.clone());
    set("maximum", spec.maximum.clone());
    set("minLength", spec.min_length.map(Value::from));
    set("maxLength", spec.max_length.map(Value::from));
    set("minItems", spec.min_items.map(Value::from));
    set("maxItems", spec.max_items.map(Value::from));
    set("pattern", spec.pattern.clone().map(Value::from));
    set("default", spec.default.clone());
    set("description", Some(Value::from(spec.description.as_str())));
    Value::Object(schema)
}

fn json_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Integer => "integer",
        FieldType::Float => "number",
        FieldType::Boolean => "boolean",
        FieldType::Object => "object",
        FieldType::Array => "array",
        _ => "string",
    }
}
