//! Files of an agent's workspace. Synchronous and free of gateway types, so that the same code runs
//! in the gateway or in a confined worker process.

mod append;
mod atomic;
pub mod confined;
mod copy;
mod delete;
mod edit;
mod fault;
mod io;
mod links;
mod list;
mod pattern;
mod place;
mod preview;
mod read;
mod recovery;
mod relocate;
mod restore;
mod roots;
mod search;
mod search_content;
mod stat;
mod sweep;
mod temporary;
mod text;
mod trash;
mod undo;
mod walk;
mod watch;
mod write;

pub use sweep::{Swept, sweep_unfinished};
pub use text::is_invisible;
pub(crate) use text::quote;
pub use trash::{TrashEntry, clean as clean_trash, list as list_trash};
pub use undo::{
    MAX_DIFF as MAX_UNDO_DIFF, MAX_ROWS as MAX_UNDO_ROWS, RecordedSession, UndoOptions, UndoReport,
    UndoRow, clean_changes, has_recorded, recorded_sessions,
};

use kruxos_catalog::Definition;
use kruxos_types::{CallError, Clock, Object, Principal};
use serde_json::Value;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::Permit;
use crate::shapes::arguments;

/// How the agent sees its workspace.
const WORKSPACE: &str = "/workspace";
/// Where it sees its mounts.
const MOUNTS: &str = "/mnt";

/// Where one principal's files are and what bounds them. Holds directory handles: every path is
/// resolved below one of them by the kernel (openat2), never by comparing strings.
pub struct Files {
    roots: roots::Roots,
    workspace: PathBuf,
    trash: trash::Trash,
    journal: undo::Journal,
    principal: Principal,
    session: Option<String>,
    clock: Arc<dyn Clock>,
    watches: watch::Watches,
    sums: io::Sums,
    /// Held from the last look at a file to its replacement, so that two calls of one principal do
    /// not lose each other's change.
    changing: Mutex<()>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files")
            .field("principal", &self.principal)
            .field("workspace", &self.workspace)
            .finish_non_exhaustive()
    }
}

/// See [`Files::changing`].
struct Changing<'a> {
    _everywhere: Option<trash::Lock<'a>>,
    _here: MutexGuard<'a, ()>,
}

/// What opening [`Files`] takes.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct FilesOptions {
    pub principal: Principal,
    pub workspace: PathBuf,
    /// `<data_dir>/trash/<principal>`.
    pub trash: PathBuf,
    pub trash_keep: std::time::Duration,
    /// Bytes of earlier content and journals kept, so that a session's changes can be undone.
    pub undo_quota: u64,
    /// Watches at once for each principal.
    pub max_watches: usize,
    /// What the principal sees at `/mnt/<label>`.
    pub mounts: Vec<FilesMount>,
}

/// A directory besides the workspace.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct FilesMount {
    pub label: String,
    pub source: PathBuf,
}

/// A change that a watch saw.
#[derive(Debug, Clone, serde::Serialize)]
#[allow(missing_docs)]
pub struct FileEvent {
    pub watch_id: String,
    /// `created`, `modified`, `deleted`, `renamed`.
    pub event: &'static str,
    /// As the agent sees it: below its workspace, absolute.
    pub path: String,
    pub at: jiff::Timestamp,
}

/// Receives watch events; must not block.
pub type EventSink = Arc<dyn Fn(FileEvent) + Send + Sync>;

impl Files {
    /// Opens the roots, creating workspace and trash (mode 0700) where missing.
    ///
    /// # Errors
    /// The directories cannot be made or opened.
    pub fn open(
        options: FilesOptions,
        clock: Arc<dyn Clock>,
        events: EventSink,
    ) -> std::io::Result<Files> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&options.workspace)?;
        let workspace = options.workspace.canonicalize()?;
        let mut all =
            roots::Roots::new(roots::Root::at("workspace", WORKSPACE, &options.workspace)?);
        for mount in &options.mounts {
            let shown = format!("{MOUNTS}/{}", mount.label);
            // Without its source, for instance a disk that is not there, the rest works.
            if let Ok(root) = roots::Root::at(&mount.label, &shown, &mount.source) {
                all.add(root);
            }
        }
        Ok(Files {
            roots: all,
            workspace,
            trash: trash::Trash::open(&options.trash, options.trash_keep)?,
            journal: undo::Journal::new(options.undo_quota),
            principal: options.principal,
            session: None,
            watches: watch::Watches::new(options.max_watches, events, Arc::clone(&clock)),
            clock,
            sums: io::Sums::default(),
            changing: Mutex::new(()),
        })
    }

    /// Records every change from now on in this session's journal, so that it can be undone.
    /// [`run_in_session`] names the session for one call instead; without one nothing is recorded and no
    /// earlier content kept.
    #[must_use]
    pub fn in_session(mut self, session: &str) -> Files {
        self.session = Some(session.to_owned());
        self
    }

    /// The workspace's real path.
    #[must_use]
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// Ends all watches, for instance when the session ends. Waits for nothing.
    pub fn end_watches(&self) {
        self.watches.end();
    }

    /// Held while a file is replaced: by this process's threads and by the principal's other workers.
    fn changing(&self) -> Changing<'_> {
        let here = self.changing.lock();
        Changing {
            _everywhere: self.trash.lock(),
            _here: here.unwrap_or_else(std::sync::PoisonError::into_inner),
        }
    }
}

