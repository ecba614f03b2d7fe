//! What one condition means. A condition about an input that the call does not have never holds.
//!
//! # Calls with several paths
//!
//! `filesystem.copy` and `filesystem.move` have two paths, `filesystem.restore` the entry of the trash
//! and the place it came from. spec/policy.md says that an input with several paths must satisfy all;
//! for a rule that permits this is right, for a rule that restricts it would be a way round: a copy
//! out of a blocked directory has one path inside and one outside, so the rule would not match. So:
//!
//! - A rule that **restricts** (`approval_required`, `blocked`, and every ceiling: built-in, system
//!   and organisation rules unless they say `enforce: baseline`) takes effect if **any** path of the
//!   call satisfies its path conditions.
//! - A rule that **permits** (`autonomous`, `notify`) does only if **all** do.
//!
//! The path conditions of a rule are taken together for one path: with `path_prefix: a` and
//! `path_not_prefix: a/public` one and the same path must be below `a` and not below `a/public`. So
//! «any» over a negative condition means that some path lies outside, and a path that one condition
//! excludes never lends the others its weight.
//!
//! This is not tried rule by rule, since in a list whose first match answers a rule that matched for
//! one path would hide a stricter one behind it that matches for another. A call with several paths is
//! decided as a whole, where conditions must hold for all paths, and once for each path as if it were
//! the only one; the most restrictive answer counts ([`crate::facts::View`]). So a call never gets a
//! freer tier than it would with any one of its paths alone, an exemption that comes first in a list
//! holds for its path and no other, and what needs all paths gets no looser than the specification has
//! it.

use crate::builtin::Hazard;
use crate::facts::{Facts, NormalPath, is_below};
use crate::url::HostSet;
use globset::GlobMatcher;
use kruxos_types::Tier;
use regex::Regex;
use serde_json::Value;
use std::path::Path;

/// One condition of a rule.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) test: Test,
    /// As in the file, on one line: what explanations show, and equal for equal conditions.
    pub(crate) text: Box<str>,
}

/// A path prefix as a rule means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// Below the caller's workspace.
    Inside(Box<[u8]>),
    /// Below the root.
    Absolute(Box<[u8]>),
}

impl Prefix {
    fn covers(&self, path: &NormalPath) -> bool {
        match self {
            Prefix::Absolute(prefix) => is_below(path.absolute(), prefix),
            Prefix::Inside(prefix) => path.inside().is_some_and(|part| is_below(part, prefix)),
        }
    }
}

/// A glob over paths inside the workspace or over absolute paths.
#[derive(Debug, Clone)]
pub(crate) struct PathGlob {
    pub(crate) inside: bool,
    pub(crate) matcher: GlobMatcher,
}

impl PathGlob {
    fn covers(&self, path: &NormalPath) -> bool {
        let bytes = match self.inside {
            true => path
                .inside()
                .map(|part| part.strip_prefix(b"/").unwrap_or(part)),
            false => Some(path.absolute()),
        };
        let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.is_some_and(|text| self.matcher.is_match(Path::new(text)))
    }
}

/// Comparisons with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    Lt,
    Lte,
    Gt,
    Gte,
}

impl Compare {
    fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Compare::Lt => left < right,
            Compare::Lte => left <= right,
            Compare::Gt => left > right,
            Compare::Gte => left >= right,
        }
    }
}

/// What inputs, by name, are compared with.
pub(crate) type ByInput<T> = Box<[(Box<str>, T)]>;

/// Fields of the language and what each compares.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    PathPrefix(Box<[Prefix]>),
    PathNotPrefix(Box<[Prefix]>),
    PathGlob(Box<[PathGlob]>),
    ContentSize(Compare, u64),
    DomainIn(HostSet),
    DomainNotIn(HostSet),
    UrlSchemeIn(Box<[Box<str>]>),
    MethodIn(Box<[Box<str>]>),
    CommandIn(Box<[Box<str>]>),
    CommandMatches(Regex),
    ArgsMatch(Regex),
    InputEquals(ByInput<Value>),
    InputIn(ByInput<Vec<Value>>),
    InputCompare(Compare, ByInput<f64>),
    /// Minutes since midnight, UTC; the end is not part of the range, which may cross midnight.
    TimeOfDay(Box<[(u32, u32)]>),
    /// Bit 0 is Monday.
    WeekdayIn(u8),
    /// Bits by `PrincipalKind`.
    PrincipalType(u8),
    /// Bits by `Interface`.
    InterfaceIn(u8),
    /// A built-in protection.
    Hazard(Hazard),
}

