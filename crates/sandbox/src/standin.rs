//! What stands in for control groups where a host has no cgroup v2: looking at an agent's processes
//! from time to time and killing them when together they are over a limit. Rlimits, which the kernel
//! keeps at every moment, come with it, but each counts one process (`RLIMIT_DATA`, `RLIMIT_CPU`,
//! `RLIMIT_FSIZE`) or one user (`RLIMIT_NPROC`).
//!
//! This is weaker than control groups, and a host that has only this is reported as degraded:
//! - memory is over its limit for up to one interval before it is noticed, and the pages of files are
//!   not counted;
//! - a box is killed for too many processes instead of being refused the next one;
//! - processor time and disk traffic are counted, not slowed down.

use crate::cgroup::Limit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, pidfd_send_signal};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// How often a box is looked at unless said otherwise. A process fills memory at a few gigabytes a
/// second: over the limit by a few hundred megabytes at most.
pub const INTERVAL: Duration = Duration::from_millis(50);

/// Processes that are looked at in one tree. More than that is over every limit that can be set.
const MAX_PROCESSES: usize = 10_000;

/// The limits of a tree of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// Memory of all together, in bytes: anonymous, shared and swapped.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Processor time of all together, since the first one started.
    pub cpu: Option<Duration>,
}

/// A limit that a tree was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Which one.
    pub limit: Limit,
    /// What was seen: bytes, processes, or milliseconds.
    pub observed: u64,
    /// The limit, in the same unit.
    pub allowed: u64,
}

/// What a tree of processes uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Processes and threads.
    pub processes: u64,
    /// Memory, in bytes. An upper bound: what processes share is counted for each of them.
    pub memory_bytes: u64,
    /// Processor time, with that of descendants that have ended and were waited for.
    pub cpu: Duration,
    /// The part of it that the kernel worked for them.
    pub cpu_system: Duration,
    /// Read from disks and written to them, in bytes, also with that of such descendants: known to
    /// [`Tree::full_sample`] only.
    pub read_bytes: u64,
    /// See there.
    pub written_bytes: u64,
}

/// A process and its descendants. Complete if the process is the first of a pid namespace: orphans
/// become its children then and cannot leave the tree.
#[derive(Debug, Clone, Copy)]
pub struct Tree {
    root: Pid,
}

/// How watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// The first process ended by itself.
    Ended,
    /// The tree was over a limit; its first process was killed, and with it its pid namespace.
    Killed(Exceeded),
}

impl Tree {
    /// The tree below a process of this process's pid namespace.
    #[must_use]
    pub fn of(root: Pid) -> Tree {
        Tree { root }
    }

    /// Looks at the tree once. Processes that end meanwhile are left out.
    ///
    /// # Errors
    /// If the first process is gone (`NotFound`), or `/proc` cannot be read.
    pub fn sample(&self) -> io::Result<Sample> {
        let mut sample = Sample::default();
        for pid in self.members()? {
            if let Some(one) = Process(pid).sample() {
                sample.processes += one.processes;
                sample.memory_bytes += one.memory_bytes;
                sample.cpu += one.cpu;
                sample.cpu_system += one.cpu_system;
            }
        }
        match sample.processes {
            0 => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(sample),
        }
    }

    /// [`Tree::sample`] with what was read from disks and written to them, which takes a file more for each
    /// process.
    ///
    /// # Errors
    /// As [`Tree::sample`].
    pub fn full_sample(&self) -> io::Result<Sample> {
        let mut sample = self.sample()?;
        for (read, written) in self
            .members()?
            .into_iter()
            .filter_map(|pid| Process(pid).disk())
        {
            sample.read_bytes = sample.read_bytes.saturating_add(read);
            sample.written_bytes = sample.written_bytes.saturating_add(written);
        }
        Ok(sample)
    }

    /// The limit that the tree is over, if it is over one.
    ///
    /// # Errors
    /// As [`Tree::sample`].
    pub fn exceeds(&self, ceiling: &Ceiling) -> io::Result<Option<Exceeded>> {
        let mut sample = self.sample()?;
        if sample.memory_bytes > ceiling.memory_bytes {
            // The bound counts shared pages more than once; only now is the exact sum worth its price.
            sample.memory_bytes = self.exact_memory()?;
        }
        let found = |limit, observed, allowed| {
            let is_over = observed > allowed;
            is_over.then_some(Exceeded {
                limit,
                observed,
                allowed,
            })
        };
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let memory = found(Limit::Memory, sample.memory_bytes, ceiling.memory_bytes);
        let processes = found(Limit::Processes, sample.processes, ceiling.processes);
        let cpu = ceiling
            .cpu
            .and_then(|most| found(Limit::Cpu, milliseconds(sample.cpu), milliseconds(most)));
        Ok(memory.or(processes).or(cpu))
    }

