//! Policy files on disk: loading, hot reload, and the last good version that stays in force.

use crate::layout::{LayoutError, make_private, write_private};
use arc_swap::ArcSwap;
use kruxos_catalog::Catalog;
use kruxos_policy::{Diagnostic, PolicySet, Source, Sources};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A policy file is a few pages; a larger one is refused before it is read.
const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;
/// Where the last version of each file that compiled is kept.
const LAST_GOOD: &str = ".last-good";

/// The rules in force and how they came to be.
#[derive(Debug)]
pub struct PolicyFiles {
    directory: PathBuf,
    /// Its parent: what the built-in protections of audit, policies and other workspaces hang on.
    data_dir: String,
    catalog: &'static Catalog,
    current: ArcSwap<PolicySet>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    generation: u64,
    fingerprint: [u8; 32],
    groups: BTreeMap<String, String>,
    problems: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

/// Why the files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Start,
    Files,
    /// `moved`: an agent that stays has another template.
    Groups {
        moved: bool,
    },
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// Nothing had changed.
    Unchanged,
    /// New rules are in force.
    Applied {
        /// The new generation.
        generation: u64,
    },
    /// Files that do not compile; their last good version stays in force.
    Kept {
        /// One line for each problem.
        problems: Vec<String>,
        /// The generation in force.
        generation: u64,
    },
}

/// Policy that cannot be loaded at all.
#[derive(Debug, thiserror::Error)]
pub enum PolicyLoadError {
    /// The files do not compile and no earlier version is known.
    #[error("policy does not compile and there is no earlier version to keep:\n{0}")]
    Invalid(String),
    /// The directory cannot be used.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl PolicyFiles {
    /// Loads what is there; an empty directory is the built-in protections and the templates.
    /// `generation` is the last one an earlier process used, with its fingerprint, so that unchanged
    /// files keep their generation across restarts.
    ///
    /// # Errors
    /// See [`PolicyLoadError`].
    pub fn open(
        directory: &Path,
        catalog: &'static Catalog,
        groups: BTreeMap<String, String>,
        (generation, fingerprint): (u64, [u8; 32]),
    ) -> Result<(PolicyFiles, Reload), PolicyLoadError> {
        make_private(&directory.join("agents"))?;
        make_private(&directory.join(LAST_GOOD).join("agents"))?;
        let empty = PolicySet::compile(&Sources::default(), catalog, generation)
            .map_err(|problems| PolicyLoadError::Invalid(lines(&problems).join("\n")))?;
        let files = PolicyFiles {
            directory: directory.to_owned(),
            data_dir: directory
                .parent()
                .unwrap_or(directory)
                .display()
                .to_string(),
            catalog,
            current: ArcSwap::from_pointee(empty.0),
            state: Mutex::new(State {
                generation,
                fingerprint,
                groups,
                ..State::default()
            }),
        };
        let outcome = files
            .load(Cause::Start)
            .map_err(|all| PolicyLoadError::Invalid(lines(&all).join("\n")))?;
        Ok((files, outcome))
    }

    /// The rules in force.
    #[must_use]
    pub fn current(&self) -> Arc<PolicySet> {
        self.current.load_full()
    }

    /// The directory of the files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The generation in force and the fingerprint of the files behind it, to be remembered.
    #[must_use]
    pub fn mark(&self) -> (u64, [u8; 32]) {
        let state = self.lock();
        (state.generation, state.fingerprint)
    }

    /// What is wrong with files on disk right now, and warnings on those in force.
    #[must_use]
    pub fn diagnostics(&self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let state = self.lock();
        (state.problems.clone(), state.warnings.clone())
    }

    /// Which template each agent starts from, as the rules in force know it.
    #[must_use]
    pub fn groups(&self) -> BTreeMap<String, String> {
        self.lock().groups.clone()
    }

    /// Sets which template each agent starts from. Agents that come or go leave the generation as it
    /// is, since no rule that held for anybody else changed; an agent that changes its template does not.
    pub fn set_groups(&self, groups: BTreeMap<String, String>) -> Reload {
        let moved = {
            let mut state = self.lock();
            let old = std::mem::replace(&mut state.groups, groups);
            let moved = |(agent, group): (&String, &String)| {
                state.groups.get(agent).is_some_and(|now| now != group)
            };
            old.iter().any(moved)
        };
        self.load_or_keep(Cause::Groups { moved })
    }

    /// Reads the files again.
    pub fn reload(&self) -> Reload {
        self.load_or_keep(Cause::Files)
    }

    fn load_or_keep(&self, cause: Cause) -> Reload {
        match self.load(cause) {
            Ok(outcome) => outcome,
            Err(problems) => {
                let mut state = self.lock();
                state.problems.clone_from(&problems);
                Reload::Kept {
                    problems: lines(&problems),
                    generation: state.generation,
                }
            }
        }
    }

