//! A child that puts itself under filters and tells what it saw.

use kruxos_sandbox::seccomp::{Filter, Profile, stage1, stage2_over_stage1};
use std::io::{Read, Write};

/// What `waitpid` says, and what the child wrote.
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) told: Vec<u8>,
}

impl Outcome {
    pub(crate) fn signal(&self) -> Option<i32> {
        libc::WIFSIGNALED(self.status).then(|| libc::WTERMSIG(self.status))
    }
}

/// Stage 1 and the profile's stage 2, as a program has them.
pub(crate) fn both(profile: Profile) -> Vec<&'static Filter> {
    vec![stage1(), stage2_over_stage1(profile)]
}

/// Forbids itself every new privilege.
pub(crate) fn no_new_privs() {
    // SAFETY: takes no pointer.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0);
}

/// Runs `body` in a forked child under the filters.
pub(crate) fn run(filters: &[&'static Filter], body: impl FnOnce() -> Vec<u8>) -> Outcome {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: this process has one thread, so its child may do anything.
    match unsafe { libc::fork() } {
        0 => {
            drop(reader);
            let quiet = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                if !filters.is_empty() {
                    no_new_privs();
                }
                for filter in filters {
                    filter.install().unwrap();
                }
                body()
            }));
            let code = match quiet {
                Ok(told) => i32::from(writer.write_all(&told).is_err()),
                Err(_) => 101,
            };
            // SAFETY: ends the child without what the parent registered for its own end.
            unsafe { libc::_exit(code) }
        }
        child => {
            assert!(child > 0);
            drop(writer);
            let mut told = Vec::new();
            reader.read_to_end(&mut told).unwrap();
            let mut status = 0;
            // SAFETY: waits for our own child; `status` is ours.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            Outcome { status, told }
        }
    }
}

/// The error number of a raw system call, 0 if it succeeds. A call that makes a child ends it.
pub(crate) fn errno(number: libc::c_long, arguments: [u64; 6]) -> i32 {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the callers pass null or pointers that outlive the call, or wrong values on purpose in a
    // child that ends afterwards.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    let makes_children = [libc::SYS_clone, libc::SYS_clone3];
    if result == 0 && makes_children.contains(&number) {
        // SAFETY: ends the grandchild.
        unsafe { libc::_exit(0) };
    }
    match result {
        -1 => std::io::Error::last_os_error().raw_os_error().unwrap(),
        _ => 0,
    }
}
