//! What a group is limited to.

use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The parts of the kernel that limit a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controller {
    /// Time on the processors.
    Cpu,
    /// Reading and writing of block devices.
    Io,
    /// Memory, and swap.
    Memory,
    /// Processes and threads.
    Pids,
}

impl Controller {
    /// Those that are used, if the host has them.
    pub const ALL: [Controller; 4] = [
        Controller::Cpu,
        Controller::Io,
        Controller::Memory,
        Controller::Pids,
    ];

    /// The kernel's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Io => "io",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
        }
    }

    /// Those named in a kernel's list.
    pub(super) fn parse(text: &str) -> Vec<Controller> {
        let names: Vec<&str> = text.split_whitespace().collect();
        let all = Controller::ALL.into_iter();
        all.filter(|controller| names.contains(&controller.name()))
            .collect()
    }
}

/// A limit that was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Memory of all processes together.
    Memory,
    /// The number of processes and threads.
    Processes,
    /// Processor time.
    Cpu,
}

impl Limit {
    /// The name in errors, metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Limit::Memory => "memory",
            Limit::Processes => "processes",
            Limit::Cpu => "cpu",
        }
    }
}

/// The limits of a group: all processes in it together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Memory without swap, in bytes; above it the whole call is killed.
    pub memory_bytes: u64,
    /// Processes and threads, zombies too; above it a fork fails with `EAGAIN`.
    pub processes: u64,
    /// Processor time in percent of one core; above it processes wait.
    pub cpu_percent: u32,
    /// Reading, in bytes a second; above it processes wait.
    pub read_bytes_per_second: u64,
    /// Writing, in bytes a second; above it processes wait. What is written through the page cache is
    /// counted for the group that wrote to the file first, later calls' too.
    pub write_bytes_per_second: u64,
    /// The device that the two limits above are for.
    pub device: Option<Device>,
}

impl Default for Limits {
    /// The defaults of the specification.
    fn default() -> Limits {
        Limits {
            memory_bytes: 512 << 20,
            processes: 100,
            cpu_percent: 50,
            read_bytes_per_second: 50_000_000,
            write_bytes_per_second: 25_000_000,
            device: None,
        }
    }
}

/// The length of the period in which a group gets its part of the processors, in microseconds: the
/// kernel's default.
const CPU_PERIOD: u64 = 100_000;
/// The shortest part of a period that the kernel accepts, in microseconds.
const SHORTEST_QUOTA: u64 = 1_000;

impl Limits {
    /// The stricter of two sets, limit by limit.
    #[must_use]
    pub fn stricter(&self, other: &Limits) -> Limits {
        Limits {
            memory_bytes: self.memory_bytes.min(other.memory_bytes),
            processes: self.processes.min(other.processes),
            cpu_percent: self.cpu_percent.min(other.cpu_percent),
            read_bytes_per_second: self.read_bytes_per_second.min(other.read_bytes_per_second),
            write_bytes_per_second: self
                .write_bytes_per_second
                .min(other.write_bytes_per_second),
            device: self.device.or(other.device),
        }
    }

    /// The value of `cpu.max`.
    pub(super) fn cpu_max(&self) -> String {
        let quota = (u64::from(self.cpu_percent) * CPU_PERIOD / 100).max(SHORTEST_QUOTA);
        format!("{quota} {CPU_PERIOD}")
    }

    /// The value of `io.max`.
    pub(super) fn io_max(&self) -> Option<String> {
        let Device { major, minor } = self.device?;
        let (read, write) = (self.read_bytes_per_second, self.write_bytes_per_second);
        Some(format!("{major}:{minor} rbps={read} wbps={write}"))
    }
}

/// A block device, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// The device.
    pub minor: u32,
}

impl Device {
    /// The whole disk that a directory lies on: `io.max` knows no partitions. `None` where there is no
    /// disk beneath (a network, a tmpfs), or none that the kernel names.
    #[must_use]
    pub fn of(path: &Path) -> Option<Device> {
        let number = fs::metadata(path).ok()?.dev();
        let device = match split(number) {
            // A number that only the file system knows: its mount says what it is made of.
            Device { major: 0, .. } => split(fs::metadata(source(number)?).ok()?.rdev()),
            device => device,
        };
        let Device { major, minor } = device;
        let entry = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
        if !entry.join("partition").exists() {
            return Some(device);
        }
        let disk = fs::read_to_string(entry.parent()?.join("dev")).ok()?;
        let (major, minor) = disk.trim().split_once(':')?;
        Some(Device {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

fn split(number: u64) -> Device {
    Device {
        major: rustix::fs::major(number),
        minor: rustix::fs::minor(number),
    }
}

/// What a file system is mounted from, if it is mounted from a file.
fn source(number: u64) -> Option<String> {
    let Device { major, minor } = split(number);
    let wanted = format!("{major}:{minor}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let is_wanted = head.split(' ').nth(2)? == wanted;
        let from = tail.split(' ').nth(1)?;
        (is_wanted && from.starts_with('/')).then(|| from.to_owned())
    })
}
