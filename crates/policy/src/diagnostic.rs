use serde::Serialize;
use std::fmt::Write;

/// A problem in a policy file, with its place.
#[derive(Debug, Clone, PartialEq, Serialize, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
#[allow(missing_docs)]
pub struct Diagnostic {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    /// `true` stops the file from being used; `false` is a warning.
    pub fatal: bool,
}

/// A place in a file: line and column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Place {
    pub(crate) const START: Place = Place { line: 1, column: 1 };
}

/// Collects the problems of one file.
#[derive(Debug)]
pub(crate) struct Problems<'a> {
    file: &'a str,
    found: Vec<Diagnostic>,
}

/// A file with thousands of mistakes is one mistake; more of them help nobody.
const MAX_DIAGNOSTICS: usize = 100;

impl<'a> Problems<'a> {
    pub(crate) fn new(file: &'a str) -> Self {
        Self {
            file,
            found: Vec::new(),
        }
    }

    pub(crate) fn fatal(&mut self, at: Place, message: impl Into<String>) {
        self.push(at, message.into(), true);
    }

    pub(crate) fn warn(&mut self, at: Place, message: impl Into<String>) {
        self.push(at, message.into(), false);
    }

    fn push(&mut self, at: Place, message: String, fatal: bool) {
        if self.found.len() < MAX_DIAGNOSTICS {
            let (line, column) = (at.line as usize, at.column as usize);
            self.found.push(Diagnostic {
                file: self.file.to_owned(),
                line,
                column,
                message,
                fatal,
            });
        } else if fatal && self.found.iter().all(|found| !found.fatal) {
            // The bound must never turn a refused file into an accepted one.
            self.found.pop();
            self.push(at, message, fatal);
        }
    }

    /// Whether more problems would not be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= MAX_DIAGNOSTICS
    }

    pub(crate) fn any_fatal(&self) -> bool {
        self.found.iter().any(|found| found.fatal)
    }

    pub(crate) fn into_vec(self) -> Vec<Diagnostic> {
        self.found
    }
}

/// The candidate nearest to `name`, where one is near enough to be meant.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Below this similarity a suggestion confuses more than it helps.
    const NEAR: f64 = 0.6;
    let best = candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= NEAR).then_some(best.1)
}

/// `" (did you mean …?)"`, or the list of what is valid when nothing is near.
pub(crate) fn suggestion(name: &str, valid: &[&str]) -> String {
    match nearest(name, valid.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; valid: {}", valid.join(", ")),
    }
}

/// A diagnostic for a terminal: the message, the line it is about and a caret below its column.
///
/// `text` is the file's text; a place that the text does not have is shown without its line.
#[must_use]
pub fn render_diagnostic(diagnostic: &Diagnostic, text: &str) -> String {
    let kind = if diagnostic.fatal { "error" } else { "warning" };
    let mut shown = format!("{kind}: {}\n", diagnostic.message);
    let number = diagnostic.line.to_string();
    let pad = " ".repeat(number.len());
    let place = format!(
        "{}:{}:{}",
        diagnostic.file, diagnostic.line, diagnostic.column
    );
    // Writing to a String cannot fail.
    let _ = writeln!(shown, "{pad}--> {place}");
    if let Some(line) = diagnostic
        .line
        .checked_sub(1)
        .and_then(|index| text.lines().nth(index))
    {
        let clean: String = line
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MAX_SHOWN)
            .collect();
        let caret = " ".repeat(
            diagnostic
                .column
                .saturating_sub(1)
                .min(clean.chars().count()),
        );
        let _ = writeln!(shown, "{pad} |\n{number} | {clean}\n{pad} | {caret}^");
    }
    shown
}

/// Characters of a line that are shown.
const MAX_SHOWN: usize = 160;

/// What is wrong with a piece of a file, before its place is known: becomes a [`Diagnostic`]'s message.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Mistake(String);

impl From<String> for Mistake {
    fn from(message: String) -> Self {
        Self(message)
    }
}

impl From<&str> for Mistake {
    fn from(message: &str) -> Self {
        Self(message.to_owned())
    }
}
