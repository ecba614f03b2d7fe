//! A gateway in this process with its control socket, and the real `kruxos` program beside it.

use kruxos_gateway::api::serve_control;
use kruxos_gateway::config::Config;
use kruxos_gateway::gateway::{Gateway, OpenError};
use kruxos_gateway::layout::{Layout, LayoutError};
use kruxos_types::SystemClock;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

/// The program on a data directory, with nothing of the tester's own environment.
pub(crate) fn kruxos(data_dir: &Path) -> Command {
    #[allow(
        clippy::disallowed_methods,
        reason = "the test runs the program under test"
    )]
    let mut command = Command::new(env!("CARGO_BIN_EXE_kruxos"));
    command
        .env_clear()
        .env("HOME", data_dir)
        .arg("--data-dir")
        .arg(data_dir)
        .stdin(Stdio::null());
    command
}

/// A running gateway; stops when dropped.
pub(crate) struct World {
    runtime: Runtime,
    gateway: Gateway,
    directory: TempDir,
}

impl World {
    pub(crate) fn start() -> World {
        let directory = tempfile::tempdir().unwrap();
        World::on(directory)
    }

    pub(crate) fn on(directory: TempDir) -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let gateway = runtime.block_on(async {
            let gateway = open(directory.path()).await;
            let socket = gateway.layout.control_socket();
            let listener = UnixListener::bind(&socket).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&socket, mode).unwrap();
            gateway
                .tasks
                .spawn(serve_control(gateway.clone(), listener));
            gateway
        });
        World {
            runtime,
            gateway,
            directory,
        }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    /// Stops the gateway; the data directory stays.
    pub(crate) fn stop(self) -> TempDir {
        self.runtime.block_on(self.gateway.stop());
        drop(self.gateway);
        self.directory
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(kruxos(self.data_dir()).args(arguments).output().unwrap())
    }

    /// Runs a command that must succeed; its JSON answer.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[&["--json"], arguments].concat());
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", ran.stdout))
    }

    /// Makes every write of a file wait for a person.
    pub(crate) fn hold_writes(&self) {
        let policy = "name: org\nversion: \"1.0\"\ncapabilities:\n  filesystem.write: {tier: approval_required, reason: look first}\n";
        std::fs::write(self.data_dir().join("policies/org.yaml"), policy).unwrap();
        let _reload = self.runtime.block_on(self.gateway.reload_policy());
    }

    /// Starts a command that does not end by itself.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = kruxos(self.data_dir());
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// Opens a gateway. A program that another test just starts can hold the lock of the one before for a
/// moment: between its fork and its exec it has every descriptor of this process.
async fn open(directory: &Path) -> Gateway {
    let started = std::time::Instant::now();
    loop {
        let layout = Layout::new(directory, None, None);
        let sandbox = kruxos_gateway::sandbox::Sandbox::absent("a test");
        let clock = Arc::new(SystemClock);
        match Gateway::open(Config::default(), layout, clock, sandbox).await {
            Ok(gateway) => return gateway,
            Err(OpenError::Layout(LayoutError::InUse { .. }))
                if started.elapsed().as_secs() < 20 =>
            {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A finished command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
