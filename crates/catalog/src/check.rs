//! Walks a value and its shape together. Nothing is allocated unless something is wrong.

use crate::formats;
use crate::shape::{List, Record, Rule, Shape, Text};
use kruxos_types::Object;
use serde_json::Value;

/// Nesting of arguments and results, the outermost object included.
pub(crate) const MAX_DEPTH: usize = 64;
/// How much of a name that the caller made up is repeated back.
const MAX_ECHO_CHARS: usize = 64;

/// What is wrong, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    /// From the inside out.
    path: Vec<Step>,
    pub(crate) reason: String,
    pub(crate) expected: String,
}

#[derive(Debug)]
enum Step {
    Name(String),
    Index(usize),
}

impl Fault {
    fn new(reason: impl Into<String>, expected: impl Into<String>) -> Box<Fault> {
        Box::new(Fault {
            path: Vec::new(),
            reason: reason.into(),
            expected: expected.into(),
        })
    }

    fn below_name(mut self: Box<Self>, name: &str) -> Box<Self> {
        self.path.push(Step::Name(echo(name)));
        self
    }

    fn below_index(mut self: Box<Self>, index: usize) -> Box<Self> {
        self.path.push(Step::Index(index));
        self
    }

    /// The place as a caller would write it: `aggregate.by`, `ids[3]`.
    pub(crate) fn field(&self) -> String {
        let mut text = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Name(name) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(name);
                }
                Step::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        match (text.is_empty(), self.path.is_empty()) {
            (true, true) => "arguments".to_owned(),
            // A field whose name is the empty string.
            (true, false) => "\"\"".to_owned(),
            (false, _) => text,
        }
    }
}

/// A checked value, and whether it has numbers such as `3.0` where an integer belongs.
pub(crate) type Checked = Result<bool, Box<Fault>>;

pub(crate) fn value(value: &Value, shape: &Shape, depth: usize) -> Checked {
    if shape.nullable && value.is_null() {
        return Ok(false);
    }
    let loose = rule(value, shape, depth)?;
    if !shape.allowed.is_empty() && !shape.allowed.iter().any(|allowed| same(allowed, value)) {
        return Err(Fault::new(
            "it is not one of the allowed values",
            shape.expected(),
        ));
    }
    Ok(loose)
}

fn rule(value: &Value, shape: &Shape, depth: usize) -> Checked {
    let outside = |reason: &str| Err(Fault::new(reason, shape.expected()));
    match (&shape.rule, value) {
        (Rule::Any, _) => any(value, depth),
        (Rule::Boolean, Value::Bool(_)) => Ok(false),
        (Rule::Integer { min, max }, Value::Number(number)) => match integer(number) {
            None => outside("it is not a 64-bit integer"),
            Some(given) if given < *min || given > *max => outside("it is out of range"),
            Some(_) => Ok(number.is_f64()),
        },
        (Rule::Number { min, max }, Value::Number(number)) => match number.as_f64() {
            Some(given) if given >= *min && given <= *max => Ok(false),
            _ => outside("it is out of range"),
        },
        (Rule::Text(text), Value::String(given)) => in_text(given, text)
            .map_or(Ok(false), |reason| {
                Err(Fault::new(reason, shape.expected()))
            }),
        (Rule::Array(list), Value::Array(items)) => in_list(items, list, shape, depth),
        (Rule::Object(record), Value::Object(map)) => in_record(map, record, depth),
        _ => Err(Fault::new(
            format!("it is {}", kind(value)),
            shape.expected(),
        )),
    }
}

fn in_text(given: &str, text: &Text) -> Option<String> {
    let bytes = given.len();
    if bytes > text.max {
        return Some(format!("it has {bytes} bytes, more than {}", text.max));
    }
    if bytes < text.min {
        return Some(match bytes {
            0 => "it is empty".to_owned(),
            _ => format!("it has {bytes} bytes, fewer than {}", text.min),
        });
    }
    if let Some(reason) = formats::fault(text.format, given) {
        return Some(reason.to_owned());
    }
    let matches = text
        .pattern
        .as_ref()
        .is_none_or(|pattern| pattern.matches(given));
    (!matches).then(|| "it does not have the right form".to_owned())
}

