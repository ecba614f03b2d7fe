//! Files that no module declares: they look like code or tests and are neither.

use super::Finding;
use super::source::SourceFile;
use std::collections::HashMap;

/// Finds Rust files that their parent module does not declare.
pub(super) fn check(files: &[SourceFile], findings: &mut Vec<Finding>) {
    let by_path: HashMap<&str, &SourceFile> = files
        .iter()
        .map(|file| (file.path.as_str(), file))
        .collect();
    for file in files.iter().filter(|file| file.is_rust()) {
        let Some((name, parents)) = parents(&file.path) else {
            continue;
        };
        let parents: Vec<&&SourceFile> = parents
            .iter()
            .filter_map(|path| by_path.get(path.as_str()))
            .collect();
        // A folder without a module of its own holds data, such as compile-fail cases.
        if parents.is_empty() || parents.iter().any(|parent| declares(parent, &name)) {
            continue;
        }
        if named_by_a_neighbour(files, &file.path) {
            continue;
        }
        let message = format!(
            "no module declares it: `mod {name};` is missing in {}",
            parents[0].path
        );
        findings.push(Finding {
            path: file.path.clone(),
            line: 1,
            check: "forgotten-module",
            message,
        });
    }
}

/// The module's name and the files that may declare it; `None` for a crate's root.
fn parents(path: &str) -> Option<(String, Vec<String>)> {
    let (folder, file) = path.rsplit_once('/')?;
    let (above, last) = folder.rsplit_once('/')?;
    let stem = file.strip_suffix(".rs")?;
    if matches!(stem, "main" | "lib" | "build")
        || matches!(last, "bin" | "tests" | "benches" | "examples") && stem != "mod"
    {
        return None;
    }
    let of = |folder: &str| {
        let mut parents: Vec<String> = ["mod.rs", "lib.rs", "main.rs"]
            .iter()
            .map(|root| format!("{folder}/{root}"))
            .collect();
        parents.push(format!("{folder}.rs"));
        parents
    };
    match stem {
        "mod" => Some((last.to_owned(), of(above))),
        stem => Some((stem.to_owned(), of(folder))),
    }
}

/// Whether a file of the same folder declares it with `#[path]`.
fn named_by_a_neighbour(files: &[SourceFile], path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else {
        return false;
    };
    let attribute = format!("#[path = \"{name}\"]");
    let beside = |file: &&SourceFile| {
        file.path
            .rsplit_once('/')
            .is_some_and(|(own, _)| own == folder)
    };
    let says = |file: &SourceFile| file.lines.iter().any(|line| line.text.trim() == attribute);
    files.iter().filter(beside).any(says)
}

fn declares(parent: &SourceFile, name: &str) -> bool {
    parent.lines.iter().any(|line| {
        let code = line.code.trim();
        let declaration = code
            .strip_suffix(';')
            .and_then(|code| code.rsplit_once("mod "));
        declaration.is_some_and(|(_, declared)| declared.trim() == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forgotten(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<SourceFile> = files
            .iter()
            .map(|(path, text)| SourceFile::new((*path).to_owned(), text))
            .collect();
        let mut findings = Vec::new();
        check(&files, &mut findings);
        findings.into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn a_test_file_that_nobody_declares_is_found() {
        let main = ("crates/a/tests/it/main.rs", "mod one;\nmod deep;\n");
        let found = forgotten(&[
            main,
            ("crates/a/tests/it/one.rs", ""),
            ("crates/a/tests/it/two.rs", ""),
            ("crates/a/tests/it/deep/mod.rs", "pub(crate) mod three;"),
            ("crates/a/tests/it/deep/three.rs", ""),
            ("crates/a/tests/it/deep/four.rs", ""),
            ("crates/a/tests/ui/case.rs", ""),
            ("crates/a/src/lib.rs", "// mod gone;"),
            ("crates/a/src/gone.rs", ""),
        ]);
        assert_eq!(
            found,
            [
                "crates/a/tests/it/two.rs",
                "crates/a/tests/it/deep/four.rs",
                "crates/a/src/gone.rs"
            ]
        );
    }
}
