//! Files of an agent's workspace. Synchronous and free of gateway types, so that the same code runs
//! in the gateway or in a confined worker process.

use kruxos_catalog::Definition;
use kruxos_types::{CallError, Clock, Principal};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Permit;

/// Where one principal's files are and what bounds them. Holds directory handles: every path is
/// resolved below one of them by the kernel (openat2), never by comparing strings.
#[derive(Debug)]
pub struct Files {}

/// What opening [`Files`] takes.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct FilesOptions {
    pub principal: Principal,
    pub workspace: PathBuf,
    /// `<data_dir>/trash/<principal>`.
    pub trash: PathBuf,
    pub trash_keep: std::time::Duration,
    /// Watches at once for each principal.
    pub max_watches: usize,
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
    pub fn open(_options: FilesOptions, _clock: Arc<dyn Clock>, _events: EventSink) -> std::io::Result<Files> {
        todo!()
    }

    /// The workspace's real path.
    #[must_use]
    pub fn workspace(&self) -> &Path {
        todo!()
    }

    /// Ends all watches, for instance when the session ends.
    pub fn end_watches(&self) {
        todo!()
    }

    /// Removes what has been in the trash too long. Answers how many entries went.
    ///
    /// # Errors
    /// The trash cannot be read.
    pub fn clean_trash(&self) -> std::io::Result<u64> {
        todo!()
    }
}

/// Runs one `filesystem.*` capability.
///
/// # Errors
/// What the capability's definition declares, or a common error.
pub fn run(_definition: &Definition, permit: Permit, _files: &Files) -> Result<Value, CallError> {
    let _inputs = permit.spend();
    todo!()
}

/// What a call would change, for the approver: unified diff, paths and sizes. Computed from the exact
/// inputs; changes nothing. `{kind, summary, diff?, paths?, restorable?, notes}`.
#[must_use]
pub fn preview(_definition: &Definition, _inputs: &kruxos_types::Object, _files: &Files) -> Value {
    todo!()
}
