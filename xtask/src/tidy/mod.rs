//! Cheap checks of what review would otherwise have to find. A finding is `file:line: message`; a line
//! that is right in spite of a check says so, on the line or on the one above:
//! `tidy: allow(<check>): <reason>`.

mod checks;
mod modules;
mod paths;
mod source;

use anyhow::{Context, Result, bail};
use source::SourceFile;
use std::fs;
use std::path::{Path, PathBuf};

/// Where hand-written files are.
const FOLDERS: [&str; 5] = ["crates", "xtask", "tests", "policies", "definitions"];
/// What is generated or fetched below them.
const SKIPPED: [&str; 5] = ["target", "node_modules", ".git", ".venv", "__pycache__"];

/// Something to mend.
pub(crate) struct Finding {
    path: String,
    line: usize,
    check: &'static str,
    message: String,
}

/// Runs every check and prints what it found.
pub(crate) fn run(root: &Path) -> Result<()> {
    let files = read(root)?;
    let mut findings = Vec::new();
    for file in &files {
        checks::file(file, &mut findings);
    }
    modules::check(&files, &mut findings);
    paths::architecture(root, &mut findings)?;
    paths::dependencies(root, &mut findings)?;
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for finding in &findings {
        println!(
            "{}:{}: {} [{}]",
            finding.path, finding.line, finding.message, finding.check
        );
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!("{count} findings in {} files", files.len()),
    }
}

fn read(root: &Path) -> Result<Vec<SourceFile>> {
    let mut paths = Vec::new();
    for folder in FOLDERS {
        let folder = root.join(folder);
        if folder.is_dir() {
            walk(&folder, &mut paths)?;
        }
    }
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        // A file that another editor is just replacing is looked at next time.
        let Ok(bytes) = fs::read(&path) else { continue };
        files.push(SourceFile::new(name, &String::from_utf8_lossy(&bytes)));
    }
    Ok(files)
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        let skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
        let kind = entry.file_type()?;
        if kind.is_dir() && !skipped {
            walk(&path, paths)?;
        } else if kind.is_file() && is_checked(&path) {
            paths.push(path);
        }
    }
    Ok(())
}

fn is_checked(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("rs" | "py" | "sh" | "ts" | "toml" | "yaml"))
}
