//! A launcher and an agent's box on a temporary directory, as root and as nobody. The tests of the jail
//! use this file too.
#![allow(dead_code, reason = "not all tests need all of it")]

use kruxos_sandbox::client::{AgentBox, BoxOptions, Ended, Launcher, Program, Running, Stream};
use kruxos_sandbox::spec::{BoxSpec, FIRST_OWN_UID, Identity, ProgramSpec};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Longer than anything takes on a busy machine; never waited for when things go well.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Nobody in particular.
const NOBODY: u32 = 65534;

/// With whose rights the launcher runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Root: every agent gets a uid of its own.
    Service,
    /// A normal user, as whoever runs the tests, or as nobody where that is root.
    User,
}

/// All that can be tried here: a service takes root.
pub(crate) fn modes() -> Vec<Mode> {
    match rustix::process::geteuid().is_root() {
        true => vec![Mode::Service, Mode::User],
        false => vec![Mode::User],
    }
}

/// A place with a launcher.
pub(crate) struct Bed {
    pub(crate) mode: Mode,
    pub(crate) directory: TempDir,
    pub(crate) launcher: Arc<Launcher>,
}

impl Bed {
    pub(crate) fn new(mode: Mode) -> Bed {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        #[allow(clippy::disallowed_methods, reason = "the launcher's own start")]
        let mut command = Command::new(reachable(Path::new(crate::LAUNCHER), directory.path()));
        command.arg(kruxos_sandbox::launcher::ARGUMENT);
        if mode == Mode::User && rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let launcher = Arc::new(Launcher::start(command).unwrap());
        Bed {
            mode,
            directory,
            launcher,
        }
    }

    /// The spec of a box whose workspace and trash are made here.
    pub(crate) fn spec(&self, name: &str) -> BoxSpec {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let identity = match self.mode {
            Mode::Service => Identity::Own(FIRST_OWN_UID + NEXT.fetch_add(1, Ordering::Relaxed)),
            Mode::User => Identity::Caller,
        };
        let mut spec = BoxSpec::new(name, identity, self.make(&format!("{name}/workspace")));
        spec.trash = Some(self.make(&format!("{name}/trash")));
        spec
    }

    /// A directory for the launcher's user.
    pub(crate) fn make(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        if self.mode == Mode::User && rustix::process::geteuid().is_root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        path
    }

    pub(crate) fn options(&self, spec: BoxSpec) -> BoxOptions {
        BoxOptions::new(spec, self.make("outputs"))
    }

    pub(crate) fn open(&self, spec: BoxSpec) -> AgentBox {
        AgentBox::new(self.launcher.clone(), self.options(spec))
    }

    /// A box of an agent of this name.
    pub(crate) fn agent(&self, name: &str) -> AgentBox {
        self.open(self.spec(name))
    }
}

/// The program where nobody may execute it too.
fn reachable(program: &Path, directory: &Path) -> PathBuf {
    let copy = directory.join("launcher");
    if std::fs::hard_link(program, &copy).is_err() {
        std::fs::copy(program, &copy).unwrap();
    }
    copy
}

/// What a worker said, as text.
pub(crate) async fn ask(agent: &AgentBox, request: &str) -> String {
    let answer = agent.call(request.as_bytes(), LONG).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// A program that has ended, and what it printed.
pub(crate) struct Done {
    pub(crate) ended: Ended,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program to its end.
pub(crate) async fn run(agent: &AgentBox, program: Program) -> Done {
    let running = agent.run(program).await.unwrap();
    let ended = running.wait().await;
    let text = |stream| {
        let bytes = running.output(stream, 0, 1 << 20).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Done {
        ended,
        stdout: text(Stream::Stdout),
        stderr: text(Stream::Stderr),
    }
}

/// A line for the shell.
pub(crate) fn shell(line: &str) -> Program {
    Program {
        timeout: LONG,
        ..Program::new(ProgramSpec::new(["/bin/sh", "-c", line]))
    }
}

/// Waits until a program has printed a text.
pub(crate) async fn until_printed(running: &Running, text: &str) {
    let printed = async {
        loop {
            let bytes = running.output(Stream::Stdout, 0, 1 << 20).unwrap();
            if String::from_utf8_lossy(&bytes).contains(text) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, printed).await.unwrap();
}

/// Command lines of all processes of the host.
pub(crate) fn host_processes() -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let line = std::fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        lines.push(line.trim_end_matches('\0').replace('\0', " "));
    }
    lines
}
