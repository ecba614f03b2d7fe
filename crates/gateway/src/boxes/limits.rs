//! From configuration and policy to the limits of a box and of a program in it. Policy only tightens.

use crate::config;
use kruxos_capabilities::program::JobLimits;
use kruxos_policy::{Network as PolicyNetwork, Sandbox as Tightened, Seccomp};
use kruxos_sandbox::cgroup::{self, Device};
use kruxos_sandbox::seccomp::Profile;
use kruxos_sandbox::spec::{Limits, Network};
use std::path::Path;
use std::time::Duration;

/// Programs of one agent that its whole group has room for; each has its own limits on top.
const PROGRAMS_AT_ONCE: u64 = 4;
/// Processes of a box besides one program's: workers and first processes of programs.
const OWN_PROCESSES: u64 = 40;

/// What every program of a session may use.
#[derive(Debug, Clone)]
pub(super) struct ProgramLimits {
    pub(super) each: Limits,
    pub(super) group: cgroup::Limits,
    pub(super) network: Network,
    pub(super) profile: Profile,
    /// Whether policy allows any host, so that programs are told of the proxy.
    pub(super) proxied: bool,
}

/// The limits of a box's processes, before any policy. The kernel counts processes for the whole box.
pub(super) fn of_box(config: &config::Sandbox) -> Limits {
    Limits {
        processes: config
            .pids
            .saturating_mul(PROGRAMS_AT_ONCE)
            .saturating_add(OWN_PROCESSES),
        memory_bytes: Some(megabytes(config.memory_mb)),
        ..Limits::default()
    }
}

/// The group of an agent: a few programs side by side.
pub(super) fn whole_agent(program: &cgroup::Limits) -> cgroup::Limits {
    cgroup::Limits {
        memory_bytes: program.memory_bytes.saturating_mul(PROGRAMS_AT_ONCE),
        processes: program
            .processes
            .saturating_mul(PROGRAMS_AT_ONCE)
            .saturating_add(OWN_PROCESSES),
        ..program.clone()
    }
}

impl ProgramLimits {
    /// The configuration's, before any policy.
    pub(super) fn new(config: &config::Sandbox, workspace: &str) -> ProgramLimits {
        ProgramLimits {
            each: Limits {
                processes: config.pids,
                ..of_box(config)
            },
            group: cgroup::Limits {
                memory_bytes: megabytes(config.memory_mb),
                processes: config.pids,
                cpu_percent: config.cpu_percent,
                read_bytes_per_second: config.read_mb_per_second.saturating_mul(1_000_000),
                write_bytes_per_second: config.write_mb_per_second.saturating_mul(1_000_000),
                device: Device::of(Path::new(workspace)),
            },
            network: Network::Loopback,
            profile: Profile::Default,
            proxied: false,
        }
    }

    /// What policy leaves of them.
    pub(super) fn tightened_by(mut self, policy: Tightened) -> ProgramLimits {
        if let Some(memory) = policy.memory_mb {
            self.group.memory_bytes = self.group.memory_bytes.min(megabytes(memory.into()));
            self.each.memory_bytes = Some(self.group.memory_bytes);
        }
        if let Some(pids) = policy.pids {
            self.group.processes = self.group.processes.min(pids.into());
            self.each.processes = self.group.processes;
        }
        if let Some(percent) = policy.cpu_percent {
            self.group.cpu_percent = self.group.cpu_percent.min(percent);
        }
        if policy.network == Some(PolicyNetwork::None) {
            self.network = Network::None;
        }
        if policy.seccomp == Some(Seccomp::Strict) {
            self.profile = Profile::Strict;
        }
        self
    }

    /// Tighter by what the call itself asks for. Without a control group processor time is bounded as a
    /// sum over the program's life.
    pub(super) fn for_job(mut self, job: JobLimits, timeout: Duration) -> ProgramLimits {
        if let Some(memory) = job.memory {
            self.group.memory_bytes = self.group.memory_bytes.min(memory);
            self.each.memory_bytes = Some(self.group.memory_bytes);
        }
        if let Some(cpus) = job.cpus {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates, and 0 becomes the least the kernel takes"
            )]
            let percent = (cpus * 100.0).ceil().max(1.0) as u32;
            self.group.cpu_percent = self.group.cpu_percent.min(percent);
            let percent = self.group.cpu_percent;
            let share = timeout.as_secs().saturating_mul(percent.into()) / 100;
            self.each.cpu_seconds = Some(share.max(1));
        }
        self
    }
}

fn megabytes(count: u64) -> u64 {
    count.saturating_mul(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_and_calls_only_tighten() {
        let config = config::Sandbox::default();
        let loose = Tightened {
            memory_mb: Some(4096),
            cpu_percent: Some(400),
            pids: Some(9999),
            ..Tightened::default()
        };
        let plain = ProgramLimits::new(&config, "/");
        let same = plain.clone().tightened_by(loose);
        assert_eq!(same.group, plain.group);
        assert_eq!(plain.group.memory_bytes, 512 << 20);
        let tight = Tightened {
            memory_mb: Some(64),
            pids: Some(5),
            network: Some(PolicyNetwork::None),
            seccomp: Some(Seccomp::Strict),
            ..Tightened::default()
        };
        let tight = plain.tightened_by(tight);
        assert_eq!(tight.group.memory_bytes, 64 << 20);
        assert_eq!((tight.each.processes, tight.network), (5, Network::None));
        assert_eq!(tight.profile, Profile::Strict);
        let asked = JobLimits {
            cpus: Some(0.25),
            memory: Some(1 << 40),
        };
        let job = tight.for_job(asked, Duration::from_secs(60));
        assert_eq!(job.group.memory_bytes, 64 << 20);
        assert_eq!(
            (job.group.cpu_percent, job.each.cpu_seconds),
            (25, Some(15))
        );
    }
}
