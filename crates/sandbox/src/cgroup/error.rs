//! What can go wrong with control groups.

use rustix::io::Errno;
use std::path::PathBuf;

/// Why a control group could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No cgroup v2 file system is mounted.
    #[error("no cgroup v2 file system is mounted")]
    NotMounted,
    /// This process is in no group of the cgroup v2 hierarchy that is mounted.
    #[error("this process's group is not below the mounted cgroup v2 file system")]
    NotInside,
    /// The hierarchy has no controllers of its own: they are bound to cgroup v1, or not built.
    #[error("{path} has no controllers: they are bound to cgroup v1 or were not delegated")]
    NoControllers {
        /// The group.
        path: PathBuf,
    },
    /// The group holds processes that are not this product's, so that it cannot be divided.
    #[error("{path}: shared with other processes, such as {process}")]
    Shared {
        /// The group.
        path: PathBuf,
        /// One of them: its name and pid.
        process: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {what}: {source}")]
    File {
        /// The file or group.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: Errno,
    },
    /// A file of the kernel's held something else than its documentation says.
    #[error("{path}: not understood: {text:?}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it held, shortened.
        text: String,
    },
    /// An agent's name that is no name of a directory.
    #[error("not a name for a control group: {name:?}")]
    Name {
        /// The name.
        name: String,
    },
    /// Processes were left in a group after it was killed.
    #[error("{path}: still populated {milliseconds} ms after it was killed")]
    Populated {
        /// The group.
        path: PathBuf,
        /// How long was waited.
        milliseconds: u128,
    },
}

impl CgroupError {
    /// The kernel's error number, if it was the kernel that refused.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            CgroupError::File { source, .. } => Some(*source),
            _ => None,
        }
    }
}