/// Runs one `filesystem.*` capability.
///
/// # Errors
/// What the capability's definition declares, or a common error.
pub fn run(definition: &Definition, permit: Permit, files: &Files) -> Result<Value, CallError> {
    run_in_session(definition, permit, files, files.session.as_deref())
}

/// [`run`], naming the session in whose journal the call's changes are recorded.
///
/// # Errors
/// What the capability's definition declares, or a common error.
pub fn run_in_session(
    definition: &Definition,
    permit: Permit,
    files: &Files,
    session: Option<&str>,
) -> Result<Value, CallError> {
    let inputs = permit.spend();
    let hints = recovery::Hints::of(&inputs);
    execute(definition.name, inputs, files, session)
        .map_err(|error| recovery::with_declared(error, definition, &hints))
}

/// Whether what a call starts goes on after its answer, so that it cannot live in a worker.
#[must_use]
pub fn outlives_calls(definition: &Definition) -> bool {
    definition.name == "filesystem.watch"
}

/// Whether a call changes a path that none of its inputs names, so that policy needs [`unnamed_path`].
#[must_use]
pub fn has_unnamed_path(definition: &Definition) -> bool {
    definition.name == "filesystem.restore"
}

/// The path that a call changes although none of its inputs names it, as the agent sees it: where
/// `filesystem.restore` puts an entry of the trash back.
///
/// # Errors
/// The ones of the call itself: without a readable entry in the caller's trash there is nothing to
/// restore, and nothing that policy could decide about.
pub fn unnamed_path(
    definition: &Definition,
    inputs: &Object,
    files: &Files,
) -> Result<Option<String>, CallError> {
    if !has_unnamed_path(definition) {
        return Ok(None);
    }
    let scope = &Scope {
        files,
        capability: definition.name,
        session: None,
    };
    arguments(inputs.clone())
        .and_then(|args| restore::origin(&args, scope))
        .map(Some)
        .map_err(|error| recovery::with_declared(error, definition, &recovery::Hints::of(inputs)))
}

/// One call on its way through a handler.
struct Scope<'a> {
    files: &'a Files,
    capability: &'a str,
    session: Option<&'a str>,
}

impl<'a> Scope<'a> {
    /// What the trash notes beside an entry.
    fn by(&self) -> trash::By<'a> {
        trash::By {
            capability: self.capability,
            session: self.session,
            principal: &self.files.principal,
            now: self.files.clock.now(),
        }
    }
}

/// Finds the handler. The only caller outside tests spends a permit first.
fn execute(
    name: &str,
    inputs: Object,
    files: &Files,
    session: Option<&str>,
) -> Result<Value, CallError> {
    let scope = &Scope {
        files,
        capability: name,
        session,
    };
    match name {
        "filesystem.read" => read::run(arguments(inputs)?, scope),
        "filesystem.list" => list::run(arguments(inputs)?, scope),
        "filesystem.stat" => stat::run(arguments(inputs)?, scope),
        "filesystem.write" => write::run(arguments(inputs)?, scope),
        "filesystem.append" => append::run(arguments(inputs)?, scope),
        "filesystem.copy" => copy::run(arguments(inputs)?, scope),
        "filesystem.move" => relocate::run(arguments(inputs)?, scope),
        "filesystem.delete" => delete::run(arguments(inputs)?, scope),
        "filesystem.restore" => restore::run(arguments(inputs)?, scope),
        "filesystem.edit" => edit::run(arguments(inputs)?, scope),
        "filesystem.search" => search::run(arguments(inputs)?, scope),
        "filesystem.search_content" => search_content::run(arguments(inputs)?, scope),
        "filesystem.watch" => watch::run(arguments(inputs)?, scope),
        other => Err(CallError::internal_failure(format!(
            "no handler for {other}"
        ))),
    }
}

/// Takes back what a session changed, the last change first, or says what that would do.
///
/// # Errors
/// `InvalidInput` for a session of which nothing is recorded; `ConflictError` when something cannot be
/// undone, with nothing done, or when it stopped half way, with what was and was not restored.
pub fn undo(options: &UndoOptions, files: &Files) -> Result<UndoReport, CallError> {
    undo::run(options, files)
}

/// What a call would change, for the approver: unified diff, paths and sizes. Computed from the exact
/// inputs; changes nothing. `{kind, summary, diff?, paths?, restorable?, notes, target_state?}`;
/// `target_state` is `{exists, size, modified, sha256}` as the preview saw the target, so that a
/// later look can tell whether it changed since.
#[must_use]
pub fn preview(definition: &Definition, inputs: &Object, files: &Files) -> Value {
    preview::of(definition.name, inputs, files)
}
