//! Calls made up from rules: one that meets all conditions of a rule, and others beside it that leave one
//! of them at its edge.

use super::{Example, sample};
use crate::compile::Rule;
use crate::condition::{Compare, Prefix, Test};
use crate::examples::EXAMPLE_TIME;
use crate::facts::Shape;
use jiff::{SignedDuration, Timestamp};
use kruxos_catalog::Definition;
use kruxos_types::{Interface, Object};
use serde_json::Value;
use std::collections::HashSet;

/// Calls that are made up for one capability.
const MAX_PROBES: usize = 4_000;
/// Values of one condition that are tried, of a long list the first.
const MAX_VALUES: usize = 24;
/// Bytes of content that is made up; a condition on more is not reached.
const MAX_CONTENT: u64 = 16 << 20;
/// Characters of an example's text that are shown.
const MAX_SHOWN: usize = 200;

/// A made-up call.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    pub(super) inputs: Object,
    pub(super) interface: Interface,
    pub(super) at: Timestamp,
}

impl Default for Probe {
    fn default() -> Self {
        Probe {
            inputs: Object::new(),
            interface: Interface::Mcp,
            at: Timestamp::from_second(EXAMPLE_TIME).unwrap_or_default(),
        }
    }
}

/// One thing about a call that a condition asks for.
#[derive(Debug, Clone)]
enum Change {
    Inputs(Vec<(String, Value)>),
    /// Bytes of the content input.
    Content(String, u64),
    Interface(Interface),
    /// Minutes after midnight of the same day.
    Minute(i64),
    /// Days after Monday of the same week.
    Weekday(i64),
}

impl Probe {
    fn with(&self, change: &Change) -> Probe {
        let mut probe = self.clone();
        match change {
            Change::Inputs(pairs) => probe.inputs.extend(pairs.iter().cloned()),
            Change::Content(name, size) => {
                let text = "x".repeat(usize::try_from(*size).unwrap_or_default());
                probe.inputs.insert(name.clone(), Value::from(text));
            }
            Change::Interface(interface) => probe.interface = *interface,
            Change::Minute(minute) => {
                let day = self.at.as_second().div_euclid(86_400) * 86_400;
                probe.at = Timestamp::from_second(day + minute * 60).unwrap_or(self.at);
            }
            Change::Weekday(day) => {
                // The example's day is a Monday.
                let base = EXAMPLE_TIME.div_euclid(86_400) * 86_400;
                let time = SignedDuration::from_secs(self.at.as_second().rem_euclid(86_400));
                let at = Timestamp::from_second(base + day * 86_400).ok();
                probe.at = at
                    .and_then(|at| at.checked_add(time).ok())
                    .unwrap_or(self.at);
            }
        }
        probe
    }

    /// For a person: long texts by their length.
    pub(super) fn shown(&self) -> Example {
        let inputs = self.inputs.iter().map(|(name, value)| {
            let value = match value {
                Value::String(text) if text.len() > MAX_SHOWN => {
                    Value::from(format!("({} bytes)", text.len()))
                }
                other => other.clone(),
            };
            (name.clone(), value)
        });
        Example {
            inputs: inputs.collect(),
            interface: self.interface.as_str(),
            at: self.at.to_string(),
        }
    }

    /// What tells probes apart, without the bytes of long contents.
    fn key(&self) -> String {
        let shown = self.shown();
        format!(
            "{} {} {}",
            Value::Object(shown.inputs),
            shown.interface,
            shown.at
        )
    }
}

/// The calls made up for one capability.
pub(super) struct Probes {
    shape: Shape,
    found: Vec<Probe>,
    known: HashSet<String>,
}

impl Probes {
    pub(super) fn new(definition: &Definition) -> Probes {
        Probes {
            shape: Shape::of(definition),
            found: Vec::new(),
            known: HashSet::new(),
        }
    }

    pub(super) fn into_vec(self) -> Vec<Probe> {
        self.found
    }

