//! Loading definition files: used by `cargo xtask gen` for our own and, at run time, for packs. No
//! I/O: the caller reads the files.

use crate::rules::{self, Checked};
use crate::source::Source;
use crate::yaml::{self, Place};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub use crate::yaml::MAX_FILE_BYTES;

/// Problems of one file that are reported; the rest follows from the first or can wait.
const MAX_PROBLEMS: usize = 100;

/// Something wrong in a definition file. Shown as `file:line:column: message`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// The file as the caller named it.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: u64,
    /// Counted from 1.
    pub column: u64,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        )
    }
}

/// A definition that keeps the rules that one file can keep; [`link`] checks the rest.
#[derive(Debug)]
pub struct Loaded {
    source: Source,
    file: Arc<str>,
    place: Place,
    references: Vec<(String, Place)>,
}

impl Loaded {
    /// The definition.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }
}

/// Reads one file. `known_error` says which error codes exist.
///
/// # Errors
/// All problems found (at most 100), each with its place. Syntax, unknown and repeated keys and wrong
/// types end the reading at the first.
pub fn file(
    name: &str,
    bytes: &[u8],
    known_error: &dyn Fn(&str) -> bool,
) -> Result<Vec<Loaded>, Vec<Problem>> {
    let file: Arc<str> = name.into();
    let mut problems = Vec::new();
    let mut report = |place: Place, message: String| {
        if problems.len() < MAX_PROBLEMS {
            problems.push(problem(&file, place, message));
        }
    };
    let raw = match yaml::parse(bytes) {
        Ok(raw) => raw,
        Err(error) => return Err(vec![problem(&file, error.place, error.message)]),
    };
    if !rules::is_name(&raw.category.value) {
        let message = format!("'{}' is not a category's name", raw.category.value);
        report(Place::of(&raw.category), message);
    }
    let mut loaded = Vec::with_capacity(raw.capabilities.0.len());
    for (name, capability) in raw.capabilities.0 {
        let place = Place::of(&name);
        let Checked { source, references } = rules::capability(
            &raw.category.value,
            name,
            capability,
            known_error,
            &mut report,
        );
        loaded.push(Loaded {
            source,
            file: Arc::clone(&file),
            place,
            references,
        });
    }
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(problems)
    }
}

/// Puts the definitions of all files together, sorted by name.
///
/// # Errors
/// A name that is there twice, a recovery action that names a capability that nobody defines.
pub fn link(mut loaded: Vec<Loaded>) -> Result<Vec<Source>, Vec<Problem>> {
    loaded.sort_by(|a, b| a.source.name.cmp(&b.source.name));
    let mut problems = Vec::new();
    let mut names: HashMap<&str, &Loaded> = HashMap::new();
    for one in &loaded {
        if let Some(first) = names.insert(&one.source.name, one) {
            let message = format!(
                "'{}' is defined in {}:{} already",
                one.source.name, first.file, first.place.line
            );
            problems.push(problem(&one.file, one.place, message));
        }
    }
    for one in &loaded {
        for (name, place) in &one.references {
            if !names.contains_key(name.as_str()) {
                let message = format!("no capability is named '{name}'");
                problems.push(problem(&one.file, *place, message));
            }
        }
    }
    if problems.is_empty() {
        Ok(loaded.into_iter().map(|one| one.source).collect())
    } else {
        Err(problems)
    }
}

fn problem(file: &Arc<str>, place: Place, message: String) -> Problem {
    Problem {
        file: Arc::clone(file),
        line: place.line,
        column: place.column,
        message,
    }
}
