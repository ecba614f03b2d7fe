//! Globs and regular expressions of callers: linear in time, bounded in size, with the place of a
//! mistake in the error.

use super::text::quote;
use globset::{ErrorKind, GlobBuilder, GlobMatcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use kruxos_types::{CallError, ErrorType};
use regex::{Regex, RegexBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Longest glob, in bytes: the bound of the definition's type.
const MAX_GLOB: usize = 1_024;
/// Longest regular expression or literal to look for, in bytes.
const MAX_PATTERN: usize = 64 << 10;
/// Memory a compiled expression may take, in bytes: `\pL{1000}{1000}` asks for gigabytes.
const MAX_COMPILED: usize = 4 << 20;
/// Memory for the lazily built automaton, in bytes; beyond it the slower engine goes on.
const MAX_AUTOMATON: usize = 8 << 20;
/// Groups within groups.
const MAX_NESTING: u32 = 100;

/// A glob as the definitions explain it: without a slash it is matched against the name at any
/// depth, with one against the path below the searched directory, where `*` stops at slashes.
pub(super) struct Glob {
    matcher: GlobMatcher,
    by_path: bool,
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Result<Glob, CallError> {
        if pattern.is_empty() || pattern.len() > MAX_GLOB {
            return Err(invalid(
                pattern,
                "a glob has 1 to 1024 bytes",
                Some(pattern.len().min(MAX_GLOB)),
            ));
        }
        let anchored = pattern.strip_prefix("./").unwrap_or(pattern);
        let glob = GlobBuilder::new(anchored)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| {
                invalid(
                    pattern,
                    &error.kind().to_string(),
                    glob_position(pattern, error.kind()),
                )
            })?;
        Ok(Glob {
            matcher: glob.compile_matcher(),
            by_path: pattern.contains('/'),
        })
    }

    /// `rel` is the raw path below the searched directory.
    pub(super) fn matches(&self, rel: &[u8]) -> bool {
        let subject = if self.by_path {
            rel
        } else {
            rel.rsplit(|byte| *byte == b'/').next().unwrap_or(rel)
        };
        self.matcher.is_match(Path::new(OsStr::from_bytes(subject)))
    }
}

/// Where a glob's mistake is, as far as its kind tells.
fn glob_position(pattern: &str, kind: &ErrorKind) -> Option<usize> {
    match kind {
        ErrorKind::UnclosedClass => pattern.rfind('['),
        ErrorKind::InvalidRange(from, to) => pattern.find(&format!("{from}-{to}")),
        ErrorKind::UnclosedAlternates => pattern.rfind('{'),
        ErrorKind::UnopenedAlternates => pattern.find('}'),
        ErrorKind::DanglingEscape => pattern.rfind('\\'),
        _ => None,
    }
}

/// An expression for replacing. `^` and `$` match at line ends.
pub(super) fn regex(pattern: &str) -> Result<Regex, CallError> {
    check_syntax(pattern)?;
    RegexBuilder::new(pattern)
        .multi_line(true)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_AUTOMATON)
        .nest_limit(MAX_NESTING)
        .build()
        .map_err(|error| invalid(pattern, &reason(&error.to_string()), None))
}

/// A matcher for searching line by line.
pub(super) fn line_matcher(pattern: &str, is_regex: bool) -> Result<RegexMatcher, CallError> {
    if pattern.contains('\n') {
        let position = pattern.find('\n');
        return Err(invalid(
            pattern,
            "it contains a line break, and the search goes line by line",
            position,
        ));
    }
    if is_regex {
        check_syntax(pattern)?;
    } else {
        check_length(pattern)?;
    }
    RegexMatcherBuilder::new()
        .fixed_strings(!is_regex)
        .line_terminator(Some(b'\n'))
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_AUTOMATON)
        .nest_limit(MAX_NESTING)
        .build(pattern)
        .map_err(|error| invalid(pattern, &reason(&error.to_string()), None))
}

/// Refuses an empty or overlong literal.
pub(super) fn check_length(pattern: &str) -> Result<(), CallError> {
    if pattern.is_empty() {
        return Err(invalid(pattern, "it is empty", Some(0)));
    }
    if pattern.len() > MAX_PATTERN {
        return Err(invalid(
            pattern,
            "it is longer than 65536 bytes",
            Some(MAX_PATTERN),
        ));
    }
    Ok(())
}

/// Parses alone, which is what knows the place of a mistake.
fn check_syntax(pattern: &str) -> Result<(), CallError> {
    check_length(pattern)?;
    let mut parser = regex_syntax::ParserBuilder::new()
        .nest_limit(MAX_NESTING)
        .build();
    parser.parse(pattern).map(drop).map_err(|error| {
        let (reason, position) = match &error {
            regex_syntax::Error::Parse(error) => {
                (error.kind().to_string(), Some(error.span().start.offset))
            }
            regex_syntax::Error::Translate(error) => {
                (error.kind().to_string(), Some(error.span().start.offset))
            }
            other => (reason(&other.to_string()), None),
        };
        invalid(pattern, &reason, position)
    })
}

/// The last line of a message that draws the pattern above it.
fn reason(message: &str) -> String {
    message
        .lines()
        .next_back()
        .unwrap_or(message)
        .trim_start_matches("error: ")
        .to_owned()
}

fn invalid(pattern: &str, reason: &str, position: Option<usize>) -> CallError {
    CallError::new(ErrorType::InvalidPattern)
        .with("pattern", quote(pattern))
        .with("reason", reason)
        .with("position", position)
}
