//! Policy test files: policies, cases and what each is expected to get. No gateway, no clock: a case
//! without `at` takes place at a fixed time, and each begins with no call counted.

mod junit;
mod read;

pub use junit::junit;

use crate::facts::VIRTUAL_WORKSPACE;
use crate::load::{Input, Inputs};
use crate::yaml::At;
use crate::{Diagnostic, PolicySet, Query, RateCounters, Source, Sources};
use jiff::Timestamp;
use kruxos_catalog::{Catalog, Definition};
use kruxos_types::{Interface, Object, Principal};
use read::{Expected, Owner};
use serde::Serialize;

/// Finds the file that a test file names, relative to the test file.
pub type Open<'o> = dyn FnMut(&str) -> Result<Source, Unreadable> + 'o;

/// Why a file that a test file names cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// What came of one case.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct CaseResult {
    pub name: String,
    /// A tier or `rate_limited`.
    pub expected: String,
    pub actual: String,
    /// The layer that decided.
    pub winner: String,
    /// What is wrong, at the place of `expect`; nothing for a case that passed.
    #[serde(skip)]
    pub failure: Option<Diagnostic>,
}

/// What came of a test file.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs)]
pub struct Report {
    pub passed: usize,
    pub failed: usize,
    pub cases: Vec<CaseResult>,
    /// Warnings of the policies and of the test file.
    #[serde(skip)]
    pub warnings: Vec<Diagnostic>,
}

/// A case, read.
#[derive(Debug)]
struct Case<'c> {
    name: String,
    principal: Principal,
    definition: &'c Definition,
    inputs: Object,
    at: Timestamp,
    interface: Interface,
    repeat: u64,
    expected: Expected,
}

/// The policies of a test file: its own mappings and the files that it names.
#[derive(Debug, Default)]
struct Policies {
    files: Sources,
    inline: Vec<(Owner, At)>,
}

impl Policies {
    fn inputs<'p>(&'p self, test_file: &'p str) -> Inputs<'p> {
        let mut inputs = Inputs::from(&self.files);
        for (owner, tree) in &self.inline {
            let input = Input::tree(test_file, tree);
            match owner {
                Owner::System => inputs.system = Some(input),
                Owner::Organisation => inputs.organisation = Some(input),
                Owner::User => inputs.user = Some(input),
                Owner::Agent(name) => drop(inputs.agents.insert(name, input)),
            }
        }
        inputs
    }
}

/// Runs a test file.
///
/// # Errors
/// What is wrong with the test file or with a policy that it uses, with its place.
pub fn run(
    source: &Source,
    open: &mut Open<'_>,
    catalog: &Catalog,
) -> Result<Report, Vec<Diagnostic>> {
    let (policies, cases) = read::test_file(source, open, catalog)?;
    let (set, warnings) = PolicySet::compile_inputs(&policies.inputs(&source.file), catalog, 1)?;
    let mut report = Report {
        warnings,
        ..Report::default()
    };
    for case in &cases {
        let result = case.run(&set, &source.file);
        match result.failure {
            None => report.passed += 1,
            Some(_) => report.failed += 1,
        }
        report.cases.push(result);
    }
    Ok(report)
}

impl Case<'_> {
    fn run(&self, set: &PolicySet, file: &str) -> CaseResult {
        let query = Query {
            principal: &self.principal,
            definition: self.definition,
            inputs: &self.inputs,
            interface: self.interface,
            now: self.at,
            workspace: VIRTUAL_WORKSPACE,
            touches: &[],
        };
        let rates = RateCounters::default();
        for _ in 1..self.repeat {
            // What an earlier call gets is not asked for; only that it is counted.
            let _ = set.decide(&query, &rates);
        }
        let told = set.explain(&query, &rates);
        let actual = match told.refusal {
            Some(_) => read::RATE_LIMITED.to_owned(),
            None => told.tier.as_str().to_owned(),
        };
        let expected = self.expected.name.to_owned();
        let failure = (actual != expected).then(|| {
            let by = told
                .layers
                .iter()
                .find(|layer| layer.layer == told.winner)
                .map(|layer| {
                    let place = match (&layer.file, layer.line) {
                        (Some(file), Some(line)) => format!(" {file}:{line}"),
                        _ => String::new(),
                    };
                    let rule = layer.rule.as_deref().unwrap_or_default();
                    let rule = if rule.is_empty() {
                        String::new()
                    } else {
                        format!(" `{rule}`")
                    };
                    let reason = layer.reason.as_deref();
                    let reason = reason.map(|reason| format!(" ({reason})"));
                    format!("{place}{rule}{}", reason.unwrap_or_default())
                });
            Diagnostic {
                file: file.to_owned(),
                line: self.expected.place.line as usize,
                column: self.expected.place.column as usize,
                message: format!(
                    "«{}» expects `{expected}` and gets `{actual}`: decided by {}{}",
                    self.name,
                    told.winner,
                    by.unwrap_or_default()
                ),
                fatal: true,
            }
        });
        CaseResult {
            name: self.name.clone(),
            expected,
            actual,
            winner: told.winner,
            failure,
        }
    }
}
