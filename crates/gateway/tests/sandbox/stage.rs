//! A daemon with a permissive policy for its agent.

use kruxos_testkit::{Client, Daemon};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What the agent may do in these tests: all that exists.
const POLICY: &str = "rules:\n  - match: {capability: \"*\"}\n    tier: autonomous\n";

pub(crate) struct Stage {
    pub(crate) daemon: Daemon,
    pub(crate) agent: Client,
    pub(crate) directory: TempDir,
}

/// The program under test; its jail lies beside it.
pub(crate) fn program() -> &'static Path {
    let program = Path::new(env!("CARGO_BIN_EXE_kruxosd"));
    let jail = program.with_file_name("kruxos-jail");
    assert!(jail.exists(), "run: cargo build -p kruxos-jail");
    program
}

impl Stage {
    pub(crate) fn new() -> Stage {
        Stage::with(&[], POLICY)
    }

    pub(crate) fn with_environment(environment: &[(&str, &str)]) -> Stage {
        Stage::with(environment, POLICY)
    }

    /// Calls that wait for a person answer at once.
    pub(crate) fn with_policy(policy: &str) -> Stage {
        Stage::with(&[("KRUXOS_APPROVAL__HOLD_SECONDS", "0")], policy)
    }

    fn with(environment: &[(&str, &str)], policy: &str) -> Stage {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let daemon = Daemon::start_with(program(), &data, environment).unwrap();
        let token = daemon.introduction.agent_token().unwrap().to_owned();
        let agent = daemon.client(&token).unwrap();
        let mut stage = Stage {
            daemon,
            agent,
            directory,
        };
        let policy = json!({"text": policy});
        stage.control("PUT", "/policies/files/agents/default-agent", Some(policy));
        stage
    }

    pub(crate) fn control(&mut self, method: &str, path: &str, body: Option<Value>) -> Value {
        let mut control = self.daemon.control().unwrap();
        let answer = control.request(method, path, body.as_ref()).unwrap();
        assert!(answer.status < 300, "{path}: {answer:?}");
        answer.body
    }

    /// A call that must succeed.
    pub(crate) fn done(&mut self, capability: &str, inputs: Value) -> Value {
        match self.agent.call(capability, inputs.clone()).unwrap() {
            Ok(result) => result,
            Err(error) => panic!("{capability} {inputs}: {error}"),
        }
    }

    /// A call that must be refused; answers the structured error.
    pub(crate) fn refused(&mut self, capability: &str, inputs: Value) -> Value {
        match self.agent.call(capability, inputs.clone()).unwrap() {
            Ok(result) => panic!("{capability} {inputs}: {result}"),
            Err(error) => error,
        }
    }

    /// What a shell line prints.
    pub(crate) fn shell(&mut self, line: &str) -> String {
        let inputs = json!({"command": "sh", "args": ["-c", line]});
        let answer = self.done("process.run", inputs);
        assert_eq!(answer["exit_code"], 0, "{line}: {answer}");
        answer["stdout_summary"].as_str().unwrap().trim().to_owned()
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.daemon.introduction.workspace()
    }

    /// Processes on the host whose command line holds `mark`.
    pub(crate) fn processes(mark: &str) -> Vec<u32> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(mark)
        })
        .collect()
    }
}

/// Waits until `done`; what is waited for takes milliseconds, so the bound only says where it hangs.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let since = std::time::Instant::now();
    while !done() {
        assert!(since.elapsed().as_secs() < 30, "{what}");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}
