//! Landlock: what a process may reach below the directories it sees, at the highest ABI the kernel has.
//! The rulesets are built once for a box; each process only restricts itself by one.

use crate::spec::{BoxSpec, MOUNTS, TRASH, WORKSPACE};
use crate::sys;
use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope,
};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::path::Path;

/// The newest ABI this code knows the rights of.
const NEWEST: ABI = ABI::V9;

/// The rulesets of a box.
#[derive(Debug)]
pub(crate) struct Rulesets {
    worker: OwnedFd,
    program: OwnedFd,
    program_without_tcp: OwnedFd,
    /// What the kernel enforces.
    pub(crate) abi: u32,
}

/// Which ruleset.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Who {
    Worker,
    Program { tcp: bool },
}

impl Rulesets {
    /// Builds them, from inside the finished root.
    pub(crate) fn build(spec: &BoxSpec) -> Result<Rulesets, Errno> {
        let abi = kernel_abi()?;
        Ok(Rulesets {
            worker: finish(worker(spec)?)?,
            program: finish(program(spec, true)?)?,
            program_without_tcp: finish(program(spec, false)?)?,
            abi,
        })
    }

    /// Restricts this process.
    pub(crate) fn restrict(&self, who: Who) -> Result<(), Errno> {
        let ruleset = match who {
            Who::Worker => &self.worker,
            Who::Program { tcp: true } => &self.program,
            Who::Program { tcp: false } => &self.program_without_tcp,
        };
        sys::landlock_restrict(ruleset.as_fd())
    }
}

/// The ABI of this kernel; `ENOSYS` or `EOPNOTSUPP` without Landlock.
fn kernel_abi() -> Result<u32, Errno> {
    sys::landlock_abi()
}

/// A directory or file of the box with the rights below it.
type Rule<'a> = (&'a Path, BitFlags<AccessFs>);

/// Devices make no sense in a workspace, and none can be made in a user namespace anyway. Talking to
/// a device by ioctl is for nobody.
fn everything() -> BitFlags<AccessFs> {
    AccessFs::from_all(NEWEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev)
}

fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// A worker sees the agent's files and nothing else: it executes nothing and makes plain entries only.
fn worker(spec: &BoxSpec) -> Result<RulesetCreated, Errno> {
    let plain = everything()
        & !(AccessFs::Execute | AccessFs::MakeSock | AccessFs::MakeFifo)
        & !BitFlags::from(AccessFs::ResolveUnix);
    let mut rules: Vec<Rule<'_>> = vec![(Path::new(WORKSPACE), plain)];
    if spec.trash.is_some() {
        rules.push((Path::new(TRASH), plain));
    }
    build(spec, rules, plain, reading(), false)
}

/// A program reads what its root shows, executes the system's programs and its own, and writes in its
/// workspace, its mounts and `/tmp`.
fn program(spec: &BoxSpec, tcp: bool) -> Result<RulesetCreated, Errno> {
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    let mut rules: Vec<Rule<'_>> = vec![
        (Path::new("/"), reading()),
        (Path::new(WORKSPACE), everything()),
        (Path::new("/tmp"), everything()),
    ];
    for name in [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
    ] {
        rules.push((Path::new(name), device));
    }
    for place in &spec.system {
        rules.push((place, reading() | AccessFs::Execute));
    }
    build(
        spec,
        rules,
        everything(),
        reading() | AccessFs::Execute,
        tcp,
    )
}

fn build(
    spec: &BoxSpec,
    rules: Vec<Rule<'_>>,
    writable: BitFlags<AccessFs>,
    read_only: BitFlags<AccessFs>,
    tcp: bool,
) -> Result<RulesetCreated, Errno> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|ruleset| ruleset.scope(Scope::AbstractUnixSocket | Scope::Signal))
        .map_err(|_| Errno::INVAL)?;
    if !tcp {
        ruleset = ruleset
            .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)
            .map_err(|_| Errno::INVAL)?;
    }
    let mut created = ruleset.create().map_err(|_| Errno::OPNOTSUPP)?;
    for (path, access) in rules {
        created = allow(created, path, access)?;
    }
    for mount in &spec.mounts {
        let path = Path::new(MOUNTS).join(&mount.label);
        let access = if mount.writable { writable } else { read_only };
        created = allow(created, &path, access)?;
    }
    Ok(created)
}

/// Adds a rule; a path that the box lacks needs none.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, Errno> {
    let opened = match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(ruleset),
        Err(errno) => return Err(errno),
    };
    // Rights for directories make no rule for a file; the library takes them off.
    ruleset
        .add_rule(PathBeneath::new(opened, access).set_compatibility(CompatLevel::BestEffort))
        .map_err(|_| Errno::INVAL)
}

fn finish(ruleset: RulesetCreated) -> Result<OwnedFd, Errno> {
    Option::<OwnedFd>::from(ruleset).ok_or(Errno::OPNOTSUPP)
}
