//! What a box and a program in it are made of.

use crate::seccomp::Profile;
use crate::step::Step;
use std::ffi::OsString;
use std::path::PathBuf;

/// Uid and gid of an agent as seen in its box. There is no uid 0 in it.
pub const INSIDE_ID: u32 = 1000;
/// First host uid of agents' own, where the launcher is root: far above people and services.
pub const FIRST_OWN_UID: u32 = 2_000_000_000;
/// How an agent sees its workspace.
pub const WORKSPACE: &str = "/workspace";
/// How a worker sees the agent's trash; programs do not see it at all.
pub const TRASH: &str = "/.kruxos/trash";
/// Where a box's mounts are: `/mnt/<label>`.
pub const MOUNTS: &str = "/mnt";

/// Host directories and files that every box sees, read-only, at the same place; what a host lacks is
/// left out. None of them may hold sockets.
pub const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
];

/// Whose uid a box has on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// A uid (and equal gid) of its own: the launcher must be root.
    Own(u32),
    /// The launcher's own.
    Caller,
}

/// The layers a box is built of. All are on unless the probe found one missing at start and the
/// operator does not require it; a layer that is on and fails means no box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// A network namespace with only a loopback.
    pub network: bool,
    /// IPC, UTS and control-group namespaces.
    pub ipc: bool,
    /// Landlock, at the kernel's highest ABI.
    pub landlock: bool,
    /// The seccomp filters.
    pub seccomp: bool,
}

impl Layers {
    /// Everything.
    pub const ALL: Layers = Layers {
        network: true,
        ipc: true,
        landlock: true,
        seccomp: true,
    };
}

/// A directory of the host below `/mnt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its name: `/mnt/<label>`.
    pub label: String,
    /// The real directory.
    pub source: PathBuf,
    /// Whether the agent may change what is in it.
    pub writable: bool,
}

/// Resource limits of every process in a box (rlimits). Control groups come on top where there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Processes and threads of the whole box: the kernel counts them for each user namespace and uid.
    pub processes: u64,
    /// Open descriptors of one process.
    pub open_files: u64,
    /// Largest file a process may write, in bytes.
    pub file_bytes: u64,
    /// Private writable memory of one process, in bytes: the stand-in for `memory.max`. Not address
    /// space, which some runtimes reserve by the terabyte.
    pub memory_bytes: Option<u64>,
    /// CPU seconds of one process.
    pub cpu_seconds: Option<u64>,
}

impl Default for Limits {
    /// The defaults of the specification.
    fn default() -> Limits {
        Limits {
            processes: 100,
            open_files: 1024,
            file_bytes: 4 << 30,
            memory_bytes: Some(512 << 20),
            cpu_seconds: None,
        }
    }
}

/// One agent's box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoxSpec {
    /// Host name inside: the agent's name. At most 64 bytes.
    pub name: String,
    /// Uid on the host.
    pub identity: Identity,
    /// What to build.
    pub layers: Layers,
    /// Real path of the workspace; seen there and at [`WORKSPACE`].
    pub workspace: PathBuf,
    /// Real path of the agent's trash, for typed-call workers only.
    pub trash: Option<PathBuf>,
    /// Below [`MOUNTS`].
    pub mounts: Vec<Mount>,
    /// Host directories to see read-only: [`SYSTEM`] and what the operator adds.
    pub system: Vec<PathBuf>,
    /// Limits of workers, and the ceiling for programs.
    pub limits: Limits,
    /// Size of `/tmp`, shared by all programs of the box, in bytes.
    pub tmp_bytes: u64,
    /// Files and directories in `/tmp`.
    pub tmp_inodes: u64,
    /// TCP port on the box's own loopback at which the gateway listens for its programs, such as that of
    /// an egress proxy; see [`crate::client::BoxOptions::on_proxy`]. Takes [`Layers::network`]: in the
    /// host's network the port would be everybody's, and the box is refused. Not 0.
    pub proxy: Option<u16>,
    /// What the worker's handler is opened with. At most 64 KiB.
    pub worker_setup: Vec<u8>,
    /// Test only: the step that shall fail. Refused by builds without `fault-injection`.
    pub fault: Option<Step>,
}

impl BoxSpec {
    /// A box with every layer and the default limits.
    #[must_use]
    pub fn new(name: &str, identity: Identity, workspace: PathBuf) -> BoxSpec {
        BoxSpec {
            name: name.to_owned(),
            identity,
            layers: Layers::ALL,
            workspace,
            trash: None,
            mounts: Vec::new(),
            system: SYSTEM.iter().map(PathBuf::from).collect(),
            limits: Limits::default(),
            tmp_bytes: 100 << 20,
            tmp_inodes: 10_000,
            proxy: None,
            worker_setup: Vec::new(),
            fault: None,
        }
    }
}

/// What a program may do with the network inside its box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The box's own loopback: local test servers work, nothing leads out but [`BoxSpec::proxy`].
    Loopback,
    /// No TCP at all, where Landlock knows it (ABI 4).
    None,
}

/// One program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramSpec {
    /// Program and arguments. The program is looked up in `PATH` of `environment` unless it has a slash.
    pub arguments: Vec<OsString>,
    /// The whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Absolute, as the box sees it.
    pub working_directory: PathBuf,
    /// Never above the box's own.
    pub limits: Limits,
    /// The network inside.
    pub network: Network,
    /// The system calls it may make; not [`Profile::Worker`].
    pub profile: Profile,
    /// Kept of each output stream, in bytes; the rest is counted and dropped.
    pub output_bytes: u64,
    /// Test only, as in [`BoxSpec::fault`].
    pub fault: Option<Step>,
}

/// Kept of each output stream unless said otherwise, in bytes (spec/sandbox.md).
pub const OUTPUT_BYTES: u64 = 64 << 20;

impl ProgramSpec {
    /// A program in the workspace with a small environment and the default limits.
    #[must_use]
    pub fn new<S: Into<OsString>>(arguments: impl IntoIterator<Item = S>) -> ProgramSpec {
        let set = |key: &str, value: &str| (OsString::from(key), OsString::from(value));
        ProgramSpec {
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: vec![
                set("PATH", "/usr/local/bin:/usr/bin:/bin"),
                set("HOME", WORKSPACE),
                set("LANG", "C.UTF-8"),
            ],
            working_directory: WORKSPACE.into(),
            limits: Limits::default(),
            network: Network::Loopback,
            profile: Profile::Default,
            output_bytes: OUTPUT_BYTES,
            fault: None,
        }
    }
}
