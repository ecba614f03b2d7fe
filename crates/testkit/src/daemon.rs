use crate::Client;
use anyhow::Context;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running `kruxosd up`. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    /// What it said of itself.
    pub introduction: Introduction,
}

/// The JSON line of `up --json`.
#[derive(Debug, Clone)]
pub struct Introduction(pub Value);

impl Introduction {
    /// `http://127.0.0.1:PORT` of the agent port.
    #[must_use]
    pub fn gateway(&self) -> &str {
        self.0["gateway"].as_str().unwrap_or_default()
    }

    /// The default agent's token, if this start made it.
    #[must_use]
    pub fn agent_token(&self) -> Option<&str> {
        self.0["agent"]["token"].as_str()
    }

    /// The default agent's workspace.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.0["workspace"].as_str().unwrap_or_default().into()
    }

    /// The control socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.0["control_socket"].as_str().unwrap_or_default().into()
    }
}

impl Daemon {
    /// Starts `binary` on a data directory, on free ports, and waits until it listens.
    ///
    /// # Errors
    /// It ended before it listened; its stderr is in the test's output.
    pub fn start(binary: &Path, data_dir: &Path) -> anyhow::Result<Daemon> {
        Self::start_with(binary, data_dir, &[])
    }

    /// The same with environment variables.
    ///
    /// # Errors
    /// See [`Daemon::start`].
    pub fn start_with(
        binary: &Path,
        data_dir: &Path,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Daemon> {
        Self::start_logging(binary, data_dir, environment, Stdio::inherit())
    }

    /// The same with its stderr going to `log`, for tests that read it.
    ///
    /// # Errors
    /// See [`Daemon::start`].
    pub fn start_logging(
        binary: &Path,
        data_dir: &Path,
        environment: &[(&str, &str)],
        log: impl Into<Stdio>,
    ) -> anyhow::Result<Daemon> {
        let mut command = Command::new(binary);
        // The daemon refuses KRUXOS_* variables that are no keys, and the tests have some of their own.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KRUXOS_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args([
                "up",
                "--json",
                "--port",
                "0",
                "--health-port",
                "0",
                "--data-dir",
            ])
            .arg(data_dir)
            .env("KRUXOS_LOG__FILTER", "warn")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let introduction = serde_json::from_str(&line).with_context(|| {
            // It ended already or will with this process; reap it either way.
            drop(child.kill());
            drop(child.wait());
            format!("the daemon did not introduce itself: {line:?}")
        })?;
        Ok(Daemon {
            child,
            introduction: Introduction(introduction),
        })
    }

    /// A client of the agent port.
    ///
    /// # Errors
    /// The connection is refused.
    pub fn client(&self, token: &str) -> anyhow::Result<Client> {
        Client::tcp(self.introduction.gateway(), token)
    }

    /// A client of the control socket.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn control(&self) -> anyhow::Result<Client> {
        Client::control(&self.introduction.control_socket())
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, as a crash.
    ///
    /// # Errors
    /// It cannot be reaped.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and its exit code.
    ///
    /// # Errors
    /// It cannot be signalled or reaped.
    pub fn stop(mut self) -> anyhow::Result<Option<i32>> {
        let status = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        anyhow::ensure!(status.success(), "kill failed");
        Ok(self.child.wait()?.code())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already gone after kill() or stop().
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
