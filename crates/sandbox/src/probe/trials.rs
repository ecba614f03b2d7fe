//! How each protection is tried: it is put up as for a box, and then something that it must stop is
//! done.

use super::attempt::{Failure, Named, attempt, demand};
use super::{Finding, Primitive, nftables as netlink, remedy};
use crate::cgroup::{CgroupError, Controller, Limits, Subtree};
use crate::seccomp::{Profile, stage2};
use crate::sys;
use libc::{CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use rustix::process::{chdir, getpid, getuid, pivot_root};
use std::fs;
use std::net::UdpSocket;

/// Without these a control group does not hold an agent.
const NEEDED: [Controller; 3] = [Controller::Cpu, Controller::Memory, Controller::Pids];

/// Answers the interface's version.
pub(super) fn landlock() -> Result<u32, Failure> {
    use landlock::{AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
    let abi = sys::landlock_abi().named("landlock_create_ruleset")?;
    attempt(0, None, || {
        no_new_privs()?;
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::ReadDir)
            .and_then(Ruleset::create)
            .map_err(|_| Failure::new("make a ruleset", Errno::NOSYS))?;
        let restricted = ruleset.restrict_self();
        restricted.map_err(|_| Failure::new("landlock_restrict_self", Errno::NOSYS))?;
        let refused = fs::read_dir("/")
            .err()
            .and_then(|error| error.raw_os_error());
        demand(
            refused == Some(libc::EACCES),
            "be kept from reading a directory",
        )
    })?;
    Ok(abi)
}

fn no_new_privs() -> Result<(), Failure> {
    rustix::thread::set_no_new_privs(true).named("no_new_privs")
}

pub(super) fn seccomp() -> Result<(), Failure> {
    // Compiled here, once, for the children of later too.
    let filter = stage2(Profile::Default);
    attempt(0, None, || {
        no_new_privs()?;
        filter.install().named("install a filter")?;
        let refused = chroot_nowhere();
        demand(refused == Err(Errno::PERM), "be kept from a system call")
    })
}

/// Without a filter the kernel misses the directory before it asks for the right, whoever calls.
fn chroot_nowhere() -> Result<(), Errno> {
    rustix::process::chroot("/nonexistent/directory")
}

pub(super) fn user_namespace() -> Result<(), Failure> {
    attempt(CLONE_NEWUSER, None, || {
        let user = getuid().as_raw();
        demand(user == crate::spec::INSIDE_ID, "have the mapped uid")?;
        // Some hosts let everybody make one and take the capabilities away.
        let capabilities = rustix::thread::capabilities(None).named("capget")?;
        demand(
            !capabilities.effective.is_empty(),
            "have capabilities inside",
        )
    })
}

fn private_mounts() -> Result<(), Failure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).named("make mounts private")
}

pub(super) fn pid_namespace() -> Result<(), Failure> {
    attempt(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID, None, || {
        let pid = getpid().as_raw_nonzero().get();
        demand(pid == 1, "be process 1")?;
        private_mounts()?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let options = c"subset=pid,hidepid=ptraceable";
        mount("proc", "/proc", "proc", flags, options).named("mount /proc with subset=pid")?;
        demand(
            !fs::exists("/proc/meminfo").unwrap_or(true),
            "see processes only",
        )
    })
}

pub(super) fn mount_namespace() -> Result<(), Failure> {
    attempt(CLONE_NEWUSER | CLONE_NEWNS, None, || {
        private_mounts()?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", "/usr", "tmpfs", flags, c"size=64k").named("mount a tmpfs")?;
        chdir("/usr").named("chdir")?;
        pivot_root(".", ".").named("pivot_root")?;
        unmount(".", UnmountFlags::DETACH).named("let the old root go")?;
        chdir("/").named("chdir")?;
        demand(
            !fs::exists("/proc").unwrap_or(true),
            "see the new root only",
        )
    })
}

pub(super) fn network_namespace() -> Result<(), Failure> {
    attempt(CLONE_NEWUSER | CLONE_NEWNET, None, || {
        sys::loopback_up().named("bring the loopback up")?;
        let socket = UdpSocket::bind("127.0.0.1:0").named("bind to the loopback")?;
        // RFC 5737 keeps this address for documentation.
        let out = UdpSocket::bind("0.0.0.0:0").named("bind")?;
        let reached = out.connect("192.0.2.1:9").is_ok();
        drop(socket);
        demand(!reached, "have no way out")
    })
}

pub(super) fn control_groups() -> Finding {
    let subtree = match Subtree::claim() {
        Ok(subtree) => subtree,
        Err(error) => return remedy::control_groups(&error, None),
    };
    let found = subtree.controllers();
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|controller| !found.contains(controller))
        .map(|controller| controller.name())
        .collect();
    if !missing.is_empty() {
        let finding = remedy::missing_controllers(subtree.path(), &missing);
        return Finding {
            controllers: Some(found.to_vec()),
            ..finding
        };
    }
    match use_group(&subtree) {
        Ok(()) => Finding {
            controllers: Some(found.to_vec()),
            ..Finding::active()
        },
        Err(GroupFailure::Group(error)) => remedy::control_groups(&error, Some(found)),
        Err(GroupFailure::Child(failure)) => Finding {
            controllers: Some(found.to_vec()),
            ..remedy::explain(Primitive::CgroupV2, &failure)
        },
    }
}

enum GroupFailure {
    Group(CgroupError),
    Child(Failure),
}

impl From<CgroupError> for GroupFailure {
    fn from(error: CgroupError) -> GroupFailure {
        GroupFailure::Group(error)
    }
}

/// A child is cloned into a group that allows one process: it cannot fork, and dies with the group.
fn use_group(subtree: &Subtree) -> Result<(), GroupFailure> {
    let name = format!("probe-{}", getpid().as_raw_nonzero());
    let agent = subtree.agent(&name, None, &Limits::default())?;
    let limits = Limits {
        processes: 1,
        ..Limits::default()
    };
    let tried = agent
        .call(&limits)
        .map_err(GroupFailure::Group)
        .and_then(|call| {
            let body = || match sys::fork(0, None) {
                Err(Errno::AGAIN) => Ok(()),
                Ok(sys::Forked::Child) => sys::exit(0),
                _ => demand(false, "be kept from a second process"),
            };
            attempt(0, Some(call.as_fd()), body).map_err(GroupFailure::Child)?;
            Ok(agent.remove(call)?)
        });
    let removed = subtree.remove_agent(agent);
    tried.and_then(|()| Ok(removed?))
}

pub(super) fn nftables() -> Result<(), Failure> {
    // What a user namespace allows does not help here: the rules are for the host's own network.
    demand_root()?;
    attempt(CLONE_NEWNET, None, netlink::make_table)
}

fn demand_root() -> Result<(), Failure> {
    let capabilities = rustix::thread::capabilities(None).named("capget")?;
    let needed = rustix::thread::CapabilitySet::NET_ADMIN;
    let is_initial = fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]));
    match capabilities.effective.contains(needed) && is_initial {
        true => Ok(()),
        false => Err(Failure::new("have CAP_NET_ADMIN on the host", Errno::PERM)),
    }
}