    fn load(&self, cause: Cause) -> Result<Reload, Vec<Diagnostic>> {
        let groups = self.lock().groups.clone();
        let wanted = Candidate::read(&self.directory, groups.clone(), &self.data_dir);
        let fingerprint = wanted.fingerprint();
        let generation = {
            let state = self.lock();
            let same = fingerprint == state.fingerprint;
            match cause {
                Cause::Files if same => return Ok(Reload::Unchanged),
                Cause::Start | Cause::Groups { moved: false } if same => state.generation,
                _ => state.generation + 1,
            }
        };
        let mut sources = wanted.sources.clone();
        let mut problems = wanted.unreadable.clone();
        let compiled = loop {
            self.fall_back(&mut sources, &problems, groups.clone());
            match PolicySet::compile(&sources, self.catalog, generation) {
                Ok(compiled) => break compiled,
                Err(found) => {
                    let fresh: Vec<_> = found
                        .into_iter()
                        .filter(|one| !problems.iter().any(|p| p.file == one.file))
                        .collect();
                    if fresh.is_empty() {
                        return Err(problems);
                    }
                    problems.extend(fresh);
                }
            }
        };
        // Without an earlier version a broken file has no rules to keep: at the first load that would
        // silently drop ceilings, so it is refused instead.
        if cause == Cause::Start
            && problems
                .iter()
                .any(|problem| self.last_good(&problem.file).is_none())
        {
            return Err(problems);
        }
        self.keep_good(&wanted.sources, &problems);
        let mut state = self.lock();
        state.generation = generation;
        state.fingerprint = fingerprint;
        state.warnings = compiled.1;
        state.problems.clone_from(&problems);
        drop(state);
        self.current.store(Arc::new(compiled.0));
        if problems.is_empty() {
            return Ok(Reload::Applied { generation });
        }
        Ok(Reload::Kept {
            problems: lines(&problems),
            generation,
        })
    }

    /// Puts the last good version in the place of each file with a problem.
    fn fall_back(
        &self,
        sources: &mut Sources,
        problems: &[Diagnostic],
        groups: BTreeMap<String, String>,
    ) {
        sources.groups = groups;
        for problem in problems {
            let good = self.last_good(&problem.file);
            match problem.file.as_str() {
                "system.yaml" => sources.system = good,
                "org.yaml" => sources.organisation = good,
                "user.yaml" => sources.user = good,
                other => {
                    let name = other
                        .trim_start_matches("agents/")
                        .trim_end_matches(".yaml")
                        .to_owned();
                    match good {
                        Some(good) => drop(sources.agents.insert(name, good)),
                        None => drop(sources.agents.remove(&name)),
                    }
                }
            }
        }
    }

    fn last_good(&self, file: &str) -> Option<Source> {
        let text = std::fs::read_to_string(self.directory.join(LAST_GOOD).join(file)).ok()?;
        Some(Source {
            file: file.to_owned(),
            text,
        })
    }

    fn keep_good(&self, sources: &Sources, problems: &[Diagnostic]) {
        let all = [&sources.system, &sources.organisation, &sources.user];
        for source in all.into_iter().flatten().chain(sources.agents.values()) {
            if problems.iter().any(|problem| problem.file == source.file) {
                continue;
            }
            let path = self.directory.join(LAST_GOOD).join(&source.file);
            if std::fs::read_to_string(&path).is_ok_and(|kept| kept == source.text) {
                continue;
            }
            if let Err(error) = write_private(&path, source.text.as_bytes()) {
                tracing::error!(%error, file = %source.file, "cannot keep the last good policy");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files as they lie on disk.
struct Candidate {
    sources: Sources,
    unreadable: Vec<Diagnostic>,
}

impl Candidate {
    fn read(directory: &Path, groups: BTreeMap<String, String>, data_dir: &str) -> Self {
        let data_dir = Some(data_dir.to_owned());
        let sources = Sources {
            groups,
            data_dir,
            ..Sources::default()
        };
        let mut found = Candidate {
            sources,
            unreadable: Vec::new(),
        };
        found.sources.system = found.file(directory, "system.yaml");
        found.sources.organisation = found.file(directory, "org.yaml");
        found.sources.user = found.file(directory, "user.yaml");
        let entries = std::fs::read_dir(directory.join("agents"))
            .into_iter()
            .flatten();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(agent) = name
                .strip_suffix(".yaml")
                .filter(|agent| !agent.starts_with('.'))
            else {
                continue;
            };
            if let Some(source) = found.file(directory, &format!("agents/{name}")) {
                found.sources.agents.insert(agent.to_owned(), source);
            }
        }
        found
    }

    fn file(&mut self, directory: &Path, name: &str) -> Option<Source> {
        let path = directory.join(name);
        match read_policy_file(&path) {
            Ok(bytes) => Source::from_bytes(name, &bytes)
                .map_err(|problem| self.unreadable.push(problem))
                .ok(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                let message = format!("cannot be read: {error}");
                self.unreadable.push(Diagnostic {
                    file: name.to_owned(),
                    line: 1,
                    column: 1,
                    message,
                    fatal: true,
                });
                None
            }
        }
    }

    fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let fixed = [
            &self.sources.system,
            &self.sources.organisation,
            &self.sources.user,
        ];
        for source in fixed
            .into_iter()
            .flatten()
            .chain(self.sources.agents.values())
        {
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
    std::fs::read(path)
}

fn lines(problems: &[Diagnostic]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
