//! Which of the kernel's protections this host really gives. Each is tried in a short-lived child, as
//! it will be used; a kernel's version or a configuration file proves nothing.

mod attempt;
mod diagnosis;
mod nftables;
mod remedy;
mod trials;

pub use diagnosis::{Diagnosis, Finding, Primitive, Status};

use attempt::Failure;
use std::io;

/// Tries everything. Takes some 20 ms. The control group of this process is prepared for limits on the
/// way (see [`Subtree::claim`](crate::cgroup::Subtree::claim)); nothing else is left changed.
///
/// # Errors
/// `WouldBlock` in a process with several threads: a forked copy of it could hang on a lock that
/// another thread held. The launcher, which has one, is where to call this.
pub fn run() -> io::Result<Diagnosis> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        let message = "a process with several threads does not fork; ask the launcher";
        return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
    }
    let find = |primitive, tried: Result<(), Failure>| match tried {
        Ok(()) => Finding::active(),
        Err(failure) => remedy::explain(primitive, &failure),
    };
    let mut landlock = Finding::active();
    match trials::landlock() {
        Ok(abi) => landlock.abi = Some(abi),
        Err(failure) => landlock = remedy::explain(Primitive::Landlock, &failure),
    }
    Ok(Diagnosis {
        landlock,
        seccomp: find(Primitive::Seccomp, trials::seccomp()),
        user_ns: find(Primitive::UserNs, trials::user_namespace()),
        pid_ns: find(Primitive::PidNs, trials::pid_namespace()),
        net_ns: find(Primitive::NetNs, trials::network_namespace()),
        mount_ns: find(Primitive::MountNs, trials::mount_namespace()),
        cgroup_v2: trials::control_groups(),
        nftables: find(Primitive::Nftables, trials::nftables()),
    })
}