    /// Makes up calls for a rule; `meets` says how many of its conditions a call meets, from the first.
    /// Whether one was found that meets all.
    pub(super) fn of_rule(&mut self, rule: &Rule, meets: impl Fn(&Probe) -> usize) -> bool {
        if self.found.len() >= MAX_PROBES {
            return false;
        }
        let changes: Vec<Vec<Change>> = rule
            .conditions
            .iter()
            .map(|condition| self.changes(&condition.test))
            .collect();
        let Some(whole) = meet_all(&changes, &meets) else {
            return false;
        };
        self.add(whole.clone());
        for change in changes.iter().flatten() {
            self.add(whole.with(change));
        }
        true
    }

    fn add(&mut self, probe: Probe) {
        if self.found.len() < MAX_PROBES && self.known.insert(probe.key()) {
            self.found.push(probe);
        }
    }

    /// What makes a condition hold, or just not hold.
    fn changes(&self, test: &Test) -> Vec<Change> {
        let one = |name: &str, value: Value| Change::Inputs(vec![(name.to_owned(), value)]);
        let texts = |name: &str, texts: Vec<String>| -> Vec<Change> {
            texts
                .into_iter()
                .map(|text| one(name, Value::from(text)))
                .collect()
        };
        let mut changes: Vec<Change> = match test {
            Test::PathPrefix(prefixes) | Test::PathNotPrefix(prefixes) => {
                let near = prefixes.iter().take(MAX_VALUES).flat_map(near_prefix);
                self.paths(near.chain(["elsewhere/file".to_owned(), "/elsewhere/file".to_owned()]))
            }
            Test::PathGlob(globs) => {
                let samples = globs
                    .iter()
                    .map(|glob| sample::of_glob(glob.matcher.glob().glob()));
                self.paths(samples.chain(["elsewhere/file".to_owned()]))
            }
            Test::ContentSize(compare, limit) => self.sizes(*compare, *limit),
            Test::DomainIn(hosts) | Test::DomainNotIn(hosts) => self.hosts(
                hosts
                    .samples()
                    .take(MAX_VALUES)
                    .chain(["elsewhere.invalid".to_owned()]),
            ),
            Test::UrlSchemeIn(schemes) => {
                let urls = schemes
                    .iter()
                    .map(|scheme| format!("{scheme}://elsewhere.invalid/"));
                let names = self.shape.urls.iter();
                let urls: Vec<String> = urls
                    .chain(["other://elsewhere.invalid/".to_owned()])
                    .collect();
                names.flat_map(|name| texts(name, urls.clone())).collect()
            }
            Test::MethodIn(methods) => {
                let other = ["GET", "POST", "DELETE"].map(str::to_owned);
                texts(
                    "method",
                    methods
                        .iter()
                        .map(|one| one.to_string())
                        .chain(other)
                        .collect(),
                )
            }
            Test::CommandIn(commands) => {
                let other = ["elsewhere".to_owned()];
                texts(
                    "command",
                    commands
                        .iter()
                        .take(MAX_VALUES)
                        .map(|one| one.to_string())
                        .chain(other)
                        .collect(),
                )
            }
            Test::CommandMatches(regex) => {
                let other = ["elsewhere".to_owned()];
                texts(
                    "command",
                    sample::of_regex(regex.as_str())
                        .into_iter()
                        .chain(other)
                        .collect(),
                )
            }
            Test::ArgsMatch(regex) => {
                let words = |text: String| Value::Array(text.split(' ').map(Value::from).collect());
                let samples = sample::of_regex(regex.as_str()).into_iter().map(words);
                samples
                    .chain([Value::Array(Vec::new())])
                    .map(|args| one("args", args))
                    .collect()
            }
            other => of_inputs_and_times(other),
        };
        changes.truncate(MAX_VALUES * 4);
        changes
    }

    /// Each path in every path input at once, and in each alone where there are several.
    fn paths(&self, paths: impl Iterator<Item = String>) -> Vec<Change> {
        let inputs: Vec<&str> = self.shape.paths.iter().map(|input| &*input.name).collect();
        let pair = |name: &&str, path: &str| ((*name).to_owned(), Value::from(path));
        let mut changes = Vec::new();
        for path in paths {
            changes.push(Change::Inputs(
                inputs.iter().map(|name| pair(name, &path)).collect(),
            ));
            if inputs.len() > 1 {
                changes.extend(
                    inputs
                        .iter()
                        .map(|name| Change::Inputs(vec![pair(name, &path)])),
                );
            }
        }
        changes
    }

