use super::Reader;
use crate::condition::{ByInput, Compare, Condition, PathGlob, Prefix, Test};
use crate::diagnostic::{Mistake, Place, nearest};
use crate::facts::{Shape, VIRTUAL_WORKSPACE, fold, is_below};
use crate::pattern::Pattern;
use crate::url::HostSet;
use crate::yaml::{At, Key, Node};
use globset::GlobBuilder;
use kruxos_types::{Interface, PrincipalKind};
use regex::{Regex, RegexBuilder};
use serde_json::Value;
use smallvec::SmallVec;

/// Characters of one regular expression or glob.
pub(crate) const MAX_EXPRESSION: usize = 1_024;
/// Bytes of one compiled regular expression; `\pL{1000}{1000}` and its like fail here.
const MAX_COMPILED: usize = 256 << 10;
/// Regular expressions and globs of one file, which bounds their memory.
const MAX_EXPRESSIONS: usize = 1_000;
/// What a size can be compared with: more than any input may have.
pub(crate) const MAX_SIZE: i64 = 1 << 40;

/// What is written after a condition's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Paths,
    Globs,
    /// Bytes.
    Size,
    Hosts,
    Words,
    Expression,
    InputValues,
    InputLists,
    InputNumbers,
    Times,
    Weekdays,
    Principals,
    Interfaces,
}

/// Every condition of the language.
pub(crate) const CONDITIONS: [(&str, Form); 22] = [
    ("path_prefix", Form::Paths),
    ("path_glob", Form::Globs),
    ("path_not_prefix", Form::Paths),
    ("content_size_lt", Form::Size),
    ("content_size_lte", Form::Size),
    ("content_size_gt", Form::Size),
    ("content_size_gte", Form::Size),
    ("domain_in", Form::Hosts),
    ("domain_not_in", Form::Hosts),
    ("url_scheme_in", Form::Words),
    ("method_in", Form::Words),
    ("command_in", Form::Words),
    ("command_matches", Form::Expression),
    ("args_match", Form::Expression),
    ("input_equals", Form::InputValues),
    ("input_in", Form::InputLists),
    ("input_lt", Form::InputNumbers),
    ("input_gt", Form::InputNumbers),
    ("time_of_day", Form::Times),
    ("weekday_in", Form::Weekdays),
    ("principal_type", Form::Principals),
    ("interface_in", Form::Interfaces),
];

/// Reads `conditions`, cheap ones first.
pub(crate) fn read(
    reader: &mut Reader<'_, '_>,
    pattern: Option<&Pattern>,
    at: &At,
) -> Vec<Condition> {
    let mut conditions = Vec::new();
    let pairs = reader.pairs(at, "conditions");
    if pairs.is_empty() {
        if matches!(at.node, Node::Map(_)) {
            reader.problems.fatal(
                at.place,
                "empty conditions; leave the field out for a rule that always holds",
            );
        }
        return conditions;
    }
    for (key, value) in pairs {
        if let Some(test) = test(reader, pattern, key, value) {
            if let Some(pattern) = pattern
                && !pattern.ids.iter().any(|id| can_concern(reader, *id, &test))
            {
                let message = format!(
                    "`{}` never holds: `{}` has no such input",
                    key.name, pattern.text
                );
                reader.problems.warn(key.place, message);
            }
            let text = format!("{}: {}", key.name, value.to_json());
            conditions.push(Condition {
                test,
                text: text.into(),
            });
        }
    }
    conditions.sort_by_key(|condition| condition.test.cost());
    conditions
}

/// Whether a capability has the inputs that the test looks at.
fn can_concern(reader: &Reader<'_, '_>, id: u16, test: &Test) -> bool {
    let Some(definition) = reader.catalog.all().get(usize::from(id)) else {
        return true;
    };
    let shape = Shape::of(definition);
    match test {
        Test::PathPrefix(_) | Test::PathNotPrefix(_) | Test::PathGlob(_) => !shape.paths.is_empty(),
        Test::ContentSize(..) => shape.content.is_some(),
        Test::DomainIn(_) | Test::DomainNotIn(_) => {
            !(shape.urls.is_empty() && shape.hosts.is_empty())
        }
        Test::UrlSchemeIn(_) => !shape.urls.is_empty(),
        Test::MethodIn(_) => shape.method,
        Test::CommandIn(_) | Test::CommandMatches(_) => shape.command,
        Test::ArgsMatch(_) => shape.args,
        _ => true,
    }
}