impl Test {
    /// Cheap ones first: conditions of one rule are tried in this order.
    pub(crate) fn cost(&self) -> u8 {
        match self {
            Test::PrincipalType(_) | Test::InterfaceIn(_) => 0,
            Test::ContentSize(..) | Test::WeekdayIn(_) | Test::TimeOfDay(_) => 1,
            Test::MethodIn(_) | Test::CommandIn(_) => 2,
            Test::InputEquals(_) | Test::InputIn(_) | Test::InputCompare(..) => 3,
            Test::PathPrefix(_) | Test::PathNotPrefix(_) => 4,
            Test::UrlSchemeIn(_) | Test::DomainIn(_) | Test::DomainNotIn(_) => 5,
            Test::PathGlob(_) | Test::CommandMatches(_) | Test::ArgsMatch(_) => 6,
            Test::Hazard(_) => 7,
        }
    }

    /// Whether it looks at paths.
    pub(crate) fn is_about_paths(&self) -> bool {
        matches!(
            self,
            Test::PathPrefix(_) | Test::PathNotPrefix(_) | Test::PathGlob(_)
        )
    }

    /// Whether the call satisfies it; a condition about paths, whether the paths in view do.
    pub(crate) fn holds(&self, facts: &Facts<'_>) -> bool {
        let all_paths = |holds: &dyn Fn(&NormalPath) -> bool| {
            let paths = facts.viewed();
            !paths.is_empty() && paths.iter().all(holds)
        };
        match self {
            Test::PathPrefix(prefixes) => {
                all_paths(&|path| prefixes.iter().any(|prefix| prefix.covers(path)))
            }
            Test::PathNotPrefix(prefixes) => {
                all_paths(&|path| !prefixes.iter().any(|prefix| prefix.covers(path)))
            }
            Test::PathGlob(globs) => all_paths(&|path| globs.iter().any(|glob| glob.covers(path))),
            Test::ContentSize(compare, limit) => facts
                .content_size()
                .is_some_and(|size| compare.holds(size, *limit)),
            Test::DomainIn(set) => all(facts.hosts(), |host| {
                host.is_ok_and(|host| set.contains(&host))
            }),
            Test::DomainNotIn(set) => all(facts.hosts(), |host| {
                host.map_or(true, |host| !set.contains(&host))
            }),
            Test::UrlSchemeIn(list) => all(facts.schemes(), |scheme| {
                scheme.is_ok_and(|scheme| any_case(list, scheme))
            }),
            Test::MethodIn(list) => facts
                .text("method")
                .is_some_and(|method| any_case(list, method)),
            Test::CommandIn(list) => facts
                .text("command")
                .is_some_and(|command| list.iter().any(|entry| **entry == *command)),
            Test::CommandMatches(regex) => facts
                .text("command")
                .is_some_and(|text| regex.is_match(text)),
            Test::ArgsMatch(regex) => {
                facts.shape.args && facts.joined_args().is_some_and(|text| regex.is_match(text))
            }
            // Null is also an input that was left out: so a rule can name a whole call.
            Test::InputEquals(pairs) => pairs.iter().all(|(input, value)| {
                let given = facts.query.inputs.get(&**input);
                given.map_or(value.is_null(), |given| same(given, value))
            }),
            Test::InputIn(pairs) => pairs.iter().all(|(input, values)| {
                let given = facts.query.inputs.get(&**input);
                given.is_some_and(|given| values.iter().any(|value| same(given, value)))
            }),
            Test::InputCompare(compare, pairs) => pairs.iter().all(|(input, limit)| {
                let given = facts.query.inputs.get(&**input).and_then(Value::as_f64);
                given.is_some_and(|given| compare.holds(given, *limit))
            }),
            Test::TimeOfDay(ranges) => {
                let minute = facts.minute_of_day();
                ranges.iter().any(|(from, to)| match from < to {
                    true => (*from..*to).contains(&minute),
                    false => minute >= *from || minute < *to,
                })
            }
            Test::WeekdayIn(days) => days & (1 << facts.weekday()) != 0,
            Test::PrincipalType(kinds) => kinds & (1 << facts.query.principal.kind as u8) != 0,
            Test::InterfaceIn(doors) => doors & (1 << facts.query.interface as u8) != 0,
            Test::Hazard(hazard) => hazard.threatens(facts),
        }
    }
}

/// Whether a rule of this tier and force restricts: then one path of a call is enough for its path
/// conditions, otherwise all have to satisfy them.
pub(crate) fn restricts(tier: Tier, ceiling: bool) -> bool {
    ceiling || tier >= Tier::ApprovalRequired
}

/// Whether there is at least one and all hold.
fn all<T>(mut items: impl Iterator<Item = T>, mut holds: impl FnMut(T) -> bool) -> bool {
    let Some(first) = items.next() else {
        return false;
    };
    holds(first) && items.all(holds)
}

fn any_case(list: &[Box<str>], text: &str) -> bool {
    list.iter().any(|entry| entry.eq_ignore_ascii_case(text))
}

/// Equality of JSON values, in which 1 and 1.0 are the same number.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) if a != b => {
            a.is_f64() != b.is_f64() && a.as_f64() == b.as_f64()
        }
        _ => left == right,
    }
}
