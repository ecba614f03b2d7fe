//! Policy files as they lie on disk: every failure to list or read is a problem with a name.

use super::AGENTS;
use kruxos_policy::{Diagnostic, Source, Sources};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;

/// A policy file is a few pages; a larger one is refused before it is read.
const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;
/// Files of one directory: far more agents than one gateway has.
const MAX_FILES: usize = 10_000;

/// Every file.
pub(super) fn all(sources: &Sources) -> impl Iterator<Item = &Source> {
    [&sources.system, &sources.organisation, &sources.user]
        .into_iter()
        .flatten()
        .chain(sources.agents.values())
        .chain(sources.shared.values())
}

pub(super) fn named<'s>(sources: &'s Sources, file: &str) -> Option<&'s Source> {
    all(sources).find(|source| source.file == file)
}

/// The files as they lie on disk.
pub(super) struct Candidate {
    pub(super) sources: Sources,
    pub(super) unreadable: Vec<Diagnostic>,
}

impl Candidate {
    /// Reads every file below `directory` into `sources`.
    pub(super) fn read(directory: &Path, sources: Sources) -> Self {
        let mut found = Candidate {
            sources,
            unreadable: Vec::new(),
        };
        match file_names(directory) {
            Ok(names) => {
                for name in names {
                    let source = found.file(directory, &name);
                    match name.as_str() {
                        "system.yaml" => found.sources.system = source,
                        "org.yaml" => found.sources.organisation = source,
                        "user.yaml" => found.sources.user = source,
                        _ => found
                            .sources
                            .shared
                            .extend(source.map(|source| (name, source))),
                    }
                }
            }
            Err(error) => found.refuse(".", &error),
        }
        match file_names(&directory.join(AGENTS)) {
            Ok(names) => {
                for name in names {
                    let agent = name.strip_suffix(".yaml").unwrap_or(&name).to_owned();
                    let source = found.file(directory, &format!("{AGENTS}/{name}"));
                    found
                        .sources
                        .agents
                        .extend(source.map(|source| (agent, source)));
                }
            }
            Err(error) => found.refuse(AGENTS, &error),
        }
        found
    }

    fn file(&mut self, directory: &Path, name: &str) -> Option<Source> {
        match read_policy_file(&directory.join(name)) {
            Ok(bytes) => Source::from_bytes(name, &bytes)
                .map_err(|problem| self.unreadable.push(problem))
                .ok(),
            // Taken away since the directory was listed; but a link that leads nowhere is still there.
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound
                    && std::fs::symlink_metadata(directory.join(name)).is_err() =>
            {
                None
            }
            Err(error) => {
                self.refuse(name, &error);
                None
            }
        }
    }

    fn refuse(&mut self, name: &str, error: &std::io::Error) {
        let message = match name {
            "." => format!(
                "the directory of policy files cannot be listed: {error}; nothing that is in force is given up before it can"
            ),
            AGENTS => format!(
                "the directory of the agents' policy files cannot be listed: {error}; it may be empty, but it must be there"
            ),
            _ => format!("cannot be read: {error}"),
        };
        self.unreadable.push(Diagnostic {
            file: name.to_owned(),
            line: 1,
            column: 1,
            message,
            fatal: true,
        });
    }

    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for source in all(&self.sources) {
            for part in [&source.file, &source.text] {
                hash.update(part.len().to_le_bytes());
                hash.update(part.as_bytes());
            }
        }
        for problem in &self.unreadable {
            hash.update(problem.to_string().as_bytes());
        }
        hash.finalize().into()
    }
}

/// Names of the policy files of a directory, in order: `*.yaml`, hidden ones left out.
fn file_names(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        // A name that is not UTF-8 is no agent's and no file's that another could extend.
        let Some(name) = name.to_str() else {
            continue;
        };
        if name.ends_with(".yaml") && !name.starts_with('.') {
            names.push(name.to_owned());
        }
        if names.len() > MAX_FILES {
            return Err(std::io::Error::other(format!(
                "more than {MAX_FILES} files"
            )));
        }
    }
    names.sort();
    Ok(names)
}

/// Reads a policy file within its bound. A device or a pipe is not opened: it may never end.
pub(crate) fn read_policy_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    if meta.len() > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!(
            "larger than {MAX_FILE_BYTES} bytes"
        )));
    }
    let mut bytes = Vec::new();
    let mut file = std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
