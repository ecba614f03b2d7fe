//! The probe in a process that may fork, in one that may not, and where most is forbidden.

use crate::process::{Ended, fork};
use kruxos_sandbox::probe::{self, Diagnosis, Primitive, Status};
use kruxos_sandbox::seccomp::{Profile, stage1, stage2_over_stage1};

/// What this host has, printed for who reads the test's output.
pub(crate) fn diagnosis() -> Diagnosis {
    let diagnosis = probe::run().unwrap();
    println!("{}", serde_json::to_string_pretty(&diagnosis).unwrap());
    for primitive in Primitive::ALL {
        if let Status::Unavailable { reason, remedy } = &diagnosis.of(*primitive).status {
            assert!(!reason.is_empty() && !remedy.is_empty(), "{primitive:?}");
        }
    }
    // What the kernel says of itself elsewhere.
    let modules = std::fs::read_to_string("/sys/kernel/security/lsm");
    if let Ok(modules) = modules {
        assert_eq!(diagnosis.landlock.is_active(), modules.contains("landlock"));
    }
    assert_eq!(
        diagnosis.landlock.abi.is_some(),
        diagnosis.landlock.is_active()
    );
    diagnosis
}

pub(crate) fn threads_are_refused() {
    let mut child = fork(|_| {
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        let error = probe::run().unwrap_err();
        drop(release);
        assert!(thread.join().unwrap().is_err());
        i32::from(error.kind() != std::io::ErrorKind::WouldBlock)
    });
    assert_eq!(child.wait(), Ended::Exit(0));
}

pub(crate) fn under_a_filter() {
    let (first, second) = (stage1(), stage2_over_stage1(Profile::Default));
    let mut child = fork(|_| {
        rustix::thread::set_no_new_privs(true).unwrap();
        first.install().unwrap();
        second.install().unwrap();
        let diagnosis = probe::run().unwrap();
        // Filters may be narrowed further; everything else is out of reach.
        assert!(diagnosis.seccomp.is_active());
        for primitive in Primitive::ALL {
            let reason = match &diagnosis.of(*primitive).status {
                Status::Active => continue,
                Status::Unavailable { reason, .. } => reason,
            };
            let expected = match primitive {
                Primitive::Landlock => "landlock_create_ruleset: Function not implemented",
                Primitive::UserNs | Primitive::PidNs | Primitive::MountNs | Primitive::NetNs => {
                    "clone: Operation not permitted"
                }
                _ => "",
            };
            assert!(reason.starts_with(expected), "{primitive:?}: {reason}");
        }
        assert!(diagnosis.missing().len() >= 6, "{:?}", diagnosis.missing());
        0
    });
    assert_eq!(child.wait(), Ended::Exit(0));
}
