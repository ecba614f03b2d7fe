//! What a group's limits do to the processes in it.

use crate::process::{Child, Ended, fork, pause, spawn, touch};
use kruxos_sandbox::cgroup::{Agent, Device, Group, Limit, Limits, Subtree};
use rustix::fd::AsFd;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// An agent's group, removed at the end.
pub(crate) struct Place {
    pub(crate) subtree: Subtree,
    pub(crate) agent: Option<Agent>,
}

impl Place {
    pub(crate) fn new(name: &str, owner: Option<u32>, limits: &Limits) -> Place {
        let subtree = Subtree::claim().unwrap();
        let agent = Some(subtree.agent(name, owner, limits).unwrap());
        Place { subtree, agent }
    }

    pub(crate) fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            self.subtree.remove_agent(agent).unwrap();
        }
    }
}

fn into(group: &Group, body: impl FnOnce(&mut dyn FnMut()) -> i32) -> Child {
    spawn(0, Some(group.as_fd()), body).unwrap()
}

pub(crate) fn memory() {
    let place = Place::new("memory", None, &Limits::default());
    let limits = Limits {
        memory_bytes: 48 * MIB,
        ..Limits::default()
    };
    let call = place.agent().call(&limits).unwrap();
    let neighbour = place.agent().call(&limits).unwrap();
    let mut quiet = into(&neighbour, |tell| {
        tell();
        pause()
    });
    assert_eq!(quiet.told(1), 1);
    // The child is over the limit; its parent, which waits for it, dies with it.
    let mut parent = into(&call, |_| {
        let mut child = fork(|_| {
            touch(96 << 20, libc::MAP_PRIVATE);
            0
        });
        child.wait();
        7
    });
    assert_eq!(parent.wait(), Ended::Signal(libc::SIGKILL));
    let events = call.events().unwrap();
    assert_eq!(events.limit(), Some(Limit::Memory));
    assert!(events.memory_group_kills >= 1, "{events:?}");
    assert_eq!(neighbour.events().unwrap().limit(), None);
    assert!(neighbour.is_populated().unwrap());
    let usage = call.usage().unwrap();
    print!("[{events:?}, {usage:?}] ");
    place.agent().remove(call).unwrap();

    // The twin stays below.
    let call = place.agent().call(&limits).unwrap();
    let mut child = into(&call, |_| {
        touch(16 << 20, libc::MAP_PRIVATE);
        7
    });
    assert_eq!(child.wait(), Ended::Exit(7));
    assert_eq!(call.events().unwrap().limit(), None);
    place.agent().remove(call).unwrap();
}

pub(crate) fn processes() {
    let place = Place::new("processes", None, &Limits::default());
    let limits = Limits {
        processes: 10,
        ..Limits::default()
    };
    let call = place.agent().call(&limits).unwrap();
    let mut bomb = into(&call, |tell| {
        let mut children = Vec::new();
        let error = loop {
            match spawn(0, None, |_| 0) {
                Ok(child) => children.push(child),
                Err(error) => break error,
            }
        };
        assert_eq!(error, libc::EAGAIN);
        // All have ended or will; as long as nobody waits for them they count.
        assert_eq!(children.len(), 9);
        assert_eq!(spawn(0, None, |_| 0).err(), Some(libc::EAGAIN));
        drop(children);
        assert_eq!(fork(|_| 3).wait(), Ended::Exit(3));
        tell();
        0
    });
    assert_eq!(bomb.told(1), 1);
    assert_eq!(bomb.wait(), Ended::Exit(0));
    let events = call.events().unwrap();
    assert!(events.forks_refused >= 1, "{events:?}");
    assert_eq!(events.limit(), Some(Limit::Processes));
    place.agent().remove(call).unwrap();
}

pub(crate) fn processor() {
    let place = Place::new("processor", None, &Limits::default());
    let limits = Limits {
        cpu_percent: 20,
        ..Limits::default()
    };
    let call = place.agent().call(&limits).unwrap();
    let start = Instant::now();
    let mut child = into(&call, |_| {
        while start.elapsed() < Duration::from_secs(1) {
            std::hint::black_box(0);
        }
        0
    });
    assert_eq!(child.wait(), Ended::Exit(0));
    let elapsed = start.elapsed();
    let usage = call.usage().unwrap();
    let events = call.events().unwrap();
    print!("[{usage:?} of {elapsed:?}] ");
    assert!(events.throttled_periods > 0, "{events:?}");
    assert!(usage.cpu < elapsed / 2, "{usage:?} of {elapsed:?}");
    // To wait is no failure.
    assert_eq!(events.limit(), None);
    place.agent().remove(call).unwrap();
}

