//! `policy test`: cases against policies, without a gateway.

use super::Cx;
use super::policy_files::{read, render};
use crate::failure::{Exit, Failure};
use crate::output::Look;
use kruxos_catalog::Catalog;
use kruxos_policy::testing::{Report, Unreadable, junit, run as run_file};
use kruxos_policy::{Diagnostic, Source};
use serde_json::json;
use std::path::{Path, PathBuf};

pub(super) fn run(cx: &Cx<'_>, files: &[PathBuf], report: Option<&Path>) -> Result<(), Failure> {
    let mut reports: Vec<(String, Report)> = Vec::new();
    let mut broken: Vec<Diagnostic> = Vec::new();
    for file in files {
        let shown = file.display().to_string();
        let mut opened: Vec<Source> = Vec::new();
        let outcome = match read(file, &shown)? {
            Ok(source) => {
                opened.push(source.clone());
                let directory = file.parent().unwrap_or(Path::new(""));
                let mut open = |name: &str| open(directory, name, &mut opened);
                run_file(&source, &mut open, Catalog::builtin())
            }
            Err(problem) => Err(vec![problem]),
        };
        let files: Vec<&Source> = opened.iter().collect();
        match outcome {
            Ok(one) => {
                if !cx.out.json {
                    told(cx, &shown, &one, &files);
                }
                reports.push((shown, one));
            }
            Err(problems) => {
                if !cx.out.json {
                    render(cx, &problems, &files);
                }
                broken.extend(problems);
            }
        }
    }
    if let Some(path) = report {
        std::fs::write(path, junit(&reports)).map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", path.display()))
        })?;
    }
    let sum =
        |count: fn(&Report) -> usize| reports.iter().map(|(_, one)| count(one)).sum::<usize>();
    let (passed, failed) = (sum(|one| one.passed), sum(|one| one.failed));
    if cx.out.json {
        let cases: Vec<_> = reports.iter().flat_map(|(_, one)| &one.cases).collect();
        let mut told = json!({"passed": passed, "failed": failed, "cases": cases});
        if let (false, Some(fields)) = (broken.is_empty(), told.as_object_mut()) {
            fields.insert("diagnostics".to_owned(), json!(broken));
        }
        cx.out.value(&told);
    } else {
        let look = if failed == 0 && broken.is_empty() {
            Look::Good
        } else {
            Look::Bad
        };
        cx.out
            .spans(&[(look, &format!("{passed} passed, {failed} failed"))]);
    }
    match failed == 0 && broken.is_empty() {
        true => Ok(()),
        false => Err(Failure::shown(Exit::Failed)),
    }
}

/// A file that a test file names, from the test file's directory.
fn open(directory: &Path, name: &str, opened: &mut Vec<Source>) -> Result<Source, Unreadable> {
    let path = directory.join(name);
    let source = match read(&path, &path.display().to_string()) {
        Ok(Ok(source)) => source,
        Ok(Err(problem)) => return Err(Unreadable(problem.to_string())),
        Err(failure) => return Err(Unreadable(failure.message)),
    };
    opened.push(source.clone());
    Ok(source)
}

fn told(cx: &Cx<'_>, file: &str, report: &Report, files: &[&Source]) {
    render(cx, &report.warnings, files);
    for case in &report.cases {
        match &case.failure {
            None => cx
                .out
                .spans(&[(Look::Good, "ok    "), (Look::Plain, &case.name)]),
            Some(failure) => {
                cx.out
                    .spans(&[(Look::Bad, "FAILED "), (Look::Plain, &case.name)]);
                render(cx, std::slice::from_ref(failure), files);
            }
        }
    }
    let line = format!("{file}: {} of {} passed", report.passed, report.cases.len());
    cx.out.note(&line);
}
