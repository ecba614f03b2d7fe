//! Everything that is generated and committed, in one list.

use crate::{capabilities_page, catalogue, errors, errors_page, errors_rust};
use anyhow::{Context, Result, bail};
use kruxos_catalog::Catalog;
use std::fs;
use std::path::Path;

/// A generated file and what belongs in it.
struct Generated {
    path: &'static str,
    text: String,
}

/// Writes what is not fresh.
pub(crate) fn write(root: &Path) -> Result<()> {
    for file in all(root)? {
        if is_fresh(root, &file) {
            continue;
        }
        let path = root.join(file.path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&path, &file.text).with_context(|| format!("writing {}", file.path))?;
        println!("wrote {}", file.path);
    }
    Ok(())
}

/// Fails with the names of what is not fresh.
pub(crate) fn check(root: &Path) -> Result<()> {
    let stale: Vec<&str> = all(root)?
        .iter()
        .filter(|file| !is_fresh(root, file))
        .map(|file| file.path)
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    bail!(
        "not fresh: {}\nrun `cargo xtask gen` and commit the result",
        stale.join(", ")
    );
}

fn is_fresh(root: &Path, file: &Generated) -> bool {
    fs::read_to_string(root.join(file.path)).is_ok_and(|text| text == file.text)
}

fn all(root: &Path) -> Result<Vec<Generated>> {
    let errors = errors::read(root)?;
    let codes = errors.iter().map(|error| error.code.clone()).collect();
    let sources = catalogue::read(root, &codes)?;
    errors::check_capabilities(&errors, &sources)?;
    Ok(vec![
        Generated {
            path: "crates/types/src/error_type.rs",
            text: errors_rust::module(&errors),
        },
        Generated {
            path: "crates/catalog/src/generated/catalog.json",
            text: catalogue::json(&sources)?,
        },
        Generated {
            path: "docs/errors.md",
            text: errors_page::page(&errors, &sources),
        },
        Generated {
            path: "docs/capabilities.md",
            text: capabilities_page::page(&sources, &errors),
        },
        Generated {
            path: "docs/policy.schema.json",
            text: policy_schema(sources)?,
        },
    ])
}

fn policy_schema(sources: Vec<kruxos_catalog::Source>) -> Result<String> {
    let catalog = Catalog::from_sources(sources)?;
    let schema = kruxos_policy::schema(&catalog);
    Ok(format!("{}\n", serde_json::to_string_pretty(&schema)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The repository's own files: what `cargo xtask gen --check` says in CI.
    #[test]
    fn what_is_committed_is_fresh() {
        check(&crate::root()).unwrap();
    }

    #[test]
    fn a_stale_file_is_named_and_written() {
        let root = tempfile::tempdir().unwrap();
        let here = crate::root();
        fs::create_dir(root.path().join("definitions")).unwrap();
        fs::copy(here.join("errors.yaml"), root.path().join("errors.yaml")).unwrap();
        for entry in fs::read_dir(here.join("definitions")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            fs::copy(&path, root.path().join("definitions").join(name)).unwrap();
        }
        assert!(check(root.path()).is_err(), "nothing is generated yet");
        write(root.path()).unwrap();
        check(root.path()).unwrap();
        let page = root.path().join("docs/errors.md");
        fs::write(&page, "edited by hand").unwrap();
        assert!(
            check(root.path())
                .unwrap_err()
                .to_string()
                .contains("docs/errors.md")
        );
    }
}
