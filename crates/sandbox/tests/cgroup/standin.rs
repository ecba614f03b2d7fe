//! The watcher that stands in for control groups.

use crate::process::{Child, Ended, die_with_parent, fork, pause, spawn, touch};
use kruxos_sandbox::cgroup::Limit;
use kruxos_sandbox::standin::{Ceiling, Tree, Watched};
use rustix::fd::AsFd;
use rustix::process::Pid;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const ROOMY: Ceiling = Ceiling {
    memory_bytes: 1 << 40,
    processes: 10_000,
    cpu: None,
};
const OFTEN: Duration = Duration::from_millis(5);

fn tree(child: &Child) -> Tree {
    Tree::of(Pid::from_raw(child.pid).unwrap())
}

/// A process with children, each with some memory of its own, in a pid namespace where that works.
fn family(children: usize, bytes: usize) -> Child {
    let body = |tell: &mut dyn FnMut()| {
        let mut kept = Vec::new();
        for _ in 0..children {
            let mut child = fork(|tell| {
                die_with_parent();
                // A session of its own does not lead out of the tree.
                rustix::process::setsid().unwrap();
                touch(bytes, libc::MAP_PRIVATE);
                tell();
                pause()
            });
            assert_eq!(child.told(1), 1);
            kept.push(child);
        }
        tell();
        pause()
    };
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWPID;
    let mut child = spawn(flags, None, body).unwrap_or_else(|_| spawn(0, None, body).unwrap());
    assert_eq!(child.told(1), 1);
    child
}

fn watch(child: &Child, ceiling: &Ceiling) -> Watched {
    tree(child)
        .watch(child.handle().as_fd(), ceiling, OFTEN)
        .unwrap()
}

fn killed_for(child: &mut Child, ceiling: &Ceiling) -> Limit {
    let Watched::Killed(exceeded) = watch(child, ceiling) else {
        panic!("it ended by itself");
    };
    assert!(exceeded.observed > exceeded.allowed, "{exceeded:?}");
    assert_eq!(child.wait(), Ended::Signal(libc::SIGKILL));
    exceeded.limit
}

pub(crate) fn counts_a_tree() {
    let mut child = family(5, 20 << 20);
    let sample = tree(&child).sample().unwrap();
    assert_eq!(sample.processes, 6);
    assert!(
        (100 * MIB..200 * MIB).contains(&sample.memory_bytes),
        "{sample:?}"
    );
    assert_eq!(tree(&child).exceeds(&ROOMY).unwrap(), None);
    // SAFETY: our own child.
    unsafe { libc::kill(child.pid, libc::SIGKILL) };
    assert_eq!(child.wait(), Ended::Signal(libc::SIGKILL));
    let gone = tree(&child).sample().unwrap_err();
    assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
}

pub(crate) fn kills_for_memory() {
    let ceiling = Ceiling {
        memory_bytes: 64 * MIB,
        ..ROOMY
    };
    // No process alone is over the limit.
    assert_eq!(
        killed_for(&mut family(5, 20 << 20), &ceiling),
        Limit::Memory
    );
}

pub(crate) fn kills_for_processes() {
    let ceiling = Ceiling {
        processes: 5,
        ..ROOMY
    };
    assert_eq!(killed_for(&mut family(5, 4096), &ceiling), Limit::Processes);
}

pub(crate) fn kills_for_time() {
    let ceiling = Ceiling {
        cpu: Some(Duration::from_millis(50)),
        ..ROOMY
    };
    let mut child = fork(|_| {
        loop {
            std::hint::black_box(0);
        }
    });
    assert_eq!(killed_for(&mut child, &ceiling), Limit::Cpu);
}

pub(crate) fn shared_counts_once() {
    let mut child = fork(|tell| {
        touch(60 << 20, libc::MAP_PRIVATE);
        let child = |tell: &mut dyn FnMut()| {
            die_with_parent();
            tell();
            pause()
        };
        let mut kept: Vec<Child> = (0..4).map(|_| fork(child)).collect();
        assert!(kept.iter_mut().all(|child| child.told(1) == 1));
        tell();
        pause()
    });
    assert_eq!(child.told(1), 1);
    let sample = tree(&child).sample().unwrap();
    assert!(sample.memory_bytes > 250 * MIB, "the bound: {sample:?}");
    let ceiling = |megabytes: u64| Ceiling {
        memory_bytes: megabytes * MIB,
        ..ROOMY
    };
    assert_eq!(tree(&child).exceeds(&ceiling(120)).unwrap(), None);
    let exceeded = tree(&child).exceeds(&ceiling(40)).unwrap().unwrap();
    assert_eq!(exceeded.limit, Limit::Memory);
}

pub(crate) fn what_stays_below_lives() {
    let mut child = fork(|_| 7);
    let ceiling = Ceiling {
        memory_bytes: 256 * MIB,
        processes: 2,
        cpu: Some(Duration::from_secs(5)),
    };
    assert_eq!(watch(&child, &ceiling), Watched::Ended);
    assert_eq!(child.wait(), Ended::Exit(7));
}
