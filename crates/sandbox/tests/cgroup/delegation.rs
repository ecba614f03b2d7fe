//! Who may do what with the groups, and what an earlier run leaves.

use crate::limits::Place;
use crate::process::{Ended, become_user, fork, pause, spawn};
use kruxos_sandbox::cgroup::{CgroupError, Limits, Subtree};
use rustix::fd::AsFd;
use std::fs;
use std::os::unix::fs::MetadataExt;

const OWNER: u32 = 2_000_000_001;
const OTHER: u32 = 2_000_000_002;

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        print!("[skipped, not root] ");
    }
    is_root
}

/// As the agents' own uids would: in the zygote's group, another one is cloned into.
pub(crate) fn owner() {
    if !is_root() {
        return;
    }
    let place = Place::new("owned", Some(OWNER), &Limits::default());
    let zygote = place.agent().leaf("zygote").unwrap();
    let call = place.agent().call(&Limits::default()).unwrap();
    for (user, expected) in [(OWNER, Ended::Exit(7)), (OTHER, Ended::Exit(libc::EACCES))] {
        let mut child = spawn(0, Some(zygote.as_fd()), |_| {
            become_user(user);
            match spawn(0, Some(call.as_fd()), |_| 7) {
                Err(error) => error,
                Ok(mut child) => match child.wait() {
                    Ended::Exit(code) => code,
                    Ended::Signal(_) => 1,
                },
            }
        })
        .unwrap();
        assert_eq!(child.wait(), expected, "{user}");
    }
    // A process outside cannot move itself in, nor one inside move out to another agent's.
    let subtree = &place.subtree;
    let stranger = subtree
        .agent("stranger", Some(OTHER), &Limits::default())
        .unwrap();
    let other = stranger.leaf("zygote").unwrap();
    let mut child = spawn(0, Some(zygote.as_fd()), |_| {
        become_user(OWNER);
        spawn(0, Some(other.as_fd()), |_| 7).err().unwrap_or(0)
    })
    .unwrap();
    assert_eq!(child.wait(), Ended::Exit(libc::EACCES));
    subtree.remove_agent(stranger).unwrap();
}

pub(crate) fn limits_stay() {
    if !is_root() {
        return;
    }
    let place = Place::new("limits", Some(OWNER), &Limits::default());
    let call = place.agent().call(&Limits::default()).unwrap();
    let agent = place.subtree.path().join("agent-limits");
    for group in [agent.clone(), agent.join("call-0")] {
        for entry in fs::read_dir(&group).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let is_procs = entry.file_name() == "cgroup.procs";
            let expected = if is_procs { OWNER } else { 0 };
            assert_eq!(metadata.uid(), expected, "{:?}", entry.path());
            assert_eq!(metadata.mode() & 0o002, 0, "{:?}", entry.path());
        }
        let mut child = fork(|_| {
            become_user(OWNER);
            for name in [
                "memory.max",
                "pids.max",
                "cpu.max",
                "cgroup.kill",
                "memory.oom.group",
            ] {
                let opened = fs::OpenOptions::new().write(true).open(group.join(name));
                let refused = opened.err().and_then(|error| error.raw_os_error());
                assert_eq!(refused, Some(libc::EACCES), "{name}");
            }
            assert!(fs::create_dir(group.join("own")).is_err());
            0
        });
        assert_eq!(child.wait(), Ended::Exit(0));
    }
    place.agent().remove(call).unwrap();
}

pub(crate) fn sweep() {
    let subtree = Subtree::claim().unwrap();
    let agent = subtree.agent("left", None, &Limits::default()).unwrap();
    let call = agent.call(&Limits::default()).unwrap();
    let mut child = spawn(0, Some(call.as_fd()), |tell| {
        tell();
        pause()
    })
    .unwrap();
    assert_eq!(child.told(1), 1);
    // As after a crash: nobody knows them any more.
    drop((agent, call));
    let groups = |subtree: &Subtree| {
        let entries = fs::read_dir(subtree.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("agent-")).count()
    };
    assert_eq!(groups(&subtree), 1);
    let again = Subtree::claim().unwrap();
    assert_eq!(again.path(), subtree.path());
    assert_eq!(again.sweep().unwrap(), 1);
    assert_eq!(child.wait(), Ended::Signal(libc::SIGKILL));
    assert_eq!(groups(&subtree), 0);
    assert_eq!(again.sweep().unwrap(), 0);

    // An agent that comes again takes over nothing of what it left.
    let first = again.agent("left", None, &Limits::default()).unwrap();
    let call = first.call(&Limits::default()).unwrap();
    let mut child = spawn(0, Some(call.as_fd()), |_| pause()).unwrap();
    drop((first, call));
    let second = again.agent("left", None, &Limits::default()).unwrap();
    assert_eq!(child.wait(), Ended::Signal(libc::SIGKILL));
    again.remove_agent(second).unwrap();
    assert_eq!(groups(&subtree), 0);
}

pub(crate) fn names() {
    let subtree = Subtree::claim().unwrap();
    for name in ["", "../x", "a/b", "a\0b", "ä", &"x".repeat(200)] {
        let refused = subtree.agent(name, None, &Limits::default());
        assert!(matches!(refused, Err(CgroupError::Name { .. })), "{name}");
    }
}
