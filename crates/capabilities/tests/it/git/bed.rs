//! A workspace, a place outside it, and calls the way the gateway makes them.
#![allow(
    clippy::disallowed_methods,
    reason = "tests make their repositories with git itself"
)]

use super::programs::{Fault, Local};
use crate::permits;
use kruxos_capabilities::git::{GitCx, Network, run};
use kruxos_types::CallError;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

pub(crate) struct Bed {
    dir: tempfile::TempDir,
    pub(crate) programs: Arc<Local>,
    pub(crate) cx: GitCx,
}

/// What tests may reach beside HTTPS: repositories of this machine.
pub(crate) const LOCAL: &[&str] = &["file", "http", "https"];

impl Bed {
    /// An empty workspace, and remotes of this machine allowed.
    pub(crate) fn new() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["ws", "outside"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        let programs = Arc::new(Local::new(&root.join("ws")));
        let cx = GitCx {
            programs: programs.clone(),
            agent: permits::TESTER.into(),
            workspace: root.join("ws"),
            mounts: vec!["data".to_owned()],
            network: Some(Network {
                proxy: None,
                schemes: LOCAL,
                allows: Arc::new(|_, host, _| host == "127.0.0.1"),
            }),
        };
        Bed { dir, programs, cx }
    }

    /// With a repository `p` that has one commit of `a.txt` on `main`.
    pub(crate) fn with_repository() -> Bed {
        let bed = Bed::new();
        bed.git(".", ["init", "-q", "-b", "main", "p"]);
        bed.put("p/a.txt", "one\n");
        bed.git("p", ["add", "-A"]);
        bed.git("p", ["commit", "-qm", "first"]);
        bed
    }

    /// The same, with a bare remote that has it too, as `origin`.
    pub(crate) fn with_remote() -> Bed {
        let bed = Bed::with_repository();
        bed.git(".", ["clone", "-q", "--bare", "p", "../outside/r.git"]);
        let url = bed.remote_url();
        bed.git("p", ["remote", "add", "origin", url.as_str()]);
        bed.git("p", ["fetch", "-q", "origin"]);
        bed.git("p", ["branch", "-q", "-u", "origin/main"]);
        bed
    }

    pub(crate) fn remote_url(&self) -> String {
        format!("file://{}", self.outside("r.git").display())
    }

    /// Commits a file in the remote, as somebody else would.
    pub(crate) fn commit_elsewhere(&self, file: &str, content: &str) {
        let other = self.outside("other");
        if !other.exists() {
            let url = self.remote_url();
            self.git("../outside", ["clone", "-q", url.as_str(), "other"]);
        }
        self.git("../outside/other", ["pull", "-q"]);
        std::fs::write(other.join(file), content).unwrap();
        self.git("../outside/other", ["add", "-A"]);
        self.git("../outside/other", ["commit", "-qm", "elsewhere"]);
        self.git("../outside/other", ["push", "-q"]);
    }

    pub(crate) fn call(&self, name: &str, inputs: Value) -> Result<Value, CallError> {
        let definition = permits::definition(&format!("git.{name}"));
        let inputs = definition.admit(inputs)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(run(
            definition,
            permits::permit(definition, inputs),
            &self.cx,
        ))
    }

    #[track_caller]
    pub(crate) fn ok(&self, name: &str, inputs: Value) -> Value {
        let answer = self
            .call(name, inputs)
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let definition = permits::definition(&format!("git.{name}"));
        if let Err(error) = definition.check_output(&answer) {
            panic!("{name} breaks its definition: {error:?}: {answer}");
        }
        answer
    }

    /// The JSON of the error that a call must end in, which its definition declares or any may have.
    #[track_caller]
    pub(crate) fn fail(&self, name: &str, inputs: Value, error_type: &str) -> Value {
        match self.call(name, inputs) {
            Ok(answer) => panic!("{name} should fail with {error_type}: {answer}"),
            Err(error) => {
                let json = error.to_json();
                assert_eq!(json["error_type"], error_type, "{error:?}");
                let definition = permits::definition(&format!("git.{name}"));
                let declared = definition.errors.iter();
                let is_declared = declared.clone().any(|d| d.error == error.error_type());
                assert!(
                    is_declared || error.error_type().spec().common,
                    "{error_type}"
                );
                let real = self.cx.workspace.to_str().unwrap();
                assert!(!json.to_string().contains(real), "{json}");
                json
            }
        }
    }

    /// The next program with this argument goes wrong.
    pub(crate) fn fault(&self, argument: &str, fault: Fault) {
        let mut faults = self.programs.faults.lock().unwrap();
        faults.push((argument.to_owned(), fault));
    }

    pub(crate) fn path(&self, rel: &str) -> PathBuf {
        self.cx.workspace.join(rel)
    }

    pub(crate) fn outside(&self, rel: &str) -> PathBuf {
        self.dir
            .path()
            .canonicalize()
            .unwrap()
            .join("outside")
            .join(rel)
    }

    pub(crate) fn put(&self, rel: &str, content: impl AsRef<[u8]>) {
        let path = self.path(rel);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn get(&self, rel: &str) -> String {
        std::fs::read_to_string(self.path(rel)).unwrap()
    }

    pub(crate) fn entries(&self, rel: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(rel)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// git as a person uses it, in a directory below the workspace; what it prints.
    #[track_caller]
    pub(crate) fn git<T: AsRef<OsStr>>(
        &self,
        rel: &str,
        arguments: impl IntoIterator<Item = T>,
    ) -> String {
        let (succeeded, output) = self.try_git(rel, arguments);
        assert!(succeeded, "{output}");
        output
    }

    pub(crate) fn try_git<T: AsRef<OsStr>>(
        &self,
        rel: &str,
        arguments: impl IntoIterator<Item = T>,
    ) -> (bool, String) {
        let output = plain_git(&self.path(rel)).args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).trim_end().to_owned();
        (output.status.success(), text)
    }
}

/// git with a name of its own and no settings but the repository's. It never asks, and a trap that
/// waits for ever is ended with all its children (`timeout` gives them a process group).
fn plain_git(directory: &Path) -> Command {
    let mut git = Command::new("timeout");
    git.args(["--kill-after=1", "20", "git"])
        .current_dir(directory)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .args([
            "-c",
            "user.name=Somebody Else",
            "-c",
            "user.email=else@example.com",
        ])
        .args(["-c", "protocol.file.allow=always"]);
    git
}