fn test(
    reader: &mut Reader<'_, '_>,
    pattern: Option<&Pattern>,
    key: &Key,
    at: &At,
) -> Option<Test> {
    let name = key.name.as_str();
    Some(match name {
        "path_prefix" => Test::PathPrefix(prefixes(reader, at, name)?),
        "path_not_prefix" => Test::PathNotPrefix(prefixes(reader, at, name)?),
        "path_glob" => Test::PathGlob(globs(reader, at)?),
        "content_size_lt" => size(reader, at, name, Compare::Lt)?,
        "content_size_lte" => size(reader, at, name, Compare::Lte)?,
        "content_size_gt" => size(reader, at, name, Compare::Gt)?,
        "content_size_gte" => size(reader, at, name, Compare::Gte)?,
        "domain_in" => Test::DomainIn(hosts(reader, at, name)?),
        "domain_not_in" => Test::DomainNotIn(hosts(reader, at, name)?),
        "url_scheme_in" => Test::UrlSchemeIn(words(reader, at, name)?),
        "method_in" => Test::MethodIn(words(reader, at, name)?),
        "command_in" => Test::CommandIn(words(reader, at, name)?),
        "command_matches" => Test::CommandMatches(regex(reader, at, name)?),
        "args_match" => Test::ArgsMatch(regex(reader, at, name)?),
        "input_equals" => {
            let pairs = inputs(reader, pattern, at, name, |_, at| Some(at.to_json()))?;
            Test::InputEquals(pairs)
        }
        "input_in" => Test::InputIn(inputs(reader, pattern, at, name, values)?),
        "input_lt" => Test::InputCompare(Compare::Lt, inputs(reader, pattern, at, name, number)?),
        "input_gt" => Test::InputCompare(Compare::Gt, inputs(reader, pattern, at, name, number)?),
        "time_of_day" => Test::TimeOfDay(times(reader, at)?),
        "weekday_in" => Test::WeekdayIn(bits(reader, at, name, "weekday", &WEEKDAYS)?),
        "principal_type" => {
            let kinds = [
                PrincipalKind::Agent,
                PrincipalKind::User,
                PrincipalKind::System,
            ];
            Test::PrincipalType(bits(
                reader,
                at,
                name,
                "principal type",
                &kinds.map(|kind| (kind.as_str(), kind as u8)),
            )?)
        }
        "interface_in" => {
            let doors = Interface::ALL.map(|door| (door.as_str(), door as u8));
            Test::InterfaceIn(bits(reader, at, name, "interface", &doors)?)
        }
        _ => {
            reader.unknown_key(key, "conditions", &CONDITIONS.map(|(name, _)| name));
            return None;
        }
    })
}

pub(crate) const WEEKDAYS: [(&str, u8); 14] = [
    ("mon", 0),
    ("tue", 1),
    ("wed", 2),
    ("thu", 3),
    ("fri", 4),
    ("sat", 5),
    ("sun", 6),
    ("monday", 0),
    ("tuesday", 1),
    ("wednesday", 2),
    ("thursday", 3),
    ("friday", 4),
    ("saturday", 5),
    ("sunday", 6),
];

/// A list of names as a set of bits.
fn bits(
    reader: &mut Reader<'_, '_>,
    at: &At,
    name: &str,
    what: &str,
    valid: &[(&str, u8)],
) -> Option<u8> {
    let mut set = 0;
    let texts = reader.texts(at, name);
    for (text, place) in &texts {
        set |= 1 << reader.choice(text, *place, what, valid)?;
    }
    (!texts.is_empty()).then_some(set)
}

