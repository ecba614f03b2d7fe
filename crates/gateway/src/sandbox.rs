//! What this host confines agents with: tried and started once, before the gateway has threads, sockets
//! or data. What is missing is said at start, in health and by `kruxos sandbox diagnose`; nothing that
//! was found missing is pretended, and nothing that was found working is done without later.

use kruxos_sandbox::backstop::{self, BackstopError};
use kruxos_sandbox::cgroup::{self, Subtree};
use kruxos_sandbox::client::Launcher;
use kruxos_sandbox::launcher;
use kruxos_sandbox::probe::{Diagnosis, Primitive, Status};
use kruxos_sandbox::spec::Layers;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// The program that is the launcher and runs the probe; it stands beside the daemon.
const PROGRAM: &str = "kruxos-jail";
/// Without these there is no box at all: the rest are layers of one.
const NEEDED: [Primitive; 3] = [Primitive::UserNs, Primitive::PidNs, Primitive::MountNs];

/// The sandbox of this host.
#[derive(Debug)]
pub struct Sandbox {
    diagnosis: Option<Diagnosis>,
    means: Result<Means, NoBoxes>,
    backstop: Backstop,
}

/// The host's packet filter against agents' uids; see [`kruxos_sandbox::backstop`].
#[derive(Debug)]
enum Backstop {
    /// Not possible, or without a meaning where agents have no uids of their own.
    None,
    /// In force.
    Up,
    /// It should be.
    Failed(BackstopError),
}

/// Why no box can be made on this host.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
struct NoBoxes(String);

/// What boxes are made with.
#[derive(Debug)]
struct Means {
    launcher: Arc<Launcher>,
    layers: Layers,
    subtree: Option<Subtree>,
    /// One for each principal, made by its first box.
    groups: Mutex<HashMap<String, Arc<cgroup::Agent>>>,
}

/// The sandbox lacks something that the configuration requires.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Missing(String);

impl Sandbox {
    /// Tries every protection and starts the launcher. To be called first thing in `main`, while there
    /// is one thread.
    #[must_use]
    pub fn start() -> Sandbox {
        match program().and_then(|program| Ok((diagnose_by(&program)?, program))) {
            Ok((diagnosis, program)) => {
                let means = Means::start(&diagnosis, &program);
                let wanted = means.is_ok() && is_root();
                Sandbox {
                    backstop: match wanted.then(|| backstop::install(&diagnosis)) {
                        Some(Ok(true)) => Backstop::Up,
                        Some(Err(error)) => Backstop::Failed(error),
                        Some(Ok(false)) | None => Backstop::None,
                    },
                    means,
                    diagnosis: Some(diagnosis),
                }
            }
            Err(error) => Sandbox::absent(format!("{PROGRAM} cannot be run: {error}")),
        }
    }

    /// Only tries every protection; for `kruxos sandbox diagnose` where no gateway runs.
    #[must_use]
    pub fn look() -> Sandbox {
        match program().and_then(|program| diagnose_by(&program)) {
            Ok(diagnosis) => Sandbox {
                means: Err(NoBoxes(
                    lacking(&diagnosis).unwrap_or_else(|| "no launcher was started".to_owned()),
                )),
                diagnosis: Some(diagnosis),
                backstop: Backstop::None,
            },
            Err(error) => Sandbox::absent(format!("{PROGRAM} cannot be run: {error}")),
        }
    }

    /// None: file calls run in this process, behind its path checks only, and programs are refused.
    #[must_use]
    pub fn absent(reason: impl Into<String>) -> Sandbox {
        Sandbox {
            diagnosis: None,
            means: Err(NoBoxes(reason.into())),
            backstop: Backstop::None,
        }
    }

    /// Whether the host's packet filter has a rule of ours, to be taken away by [`backstop::remove`] when
    /// nothing runs any more.
    #[must_use]
    pub fn has_backstop(&self) -> bool {
        matches!(self.backstop, Backstop::Up)
    }

    /// Whether everything required works here.
    ///
    /// # Errors
    /// The ones that do not, each with its reason and what to do about it.
    pub fn meets(&self, required: &[Primitive]) -> Result<(), Missing> {
        let mut lacks = Vec::new();
        for primitive in required {
            match self.finding(*primitive) {
                (true, _, _) => {}
                (false, reason, remedy) => {
                    lacks.push(format!("{}: {reason}. {remedy}", primitive.name()));
                }
            }
        }
        if lacks.is_empty() {
            return Ok(());
        }
        Err(Missing(format!(
            "the configuration requires kernel protections (sandbox.require) that do not work here:\n  {}",
            lacks.join("\n  ")
        )))
    }

