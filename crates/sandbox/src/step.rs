//! The steps of confinement, in their order, and how a failing one is told.

use rustix::io::Errno;
use std::fmt;

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal,)*) => {
        /// One step on the way into the box. A step that fails ends the way: nothing of the agent
        /// runs after it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Step { $($(#[$doc])* $name = $number,)* }

        impl Step {
            /// Every step, in order.
            pub const ALL: &[Step] = &[$(Step::$name,)*];

            /// How it is called in messages and logs.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Step::$name => $text,)* }
            }

            /// The step of a number that came over a socket.
            #[must_use]
            pub fn from_number(number: u32) -> Option<Step> {
                match number { $($number => Some(Step::$name),)* _ => None }
            }
        }
    };
}

steps! {
    /// The request itself was refused.
    Request = 1 "request",
    /// The agent's control group was joined.
    JoinGroup = 2 "join_group",
    /// What will be mounted was opened.
    Sources = 3 "sources",
    /// Workspace and trash were given to the agent's own uid.
    Ownership = 4 "ownership",
    /// The box's first process was made in its namespaces.
    Namespaces = 5 "namespaces",
    /// The uid and gid maps of the user namespace were written.
    IdMap = 6 "id_map",
    /// The box's uid and gid were taken, the groups given up.
    Identity = 7 "identity",
    /// The box got a host name of its own.
    HostName = 8 "host_name",
    /// The box's own loopback was brought up.
    Loopback = 9 "loopback",
    /// The port for the gateway was opened on the box's loopback.
    Proxy = 26 "proxy",
    /// Further user namespaces were forbidden.
    NestedNamespaces = 10 "nested_namespaces",
    /// Mounts stopped to travel between host and box.
    PrivateMounts = 11 "private_mounts",
    /// The empty root was mounted.
    Root = 12 "root",
    /// The read-only system directories were placed.
    SystemDirectories = 13 "system_directories",
    /// The small `/etc` was written.
    Etc = 14 "etc",
    /// The devices were placed.
    Devices = 15 "devices",
    /// `/tmp` was mounted.
    Tmp = 16 "tmp",
    /// Workspace and mounts were placed.
    Workspace = 17 "workspace",
    /// What only typed-call workers see was placed.
    WorkerOnly = 18 "worker_only",
    /// The root was exchanged.
    PivotRoot = 19 "pivot_root",
    /// The host's root was let go.
    DetachHost = 20 "detach_host",
    /// The root was made read-only.
    ReadOnlyRoot = 21 "read_only_root",
    /// The Landlock rulesets were built.
    Rulesets = 22 "rulesets",
    /// `no_new_privs` of the whole box.
    BoxNoNewPrivs = 23 "box_no_new_privs",
    /// The capability bounding set of the whole box was emptied.
    BoundingSet = 27 "bounding_set",
    /// The secure bits of the whole box were set and locked.
    SecureBits = 28 "secure_bits",
    /// The seccomp filter of the whole box.
    BoxFilter = 24 "box_filter",
    /// The box was about to answer.
    BoxReady = 25 "box_ready",

    /// A process was made for a call.
    Clone = 40 "clone",
    /// The process will die with its maker.
    ParentDeath = 41 "parent_death",
    /// A `/proc` of the program's own was mounted.
    Proc = 42 "proc",
    /// What only workers see was taken away.
    HideWorkerOnly = 43 "hide_worker_only",
    /// Resource limits.
    Limits = 44 "limits",
    /// `no_new_privs`.
    NoNewPrivs = 45 "no_new_privs",
    /// All capabilities were dropped.
    Capabilities = 48 "capabilities",
    /// Landlock.
    Landlock = 49 "landlock",
    /// Pipes and signals of the program.
    Pipes = 50 "pipes",
    /// The program's process was made.
    Fork = 51 "fork",
    /// A session of its own, standard streams in place.
    Session = 52 "session",
    /// The working directory.
    WorkingDirectory = 53 "working_directory",
    /// Every other descriptor was closed, or will be by the exec.
    Descriptors = 54 "descriptors",
    /// The seccomp filter of the call.
    Filter = 55 "filter",
    /// The program was executed.
    Exec = 56 "exec",
    /// The worker's handler was opened.
    Handler = 57 "handler",
    /// The gateway was told that the program runs.
    Started = 58 "started",
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A step that failed, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {errno}")]
pub struct Failure {
    /// Which step.
    pub step: Step,
    /// What the kernel said.
    pub errno: Errno,
}

/// Runs steps; knows which one a test wants to fail.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plan {
    #[cfg(feature = "fault-injection")]
    fault: Option<Step>,
}

impl Plan {
    /// `EOPNOTSUPP` where a fault is asked of a build that has none.
    pub(crate) fn new(fault: Option<Step>) -> Result<Plan, Failure> {
        #[cfg(feature = "fault-injection")]
        return Ok(Plan { fault });
        #[cfg(not(feature = "fault-injection"))]
        match fault {
            None => Ok(Plan {}),
            Some(_) => Err(Failure {
                step: Step::Request,
                errno: Errno::OPNOTSUPP,
            }),
        }
    }

    /// Runs one step.
    pub(crate) fn run<T>(
        &self,
        step: Step,
        work: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<T, Failure> {
        #[cfg(feature = "fault-injection")]
        if self.fault == Some(step) {
            return Err(Failure {
                step,
                errno: Errno::IO,
            });
        }
        work().map_err(|errno| Failure { step, errno })
    }
}

/// The error number of a failed library call; `EIO` where it carries none.
pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