pub(crate) fn agent_over_calls() {
    let whole = Limits {
        memory_bytes: 64 * MIB,
        ..Limits::default()
    };
    let place = Place::new("whole", None, &whole);
    let limits = Limits {
        memory_bytes: 48 * MIB,
        ..Limits::default()
    };
    let first = place.agent().call(&limits).unwrap();
    let second = place.agent().call(&limits).unwrap();
    let mut quiet = into(&first, |tell| {
        touch(40 << 20, libc::MAP_PRIVATE);
        tell();
        pause()
    });
    assert_eq!(quiet.told(1), 1);
    let mut child = into(&second, |_| {
        touch(40 << 20, libc::MAP_PRIVATE);
        7
    });
    // One of the two had to go.
    let ended = child.wait();
    let killed = |group: &Group| group.events().unwrap().limit() == Some(Limit::Memory);
    assert!(killed(&first) != killed(&second));
    assert_eq!(ended == Ended::Exit(7), killed(&first));
    assert_eq!(place.agent().events().unwrap().limit(), Some(Limit::Memory));
    place.agent().remove(first).unwrap();
    place.agent().remove(second).unwrap();
}

pub(crate) fn kill_leaves_nothing() {
    let place = Place::new("kill", None, &Limits::default());
    let call = place.agent().call(&Limits::default()).unwrap();
    let mut parent = into(&call, |tell| {
        for _ in 0..20 {
            let mut between = fork(|tell| {
                rustix::process::setsid().unwrap();
                let stays = fork(|_| {
                    // SAFETY: ignores a signal.
                    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
                    pause()
                });
                std::mem::forget(stays);
                tell();
                0
            });
            assert_eq!(between.wait(), Ended::Exit(0));
        }
        tell();
        pause()
    });
    assert_eq!(parent.told(1), 1);
    assert!(call.is_populated().unwrap());
    let start = Instant::now();
    call.end(Duration::from_secs(5)).unwrap();
    print!("[{:?}] ", start.elapsed());
    assert!(!call.is_populated().unwrap());
    assert_eq!(parent.wait(), Ended::Signal(libc::SIGKILL));
    place.agent().remove(call).unwrap();
}

/// Why each call has a group of its own: what is cloned into a killed one dies before it does anything.
pub(crate) fn killed_group() {
    let place = Place::new("killed", None, &Limits::default());
    let call = place.agent().call(&Limits::default()).unwrap();
    call.kill().unwrap();
    let fate = into(&call, |_| 7).wait();
    print!("[{fate:?}] ");
    assert!([Ended::Signal(libc::SIGKILL), Ended::Exit(7)].contains(&fate));
    place.agent().remove(call).unwrap();
    let fresh = place.agent().call(&Limits::default()).unwrap();
    assert_eq!(into(&fresh, |_| 7).wait(), Ended::Exit(7));
    place.agent().remove(fresh).unwrap();
}

/// In the guest a small disk is mounted there.
const DISK: &str = "/mnt/disk";

/// Writing to a disk is slowed down to the limit. A disk can be slower, never faster.
pub(crate) fn disk() {
    let Some(device) = Device::of(DISK.as_ref()) else {
        print!("[skipped, no disk at {DISK}] ");
        return;
    };
    let limits = Limits {
        write_bytes_per_second: MIB,
        device: Some(device),
        ..Limits::default()
    };
    let place = Place::new("disk", None, &Limits::default());
    let call = place.agent().call(&limits).unwrap();
    let start = Instant::now();
    let mut child = into(&call, |_| {
        let file = std::fs::File::create(format!("{DISK}/file")).unwrap();
        for block in 0..3 {
            std::os::unix::fs::FileExt::write_all_at(&file, &[7; 1 << 20], block << 20).unwrap();
            file.sync_all().unwrap();
        }
        0
    });
    assert_eq!(child.wait(), Ended::Exit(0));
    let (elapsed, usage) = (start.elapsed(), call.usage().unwrap());
    print!(
        "[{device:?}, {} bytes in {elapsed:?}] ",
        usage.written_bytes
    );
    assert!(usage.written_bytes >= 3 * MIB, "{usage:?}");
    assert!(elapsed > Duration::from_millis(1500), "{elapsed:?}");
    // A file's pages are counted for the group that wrote to it first: no other test finds this one.
    std::fs::remove_file(format!("{DISK}/file")).unwrap();
    place.agent().remove(call).unwrap();
}

pub(crate) fn device() {
    assert_eq!(Device::of("/proc".as_ref()), None);
    if let Some(Device { major, minor }) = Device::of("/".as_ref()) {
        let disk = std::path::PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
        assert!(disk.exists() && !disk.join("partition").exists());
    }
}
