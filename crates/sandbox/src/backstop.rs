//! The last net: a packet filter of the host's that refuses every packet from agents' own uids. A box has
//! a network namespace of its own, so nothing of an agent's should ever be in the host's; if something
//! is, it gets nowhere. Takes root, nftables in the kernel, and the program `nft`.
//!
//! Both functions start a program and wait for it: [`install`] is to be called before the gateway has
//! threads, [`remove`] once they have ended.

use crate::probe::Diagnosis;
use crate::spec::FIRST_OWN_UID;
use crate::sys;
use rustix::event::Timespec;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The table, in the `inet` family: IPv4 and IPv6. All of it is ours.
const TABLE: &str = "inet kruxos";
/// Where the program is looked for: not in `PATH`, since root runs it.
const PROGRAMS: [&str; 4] = [
    "/usr/sbin/nft",
    "/sbin/nft",
    "/usr/bin/nft",
    "/usr/local/sbin/nft",
];
/// How long it may take: it makes one transaction over netlink, in milliseconds.
const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};
/// Kept of what it says, in bytes.
const LONGEST: u64 = 1024;

/// Why the packet filter could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum BackstopError {
    /// There is no `nft` on this host.
    #[error("there is no nft program; install the package nftables")]
    NoProgram,
    /// It could not be run.
    #[error("nft could not be run: {0}")]
    NotRun(#[from] io::Error),
    /// It took too long and was killed.
    #[error("nft did not end within {} s", PATIENCE.tv_sec)]
    TimedOut,
    /// It refused the rules, or the kernel did; with what it said.
    #[error("nft refused the rules: {0}")]
    Refused(String),
}

/// Puts the rule up, in place of one that an earlier run left. `false` where the probe found that this
/// process cannot use nftables: nothing is changed then.
///
/// # Errors
/// [`BackstopError`]; the host's rules are as they were.
pub fn install(diagnosis: &Diagnosis) -> Result<bool, BackstopError> {
    if !diagnosis.nftables.is_active() {
        return Ok(false);
    }
    run(&program()?, &rules()).map(|()| true)
}

/// Takes the rule away; does nothing where there is none. Another gateway on the same host has the same
/// rule, and loses it with this one's until it starts again.
///
/// # Errors
/// [`BackstopError`]; the host's rules are as they were.
pub fn remove() -> Result<(), BackstopError> {
    run(&program()?, &removal())
}

/// The table with its one rule; one transaction, whatever was there before.
fn rules() -> String {
    // Priority 0, the usual filters': whoever accepts elsewhere cannot overrule a refusal here.
    format!(
        "{}table {TABLE} {{\n\
         \tchain output {{\n\
         \t\ttype filter hook output priority 0; policy accept;\n\
         \t\tmeta skuid >= {FIRST_OWN_UID} counter reject\n\
         \t}}\n\
         }}\n",
        removal()
    )
}

/// Deleting what is not there is an error, making what is there is none.
fn removal() -> String {
    format!("add table {TABLE}\ndelete table {TABLE}\n")
}

fn program() -> Result<PathBuf, BackstopError> {
    let mut places = PROGRAMS.iter().map(PathBuf::from);
    places
        .find(|place| place.exists())
        .ok_or(BackstopError::NoProgram)
}

