//! The map of the repository against the repository.

use super::Finding;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// The crates from the bottom up: each may depend on those before it.
const LAYERS: [&str; 14] = [
    "types",
    "catalog",
    "policy",
    "audit",
    "vault",
    "store",
    "sandbox",
    "capabilities",
    "services",
    "agents",
    "gateway",
    "cli",
    "testkit",
    "xtask",
];
/// What a path of the repository starts with.
const TOPS: [&str; 9] = [
    "crates",
    "definitions",
    "docs",
    "errors.yaml",
    "fixtures",
    "packaging",
    "policies",
    "tests",
    "xtask",
];

/// Every path that ARCHITECTURE.md names exists.
pub(super) fn architecture(root: &Path, findings: &mut Vec<Finding>) -> Result<()> {
    let text =
        fs::read_to_string(root.join("ARCHITECTURE.md")).context("reading ARCHITECTURE.md")?;
    for (index, line) in text.lines().enumerate() {
        // Every second piece between backticks is code.
        for path in line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|code| is_path(code))
        {
            if !root.join(path).exists() {
                findings.push(Finding {
                    path: "ARCHITECTURE.md".to_owned(),
                    line: index + 1,
                    check: "missing-path",
                    message: format!("{path} does not exist"),
                });
            }
        }
    }
    Ok(())
}

fn is_path(code: &str) -> bool {
    let placeholder = code.contains(['<', ' ', '*']) || code.contains("NAME");
    let top = code.split('/').next().unwrap_or_default();
    !placeholder && TOPS.contains(&top)
}

/// No crate depends on one above it. Tests may.
pub(super) fn dependencies(root: &Path, findings: &mut Vec<Finding>) -> Result<()> {
    let level = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    for (own, name) in LAYERS.iter().enumerate() {
        let path = format!("crates/{name}/Cargo.toml");
        let Ok(text) = fs::read_to_string(root.join(&path)) else {
            continue;
        };
        for (line, dependency) in own_dependencies(&text) {
            if level(dependency).is_none_or(|other| other >= own) {
                findings.push(Finding {
                    path: path.clone(),
                    line,
                    check: "upward-dependency",
                    message: format!("{name} stands below {dependency} and must not depend on it"),
                });
            }
        }
    }
    Ok(())
}

/// The crates of this workspace that `[dependencies]` names, with their lines.
fn own_dependencies(manifest: &str) -> Vec<(usize, &str)> {
    let mut section = "";
    let mut found = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            section = line.trim();
        }
        let name = line
            .strip_prefix("kruxos-")
            .and_then(|rest| rest.split(['.', ' ', '=']).next());
        if let (Some(name), "[dependencies]") = (name, section) {
            found.push((index + 1, name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_other_code() {
        assert!(is_path("crates/gateway/src/call.rs"));
        assert!(is_path("definitions/"));
        assert!(!is_path("definitions/<category>.yaml"));
        assert!(!is_path("PolicySet::decide"));
        assert!(!is_path("audit/"));
    }

    #[test]
    fn a_path_that_is_gone_and_a_dependency_that_points_up_are_found() {
        let root = tempfile::tempdir().unwrap();
        fs::write(
            root.path().join("ARCHITECTURE.md"),
            "see\n`crates/types/Cargo.toml` and `crates/gone.rs`\n",
        )
        .unwrap();
        fs::create_dir_all(root.path().join("crates/types")).unwrap();
        let manifest = "[dependencies]\nkruxos-policy.workspace = true\n[dev-dependencies]\nkruxos-cli.workspace = true\n";
        fs::write(root.path().join("crates/types/Cargo.toml"), manifest).unwrap();
        let mut findings = Vec::new();
        architecture(root.path(), &mut findings).unwrap();
        dependencies(root.path(), &mut findings).unwrap();
        let found: Vec<(&str, usize)> = findings.iter().map(|f| (f.check, f.line)).collect();
        assert_eq!(found, [("missing-path", 2), ("upward-dependency", 2)]);
    }
}