    /// Why no box can be made here, if so.
    #[must_use]
    pub fn lacks(&self) -> Option<&str> {
        self.means.as_ref().err().map(|why| why.0.as_str())
    }

    /// The launcher and the layers of every box, where boxes can be made.
    pub(crate) fn means(&self) -> Option<(&Arc<Launcher>, Layers)> {
        let means = self.means.as_ref().ok()?;
        Some((&means.launcher, means.layers))
    }

    /// The control group of a principal, where the host has any. `owner` is its uid on the host.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(crate) fn group(
        &self,
        name: &str,
        owner: Option<u32>,
        limits: &cgroup::Limits,
    ) -> Result<Option<Arc<cgroup::Agent>>, cgroup::CgroupError> {
        let Ok(means) = &self.means else {
            return Ok(None);
        };
        let Some(subtree) = &means.subtree else {
            return Ok(None);
        };
        let mut groups = means.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get(name) {
            return Ok(Some(group.clone()));
        }
        let group = Arc::new(subtree.agent(name, owner, limits)?);
        groups.insert(name.to_owned(), group.clone());
        Ok(Some(group))
    }

    /// `healthy`, `degraded` or `critical`, and why.
    #[must_use]
    pub fn health(&self) -> (&'static str, String) {
        let means = match &self.means {
            Ok(means) => means,
            Err(reason) => {
                let details = format!(
                    "no kernel sandbox: {reason}; file calls run in the gateway, programs are refused"
                );
                return ("degraded", details);
            }
        };
        if !means.launcher.is_alive() {
            let details =
                "the launcher has ended; file calls and programs are refused until a restart";
            return ("critical", details.to_owned());
        }
        let missing = self.missing();
        if let (true, Backstop::Failed(error)) = (missing.is_empty(), &self.backstop) {
            return ("degraded", format!("without the packet filter: {error}"));
        }
        if missing.is_empty() {
            return ("healthy", "every layer is active".to_owned());
        }
        let names: Vec<&str> = missing.iter().map(|primitive| primitive.name()).collect();
        let details = format!("without {}; see kruxos sandbox diagnose", names.join(", "));
        ("degraded", details)
    }

    /// Brings the metrics up to what the boxes counted.
    pub(crate) fn refresh_counters(&self) {
        let Ok(means) = &self.means else { return };
        let counted = means.launcher.stats().snapshot();
        let totals = [
            ("kruxos_sandbox_boxes_total", counted.boxes),
            ("kruxos_sandbox_worker_starts_total", counted.workers),
            ("kruxos_sandbox_worker_calls_total", counted.calls),
            ("kruxos_sandbox_programs_total", counted.programs),
            ("kruxos_sandbox_refusals_total", counted.refused),
        ];
        for (name, total) in totals {
            metrics::counter!(name).absolute(total);
        }
        let kills = [
            ("worker_died", counted.workers_died),
            ("worker_timed_out", counted.workers_timed_out),
            ("worker_answer", counted.workers_broken),
            ("program_timed_out", counted.programs_timed_out),
            ("program_limit", counted.programs_limited),
        ];
        for (reason, total) in kills {
            metrics::counter!("kruxos_sandbox_kills_total", "reason" => reason).absolute(total);
        }
    }

    /// What counts and is missing: packets are filtered by uid only where agents have uids of their own.
    fn missing(&self) -> Vec<Primitive> {
        let missing = match &self.diagnosis {
            Some(diagnosis) => diagnosis.missing(),
            None => Primitive::ALL.to_vec(),
        };
        let counts = |primitive: &Primitive| *primitive != Primitive::Nftables || is_root();
        missing.into_iter().filter(counts).collect()
    }

    /// `{layers: {name: {state, detail, remedy?}}, ok}` as `kruxos sandbox diagnose --json` prints it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let layer = |primitive: &Primitive| {
            let (active, detail, remedy) = self.finding(*primitive);
            let mut shown = json!({
                "state": if active { "active" } else { "unavailable" },
                "detail": detail,
            });
            if !remedy.is_empty() {
                shown["remedy"] = remedy.into();
            }
            (primitive.name().to_owned(), shown)
        };
        let layers: serde_json::Map<String, Value> = Primitive::ALL.iter().map(layer).collect();
        let missing = self.diagnosis.as_ref().map(Diagnosis::missing);
        json!({
            "layers": layers,
            "ok": missing.is_some_and(|missing| missing.is_empty()),
            "confined": self.diagnosis.as_ref().is_some_and(|found| lacking(found).is_none()),
        })
    }

    /// Whether a protection is active, what there is to say of it, and the way out if it is not.
    fn finding(&self, primitive: Primitive) -> (bool, String, String) {
        let Some(diagnosis) = &self.diagnosis else {
            let reason = self.lacks().unwrap_or_default().to_owned();
            return (false, reason, "Install kruxos whole.".to_owned());
        };
        let finding = diagnosis.of(primitive);
        match &finding.status {
            Status::Unavailable { reason, remedy } => (false, reason.clone(), remedy.clone()),
            Status::Active => {
                let controllers = finding.controllers.iter().flatten();
                let controllers: Vec<&str> = controllers.map(|one| one.name()).collect();
                let detail = match (finding.abi, primitive, &self.backstop) {
                    (Some(abi), ..) => format!("ABI {abi}"),
                    (_, Primitive::Nftables, Backstop::Up) => {
                        "agents' uids are filtered".to_owned()
                    }
                    (_, Primitive::Nftables, Backstop::Failed(error)) => error.to_string(),
                    _ => controllers.join(", "),
                };
                (true, detail, String::new())
            }
        }
    }
}