/// Has `nft` read the rules from its standard input.
fn run(program: &Path, rules: &str) -> Result<(), BackstopError> {
    #[allow(
        clippy::disallowed_methods,
        reason = "started where the process has one thread, as documented"
    )]
    let mut child = Command::new(program)
        .args(["-f", "-"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    // Far less than a pipe holds, so this does not wait. One that ends before it reads says why.
    let _said = child
        .stdin
        .take()
        .map(|mut to| to.write_all(rules.as_bytes()));
    if !sys::ends_within(&child, PATIENCE) {
        // Fails if it has just ended.
        let _killed = child.kill();
        child.wait()?;
        return Err(BackstopError::TimedOut);
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    let mut said = Vec::new();
    if let Some(from) = child.stderr.take() {
        from.take(LONGEST).read_to_end(&mut said)?;
    }
    let said = String::from_utf8_lossy(&said).trim().replace('\n', " ");
    Err(BackstopError::Refused(match said.is_empty() {
        true => status.to_string(),
        false => said,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::print_stdout
    )]

    use super::*;
    use crate::probe::Finding;
    use rustix::fs::Uid;
    use rustix::thread::{UnshareFlags, set_thread_res_uid};
    use std::net::UdpSocket;

    #[test]
    fn the_rule_is_about_agents_uids_only() {
        assert_eq!(
            rules(),
            "add table inet kruxos\n\
             delete table inet kruxos\n\
             table inet kruxos {\n\
             \tchain output {\n\
             \t\ttype filter hook output priority 0; policy accept;\n\
             \t\tmeta skuid >= 2000000000 counter reject\n\
             \t}\n\
             }\n"
        );
        assert_eq!(
            removal(),
            "add table inet kruxos\ndelete table inet kruxos\n"
        );
    }

    /// Whether a packet of this uid's gets to the loopback of this thread's network.
    fn passes(uid: u32) -> bool {
        let listening = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = listening.local_addr().unwrap();
        let sent = std::thread::scope(|scope| {
            let sending = scope.spawn(move || {
                let uid = Uid::from_raw(uid);
                // This thread's alone, unlike setuid(2).
                set_thread_res_uid(uid, uid, uid).unwrap();
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.send_to(b"x", to).is_ok()
            });
            sending.join().unwrap()
        });
        listening.set_nonblocking(true).unwrap();
        let arrived = listening.recv(&mut [0; 1]).is_ok();
        assert!(sent || !arrived);
        arrived
    }

    /// In a network namespace of this thread's own.
    fn in_a_new_network() -> Result<(), String> {
        if !rustix::process::geteuid().is_root() {
            return Err("not root".to_owned());
        }
        let program = program().map_err(|error| error.to_string())?;
        // SAFETY: descriptors stay shared with the other threads; only this one's network changes.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
            .map_err(|errno| errno.to_string())?;
        sys::loopback_up().unwrap();
        let mut diagnosis = nothing();
        assert!(!install(&diagnosis).unwrap(), "the probe found no nftables");
        assert!(passes(FIRST_OWN_UID));
        diagnosis.nftables = Finding::active();
        match install(&diagnosis) {
            Err(BackstopError::Refused(said)) if said.contains("not supported") => {
                return Err(said);
            }
            other => assert!(other.unwrap()),
        }
        // A second time changes nothing.
        assert!(install(&diagnosis).unwrap());
        assert!(!passes(FIRST_OWN_UID));
        assert!(!passes(FIRST_OWN_UID + 12_345));
        assert!(passes(FIRST_OWN_UID - 1));
        assert!(passes(0));
        remove().unwrap();
        assert!(passes(FIRST_OWN_UID));
        remove().unwrap();
        let refused = run(&program, "no such rule\n").unwrap_err();
        assert!(matches!(refused, BackstopError::Refused(said) if said.contains("syntax error")));
        Ok(())
    }

    fn nothing() -> Diagnosis {
        let none = || Finding::unavailable("not looked for", "none");
        Diagnosis {
            landlock: none(),
            seccomp: none(),
            user_ns: none(),
            pid_ns: none(),
            net_ns: none(),
            mount_ns: none(),
            cgroup_v2: none(),
            nftables: none(),
        }
    }

    #[test]
    fn packets_of_agents_uids_are_refused_while_the_rule_is_up() {
        // A thread of its own: the others keep their network.
        let tried = std::thread::spawn(in_a_new_network).join().unwrap();
        if let Err(reason) = tried {
            println!("skipped: {reason}");
        }
    }

    #[test]
    fn a_program_that_fails_or_is_not_there_is_an_error() {
        let refused = run(Path::new("/bin/false"), &rules()).unwrap_err();
        assert!(matches!(refused, BackstopError::Refused(said) if said.contains("exit status: 1")));
        let missing = run(Path::new("/nonexistent/nft"), &rules()).unwrap_err();
        assert!(matches!(missing, BackstopError::NotRun(_)));
    }
}
