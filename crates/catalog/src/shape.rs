//! What a JSON value must look like: compiled once from a definition, walked for every call.

use crate::definition::FieldType;
use regex::Regex;
use serde_json::Value;
use std::fmt::Write;
use std::sync::OnceLock;

/// Bytes of a text input that states no bound of its own: as much as a file may hold that one call
/// writes.
pub(crate) const MAX_TEXT_BYTES: usize = 10 * 1024 * 1024;
/// Bytes of a text in a result: what one message may carry (`server.max_message_bytes`).
pub(crate) const MAX_OUTPUT_TEXT_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of a path: Linux `PATH_MAX`.
pub(crate) const MAX_PATH_BYTES: usize = 4_096;
/// Bytes of a glob: longer than any that a person or a model writes.
pub(crate) const MAX_GLOB_BYTES: usize = 1_024;
/// Bytes of a URL: what servers and proxies commonly accept.
pub(crate) const MAX_URL_BYTES: usize = 8_192;
/// Bytes of the short formats: dates, names, cron expressions, signals.
pub(crate) const MAX_TOKEN_BYTES: usize = 256;
/// Items of an array input that states no bound of its own.
pub(crate) const MAX_ITEMS: usize = 10_000;
/// Items of an array in a result.
pub(crate) const MAX_OUTPUT_ITEMS: usize = 100_000;

/// The rules for one value.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) nullable: bool,
    /// The only values allowed; empty: all that the rule allows.
    pub(crate) allowed: Box<[Value]>,
    pub(crate) rule: Rule,
}

#[derive(Debug, Clone)]
pub(crate) enum Rule {
    Any,
    Boolean,
    Integer { min: i64, max: i64 },
    Number { min: f64, max: f64 },
    Text(Box<Text>),
    Array(Box<List>),
    Object(Box<Record>),
}

#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) format: Format,
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) pattern: Option<Pattern>,
}

/// What a text must be besides its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Free,
    Path,
    Glob,
    Url,
    DateTime,
    Sha256,
    AgentName,
    Cron,
    Signal,
}

impl Format {
    pub(crate) fn of_input(kind: FieldType) -> Format {
        match kind {
            FieldType::FilesystemPath => Format::Path,
            FieldType::GlobPattern => Format::Glob,
            FieldType::Url => Format::Url,
            FieldType::DateTime => Format::DateTime,
            FieldType::Sha256 => Format::Sha256,
            FieldType::AgentId => Format::AgentName,
            FieldType::CronExpression => Format::Cron,
            FieldType::Signal => Format::Signal,
            _ => Format::Free,
        }
    }

    /// Results name things that exist, in whatever spelling they exist, so only the exact formats bind.
    pub(crate) fn of_output(kind: FieldType) -> Format {
        match kind {
            FieldType::DateTime => Format::DateTime,
            FieldType::Sha256 => Format::Sha256,
            _ => Format::Free,
        }
    }

