//! Resource limits of one process (rlimits).

use crate::spec::Limits;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Soft and hard alike: it only ever shrinks.
fn both(value: u64) -> Rlimit {
    Rlimit {
        current: Some(value),
        maximum: Some(value),
    }
}

/// Descriptors, apart from the rest: a program of the strictest profile starts from one above it.
pub(crate) fn set_open_files(count: u64) -> Result<(), Errno> {
    setrlimit(Resource::Nofile, both(count))
}

/// Sets all others.
pub(crate) fn set(limits: &Limits) -> Result<(), Errno> {
    setrlimit(Resource::Core, both(0))?;
    setrlimit(Resource::Nproc, both(limits.processes))?;
    setrlimit(Resource::Fsize, both(limits.file_bytes))?;
    // Locked and queued memory are the kernel's, not the box's.
    setrlimit(Resource::Memlock, both(64 << 10))?;
    setrlimit(Resource::Msgqueue, both(64 << 10))?;
    setrlimit(Resource::Sigpending, both(1024))?;
    setrlimit(Resource::Nice, both(0))?;
    setrlimit(Resource::Rtprio, both(0))?;
    if let Some(bytes) = limits.memory_bytes {
        setrlimit(Resource::Data, both(bytes))?;
    }
    if let Some(seconds) = limits.cpu_seconds {
        // First a signal that tells what it is about, a second later the end.
        let limit = Rlimit {
            current: Some(seconds),
            maximum: Some(seconds.saturating_add(1)),
        };
        setrlimit(Resource::Cpu, limit)?;
    }
    Ok(())
}

/// The stricter of two sets.
pub(crate) fn stricter(one: &Limits, other: &Limits) -> Limits {
    let least = |one: Option<u64>, other: Option<u64>| match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    Limits {
        processes: one.processes.min(other.processes),
        open_files: one.open_files.min(other.open_files),
        file_bytes: one.file_bytes.min(other.file_bytes),
        memory_bytes: least(one.memory_bytes, other.memory_bytes),
        cpu_seconds: least(one.cpu_seconds, other.cpu_seconds),
    }
}
