//! What lies where in a data directory, which process owns it, and which version wrote it.

use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Version of the directory's layout. A newer one is refused.
const LAYOUT_VERSION: u32 = 1;

/// Paths below one data directory.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The directory itself, absolute.
    pub data_dir: PathBuf,
    /// Agents' workspaces.
    pub workspace_root: PathBuf,
    /// The control socket's directory.
    pub run_dir: PathBuf,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Another gateway runs on it.
    #[error("another kruxos (pid {pid}) is running on {}; stop it first, or choose another --data-dir", .dir.display())]
    InUse {
        /// Which directory.
        dir: PathBuf,
        /// Its process id as it wrote it, or «unknown».
        pid: String,
    },
    /// A newer kruxos wrote it.
    #[error("{} was written by a newer kruxos (layout {found}, this one knows {LAYOUT_VERSION}); upgrade kruxos", .dir.display())]
    Newer {
        /// Which directory.
        dir: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The file system refused.
    #[error("cannot use {}: {source}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Proof that this process owns the data directory; released when dropped or when the process dies.
#[derive(Debug)]
pub struct DirectoryLock(#[allow(dead_code, reason = "held for its lock")] File);

/// The one spelling of a path that policy and executor both use: absolute and free of links, as far as it
/// exists already.
pub(crate) fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for there in path.ancestors() {
        if let Ok(found) = there.canonicalize() {
            let rest = path.strip_prefix(there).unwrap_or(Path::new(""));
            // Joining an empty path would add a slash.
            return match rest.as_os_str().is_empty() {
                true => found,
                false => found.join(rest),
            };
        }
    }
    path
}

impl Layout {
    /// Paths for a data directory; nothing is touched.
    #[must_use]
    pub fn new(data_dir: &Path, workspace_root: Option<&Path>, run_dir: Option<&Path>) -> Self {
        let data_dir = real(data_dir);
        Self {
            workspace_root: workspace_root.map_or_else(|| data_dir.join("workspaces"), real),
            run_dir: run_dir.map_or_else(|| data_dir.join("run"), real),
            data_dir,
        }
    }

    /// The control socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.run_dir.join("control.sock")
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.data_dir.join("state.db")
    }

    /// The audit log's directory.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.data_dir.join("audit")
    }

    /// The policy files' directory.
    #[must_use]
    pub fn policies(&self) -> PathBuf {
        self.data_dir.join("policies")
    }

    /// Session checkpoints.
    #[must_use]
    pub fn sessions(&self) -> PathBuf {
        self.data_dir.join("sessions")
    }

    /// What programs print, in files without names.
    #[must_use]
    pub fn outputs(&self) -> PathBuf {
        self.data_dir.join("outputs")
    }

    /// A principal's trash. `kind` is `agent` or `user`.
    #[must_use]
    pub fn trash(&self, kind: &str, name: &str) -> PathBuf {
        self.data_dir.join("trash").join(format!("{kind}-{name}"))
    }

    /// Creates what is missing (mode 0700), checks the version and takes the lock.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub fn prepare(&self) -> Result<DirectoryLock, LayoutError> {
        let sessions = self.sessions();
        let agents = self.policies().join("agents");
        for directory in [
            &self.data_dir,
            &self.workspace_root,
            &self.run_dir,
            &sessions,
            &agents,
        ] {
            make_private(directory)?;
        }
        let lock = self.lock()?;
        self.check_version()?;
        Ok(lock)
    }

    fn lock(&self) -> Result<DirectoryLock, LayoutError> {
        let path = self.data_dir.join("lock");
        let refuse = |source| LayoutError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(refuse)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let pid = std::fs::read_to_string(&path)
                .unwrap_or_default()
                .trim()
                .to_owned();
            let pid = if pid.is_empty() {
                "unknown".to_owned()
            } else {
                pid
            };
            return Err(LayoutError::InUse {
                dir: self.data_dir.clone(),
                pid,
            });
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(refuse)?;
        Ok(DirectoryLock(file))
    }

    fn check_version(&self) -> Result<(), LayoutError> {
        let path = self.data_dir.join("version");
        let refuse = |source| LayoutError::Io {
            path: path.clone(),
            source,
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse::<u32>() {
                Ok(found) if found <= LAYOUT_VERSION => Ok(()),
                Ok(found) => Err(LayoutError::Newer {
                    dir: self.data_dir.clone(),
                    found,
                }),
                Err(_) => Err(refuse(std::io::Error::other("the version file is damaged"))),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                write_private(&path, format!("{LAYOUT_VERSION}\n").as_bytes()).map_err(refuse)
            }
            Err(error) => Err(refuse(error)),
        }
    }

    /// The key that seals the exact inputs of approvals, made at the first start (mode 0600).
    ///
    /// # Errors
    /// The file cannot be read or made, or has the wrong size.
    pub fn approval_key(&self) -> Result<[u8; 32], LayoutError> {
        let path = self.data_dir.join("approvals.key");
        let refuse = |source| LayoutError::Io {
            path: path.clone(),
            source,
        };
        match std::fs::read(&path) {
            Ok(bytes) => bytes
                .try_into()
                .map_err(|_| refuse(std::io::Error::other("expected 32 bytes"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut key = [0u8; 32];
                getrandom::fill(&mut key)
                    .map_err(|e| refuse(std::io::Error::other(e.to_string())))?;
                write_private(&path, &key).map_err(refuse)?;
                Ok(key)
            }
            Err(error) => Err(refuse(error)),
        }
    }
}

/// Creates a directory that only its owner can enter.
pub(crate) fn make_private(path: &Path) -> Result<(), LayoutError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| LayoutError::Io {
            path: path.to_owned(),
            source,
        })
}

/// Replaces a small file by rename, mode 0600: readers see the old or the new, never a part.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // Best effort: the caller reports the real failure.
        drop(std::fs::remove_file(&temporary));
        return written;
    }
    let parent = path.parent().unwrap_or_else(|| Path::new("/"));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_second_owner_and_a_newer_directory_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path(), None, None);
        let lock = layout.prepare().unwrap();
        let message = layout.prepare().unwrap_err().to_string();
        assert!(
            message.contains(&std::process::id().to_string()),
            "{message}"
        );
        drop(lock);
        std::fs::write(directory.path().join("version"), "99").unwrap();
        assert!(matches!(
            layout.prepare(),
            Err(LayoutError::Newer { found: 99, .. })
        ));
    }

    #[test]
    fn the_key_stays_the_same_and_a_damaged_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path(), None, None);
        assert_eq!(
            layout.approval_key().unwrap(),
            layout.approval_key().unwrap()
        );
        std::fs::write(directory.path().join("approvals.key"), b"short").unwrap();
        assert!(layout.approval_key().is_err());
    }
}