    /// Least and greatest length in bytes, where the definition says nothing.
    pub(crate) fn lengths(self) -> (usize, usize) {
        match self {
            Format::Free => (0, MAX_TEXT_BYTES),
            Format::Path => (1, MAX_PATH_BYTES),
            Format::Glob => (1, MAX_GLOB_BYTES),
            Format::Url => (1, MAX_URL_BYTES),
            Format::DateTime | Format::AgentName | Format::Cron | Format::Signal => {
                (1, MAX_TOKEN_BYTES)
            }
            Format::Sha256 => (64, 64),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct List {
    pub(crate) items: Shape,
    pub(crate) min: usize,
    pub(crate) max: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) members: Box<[Member]>,
    /// What members with other names must be; `None` refuses them.
    pub(crate) rest: Option<Shape>,
    pub(crate) max_members: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: Box<str>,
    pub(crate) required: bool,
    pub(crate) default: Option<Value>,
    pub(crate) shape: Shape,
}

impl Shape {
    pub(crate) fn any() -> Shape {
        Shape::of(Rule::Any)
    }

    pub(crate) fn of(rule: Rule) -> Shape {
        Shape {
            nullable: false,
            allowed: Box::default(),
            rule,
        }
    }

    /// What would be right, for error messages.
    pub(crate) fn expected(&self) -> String {
        let mut text = if self.allowed.is_empty() {
            self.rule.expected()
        } else {
            self.choices()
        };
        if self.nullable {
            text.push_str(" or null");
        }
        text
    }

    fn choices(&self) -> String {
        let shown: Vec<String> = self
            .allowed
            .iter()
            .map(|value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            })
            .collect();
        match shown.as_slice() {
            [only] => only.clone(),
            many => format!("one of {}", many.join(", ")),
        }
    }
}

impl Rule {
    fn expected(&self) -> String {
        match self {
            Rule::Any => "any JSON value".to_owned(),
            Rule::Boolean => "true or false".to_owned(),
            Rule::Integer { min, max } => match (*min, *max) {
                (i64::MIN, i64::MAX) => "an integer".to_owned(),
                (min, i64::MAX) => format!("an integer of at least {min}"),
                (i64::MIN, max) => format!("an integer of at most {max}"),
                (min, max) => format!("an integer from {min} to {max}"),
            },
            Rule::Number { min, max } => match (min.is_finite(), max.is_finite()) {
                (false, false) => "a number".to_owned(),
                (true, false) => format!("a number of at least {min}"),
                (false, true) => format!("a number of at most {max}"),
                (true, true) => format!("a number from {min} to {max}"),
            },
            Rule::Text(text) => text.expected(),
            Rule::Array(list) => format!("an array of {} items", range(list.min, list.max)),
            Rule::Object(record) => record.expected(),
        }
    }
}

impl Text {
    fn expected(&self) -> String {
        let length = format!("of {} bytes", range(self.min, self.max));
        let mut text = match self.format {
            Format::Free => format!("a string {length}"),
            Format::Path => format!("a path {length} without NUL characters"),
            Format::Glob => format!("a glob pattern {length}"),
            Format::Url => "a URL with a scheme, such as https://example.com/".to_owned(),
            Format::DateTime => {
                "an RFC 3339 time with offset, such as 2026-01-31T12:00:00Z".to_owned()
            }
            Format::Sha256 => "64 hexadecimal digits".to_owned(),
            Format::AgentName => {
                "an agent's name: 1 to 63 characters of a-z, 0-9 and '-', not '-' first".to_owned()
            }
            Format::Cron => {
                "five fields: minute, hour, day of month, month, day of week, such as 0 9 * * 1-5"
                    .to_owned()
            }
            Format::Signal => format!("one of {}", crate::formats::SIGNALS.join(", ")),
        };
        if let Some(pattern) = &self.pattern {
            // Writing to a String cannot fail.
            let _ = write!(text, " that matches {}", pattern.source);
        }
        text
    }
}

impl Record {
    fn expected(&self) -> String {
        let names: Vec<&str> = self.members.iter().map(|member| &*member.name).collect();
        match names.as_slice() {
            [] if self.rest.is_none() => "an empty object".to_owned(),
            [] => "an object".to_owned(),
            names => format!("an object with {}", names.join(", ")),
        }
    }
}

fn range(min: usize, max: usize) -> String {
    match (min, max) {
        (min, max) if min == max => format!("{min}"),
        (0, max) => format!("at most {max}"),
        (min, max) => format!("{min} to {max}"),
    }
}

/// A regular expression, compiled when it is first needed so that start-up does not pay for it.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) source: Box<str>,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(crate) fn new(source: &str) -> Pattern {
        Pattern {
            source: source.into(),
            compiled: OnceLock::new(),
        }
    }

    /// Whether it is a regular expression at all.
    pub(crate) fn is_valid(&self) -> bool {
        self.regex().is_some()
    }

    /// Whether the text matches. A pattern that does not compile, which the loader refuses, matches
    /// nothing.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(text))
    }

    fn regex(&self) -> Option<&Regex> {
        self.compiled
            .get_or_init(|| Regex::new(&self.source).ok())
            .as_ref()
    }
}
