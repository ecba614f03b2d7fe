//! Directories of the host that an operator gives to an agent at `/mnt/<label>`.

use crate::gateway::Gateway;
use crate::operator::Operator;
use kruxos_store::{Mount, MountPatch, Severity};
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
/// Directories of the system's own, with all that is in them: the kernel's, those that live as long as a
/// boot, and those whose files decide what root runs.
const SPECIAL: [&str; 11] = [
    "/proc", "/sys", "/dev", "/run", "/etc", "/boot", "/bin", "/sbin", "/lib", "/lib64", "/usr",
];
/// Directories that are only ways to others.
const TOO_WIDE: [&str; 7] = [
    "/",
    "/home",
    "/root",
    "/var",
    "/var/lib",
    "/var/spool",
    "/opt",
];
/// What holds the keys of a person; a directory with one of these is somebody's home.
const KEYS: [&str; 5] = [".ssh", ".gnupg", ".aws", ".kube", ".password-store"];
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
        let (gateway, given) = (self.clone(), PathBuf::from(source));
        let looked = tokio::task::spawn_blocking(move || {
            let source = real(&given)?;
            let scanned = gateway.check_source(&source)?;
            Ok::<_, CallError>((source, scanned))
        });
        let (source, scanned) = looked.await.map_err(CallError::internal_failure)??;
        let text = source.to_str().ok_or_else(|| wrong("it is not UTF-8"))?;
        let _changing = self.changing_agents.lock().await;
        self.refuse_nested(&source).await?;
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

    /// A principal's mounts that may be seen now. What was good when it was added may be no more: who writes
    /// around a source can put a link or a socket there. Such a mount is left out, and an alert says why.
    pub(crate) async fn usable_mounts(
        &self,
        principal: &Principal,
    ) -> Result<Vec<Mount>, CallError> {
        let mounts = self.mounts_of(principal).await?;
        if mounts.is_empty() {
            return Ok(mounts);
        }
        let gateway = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            mounts
                .into_iter()
                .map(|mount| {
                    let source = Path::new(&mount.source);
                    let still = real(source).and_then(|now| match now == source {
                        true => gateway.check_source(source),
                        false => Err(wrong("it has become a link to somewhere else")),
                    });
                    (mount, still.err())
                })
                .collect::<Vec<_>>()
        });
        let mut usable = Vec::new();
        for (mount, refusal) in looked.await.map_err(CallError::internal_failure)? {
            match refusal {
                None => usable.push(mount),
                Some(refusal) => self.alert_unusable(&mount, &refusal).await,
            }
        }
        Ok(usable)
    }

    async fn alert_unusable(&self, mount: &Mount, refusal: &CallError) {
        let message = format!("mount '{}' of '{}' is not given", mount.label, mount.agent);
        let facts = [
            ("source", json!(mount.source)),
            ("reason", json!(refusal.description())),
        ];
        let context = facts.map(|(name, fact)| (name.to_owned(), fact));
        self.alert(
            Severity::Warning,
            "mounts",
            message,
            context.into_iter().collect(),
        )
        .await;
    }

    /// Where one source lies in another, who may write to the outer one decides what the inner one is.
    async fn refuse_nested(&self, source: &Path) -> Result<(), CallError> {
        for agent in self.agents.all() {
            for mount in self.store.mounts_of(&agent.name).await? {
                let other = Path::new(&mount.source);
                if other != source && overlaps(source, other) {
                    let reason = format!(
                        "it is in, or around, {}, the mount '{}' of '{}'",
                        mount.source, mount.label, agent.name
                    );
                    return Err(wrong(&reason));
                }
            }
        }
        Ok(())
    }

    /// Whether an agent may see a source, given without links; answers whether all of it was looked at for
    /// sockets.
    fn check_source(&self, source: &Path) -> Result<bool, CallError> {
        let is_special = SPECIAL.iter().any(|special| source.starts_with(special));
        if is_special || TOO_WIDE.iter().any(|wide| source == Path::new(wide)) {
            return Err(wrong("it is a directory of the system's own"));
        }
        if let Some(keys) = KEYS.iter().find(|keys| source.join(keys).exists()) {
            return Err(wrong(&format!("it holds somebody's keys, {keys}")));
        }
        let layout = &self.layout;
        let own = [&layout.data_dir, &layout.workspace_root, &layout.run_dir];
        let program = std::env::current_exe().ok();
        let programs = program.as_deref().and_then(Path::parent);
        let mut own = own.into_iter().map(PathBuf::as_path).chain(programs);
        if own.any(|own| overlaps(source, own)) {
            return Err(wrong(
                "it is in, or around, the gateway's own data or programs",
            ));
        }
        let mut agents = self.agents.all().into_iter();
        if let Some(other) = agents.find(|agent| overlaps(source, Path::new(&agent.workspace))) {
            let reason = format!("it is in, or around, the workspace of '{}'", other.name);
            return Err(wrong(&reason));
        }
        match find_socket(source) {
            Scan::Socket(socket) => {
                let reason = format!(
                    "it holds a socket, {}, through which programs would reach a service of the host",
                    socket.display()
                );
                Err(wrong(&reason))
            }
            Scan::None => Ok(true),
            Scan::TooMuch => Ok(false),
        }
    }
}

/// A directory by its path without links.
fn real(given: &Path) -> Result<PathBuf, CallError> {
    if !given.is_absolute() {
        return Err(wrong("it is not an absolute path"));
    }
    let source = given
        .canonicalize()
        .map_err(|_| wrong("it does not exist"))?;
    if !source.is_dir() {
        return Err(wrong("it is not a directory"));
    }
    Ok(source)
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
