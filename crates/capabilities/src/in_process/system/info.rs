//! `system.info`: the machine, from `/proc`, `os-release` and the workspace's file system.

use crate::Cx;
use kruxos_types::{CallError, ErrorType};
use serde::Serialize;
use serde_json::Value;
use std::io;
use std::path::Path;

#[derive(Serialize)]
struct Machine {
    os_version: String,
    uptime_seconds: u64,
    cpu_count: usize,
    memory_total_bytes: u64,
    memory_available_bytes: u64,
    disk_total_bytes: u64,
    disk_available_bytes: u64,
}

#[derive(Serialize)]
struct Output {
    #[serde(flatten)]
    machine: Machine,
    agent_count: u64,
}

pub(crate) async fn run(cx: &Cx) -> Result<Value, CallError> {
    let workspace = cx.session.workspace.clone();
    // statvfs waits for the disk or the network behind it.
    let machine = tokio::task::spawn_blocking(move || machine(Path::new(&*workspace)))
        .await
        .map_err(CallError::internal_failure)?
        .map_err(|error| CallError::new(ErrorType::SystemInfoError).internal(error))?;
    let agent_count = cx.host.agent_count().await?;
    crate::in_process::answer(Output {
        machine,
        agent_count,
    })
}

fn machine(workspace: &Path) -> io::Result<Machine> {
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let disk = disk(workspace)?;
    Ok(Machine {
        os_version: os_version(),
        // rustix: sysinfo(2), whole seconds since boot.
        uptime_seconds: u64::try_from(rustix::system::sysinfo().uptime).unwrap_or(0),
        cpu_count: std::thread::available_parallelism()?.get(),
        memory_total_bytes: memory_field(&memory, "MemTotal")?,
        memory_available_bytes: memory_field(&memory, "MemAvailable")?,
        disk_total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
        disk_available_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}

/// The file system that the workspace is on, or will be on once it is made.
fn disk(workspace: &Path) -> io::Result<rustix::fs::StatVfs> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for path in workspace.ancestors() {
        match rustix::fs::statvfs(path) {
            Ok(stat) => return Ok(stat),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// A line of `/proc/meminfo`, in bytes; the kernel gives KiB (proc(5)).
fn memory_field(text: &str, name: &str) -> io::Result<u64> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = value.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib.saturating_mul(1024)).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("/proc/meminfo has no {name}"),
        )
    })
}

/// Distribution, where it says so, and kernel: `Debian GNU/Linux 13 (trixie), Linux 6.12.48`.
fn os_version() -> String {
    let uname = rustix::system::uname();
    let kernel = format!(
        "{} {}",
        uname.sysname().to_string_lossy(),
        uname.release().to_string_lossy()
    );
    // os-release(5): the first of the two files that exists.
    let release = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok());
    match release.as_deref().and_then(pretty_name) {
        Some(name) => format!("{name}, {kernel}"),
        None => kernel,
    }
}

/// `PRETTY_NAME`, which is quoted as in a shell.
fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    let name = value.trim().trim_matches(['"', '\'']).replace('\\', "");
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_the_lines_it_needs() {
        let text = "MemTotal:       16309560 kB\nMemFree:  1 kB\nMemAvailable:   8 kB\n";
        assert_eq!(memory_field(text, "MemTotal").unwrap(), 16_309_560 * 1024);
        assert_eq!(memory_field(text, "MemAvailable").unwrap(), 8 * 1024);
        assert!(memory_field(text, "Mem").is_err());
        let named = "ID=x\nPRETTY_NAME=\"Some OS 1 (one)\"\n";
        assert_eq!(pretty_name(named).as_deref(), Some("Some OS 1 (one)"));
        assert_eq!(pretty_name("ID=x\nPRETTY_NAME=\"\"\n"), None);
    }

    #[test]
    fn a_workspace_not_made_yet_has_the_disk_above_it() {
        let dir = std::env::temp_dir();
        let here = disk(&dir).unwrap();
        let below = disk(&dir.join("not/made/yet")).unwrap();
        assert_eq!(here.f_blocks, below.f_blocks);
    }
}