fn in_list(items: &[Value], list: &List, shape: &Shape, depth: usize) -> Checked {
    too_deep(depth)?;
    let count = items.len();
    if count > list.max || count < list.min {
        return Err(Fault::new(
            format!("it has {count} items"),
            shape.expected(),
        ));
    }
    let mut loose = false;
    for (index, item) in items.iter().enumerate() {
        loose |= value(item, &list.items, depth + 1).map_err(|fault| fault.below_index(index))?;
    }
    Ok(loose)
}

pub(crate) fn in_record(map: &Object, record: &Record, depth: usize) -> Checked {
    members(map, record, depth, true)
}

/// [`in_record`] for what need not be complete: required members of the record itself may be missing.
pub(crate) fn partly_in_record(map: &Object, record: &Record) -> Checked {
    members(map, record, 0, false)
}

fn members(map: &Object, record: &Record, depth: usize, complete: bool) -> Checked {
    too_deep(depth)?;
    let mut loose = false;
    let mut known = 0;
    for member in &record.members {
        match map.get(&*member.name) {
            Some(given) => {
                known += 1;
                loose |= value(given, &member.shape, depth + 1)
                    .map_err(|fault| fault.below_name(&member.name))?;
            }
            None if member.required && complete => {
                let missing = Fault::new("it is missing", member.shape.expected());
                return Err(missing.below_name(&member.name));
            }
            None => {}
        }
    }
    if map.len() == known {
        return Ok(loose);
    }
    if map.len() > record.max_members {
        let reason = format!("it has {} members", map.len());
        return Err(Fault::new(
            reason,
            format!("at most {} members", record.max_members),
        ));
    }
    let others = map
        .iter()
        .filter(|(name, _)| record.members.iter().all(|m| *m.name != **name));
    for (name, given) in others {
        let Some(rest) = &record.rest else {
            return Err(unknown(name, record));
        };
        loose |= value(given, rest, depth + 1).map_err(|fault| fault.below_name(name))?;
    }
    Ok(loose)
}

fn unknown(name: &str, record: &Record) -> Box<Fault> {
    let names = record.members.iter().map(|member| &*member.name);
    let expected = match crate::nearest::field(name, names.clone()) {
        Some(near) => format!("{near}, if that is what you meant"),
        None if record.members.is_empty() => "no fields at all".to_owned(),
        None => format!("only {}", names.collect::<Vec<_>>().join(", ")),
    };
    Fault::new("there is no such field", expected).below_name(name)
}

/// Any value: only size and depth are bounded.
fn any(given: &Value, depth: usize) -> Checked {
    match given {
        Value::String(text) if text.len() > crate::shape::MAX_OUTPUT_TEXT_BYTES => {
            let reason = format!("it has {} bytes", text.len());
            Err(Fault::new(
                reason,
                format!("at most {} bytes", crate::shape::MAX_OUTPUT_TEXT_BYTES),
            ))
        }
        Value::Array(items) => {
            too_deep(depth)?;
            for (index, item) in items.iter().enumerate() {
                any(item, depth + 1).map_err(|fault| fault.below_index(index))?;
            }
            Ok(false)
        }
        Value::Object(map) => {
            too_deep(depth)?;
            for (name, item) in map {
                any(item, depth + 1).map_err(|fault| fault.below_name(name))?;
            }
            Ok(false)
        }
        _ => Ok(false),
    }
}

fn too_deep(depth: usize) -> Result<(), Box<Fault>> {
    if depth < MAX_DEPTH {
        return Ok(());
    }
    let reason = format!("it is nested deeper than {MAX_DEPTH} levels");
    Err(Fault::new(
        reason,
        format!("at most {MAX_DEPTH} levels of arrays and objects"),
    ))
}

/// The number as an integer; `3.0` counts as 3.
pub(crate) fn integer(number: &serde_json::Number) -> Option<i64> {
    /// Beyond 2^53 a double does not name one integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|_| number.is_f64())?;
        #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53")]
        (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
    })
}

fn same(allowed: &Value, given: &Value) -> bool {
    match (allowed, given) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => allowed == given,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn echo(name: &str) -> String {
    match name.char_indices().nth(MAX_ECHO_CHARS) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}
