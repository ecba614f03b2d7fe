//! Policy files on disk: loading, hot reload, and the last good version that stays in force.

mod disk;

pub(crate) use disk::read_policy_file;

use crate::layout::{LayoutError, make_private, write_private};
use arc_swap::ArcSwap;
use disk::{Candidate, all, named};
use kruxos_catalog::Catalog;
use kruxos_policy::{Diagnostic, PolicySet, Sources};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where the last version of each file that compiled is kept, for the next start.
const LAST_GOOD: &str = ".last-good";
/// Where the files of agents are.
const AGENTS: &str = "agents";

/// The rules in force and how they came to be.
///
/// Its methods read and write files and compile: async code calls them on the blocking pool.
#[derive(Debug)]
pub struct PolicyFiles {
    directory: PathBuf,
    /// Its parent: what the built-in protections of audit, policies and other workspaces hang on.
    data_dir: String,
    catalog: &'static Catalog,
    current: ArcSwap<PolicySet>,
    /// Held from before the files are read until what they say is in force, so that of two loads at
    /// the same time the one that read later also ends later.
    loading: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    generation: u64,
    fingerprint: [u8; 32],
    /// What the rules in force were compiled from: what stays when a file gets broken.
    good: Sources,
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
        make_private(&directory.join(AGENTS))?;
        make_private(&directory.join(LAST_GOOD).join(AGENTS))?;
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
            loading: Mutex::default(),
            state: Mutex::new(State {
                generation,
                fingerprint,
                // Of a last good version that cannot be read nothing is used, so a broken file that
                // would need it is refused below.
                good: Candidate::read(&directory.join(LAST_GOOD), Sources::default()).sources,
                ..State::default()
            }),
        };
        let outcome = files
            .load(Cause::Start, groups)
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
        self.lock().good.groups.clone()
    }

    /// The files behind the rules in force.
    #[must_use]
    pub fn sources(&self) -> Sources {
        self.lock().good.clone()
    }

    /// Sets which template each agent starts from. Agents that come or go leave the generation as it
    /// is, since no rule that held for anybody else changed; an agent that changes its template does not.
    /// `groups` is asked when no other load is at work, so that the last answer is the one that stays.
    pub fn set_groups(&self, groups: impl FnOnce() -> BTreeMap<String, String>) -> Reload {
        let _loading = self.begin();
        let groups = groups();
        let moved = {
            let state = self.lock();
            let moved = |(agent, group): (&String, &String)| {
                groups.get(agent).is_some_and(|now| now != group)
            };
            state.good.groups.iter().any(moved)
        };
        self.load_or_keep(Cause::Groups { moved }, groups)
    }

    /// Reads the files again.
    pub fn reload(&self) -> Reload {
        let _loading = self.begin();
        let groups = self.groups();
        self.load_or_keep(Cause::Files, groups)
    }

    fn load_or_keep(&self, cause: Cause, groups: BTreeMap<String, String>) -> Reload {
        match self.load(cause, groups) {
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

    /// The caller has begun: see [`PolicyFiles::begin`].
    fn load(
        &self,
        cause: Cause,
        groups: BTreeMap<String, String>,
    ) -> Result<Reload, Vec<Diagnostic>> {
        let empty = Sources {
            groups,
            data_dir: Some(self.data_dir.clone()),
            ..Sources::default()
        };
        let wanted = Candidate::read(&self.directory, empty);
        let fingerprint = wanted.fingerprint();
        let (generation, good) = {
            let state = self.lock();
            let same = fingerprint == state.fingerprint;
            let generation = match cause {
                Cause::Files if same => return Ok(Reload::Unchanged),
                Cause::Start | Cause::Groups { moved: false } if same => state.generation,
                _ => state.generation + 1,
            };
            (generation, state.good.clone())
        };
        let mut sources = wanted.sources.clone();
        let mut problems = wanted.unreadable.clone();
        let mut last_resort = false;
        let compiled = loop {
            // Without an earlier version a broken file has no rules to keep: at the first load that would
            // silently drop ceilings, so it is refused instead.
            let unknown = |problem: &Diagnostic| named(&good, &problem.file).is_none();
            if cause == Cause::Start && problems.iter().any(unknown) {
                return Err(problems);
            }
            for problem in &problems {
                fall_back(&mut sources, &good, &problem.file);
            }
            match PolicySet::compile(&sources, self.catalog, generation) {
                Ok(compiled) => break compiled,
                Err(found) => {
                    let fresh: Vec<_> = found
                        .into_iter()
                        .filter(|one| !problems.iter().any(|p| p.file == one.file))
                        .collect();
                    if fresh.is_empty() {
                        if cause == Cause::Start || last_resort {
                            return Err(problems);
                        }
                        // Files that depend on each other; together they were good before.
                        last_resort = true;
                        sources = Sources {
                            groups: sources.groups,
                            ..good.clone()
                        };
                    }
                    problems.extend(fresh);
                }
            }
        };
        self.keep_good(&sources);
        let mut state = self.lock();
        state.generation = generation;
        state.fingerprint = fingerprint;
        state.good = sources;
        state.warnings = compiled.1;
        state.problems.clone_from(&problems);
        self.current.store(Arc::new(compiled.0));
        drop(state);
        if problems.is_empty() {
            return Ok(Reload::Applied { generation });
        }
        Ok(Reload::Kept {
            problems: lines(&problems),
            generation,
        })
    }

    /// Makes the directory of last good versions what is now in force, so that the next start finds it.
    fn keep_good(&self, sources: &Sources) {
        let kept = Candidate::read(&self.directory.join(LAST_GOOD), Sources::default()).sources;
        for source in all(sources) {
            if named(&kept, &source.file).is_some_and(|kept| kept.text == source.text) {
                continue;
            }
            let path = self.directory.join(LAST_GOOD).join(&source.file);
            if let Err(error) = write_private(&path, source.text.as_bytes()) {
                tracing::error!(%error, file = %source.file, "cannot keep the last good policy");
            }
        }
        for source in all(&kept) {
            if named(sources, &source.file).is_some() {
                continue;
            }
            // A file that was taken away must not come back when its name is used again.
            let path = self.directory.join(LAST_GOOD).join(&source.file);
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::error!(%error, file = %source.file, "an old policy stays among the last good ones");
            }
        }
    }

    /// Waits until no other load is at work.
    fn begin(&self) -> MutexGuard<'_, ()> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts what was in force in the place of a file, or of a directory, with a problem.
fn fall_back(sources: &mut Sources, good: &Sources, file: &str) {
    match file {
        "system.yaml" => sources.system.clone_from(&good.system),
        "org.yaml" => sources.organisation.clone_from(&good.organisation),
        "user.yaml" => sources.user.clone_from(&good.user),
        "." => {
            sources.system.clone_from(&good.system);
            sources.organisation.clone_from(&good.organisation);
            sources.user.clone_from(&good.user);
            sources.shared.clone_from(&good.shared);
        }
        AGENTS => sources.agents.clone_from(&good.agents),
        other => {
            let agent = other
                .strip_prefix("agents/")
                .and_then(|name| name.strip_suffix(".yaml"));
            let (files, name, good) = match agent {
                Some(agent) => (&mut sources.agents, agent, &good.agents),
                None => (&mut sources.shared, other, &good.shared),
            };
            match good.get(name) {
                Some(good) => drop(files.insert(name.to_owned(), good.clone())),
                None => drop(files.remove(name)),
            }
        }
    }
}

fn lines(problems: &[Diagnostic]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
