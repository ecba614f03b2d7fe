//! `strict`: one program is started, by the one descriptor, and nothing after it.

use crate::child::{both, errno, run};
use kruxos_sandbox::seccomp::{Profile, STRICT_EXEC_FD};
use libc::{O_CLOEXEC, RLIMIT_NOFILE, rlimit};
use std::ffi::CString;
use std::os::fd::AsRawFd;

const NUMBER: u64 = STRICT_EXEC_FD as u64;

fn limit(files: u64) {
    let limit = rlimit {
        rlim_cur: files,
        rlim_max: files,
    };
    // SAFETY: `limit` is ours.
    let result = unsafe { libc::setrlimit(RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(result, 0);
}

/// Puts a program at the descriptor and closes the way to a second one, as `Profile::Strict` says.
fn place(program: &str) {
    let file = std::fs::File::open(program).unwrap();
    limit(NUMBER + 1);
    // SAFETY: takes no pointer.
    let placed = unsafe { libc::dup3(file.as_raw_fd(), STRICT_EXEC_FD, O_CLOEXEC) };
    assert_eq!(placed, STRICT_EXEC_FD);
    limit(NUMBER);
}

/// The exit status of a program that is started under the filter.
fn start(program: &str, arguments: &[&str]) -> i32 {
    let strings: Vec<CString> = [&[program], arguments]
        .concat()
        .iter()
        .map(|text| CString::new(*text).unwrap())
        .collect();
    let mut pointers: Vec<*const libc::c_char> = strings.iter().map(|text| text.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let outcome = run(&[], || {
        place(program);
        crate::child::no_new_privs();
        for filter in both(Profile::Strict) {
            filter.install().unwrap();
        }
        let (path, argv) = (c"".as_ptr() as u64, pointers.as_ptr() as u64);
        let flags = libc::AT_EMPTY_PATH as u64;
        let failed = errno(libc::SYS_execveat, [NUMBER, path, argv, 0, flags, 0]);
        panic!("not started: error {failed}");
    });
    outcome.status
}

pub(crate) fn one_program_starts() {
    assert_eq!(start("/bin/true", &[]), 0);
    let exit = |status: i32| {
        assert!(libc::WIFEXITED(status), "{status:#x}");
        libc::WEXITSTATUS(status)
    };
    // A shell runs what it can itself, but no other program, neither forked nor in its place.
    assert_eq!(exit(start("/bin/sh", &["-c", "exit 7"])), 7);
    let quiet = "exec 2>/dev/null; /bin/true; exit 7";
    assert_ne!(exit(start("/bin/sh", &["-c", quiet])), 7);
    assert_eq!(
        exit(start(
            "/bin/sh",
            &["-c", "exec 2>/dev/null; exec /bin/true"]
        )),
        126
    );
}

pub(crate) fn descriptor_does_not_come_back() {
    let outcome = run(&[], || {
        place("/bin/true");
        crate::child::no_new_privs();
        for filter in both(Profile::Strict) {
            filter.install().unwrap();
        }
        // SAFETY: closes a descriptor that only `place` knows, as the start of the program does.
        assert_eq!(unsafe { libc::close(STRICT_EXEC_FD) }, 0);
        let file = std::fs::File::open("/bin/true").unwrap();
        let file = file.as_raw_fd() as u64;
        let (copy, raise) = (libc::F_DUPFD as u64, [0, RLIMIT_NOFILE.into()]);
        let more = rlimit {
            rlim_cur: NUMBER + 1,
            rlim_max: NUMBER,
        };
        let soft_above_hard = &raw const more as u64;
        assert_eq!(
            errno(libc::SYS_dup3, [file, NUMBER, 0, 0, 0, 0]),
            libc::EBADF
        );
        assert_eq!(
            errno(libc::SYS_fcntl, [file, copy, NUMBER, 0, 0, 0]),
            libc::EINVAL
        );
        let [this, files] = raise;
        let raised = errno(libc::SYS_prlimit64, [this, files, soft_above_hard, 0, 0, 0]);
        assert_eq!(raised, libc::EINVAL);
        b"done".to_vec()
    });
    assert_eq!(outcome.told, b"done");
}
