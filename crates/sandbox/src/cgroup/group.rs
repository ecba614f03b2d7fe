//! The groups of an agent and of its calls.

use super::files::{Directory, failure, value_of};
use super::{CgroupError, Controller, Limit, Limits};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, OFlags, chownat};
use rustix::io::Errno;
use rustix::process::Pid;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the kernel may take to end what was killed. It took under 5 ms for 50 processes; a process
/// that hangs in the kernel can take for ever.
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// An agent's group.
#[derive(Debug)]
pub struct Agent {
    directory: Directory,
    controllers: Vec<Controller>,
    /// The host uid that clones its children into the groups below.
    owner: Option<u32>,
    calls: AtomicU64,
}

impl Agent {
    pub(super) fn make(
        directory: Directory,
        controllers: &[Controller],
        owner: Option<u32>,
        limits: &Limits,
    ) -> Result<Agent, CgroupError> {
        let agent = Agent {
            directory,
            controllers: controllers.to_vec(),
            owner,
            calls: AtomicU64::new(0),
        };
        apply(&agent.directory, &agent.controllers, limits)?;
        enable(&agent.directory, &agent.controllers)?;
        give(&agent.directory, owner)?;
        Ok(agent)
    }

    /// The name of its directory.
    pub(super) fn name(&self) -> String {
        let name = self.directory.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// A group for processes that stay: the zygote, the workers. The agent's limits are its limits.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn leaf(&self, name: &str) -> Result<Group, CgroupError> {
        let directory = self.directory.make(name)?;
        give(&directory, self.owner)?;
        Ok(Group { directory })
    }

    /// A fresh group for one program. Should it run out of memory, everything in it dies together.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn call(&self, limits: &Limits) -> Result<Group, CgroupError> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let directory = self.directory.make_new(&format!("call-{number}"))?;
        let group = Group { directory };
        let made = apply(&group.directory, &self.controllers, limits)
            .and_then(|()| match self.controllers.contains(&Controller::Memory) {
                true => group.directory.write("memory.oom.group", "1"),
                false => Ok(()),
            })
            .and_then(|()| give(&group.directory, self.owner));
        match made {
            Ok(()) => Ok(group),
            Err(error) => {
                // Half a group is none; what hinders its removal is less telling than what came first.
                let _removed = self.remove(group);
                Err(error)
            }
        }
    }

    /// Removes a call's group; what still runs in it is killed.
    ///
    /// # Errors
    /// [`CgroupError::Populated`] if a process does not end; what the kernel refuses.
    pub fn remove(&self, group: Group) -> Result<(), CgroupError> {
        let name = group
            .directory
            .path
            .file_name()
            .map(|name| name.to_string_lossy());
        group.end(KILL_PATIENCE)?;
        self.directory.remove(name.as_deref().unwrap_or_default())
    }

    /// Kills everything of the agent's.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn kill(&self) -> Result<(), CgroupError> {
        kill(&self.directory)
    }

    /// What happened in the agent's group, its calls included.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn events(&self) -> Result<Events, CgroupError> {
        events(&self.directory)
    }

    /// What the agent used, its calls included, since its group was made.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn usage(&self) -> Result<Usage, CgroupError> {
        usage(&self.directory)
    }
}

/// A group that processes are in.
#[derive(Debug)]
pub struct Group {
    directory: Directory,
}

impl AsFd for Group {
    /// What `CLONE_INTO_CGROUP` takes.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.handle.as_fd()
    }
}

impl Group {
    /// Moves a process that runs into the group. One that is cloned into it can do nothing before; use
    /// this only where the process waits to be moved.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn add(&self, process: Pid) -> Result<(), CgroupError> {
        let number = process.as_raw_nonzero().to_string();
        self.directory.write("cgroup.procs", &number)
    }

    /// Kills everything in the group, at once. Nothing can be cloned into it from then on.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn kill(&self) -> Result<(), CgroupError> {
        kill(&self.directory)
    }

    /// Whether a process is in it, zombies left out.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        is_populated(&self.directory)
    }

    /// Kills everything in the group and waits until it is gone.
    ///
    /// # Errors
    /// [`CgroupError::Populated`] if a process does not end in time; what the kernel refuses.
    pub fn end(&self, patience: Duration) -> Result<(), CgroupError> {
        end(&self.directory, patience)
    }

    /// What happened in the group.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn events(&self) -> Result<Events, CgroupError> {
        events(&self.directory)
    }

    /// What the group used.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn usage(&self) -> Result<Usage, CgroupError> {
        usage(&self.directory)
    }
}

/// How often limits were hit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events {
    /// Processes killed because memory ran out.
    pub memory_kills: u64,
    /// Times that the group was killed as a whole for that.
    pub memory_group_kills: u64,
    /// Times that memory reached its limit, the kernel's own cleaning up included.
    pub memory_reached: u64,
    /// Forks that failed. A group below the one whose limit it was may not count them (Linux 6.11 on).
    pub forks_refused: u64,
    /// Periods in which processes had to wait for the processor.
    pub throttled_periods: u64,
}

impl Events {
    /// The limit that ended the processes, or made them fail. Waiting for the processor is neither.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        if self.memory_kills > 0 || self.memory_group_kills > 0 {
            Some(Limit::Memory)
        } else if self.forks_refused > 0 {
            Some(Limit::Processes)
        } else {
            None
        }
    }

    /// What happened since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Events) -> Events {
        let forks_refused = self.forks_refused.saturating_sub(earlier.forks_refused);
        Events {
            memory_kills: self.memory_kills.saturating_sub(earlier.memory_kills),
            memory_group_kills: self
                .memory_group_kills
                .saturating_sub(earlier.memory_group_kills),
            memory_reached: self.memory_reached.saturating_sub(earlier.memory_reached),
            forks_refused,
            throttled_periods: self
                .throttled_periods
                .saturating_sub(earlier.throttled_periods),
        }
    }
}

