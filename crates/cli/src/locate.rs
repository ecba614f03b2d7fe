//! Which gateway is meant: the data directory, its configuration file and its control socket.

use crate::args::Global;
use crate::failure::Failure;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where a service keeps its data (packaging's choice).
const SERVICE_DATA_DIR: &str = "/var/lib/kruxos";
/// Where a service is configured (spec/cli.md).
pub(crate) const SERVICE_CONFIG: &str = "/etc/kruxos/config.yaml";
/// A configuration file is a page of text; a larger one is not read for its one key here.
const MAX_CONFIG_BYTES: u64 = 256 * 1024;

/// The gateway that the options name.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) data_dir: PathBuf,
    pub(crate) config: Option<PathBuf>,
    pub(crate) socket: PathBuf,
}

impl Place {
    /// From the options, else the user's own data directory (XDG Base Directory Specification).
    pub(crate) fn find(global: &Global) -> Result<Place, Failure> {
        let data_dir = match &global.data_dir {
            Some(directory) => directory.clone(),
            None => default_data_dir().ok_or_else(|| {
                Failure::usage("no data directory: HOME is not set")
                    .hint("Name one with --data-dir.")
            })?,
        };
        let data_dir = std::path::absolute(&data_dir)?;
        let own = data_dir.join("config.yaml");
        let config = global
            .config
            .clone()
            .or_else(|| own.exists().then_some(own));
        let run_dir = run_dir(config.as_deref()).unwrap_or_else(|| data_dir.join("run"));
        Ok(Place {
            socket: run_dir.join("control.sock"),
            data_dir,
            config,
        })
    }

    /// Why nobody answers at the socket, and what to do.
    pub(crate) fn unreachable(&self, error: &std::io::Error) -> Failure {
        use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        let socket = self.socket.display();
        let data = self.data_dir.display();
        let failure = Failure::unreachable(match error.kind() {
            NotFound if !self.data_dir.exists() => {
                format!("no gateway: the data directory {data} does not exist")
            }
            NotFound => format!("no gateway is running on {data}: {socket} does not exist"),
            ConnectionRefused => {
                format!(
                    "no gateway is running on {data}: {socket} was left by one that has stopped"
                )
            }
            PermissionDenied => {
                format!("the gateway on {data} belongs to another user: {socket} is closed to you")
            }
            _ => format!("cannot reach the gateway at {socket}: {error}"),
        });
        let failure = match self.holder() {
            Some(pid) => failure.hint(format!(
                "Process {pid} holds {data}: it may still be starting, or its run_dir is elsewhere (--config FILE)."
            )),
            None if error.kind() == PermissionDenied => failure.hint("Run this as that user or root."),
            None => failure.hint(format!("Start one:  kruxos --data-dir {data} up")),
        };
        match self.others().first() {
            Some(other) => failure.hint(format!(
                "A gateway may run on {0}:  kruxos --data-dir {0} status",
                other.display()
            )),
            None => failure.hint(
                "If one runs on another directory, name it with --data-dir or KRUXOS_DATA_DIR.",
            ),
        }
    }

    /// The living process that wrote itself into the data directory's lock.
    fn holder(&self) -> Option<u32> {
        let pid = std::fs::read_to_string(self.data_dir.join("lock")).ok()?;
        let pid = pid.trim().parse().ok()?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        name.starts_with("kruxos").then_some(pid)
    }

    /// Well-known data directories, other than this one, with a control socket.
    fn others(&self) -> Vec<PathBuf> {
        let known = default_data_dir()
            .into_iter()
            .chain([PathBuf::from(SERVICE_DATA_DIR)]);
        known
            .filter(|other| *other != self.data_dir && other.join("run/control.sock").exists())
            .collect()
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place of the command line that reads them"
)]
fn default_data_dir() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var(name)
            .ok()
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("kruxos"))
}

/// `run_dir`, from the environment or the configuration file as the gateway reads them.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place of the command line that reads them"
)]
fn run_dir(config: Option<&Path>) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct OneKey {
        run_dir: Option<PathBuf>,
    }
    if let Ok(directory) = std::env::var("KRUXOS_RUN_DIR") {
        return Some(PathBuf::from(directory));
    }
    let config = config?;
    if std::fs::metadata(config).ok()?.len() > MAX_CONFIG_BYTES {
        return None;
    }
    let text = std::fs::read_to_string(config).ok()?;
    // A file that does not parse is the gateway's to refuse; here only its socket is looked for.
    serde_saphyr::from_str::<OneKey>(&text).ok()?.run_dir
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn place(data_dir: &Path) -> Place {
        let global = Global {
            data_dir: Some(data_dir.to_owned()),
            config: None,
            json: false,
            quiet: false,
            no_color: false,
        };
        Place::find(&global).unwrap()
    }

    #[test]
    fn the_socket_follows_run_dir_of_the_configuration() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(
            place(directory.path()).socket,
            directory.path().join("run/control.sock")
        );
        std::fs::write(
            directory.path().join("config.yaml"),
            "run_dir: /run/k\nserver: {port: 1}\n",
        )
        .unwrap();
        assert_eq!(
            place(directory.path()).socket,
            Path::new("/run/k/control.sock")
        );
    }

    #[test]
    fn the_cause_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let failure = place(directory.path()).unreachable(&missing);
        assert_eq!(failure.exit as u8, 5);
        assert!(
            failure.message.contains("control.sock does not exist"),
            "{}",
            failure.message
        );
        assert!(failure.hints.iter().any(|hint| hint.contains("up")));
        let failure = place(&directory.path().join("nowhere")).unreachable(&missing);
        assert!(
            failure.message.contains("nowhere does not exist"),
            "{}",
            failure.message
        );
        let stale = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(
            place(directory.path())
                .unreachable(&stale)
                .message
                .contains("has stopped")
        );
    }
}
