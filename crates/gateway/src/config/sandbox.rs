//! The `sandbox` section.

use kruxos_sandbox::probe::Primitive;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "each field is a row of KEYS, which documents it"
)]
pub struct Sandbox {
    /// `None`: [`Sandbox::SERVICE_REQUIRES`] for the service, nothing for a first try.
    pub require: Option<Vec<Primitive>>,
    pub memory_mb: u64,
    pub cpu_percent: u32,
    pub pids: u64,
    pub read_mb_per_second: u64,
    pub write_mb_per_second: u64,
    pub tmp_mb: u64,
    pub workspace_mb: u64,
    pub call_timeout_seconds: u64,
    pub idle_seconds: u64,
    pub read_only_directories: Vec<PathBuf>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            require: None,
            memory_mb: 512,
            cpu_percent: 50,
            pids: 100,
            read_mb_per_second: 50,
            write_mb_per_second: 25,
            tmp_mb: 100,
            workspace_mb: 10_240,
            call_timeout_seconds: 300,
            idle_seconds: 300,
            read_only_directories: Vec::new(),
        }
    }
}

impl Sandbox {
    /// What the service does not start without (spec/sandbox.md).
    pub const SERVICE_REQUIRES: [Primitive; 3] =
        [Primitive::Landlock, Primitive::Seccomp, Primitive::UserNs];

    /// Bounds that no value may be outside of: the key's last part and the range.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let ranges = [
            ("memory_mb", self.memory_mb, 16, 1 << 20),
            ("cpu_percent", u64::from(self.cpu_percent), 1, 100_000),
            // A shell, its pipeline and what watches them.
            ("pids", self.pids, 8, 100_000),
            ("read_mb_per_second", self.read_mb_per_second, 1, 1 << 20),
            ("write_mb_per_second", self.write_mb_per_second, 1, 1 << 20),
            ("tmp_mb", self.tmp_mb, 1, 1 << 20),
            ("workspace_mb", self.workspace_mb, 0, 1 << 30),
            ("call_timeout_seconds", self.call_timeout_seconds, 1, 3600),
            ("idle_seconds", self.idle_seconds, 1, 86_400),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err((name, format!("must be {least} to {most}")));
            }
        }
        let relative = |path: &&PathBuf| !path.is_absolute();
        match self.read_only_directories.iter().find(relative) {
            None => Ok(()),
            Some(path) => Err((
                "read_only_directories",
                format!("{} is not an absolute path", path.display()),
            )),
        }
    }
}
