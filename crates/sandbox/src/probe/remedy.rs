//! What to do about a protection that is missing.

use super::attempt::Failure;
use super::{Finding, Primitive};
use crate::cgroup::{CgroupError, Controller};
use rustix::io::Errno;
use std::fs;
use std::path::Path;

/// The reason in words, and what the operator can do.
pub(super) fn explain(primitive: Primitive, failure: &Failure) -> Finding {
    let reason = match failure.errno {
        // Our own sign that a step was made without effect.
        Errno::PROTO => format!("the probe did not {}", failure.what),
        errno => format!("{}: {errno}", failure.what),
    };
    Finding::unavailable(reason, advice(primitive, failure.errno))
}

fn advice(primitive: Primitive, errno: Errno) -> String {
    match primitive {
        Primitive::Landlock if errno == Errno::OPNOTSUPP => {
            "the kernel has Landlock but does not start it: add landlock to the lsm= list of its \
             command line"
                .to_owned()
        }
        Primitive::Landlock => {
            "use a kernel of 5.13 or later with CONFIG_SECURITY_LANDLOCK; in a container, allow the \
             landlock_* system calls"
                .to_owned()
        }
        Primitive::Seccomp => {
            "use a kernel with CONFIG_SECCOMP_FILTER; in a container, allow seccomp(2)".to_owned()
        }
        Primitive::UserNs | Primitive::MountNs | Primitive::NetNs => namespaces(),
        Primitive::PidNs => format!(
            "{}; a container that covers parts of /proc keeps a new /proc from being mounted: start it \
             with its /proc unmasked (docker: --security-opt systempaths=unconfined)",
            namespaces()
        ),
        Primitive::CgroupV2 => "let this service manage its own control group: Delegate=yes in its \
                                systemd unit"
            .to_owned(),
        Primitive::Nftables if errno == Errno::PERM => {
            "run the service as root, or give it CAP_NET_ADMIN on the host".to_owned()
        }
        Primitive::Nftables => "use a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET (modprobe \
                                nf_tables)"
            .to_owned(),
    }
}

/// Which of the switches is off that distributions put before user namespaces.
fn namespaces() -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/{name}"));
    let is = |name: &str, value: &str| read(name).is_ok_and(|text| text.trim() == value);
    let mut off = Vec::new();
    if is("user/max_user_namespaces", "0") {
        off.push("sysctl user.max_user_namespaces=10000");
    }
    if is("kernel/unprivileged_userns_clone", "0") {
        off.push("sysctl kernel.unprivileged_userns_clone=1");
    }
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        off.push(
            "an AppArmor profile with «userns,» for this program, or sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0",
        );
    }
    match off.as_slice() {
        [] => "in a container, allow clone and mount with new namespaces (docker: --security-opt \
               seccomp=unconfined, or a profile that allows them); on a host, use a kernel with \
               CONFIG_USER_NS"
            .to_owned(),
        off => off.join("; "),
    }
}

pub(super) fn control_groups(error: &CgroupError, found: Option<&[Controller]>) -> Finding {
    let remedy = match error {
        CgroupError::NotMounted => {
            "mount the unified hierarchy: mount -t cgroup2 none /sys/fs/cgroup".to_owned()
        }
        CgroupError::NoControllers { .. } => {
            "boot with cgroup_no_v1=all (or systemd.unified_cgroup_hierarchy=1), so that the \
             controllers belong to cgroup v2, and delegate them: Delegate=yes in the systemd unit"
                .to_owned()
        }
        CgroupError::Shared { .. } => {
            "start it in a group of its own: as the systemd service, or by systemd-run --scope -p \
             Delegate=yes"
                .to_owned()
        }
        _ => advice(Primitive::CgroupV2, Errno::PERM),
    };
    Finding {
        controllers: found.map(<[Controller]>::to_vec),
        ..Finding::unavailable(error.to_string(), remedy)
    }
}

pub(super) fn missing_controllers(path: &Path, missing: &[&str]) -> Finding {
    let missing = missing.join(" ");
    Finding::unavailable(
        format!("{} lacks the controllers {missing}", path.display()),
        format!("delegate them: Delegate=yes, or Delegate={missing}, in the systemd unit"),
    )
}
