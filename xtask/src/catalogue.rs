//! `definitions/*.yaml` to the catalogue that the gateway embeds.

use anyhow::{Context, Result, bail};
use kruxos_catalog::Source;
use kruxos_catalog::load;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Reads and checks every definition file.
pub(crate) fn read(root: &Path, errors: &BTreeSet<String>) -> Result<Vec<Source>> {
    let directory = root.join("definitions");
    let mut paths = Vec::new();
    for entry in
        fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?
    {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    let mut loaded = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        let bytes = fs::read(&path).with_context(|| format!("reading {name}"))?;
        match load::file(&name, &bytes, &|code| errors.contains(code)) {
            Ok(definitions) => loaded.extend(definitions),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        match load::link(loaded) {
            Ok(sources) => return Ok(sources),
            Err(found) => problems = found,
        }
    }
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    bail!(
        "{}\n{} problems in the definitions",
        lines.join("\n"),
        lines.len()
    );
}

/// The embedded form: one definition on a line, so that a change shows as one line.
pub(crate) fn json(sources: &[Source]) -> Result<String> {
    let lines = sources
        .iter()
        .map(serde_json::to_string)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}