    fn hosts(&self, hosts: impl Iterator<Item = String>) -> Vec<Change> {
        let mut changes = Vec::new();
        for host in hosts {
            let bracketed = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.clone()
            };
            let urls = self.shape.urls.iter().map(|name| {
                (
                    name.to_string(),
                    Value::from(format!("https://{bracketed}/")),
                )
            });
            let names = self
                .shape
                .hosts
                .iter()
                .map(|name| (name.to_string(), Value::from(host.as_str())));
            changes.push(Change::Inputs(urls.chain(names).collect()));
        }
        changes
    }

    fn sizes(&self, compare: Compare, limit: u64) -> Vec<Change> {
        let Some(name) = self.shape.content.as_deref() else {
            return Vec::new();
        };
        let sizes = match compare {
            Compare::Lt | Compare::Gte => [limit.saturating_sub(1), limit],
            Compare::Lte | Compare::Gt => [limit, limit.saturating_add(1)],
        };
        let small = sizes.into_iter().filter(|size| *size <= MAX_CONTENT);
        small
            .map(|size| Change::Content(name.to_owned(), size))
            .collect()
    }
}

/// A call that meets one condition after the other; each takes the first of its changes that keeps those
/// before it.
fn meet_all(changes: &[Vec<Change>], meets: &impl Fn(&Probe) -> usize) -> Option<Probe> {
    let mut probe = Probe::default();
    for (position, changes) in changes.iter().enumerate() {
        if meets(&probe) > position {
            continue;
        }
        probe = changes
            .iter()
            .map(|change| probe.with(change))
            .find(|probe| meets(probe) > position)?;
    }
    Some(probe)
}

/// The prefix's own path, one below it and one that only begins like it.
fn near_prefix(prefix: &Prefix) -> [String; 3] {
    let path = match prefix {
        Prefix::Absolute(path) => String::from_utf8_lossy(path).into_owned(),
        Prefix::Inside(path) => format!("/workspace{}", String::from_utf8_lossy(path)),
    };
    [
        format!("{path}/probe"),
        format!("/{}", path.trim_start_matches('/')),
        format!("{path}x"),
    ]
}

/// A number as JSON writes it: whole ones without a point.
fn number(value: f64) -> Value {
    // Whole and small enough, so nothing is cut off.
    #[allow(clippy::cast_possible_truncation)]
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => Value::from(value as i64),
        false => Value::from(value),
    }
}

/// What makes a condition on inputs by name, on the time or on the door hold, or just not hold.
fn of_inputs_and_times(test: &Test) -> Vec<Change> {
    match test {
        Test::InputEquals(pairs) => {
            let all = pairs
                .iter()
                .map(|(name, value)| (name.to_string(), value.clone()));
            vec![Change::Inputs(all.collect())]
        }
        Test::InputIn(pairs) => {
            let most = pairs
                .iter()
                .map(|(_, values)| values.len())
                .max()
                .unwrap_or(0)
                .min(MAX_VALUES);
            let nth = |nth: usize| {
                let all = pairs.iter().filter_map(|(name, values)| {
                    Some((
                        name.to_string(),
                        values.get(nth % values.len().max(1))?.clone(),
                    ))
                });
                Change::Inputs(all.collect())
            };
            (0..most).map(nth).collect()
        }
        Test::InputCompare(_, pairs) => {
            let moved = |by: f64| {
                let all = pairs
                    .iter()
                    .map(|(name, limit)| (name.to_string(), number(limit + by)));
                Change::Inputs(all.collect())
            };
            vec![moved(-1.0), moved(0.0), moved(1.0)]
        }
        Test::TimeOfDay(ranges) => {
            let edges = ranges.iter().flat_map(|(from, to)| {
                let (from, to) = (i64::from(*from), i64::from(*to));
                [from, from - 1, to - 1, to]
            });
            edges
                .map(|minute| Change::Minute(minute.rem_euclid(24 * 60)))
                .collect()
        }
        Test::WeekdayIn(_) => (0..7).map(Change::Weekday).collect(),
        Test::InterfaceIn(_) => Interface::ALL.map(Change::Interface).to_vec(),
        _ => Vec::new(),
    }
}