    /// Looks at the tree at each interval until its first process ends, and kills that one when the
    /// tree is over a limit. `handle` is the first process's pidfd: no other process is ever killed,
    /// and its end is noticed at once. Blocks the thread.
    ///
    /// # Errors
    /// As [`Tree::sample`], or if the kernel refuses the signal.
    pub fn watch(
        &self,
        handle: BorrowedFd<'_>,
        ceiling: &Ceiling,
        interval: Duration,
    ) -> io::Result<Watched> {
        let interval = Timespec::try_from(interval).map_err(io::Error::other)?;
        loop {
            match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&interval)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(Watched::Ended),
                Err(error) => return Err(error.into()),
            }
            match self.exceeds(ceiling) {
                Ok(None) => {}
                Ok(Some(exceeded)) => {
                    pidfd_send_signal(handle, Signal::KILL)?;
                    return Ok(Watched::Killed(exceeded));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Watched::Ended);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Bytes on the disk `device` (`st_dev`) of regular files that the tree has open and that no directory
    /// names, each counted once.
    ///
    /// # Errors
    /// As [`Tree::sample`].
    pub fn unnamed_bytes(&self, device: u64) -> io::Result<u64> {
        let mut seen = HashMap::new();
        for pid in self.members()? {
            Process(pid).unnamed(device, &mut seen);
        }
        let sum = |sum: u64, bytes: &u64| sum.saturating_add(*bytes);
        Ok(seen.values().fold(0, sum))
    }

    fn exact_memory(&self) -> io::Result<u64> {
        let members = self.members()?.into_iter();
        Ok(members.map(|pid| Process(pid).exact_memory()).sum())
    }

    /// The pids in the tree, the root first.
    fn members(&self) -> io::Result<Vec<i32>> {
        let root = self.root.as_raw_nonzero().get();
        let lists_children = fs::exists(format!("/proc/{root}/task/{root}/children"))?;
        let parents = match lists_children {
            true => Vec::new(),
            // A kernel without CONFIG_PROC_CHILDREN: everybody is asked for their parent.
            false => parents()?,
        };
        let mut members = vec![root];
        let mut at = 0;
        while let Some(pid) = members.get(at).copied()
            && members.len() < MAX_PROCESSES
        {
            at += 1;
            if lists_children {
                members.extend(Process(pid).children());
            } else {
                let own = parents.iter().filter(|(_, parent)| *parent == pid);
                members.extend(own.map(|(child, _)| *child));
            }
        }
        Ok(members)
    }
}

/// Every process with its parent.
fn parents() -> io::Result<Vec<(i32, i32)>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let parent = Process(pid)
            .status()
            .and_then(|status| status.field("PPid:"));
        if let Some(parent) = parent.and_then(|parent| i32::try_from(parent).ok()) {
            parents.push((pid, parent));
        }
    }
    Ok(parents)
}

/// One process; every answer is `None` once it has ended.
#[derive(Clone, Copy)]
struct Process(i32);

/// The `Name:  value` lines of a file in `/proc`.
struct Fields(String);

impl Fields {
    fn field(&self, name: &str) -> Option<u64> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(name))?;
        value.split_whitespace().next()?.parse().ok()
    }

    /// Memory is given in KiB.
    fn bytes(&self, name: &str) -> u64 {
        self.field(name).unwrap_or(0).saturating_mul(1024)
    }
}

impl Process {
    /// Adds its open regular files without a name, by inode.
    fn unnamed(&self, device: u64, seen: &mut HashMap<u64, u64>) {
        let Ok(open) = fs::read_dir(format!("/proc/{}/fd", self.0)) else {
            return;
        };
        for descriptor in open.flatten() {
            // Through the descriptor itself, whatever its name was. What was closed meanwhile is left out.
            let Ok(file) = fs::metadata(descriptor.path()) else {
                continue;
            };
            if file.is_file() && file.nlink() == 0 && file.dev() == device {
                seen.insert(file.ino(), file.blocks().saturating_mul(512));
            }
        }
    }

    fn read(self, name: &str) -> Option<String> {
        fs::read_to_string(PathBuf::from(format!("/proc/{}/{name}", self.0))).ok()
    }

    fn status(self) -> Option<Fields> {
        self.read("status").map(Fields)
    }

    fn sample(self) -> Option<Sample> {
        let status = self.status()?;
        let memory = ["RssAnon:", "RssShmem:", "VmSwap:"];
        let (user, system) = self.cpu().unwrap_or_default();
        Some(Sample {
            processes: status.field("Threads:")?,
            memory_bytes: memory.iter().map(|name| status.bytes(name)).sum(),
            cpu: user + system,
            cpu_system: system,
            ..Sample::default()
        })
    }

    /// What it and children that were waited for read from disks and wrote to them.
    fn disk(self) -> Option<(u64, u64)> {
        let io = Fields(self.read("io")?);
        Some((io.field("read_bytes:")?, io.field("write_bytes:")?))
    }

    /// User and system time, its own and that of children that were waited for: fields 14 to 17 of `stat`,
    /// in clock ticks.
    fn cpu(self) -> Option<(Duration, Duration)> {
        let stat = self.read("stat")?;
        // The name, field 2, is in brackets and may hold anything.
        let (_, rest) = stat.rsplit_once(')')?;
        let ticks = rest.split_whitespace().skip(11).take(4);
        let ticks: Vec<u64> = ticks.filter_map(|field| field.parse().ok()).collect();
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let time = |ticks: u64| Duration::from_millis(ticks.saturating_mul(1000) / per_second);
        let [user, system, children_user, children_system] = ticks.try_into().ok()?;
        Some((
            time(user.saturating_add(children_user)),
            time(system.saturating_add(children_system)),
        ))
    }

    /// Its part of what it shares, and all of its own. Where the kernel does not tell, the bound.
    fn exact_memory(self) -> u64 {
        let rollup = self.read("smaps_rollup").map(Fields);
        let Some(rollup) = rollup.filter(|rollup| rollup.field("Pss_Anon:").is_some()) else {
            return self.sample().map_or(0, |sample| sample.memory_bytes);
        };
        let parts = ["Pss_Anon:", "Pss_Shmem:", "SwapPss:"];
        parts.iter().map(|name| rollup.bytes(name)).sum()
    }

    fn children(self) -> Vec<i32> {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.0)) else {
            return Vec::new();
        };
        let lists = threads.filter_map(|thread| {
            let name = thread.ok()?.file_name();
            self.read(&format!("task/{}/children", name.to_str()?))
        });
        let mut children = Vec::new();
        for list in lists {
            let numbers = list.split_whitespace();
            children.extend(numbers.filter_map(|number| number.parse::<i32>().ok()));
        }
        children
    }
}
