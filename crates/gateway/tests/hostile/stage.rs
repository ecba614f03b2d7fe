//! A daemon with a workspace to attack, a place outside it that must stay as it is, and its stderr.

use crate::wire;
use kruxos_testkit::Daemon;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// What stands outside the workspace and must never be in an answer.
pub(crate) const SECRET: &str = "outside-the-workspace-7b1e";
/// Names below the workspace that lead out of it.
pub(crate) const LEAK_DIRECTORY: &str = "leak";
pub(crate) const LEAK_FILE: &str = "leak.txt";

const SEEDS: &[(&str, &str)] = &[
    ("notes/todo.md", "# Todo\n"),
    ("notes/log.md", "2026-01-04 nothing\n"),
    ("docs/readme.md", "# Docs\n"),
    ("reports/a.csv", "a,b\n1,2\n"),
    ("config.yaml", "port: 1\n"),
    ("draft.md", "draft\n"),
    ("tmp/old.log", "old\n"),
    ("src/main.rs", "let retries = 3;\nparse_config();\n"),
];

/// Every entry below a directory: a file's bytes, a link's target, nothing for a directory.
pub(crate) type Tree = BTreeMap<PathBuf, Vec<u8>>;

pub(crate) struct Stage {
    pub(crate) daemon: Daemon,
    pub(crate) token: String,
    pub(crate) directory: tempfile::TempDir,
    seeded: Tree,
    outside: Tree,
}

impl Stage {
    pub(crate) fn new(policy: &str) -> Stage {
        let directory = tempfile::tempdir().unwrap();
        let log = fs::File::create(directory.path().join("stderr")).unwrap();
        let binary = Path::new(env!("CARGO_BIN_EXE_kruxosd"));
        let data_dir = directory.path().join("data");
        let daemon = Daemon::start_logging(binary, &data_dir, &[], log).unwrap();
        let token = daemon.introduction.agent_token().unwrap().to_owned();
        let answer = daemon
            .control()
            .unwrap()
            .request(
                "PUT",
                "/policies/files/agents/default-agent",
                Some(&json!({"text": policy})),
            )
            .unwrap();
        assert!(answer.status < 300, "{answer:?}");
        let outside = directory.path().join("outside");
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("secret.txt"), SECRET).unwrap();
        let mut stage = Stage {
            daemon,
            token,
            outside: tree(&outside),
            seeded: Tree::new(),
            directory,
        };
        stage.seed();
        stage.seeded = tree(&stage.workspace());
        stage
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.daemon.introduction.workspace()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn address(&self) -> &str {
        self.daemon
            .introduction
            .gateway()
            .trim_start_matches("http://")
    }

    fn seed(&self) {
        let workspace = self.workspace();
        for entry in fs::read_dir(&workspace).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                fs::remove_dir_all(entry.path()).unwrap();
            } else {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        for (name, content) in SEEDS {
            let path = workspace.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let outside = self.directory.path().join("outside");
        symlink(&outside, workspace.join(LEAK_DIRECTORY)).unwrap();
        symlink(outside.join("secret.txt"), workspace.join(LEAK_FILE)).unwrap();
        // The box is made already; a new one would take over what a person put there.
        let owner = fs::metadata(&workspace).unwrap();
        hand_over(&workspace, owner.uid(), owner.gid());
    }

    /// Nothing was written, neither in the workspace nor where its links lead.
    pub(crate) fn assert_untouched(&self, what: &str) {
        assert_eq!(tree(&self.workspace()), self.seeded, "after {what}");
        self.assert_outside_untouched(what);
    }

    /// Puts back what a call that was carried out has changed.
    pub(crate) fn restore(&self, what: &str) {
        self.assert_outside_untouched(what);
        if tree(&self.workspace()) != self.seeded {
            self.seed();
        }
    }

    fn assert_outside_untouched(&self, what: &str) {
        let outside = self.directory.path().join("outside");
        assert_eq!(tree(&outside), self.outside, "after {what}");
    }

    /// The daemon answers a good request on a connection of its own.
    pub(crate) fn assert_alive(&self, what: &str) {
        let body = r#"{"jsonrpc":"2.0","id":"alive","method":"capabilities.invoke","params":{"capability":"system.time"}}"#;
        let request = wire::post("/rpc", &self.token, &[], body.as_bytes());
        let answer = wire::Connection::open(self.address())
            .exchange(&request)
            .unwrap_or_else(|error| panic!("no answer after {what}: {error}"));
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer["id"], "alive", "after {what}: {answer}");
        assert!(answer["result"].is_object(), "after {what}: {answer}");
    }

    /// It still lives, never panicked, and ends as it should.
    pub(crate) fn finish(self) {
        self.assert_alive("everything");
        let Stage {
            daemon, directory, ..
        } = self;
        assert_eq!(daemon.stop().unwrap(), Some(0));
        let log = fs::read(directory.path().join("stderr")).unwrap();
        let log = String::from_utf8_lossy(&log);
        assert!(!log.contains("panicked"), "{log}");
        assert!(!log.contains("overflowed its stack"), "{log}");
    }
}

fn hand_over(directory: &Path, uid: u32, gid: u32) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        lchown(&path, Some(uid), Some(gid)).unwrap();
        if path.is_dir() && !path.is_symlink() {
            hand_over(&path, uid, gid);
        }
    }
}

fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            let content = if kind.is_symlink() {
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else if kind.is_dir() {
                open.push(path.clone());
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            found.insert(path, content);
        }
    }
    found
}