impl Means {
    fn start(diagnosis: &Diagnosis, program: &Path) -> Result<Means, NoBoxes> {
        if let Some(reason) = lacking(diagnosis) {
            return Err(NoBoxes(reason));
        }
        let works = |primitive| diagnosis.of(primitive).is_active();
        // Before the launcher: it is to be in the group that this makes for the two of us.
        let subtree = works(Primitive::CgroupV2).then(Subtree::claim);
        let refused = |error: cgroup::CgroupError| NoBoxes(error.to_string());
        let subtree = subtree.transpose().map_err(refused)?;
        if let Some(subtree) = &subtree {
            subtree.sweep().map_err(refused)?;
        }
        #[allow(
            clippy::disallowed_methods,
            reason = "this starts the launcher, before the first thread"
        )]
        let mut command = Command::new(program);
        command.arg(launcher::ARGUMENT);
        let launcher = Launcher::start(command)
            .map_err(|error| NoBoxes(format!("the launcher cannot be started: {error}")))?;
        Ok(Means {
            launcher: Arc::new(launcher),
            layers: Layers {
                network: works(Primitive::NetNs),
                ipc: true,
                landlock: works(Primitive::Landlock),
                seccomp: works(Primitive::Seccomp),
            },
            subtree,
            groups: Mutex::default(),
        })
    }
}

/// Why no box can be made on a host, if so.
fn lacking(diagnosis: &Diagnosis) -> Option<String> {
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|primitive| !diagnosis.of(*primitive).is_active())
        .map(Primitive::name)
        .collect();
    (!missing.is_empty()).then(|| format!("this host has no {}", missing.join(", ")))
}

/// Whether agents can have uids of their own.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where [`PROGRAM`] is.
fn program() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let directory = own.parent().unwrap_or(Path::new("/"));
    // Tests' programs are one directory below the others.
    let places = [directory.join(PROGRAM), directory.join("..").join(PROGRAM)];
    let found = places.into_iter().find(|place| place.is_file());
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it is not beside this program"))
}

/// Asks the probe, which must run in a process with one thread.
fn diagnose_by(program: &Path) -> io::Result<Diagnosis> {
    #[allow(
        clippy::disallowed_methods,
        reason = "before the first thread, as the launcher"
    )]
    let mut command = Command::new(program);
    command.arg("diagnose").env_clear().stdin(Stdio::null());
    let answer = command.output()?;
    if !answer.status.success() {
        let said = String::from_utf8_lossy(&answer.stderr);
        return Err(io::Error::other(format!(
            "{}: {}",
            answer.status,
            said.trim()
        )));
    }
    serde_json::from_slice(&answer.stdout).map_err(io::Error::other)
}