fn words(reader: &mut Reader<'_, '_>, at: &At, name: &str) -> Option<Box<[Box<str>]>> {
    let texts = reader.texts(at, name);
    (!texts.is_empty()).then(|| texts.into_iter().map(|(text, _)| text.into()).collect())
}

fn size(reader: &mut Reader<'_, '_>, at: &At, name: &str, compare: Compare) -> Option<Test> {
    Some(Test::ContentSize(
        compare,
        reader.integer(at, name, 0..=MAX_SIZE)?,
    ))
}

fn prefixes(reader: &mut Reader<'_, '_>, at: &At, name: &str) -> Option<Box<[Prefix]>> {
    let mut found = Vec::new();
    for (text, place) in reader.texts(at, name) {
        match prefix(text) {
            Ok(prefix) => found.push(prefix),
            Err(message) => reader.problems.fatal(place, format!("`{name}`: {message}")),
        }
    }
    (!found.is_empty()).then(|| found.into())
}

/// Relative and `/workspace/…` prefixes mean the caller's workspace, others the machine's paths.
fn prefix(text: &str) -> Result<Prefix, Mistake> {
    if text.contains(['*', '?', '\0']) {
        return Err(Mistake::from(format!(
            "`{text}` is not a plain path; use `path_glob` for patterns"
        )));
    }
    if text.starts_with('~') {
        return Err(Mistake::from(format!(
            "`{text}`: `~` is not expanded; write the whole path"
        )));
    }
    let mut bytes: SmallVec<[u8; 128]> = SmallVec::new();
    if !text.starts_with('/') {
        bytes.extend_from_slice(VIRTUAL_WORKSPACE.as_bytes());
    }
    fold(&mut bytes, text);
    if is_below(&bytes, VIRTUAL_WORKSPACE.as_bytes()) {
        return Ok(Prefix::Inside(
            bytes
                .get(VIRTUAL_WORKSPACE.len()..)
                .unwrap_or_default()
                .into(),
        ));
    }
    if text.starts_with('/') {
        Ok(Prefix::Absolute(bytes.as_slice().into()))
    } else {
        Err(Mistake::from(format!(
            "`{text}` leads out of the workspace"
        )))
    }
}

fn globs(reader: &mut Reader<'_, '_>, at: &At) -> Option<Box<[PathGlob]>> {
    let mut found = Vec::new();
    for (text, place) in reader.texts(at, "path_glob") {
        if !expression_fits(reader, text, place) {
            continue;
        }
        let text = text.strip_prefix("./").unwrap_or(text);
        let below_workspace = text
            .strip_prefix(VIRTUAL_WORKSPACE)
            .and_then(|rest| rest.strip_prefix('/'));
        let (inside, glob) = match below_workspace {
            Some(rest) => (true, rest),
            None => (!text.starts_with('/'), text),
        };
        if glob
            .split('/')
            .any(|component| matches!(component, ".." | "."))
        {
            reader.problems.fatal(
                place,
                format!("`path_glob`: `{text}` has `.` or `..`; paths are compared without them"),
            );
            continue;
        }
        match GlobBuilder::new(glob)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
        {
            Ok(glob) => found.push(PathGlob {
                inside,
                matcher: glob.compile_matcher(),
            }),
            Err(error) => reader
                .problems
                .fatal(place, format!("`path_glob`: {error}")),
        }
    }
    (!found.is_empty()).then(|| found.into())
}

fn hosts(reader: &mut Reader<'_, '_>, at: &At, name: &str) -> Option<HostSet> {
    let mut set = HostSet::default();
    let texts = reader.texts(at, name);
    for (text, place) in &texts {
        if let Err(message) = set.add(text) {
            reader.problems.fatal(*place, message.to_string());
        }
    }
    (!texts.is_empty()).then_some(set)
}

fn expression_fits(reader: &mut Reader<'_, '_>, text: &str, place: Place) -> bool {
    reader.expressions += 1;
    if reader.expressions > MAX_EXPRESSIONS {
        if reader.expressions == MAX_EXPRESSIONS + 1 {
            let message =
                format!("more than {MAX_EXPRESSIONS} regular expressions and globs in one file");
            reader.problems.fatal(place, message);
        }
        return false;
    }
    if text.len() > MAX_EXPRESSION {
        reader.problems.fatal(
            place,
            format!(
                "the expression has {} bytes; {MAX_EXPRESSION} are allowed",
                text.len()
            ),
        );
        return false;
    }
    true
}

