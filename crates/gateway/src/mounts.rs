//! Directories of the host that an operator gives to an agent at `/mnt/<label>`.

use crate::gateway::Gateway;
use crate::operator::Operator;
use kruxos_store::{Mount, MountPatch};
use kruxos_types::{AgentName, CallError, Principal};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs::FileType;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Longest label.
const MAX_LABEL: usize = 32;
/// The label that the workspace has in errors and in the trash.
const TAKEN: &str = "workspace";
/// Directories that are no files: what is in them is the kernel's or lives as long as a boot.
const SPECIAL: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];
/// Entries that are looked at for sockets.
const MAX_SCANNED: usize = 20_000;

/// A mount that was added.
#[derive(Debug)]
pub struct Added {
    /// The mount.
    pub mount: Mount,
    /// Whether all of it was looked at for sockets; more than a bound is not.
    pub scanned: bool,
}

impl Gateway {
    /// Lets an agent see a directory. Its session's box is made anew with the next call.
    ///
    /// # Errors
    /// `InvalidInput` names what is wrong with label or source; else the store's.
    pub async fn add_mount(
        &self,
        agent: &AgentName,
        label: &str,
        source: &str,
        writable: bool,
        by: &Operator,
    ) -> Result<Added, CallError> {
        check_label(label)?;
        let (gateway, source) = (self.clone(), PathBuf::from(source));
        let looked = tokio::task::spawn_blocking(move || gateway.check_source(&source));
        let (source, scanned) = looked.await.map_err(CallError::internal_failure)??;
        let text = source.to_str().ok_or_else(|| wrong("it is not UTF-8"))?;
        let _changing = self.changing_agents.lock().await;
        let mount = self.store.add_mount(agent, label, text, writable).await?;
        self.mounts_changed(by, "added", &mount).await?;
        Ok(Added { mount, scanned })
    }

    /// Renames a mount or makes it read-only or writable.
    ///
    /// # Errors
    /// `InvalidInput` for a label that is none; else the store's.
    pub async fn edit_mount(
        &self,
        agent: &AgentName,
        label: &str,
        patch: MountPatch,
        by: &Operator,
    ) -> Result<Mount, CallError> {
        if let Some(label) = &patch.label {
            check_label(label)?;
        }
        let _changing = self.changing_agents.lock().await;
        let mount = self.store.edit_mount(agent, label, patch).await?;
        self.mounts_changed(by, "edited", &mount).await?;
        Ok(mount)
    }

    /// Takes a directory away from an agent, and ends what runs in its box.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove_mount(
        &self,
        agent: &AgentName,
        label: &str,
        by: &Operator,
    ) -> Result<Mount, CallError> {
        let _changing = self.changing_agents.lock().await;
        let mount = self.store.remove_mount(agent, label).await?;
        self.mounts_changed(by, "removed", &mount).await?;
        Ok(mount)
    }

    /// A box keeps the mounts that it was made with, so it goes.
    async fn mounts_changed(
        &self,
        by: &Operator,
        how: &str,
        mount: &Mount,
    ) -> Result<(), CallError> {
        if let Some(session) = self.sessions.get(&Principal::agent(mount.agent.as_str())) {
            self.files.close(&session.id);
            self.boxes.close(&session.id);
        }
        self.audit_admin(by, &format!("mount {how}"), json!(mount))
            .await
    }

    /// The source without links, if an agent may see it, and whether all of it was looked at for sockets.
    fn check_source(&self, given: &Path) -> Result<(PathBuf, bool), CallError> {
        if !given.is_absolute() {
            return Err(wrong("it is not an absolute path"));
        }
        let source = given
            .canonicalize()
            .map_err(|_| wrong("it does not exist"))?;
        if !source.is_dir() {
            return Err(wrong("it is not a directory"));
        }
        if source == Path::new("/") || SPECIAL.iter().any(|special| source.starts_with(special)) {
            return Err(wrong("it is a directory of the system's own"));
        }
        let layout = &self.layout;
        let own = [&layout.data_dir, &layout.workspace_root, &layout.run_dir];
        if own.into_iter().any(|own| overlaps(&source, own)) {
            return Err(wrong("it is in, or around, the gateway's own data"));
        }
        let mut agents = self.agents.all().into_iter();
        if let Some(other) = agents.find(|agent| overlaps(&source, Path::new(&agent.workspace))) {
            let reason = format!("it is in, or around, the workspace of '{}'", other.name);
            return Err(wrong(&reason));
        }
        match find_socket(&source) {
            Scan::Socket(socket) => {
                let reason = format!(
                    "it holds a socket, {}, through which programs would reach a service of the host",
                    socket.display()
                );
                Err(wrong(&reason))
            }
            Scan::None => Ok((source, true)),
            Scan::TooMuch => Ok((source, false)),
        }
    }
}

fn overlaps(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

fn wrong(reason: &str) -> CallError {
    CallError::invalid_input(
        "source",
        reason,
        "an existing directory outside the gateway's data and all workspaces",
    )
}

fn check_label(label: &str) -> Result<(), CallError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = label.bytes();
    let fits = bytes.next().is_some_and(plain)
        && bytes.all(|byte| plain(byte) || byte == b'-' || byte == b'_')
        && label.len() <= MAX_LABEL;
    if fits && label != TAKEN {
        return Ok(());
    }
    Err(CallError::invalid_input(
        "label",
        "is not a label",
        "1 to 32 of a-z, 0-9, - and _, beginning with a letter or digit, and not 'workspace'",
    ))
}

enum Scan {
    None,
    Socket(PathBuf),
    TooMuch,
}

/// Breadth first, so that what lies near is seen before the bound.
fn find_socket(directory: &Path) -> Scan {
    let mut open = VecDeque::from([directory.to_owned()]);
    let mut left = MAX_SCANNED;
    while let Some(next) = open.pop_front() {
        // What cannot be read by us is not read by an agent either.
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            if left == 0 {
                return Scan::TooMuch;
            }
            left -= 1;
            match entry.file_type() {
                Ok(kind) if kind.is_socket() => return Scan::Socket(entry.path()),
                Ok(kind) if FileType::is_dir(&kind) => open.push_back(entry.path()),
                _ => {}
            }
        }
    }
    Scan::None
}

/// As the API shows one.
pub(crate) fn shown(mount: &Mount) -> Value {
    let mut shown = json!(mount);
    shown["target"] = format!("/mnt/{}", mount.label).into();
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn labels_are_plain_names() {
        for label in ["a", "data-2", "0_x", &"n".repeat(32)] {
            assert!(check_label(label).is_ok(), "{label}");
        }
        let long = "n".repeat(33);
        for label in ["", "-a", "A", "a/b", "..", "a.b", "workspace", "ä", &long] {
            assert!(check_label(label).is_err(), "{label}");
        }
    }

    #[test]
    fn a_socket_is_found_wherever_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        assert!(matches!(find_socket(directory.path()), Scan::None));
        let socket = deep.join("s");
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(matches!(find_socket(directory.path()), Scan::Socket(found) if found == socket));
    }
}
