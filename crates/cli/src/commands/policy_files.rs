//! Policy files as a person names them: one, or a directory of them.

use super::Cx;
use crate::failure::{Exit, Failure};
use kruxos_policy::{Diagnostic, PolicyLayer, Source, Sources, layer_of, render_diagnostic};
use serde_json::json;
use std::io::Read;
use std::path::Path;

/// Bytes of a policy file that are read: no file can be larger.
const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;
/// Files of one directory.
const MAX_FILES: usize = 10_000;

/// Reads a file as it is shown in messages. Bytes that are no policy are a problem with its place.
pub(super) fn read(path: &Path, shown: &str) -> Result<Result<Source, Diagnostic>, Failure> {
    let refuse = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::not_found(format!("{shown} does not exist")),
        _ => Failure::failed(format!("cannot read {shown}: {error}")),
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(refuse)?;
    if file.metadata().map_err(refuse)?.is_dir() {
        return Err(Failure::failed(format!("{shown} is a directory")));
    }
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(refuse)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Failure::failed(format!(
            "{shown} is larger than {MAX_FILE_BYTES} bytes"
        )));
    }
    Ok(Source::from_bytes(shown, &bytes))
}

/// A policy that somebody named.
pub(super) struct Named {
    pub(super) sources: Sources,
    /// It was a directory.
    pub(super) whole: bool,
}

/// Reads a file or a directory. A single file is of the layer that its own name, or `like`, tells; an
/// agent's belongs to `agent`.
pub(super) fn named(cx: &Cx<'_>, path: &Path, like: &Path, agent: &str) -> Result<Named, Failure> {
    let (named, problems) = found(path, like, agent)?;
    match problems.is_empty() {
        true => Ok(named),
        false => Err(show(cx, &problems, &named.sources)),
    }
}

/// [`named`], with the problems of what is no text.
pub(super) fn found(
    path: &Path,
    like: &Path,
    agent: &str,
) -> Result<(Named, Vec<Diagnostic>), Failure> {
    let mut sources = Sources::default();
    let mut problems = Vec::new();
    let whole = path.is_dir();
    if whole {
        for name in file_names(path)? {
            let source = read(&path.join(&name), &path.join(&name).display().to_string())?;
            let source = source.map_err(|problem| problems.push(problem)).ok();
            match name.as_str() {
                "system.yaml" => sources.system = source,
                "org.yaml" => sources.organisation = source,
                "user.yaml" => sources.user = source,
                // Named from the directory, as `extends` does.
                _ => sources.shared.extend(source.map(|source| {
                    let text = source.text;
                    (name.clone(), Source { file: name, text })
                })),
            }
        }
        let agents = path.join("agents");
        for name in if agents.is_dir() {
            file_names(&agents)?
        } else {
            Vec::new()
        } {
            let source = read(
                &agents.join(&name),
                &agents.join(&name).display().to_string(),
            )?;
            let source = source.map_err(|problem| problems.push(problem)).ok();
            let agent = name.strip_suffix(".yaml").unwrap_or(&name).to_owned();
            sources.agents.extend(source.map(|source| (agent, source)));
        }
    } else {
        match read(path, &path.display().to_string())? {
            Ok(source) => place(&mut sources, source, like, agent),
            Err(problem) => problems.push(problem),
        }
    }
    Ok((Named { sources, whole }, problems))
}

fn place(sources: &mut Sources, source: Source, like: &Path, agent: &str) {
    let name = Source {
        file: like.display().to_string(),
        text: String::new(),
    };
    match layer_of(&name) {
        PolicyLayer::System => sources.system = Some(source),
        PolicyLayer::Organisation => sources.organisation = Some(source),
        PolicyLayer::User => sources.user = Some(source),
        _ => drop(sources.agents.insert(agent.to_owned(), source)),
    }
}

/// Names of the policy files of a directory, in order.
fn file_names(directory: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str()
            && name.ends_with(".yaml")
            && !name.starts_with('.')
        {
            names.push(name.to_owned());
        }
    }
    if names.len() > MAX_FILES {
        let message = format!("{} has more than {MAX_FILES} files", directory.display());
        return Err(Failure::failed(message));
    }
    names.sort();
    Ok(names)
}

/// Shows problems with the lines they are about; the failure that ends the command.
pub(super) fn show(cx: &Cx<'_>, problems: &[Diagnostic], sources: &Sources) -> Failure {
    if cx.out.json {
        cx.out.value(&json!({"ok": false, "diagnostics": problems}));
    } else {
        render(cx, problems, &all(sources));
    }
    Failure::shown(Exit::Failed)
}

pub(super) fn render(cx: &Cx<'_>, problems: &[Diagnostic], files: &[&Source]) {
    for problem in problems {
        let file = files.iter().find(|source| source.file == problem.file);
        let text = file.map(|source| source.text.as_str()).unwrap_or_default();
        cx.out.text(&render_diagnostic(problem, text));
    }
}

pub(super) fn all(sources: &Sources) -> Vec<&Source> {
    [&sources.system, &sources.organisation, &sources.user]
        .into_iter()
        .flatten()
        .chain(sources.agents.values())
        .chain(sources.shared.values())
        .collect()
}