fn regex(reader: &mut Reader<'_, '_>, at: &At, name: &str) -> Option<Regex> {
    let text = reader.text(at, name)?;
    if !expression_fits(reader, text, at.place) {
        return None;
    }
    match RegexBuilder::new(text)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .build()
    {
        Ok(regex) => Some(regex),
        Err(error) => {
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default().trim();
            reader.problems.fatal(
                at.place,
                format!("`{name}` is not a valid regular expression: {why}"),
            );
            None
        }
    }
}

/// `{input: value}` pairs; an input that no capability of the pattern has is a mistake.
fn inputs<T>(
    reader: &mut Reader<'_, '_>,
    pattern: Option<&Pattern>,
    at: &At,
    name: &str,
    mut value: impl FnMut(&mut Reader<'_, '_>, &At) -> Option<T>,
) -> Option<ByInput<T>> {
    let mut found = Vec::new();
    let pairs = reader.pairs(at, name);
    if pairs.is_empty() && matches!(at.node, Node::Map(_)) {
        reader
            .problems
            .fatal(at.place, format!("`{name}` names no input"));
    }
    for (key, at) in pairs {
        known_input(reader, pattern, key);
        found.push((key.name.as_str().into(), value(reader, at)?));
    }
    (!found.is_empty()).then(|| found.into())
}

fn known_input(reader: &mut Reader<'_, '_>, pattern: Option<&Pattern>, key: &Key) {
    let Some(pattern) = pattern else { return };
    let definitions = pattern
        .ids
        .iter()
        .filter_map(|id| reader.catalog.all().get(usize::from(*id)));
    let names: Vec<&str> = definitions
        .flat_map(|definition| definition.inputs.iter().map(|field| field.name.as_str()))
        .collect();
    if !names.contains(&key.name.as_str()) {
        let near = nearest(&key.name, names)
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        let message = format!("`{}` has no input `{}`{near}", pattern.text, key.name);
        reader.problems.fatal(key.place, message);
    }
}

fn values(reader: &mut Reader<'_, '_>, at: &At) -> Option<Vec<Value>> {
    let items = reader.items(at, "input_in");
    if items.is_empty() {
        return None;
    }
    Some(items.iter().map(At::to_json).collect())
}

fn number(reader: &mut Reader<'_, '_>, at: &At) -> Option<f64> {
    match at.node {
        // Inputs are compared as JSON numbers, which are doubles beyond 2^53.
        #[allow(clippy::cast_precision_loss)]
        Node::Int(number) => Some(number as f64),
        Node::Float(number) if number.is_finite() => Some(number),
        _ => {
            reader
                .problems
                .fatal(at.place, format!("must be a number, not {}", at.kind()));
            None
        }
    }
}

fn times(reader: &mut Reader<'_, '_>, at: &At) -> Option<Box<[(u32, u32)]>> {
    let mut found = Vec::new();
    for (text, place) in reader.texts(at, "time_of_day") {
        match time_range(text) {
            Some(range) => found.push(range),
            None => reader.problems.fatal(
                place,
                format!("`time_of_day`: `{text}` is not a range such as `08:00-18:00` (UTC, 24 hours, the end excluded)"),
            ),
        }
    }
    (!found.is_empty()).then(|| found.into())
}

/// Minutes since midnight; the end may be 24:00.
fn time_range(text: &str) -> Option<(u32, u32)> {
    let minutes = |text: &str| -> Option<u32> {
        let (hours, minutes) = text.trim().split_once(':')?;
        let two_digits = |text: &str| -> Option<u32> {
            let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse().ok()).flatten()
        };
        let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
        (minutes < 60 && hours * 60 + minutes <= 24 * 60).then_some(hours * 60 + minutes)
    };
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minutes(from)?, minutes(to)?);
    (from != to && from < 24 * 60).then_some((from, to))
}