/// What a group used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on the processors.
    pub cpu: Duration,
    /// Time that was waited for the processors because of the limit.
    pub throttled: Duration,
    /// The most memory at one time, in bytes; where the kernel does not keep it (before 5.19), now.
    pub memory_bytes: u64,
    /// Read from block devices, in bytes.
    pub read_bytes: u64,
    /// Written to block devices, in bytes.
    pub written_bytes: u64,
}

/// Lets the group's children be limited.
pub(super) fn enable(directory: &Directory, wanted: &[Controller]) -> Result<(), CgroupError> {
    let changes: Vec<String> = wanted
        .iter()
        .map(|controller| format!("+{}", controller.name()))
        .collect();
    directory.write("cgroup.subtree_control", &changes.join(" "))
}

fn apply(
    directory: &Directory,
    controllers: &[Controller],
    limits: &Limits,
) -> Result<(), CgroupError> {
    for controller in controllers {
        match controller {
            Controller::Memory => {
                directory.write("memory.max", &limits.memory_bytes.to_string())?;
                match directory.write("memory.swap.max", "0") {
                    // A kernel without swap has nothing to limit.
                    Err(error) if error.errno() == Some(Errno::NOENT) => {}
                    done => done?,
                }
            }
            Controller::Pids => directory.write("pids.max", &limits.processes.to_string())?,
            Controller::Cpu => directory.write("cpu.max", &limits.cpu_max())?,
            Controller::Io => {
                if let Some(value) = limits.io_max() {
                    directory.write("io.max", &value)?;
                }
            }
        }
    }
    Ok(())
}

/// Gives `cgroup.procs`, and only that, to the uid that clones into the group.
fn give(directory: &Directory, owner: Option<u32>) -> Result<(), CgroupError> {
    let Some(owner) = owner else { return Ok(()) };
    let name = "cgroup.procs";
    let owner = Some(rustix::fs::Uid::from_raw(owner));
    chownat(
        &directory.handle,
        name,
        owner,
        None,
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(|source| failure(directory.path.join(name), "give away", source))
}

pub(super) fn kill(directory: &Directory) -> Result<(), CgroupError> {
    directory.write("cgroup.kill", "1")
}

fn is_populated(directory: &Directory) -> Result<bool, CgroupError> {
    Ok(directory.keyed("cgroup.events", "populated")? > 0)
}

/// Kills and waits until nothing is left.
pub(super) fn end(directory: &Directory, patience: Duration) -> Result<(), CgroupError> {
    let name = "cgroup.events";
    // Opened before the question is asked, so that no change after the answer is missed.
    let file = directory.file(name, OFlags::RDONLY)?;
    if !is_populated(directory)? {
        return Ok(());
    }
    kill(directory)?;
    let start = Instant::now();
    loop {
        // Reading the file arms its notification.
        let mut bytes = [0; 128];
        let read = rustix::io::pread(&file, &mut bytes, 0)
            .map_err(|source| failure(directory.path.join(name), "read", source))?;
        let text = String::from_utf8_lossy(bytes.get(..read).unwrap_or_default());
        if value_of(&text, "populated") == Some("0") {
            return Ok(());
        }
        let Some(left) = patience.checked_sub(start.elapsed()) else {
            return Err(CgroupError::Populated {
                path: directory.path.clone(),
                milliseconds: patience.as_millis(),
            });
        };
        let left = Timespec::try_from(left).map_err(|_| directory.not_understood(name, "time"))?;
        match poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(source) => return Err(failure(directory.path.join(name), "wait", source)),
        }
    }
}

fn events(directory: &Directory) -> Result<Events, CgroupError> {
    Ok(Events {
        memory_kills: directory.keyed("memory.events", "oom_kill")?,
        memory_group_kills: directory.keyed("memory.events", "oom_group_kill")?,
        memory_reached: directory.keyed("memory.events", "max")?,
        forks_refused: directory.keyed("pids.events", "max")?,
        throttled_periods: directory.keyed("cpu.stat", "nr_throttled")?,
    })
}

fn usage(directory: &Directory) -> Result<Usage, CgroupError> {
    let mut memory = directory.read_optional("memory.peak")?;
    if memory.is_none() {
        memory = directory.read_optional("memory.current")?;
    }
    let memory = memory.map(|text| directory.number("memory.peak", &text));
    let (read_bytes, written_bytes) = transferred(directory)?;
    Ok(Usage {
        cpu: Duration::from_micros(directory.keyed("cpu.stat", "usage_usec")?),
        throttled: Duration::from_micros(directory.keyed("cpu.stat", "throttled_usec")?),
        memory_bytes: memory.transpose()?.unwrap_or(0),
        read_bytes,
        written_bytes,
    })
}

/// The sums over all devices in `io.stat`: `8:0 rbytes=1 wbytes=2 …`.
fn transferred(directory: &Directory) -> Result<(u64, u64), CgroupError> {
    let name = "io.stat";
    let text = directory.read_optional(name)?.unwrap_or_default();
    let sum = |key: &str| -> Result<u64, CgroupError> {
        let fields = text.split_whitespace();
        let values = fields.filter_map(|field| field.strip_prefix(key));
        values.map(|value| directory.number(name, value)).sum()
    };
    Ok((sum("rbytes=")?, sum("wbytes=")?))
}

/// Reads numbers of processes.
pub(super) fn members(directory: &Directory) -> Result<Vec<String>, CgroupError> {
    let text = directory.read("cgroup.procs")?;
    Ok(text.lines().map(str::to_owned).collect())
}
