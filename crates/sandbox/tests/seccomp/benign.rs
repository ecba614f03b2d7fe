//! What the attacks' benign twins do.

use crate::child::{both, errno, run};
use kruxos_sandbox::seccomp::{Filter, Profile, stage1};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

fn works(filters: &[&'static Filter], name: &str, body: impl FnOnce()) {
    let outcome = run(filters, || {
        body();
        b"done".to_vec()
    });
    assert_eq!(outcome.told, b"done", "{name}: status {}", outcome.status);
}

fn files(folder: &std::path::Path) {
    let file = folder.join("a");
    fs::write(&file, "text").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&file, folder.join("b")).unwrap();
    fs::copy(folder.join("b"), &file).unwrap();
    fs::create_dir_all(folder.join("c/d")).unwrap();
    std::os::unix::fs::symlink("b", folder.join("link")).unwrap();
    assert_eq!(fs::read_to_string(folder.join("link")).unwrap(), "text");
    assert!(fs::read_dir(folder).unwrap().count() >= 4);
    fs::remove_dir_all(folder.join("c")).unwrap();
    for name in ["a", "b", "link"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
}

fn threads() {
    let sum: u64 = std::thread::scope(|scope| {
        let spawn = |n: u64| scope.spawn(move || n);
        let handles: Vec<_> = (1..=8).map(spawn).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap())
            .sum()
    });
    assert_eq!(sum, 36);
}

fn sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    client.write_all(b"x").unwrap();
    let mut byte = [0];
    listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut one, mut other) = UnixStream::pair().unwrap();
    one.write_all(b"x").unwrap();
    other.read_exact(&mut byte).unwrap();
}

fn processes() {
    let inner = run(&[], || b"inner".to_vec());
    assert_eq!(inner.told, b"inner");
    let status = std::process::Command::new("/bin/true").status().unwrap();
    assert!(status.success());
}

pub(crate) fn twins_work() {
    let folder = tempfile::tempdir().unwrap();
    for profile in [Profile::Default, Profile::Memfd] {
        let filters = both(profile);
        works(&filters, "files", || files(folder.path()));
        works(&filters, "threads", threads);
        works(&filters, "sockets", sockets);
        works(&filters, "processes", processes);
        works(&filters, "own settings", || {
            let query = u64::from(u32::MAX);
            assert_eq!(errno(libc::SYS_personality, [query, 0, 0, 0, 0, 0]), 0);
            let not_a_terminal = errno(libc::SYS_ioctl, [u64::MAX, libc::TCGETS, 0, 0, 0, 0]);
            assert_eq!(not_a_terminal, libc::EBADF);
            // A further filter narrows and is allowed.
            crate::child::no_new_privs();
            kruxos_sandbox::seccomp::stage2(profile).install().unwrap();
        });
    }
    let filters = both(Profile::Strict);
    works(&filters, "files", || files(folder.path()));
    works(&filters, "threads", threads);
    works(&filters, "sockets", sockets);
}

pub(crate) fn workers_work() {
    let folder = tempfile::tempdir().unwrap();
    let filters = both(Profile::Worker);
    works(&filters, "files", || files(folder.path()));
    works(&filters, "threads", threads);
    works(&filters, "what a worker does not do", || {
        let unix = libc::AF_UNIX as u64;
        let stream = libc::SOCK_STREAM as u64;
        let fork = libc::SIGCHLD as u64;
        for (number, arguments) in [
            (libc::SYS_socket, [unix, stream, 0, 0, 0, 0]),
            (libc::SYS_socketpair, [unix, stream, 0, 0, 0, 0]),
            (libc::SYS_connect, [u64::MAX, 0, 0, 0, 0, 0]),
            (libc::SYS_clone, [fork, 0, 0, 0, 0, 0]),
            (libc::SYS_execve, [0; 6]),
            (libc::SYS_kill, [u64::from(u32::MAX), 0, 0, 0, 0, 0]),
            (libc::SYS_setuid, [0; 6]),
        ] {
            assert_eq!(errno(number, arguments), libc::EPERM, "{number}");
        }
        // Paths are resolved with it: reached, and refused for its null arguments.
        let here = libc::AT_FDCWD as u64;
        assert_eq!(
            errno(libc::SYS_openat2, [here, 0, 0, 24, 0, 0]),
            libc::EFAULT
        );
    });
}

/// As root only, for the namespaces need it when no user namespace is made before the filter.
pub(crate) fn zygote_works() {
    works(&[stage1()], "clone3 and openat2 are reached", || {
        let here = libc::AT_FDCWD as u64;
        assert_eq!(
            errno(libc::SYS_openat2, [here, 0, 0, 24, 0, 0]),
            libc::EFAULT
        );
        assert_eq!(errno(libc::SYS_clone3, [0, 0, 0, 0, 0, 0]), libc::EINVAL);
        let user = libc::CLONE_NEWUSER as u64;
        assert_eq!(errno(libc::SYS_unshare, [user, 0, 0, 0, 0, 0]), libc::EPERM);
        // What built the box is not needed any more.
        for gone in [
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_fsopen,
            libc::SYS_mount_setattr,
            libc::SYS_sethostname,
            libc::SYS_setgroups,
        ] {
            assert_eq!(errno(gone, [0; 6]), libc::EPERM, "{gone}");
        }
    });
    // SAFETY: takes nothing.
    if unsafe { libc::geteuid() } != 0 {
        print!("[namespaces: skipped, not root] ");
        return;
    }
    works(&[stage1()], "a private mount for a program", || {
        let new = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::SIGCHLD;
        // SAFETY: without CLONE_VM this is a fork; this child has one thread.
        let pid = unsafe { libc::syscall(libc::SYS_clone, new, 0, 0, 0, 0) } as libc::pid_t;
        assert!(pid >= 0);
        if pid == 0 {
            let well = std::panic::catch_unwind(mounts_and_starts_a_program).is_ok();
            // SAFETY: ends this process.
            unsafe { libc::_exit(i32::from(!well)) };
        }
        let mut status = -1;
        // SAFETY: `status` is ours.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(status, 0);
    });
}

fn mounts_and_starts_a_program() {
    let (root, tmp, kind) = (c"/", c"/tmp", c"tmpfs");
    let private = libc::MS_REC | libc::MS_PRIVATE;
    let null = std::ptr::null();
    // SAFETY: the strings are constants; the other pointers may be null.
    let private = unsafe { libc::mount(null, root.as_ptr(), null, private, null.cast()) };
    assert_eq!(private, 0);
    // SAFETY: as above.
    let result = unsafe { libc::mount(kind.as_ptr(), tmp.as_ptr(), kind.as_ptr(), 0, null.cast()) };
    assert_eq!(result, 0);
    let program = run(&[kruxos_sandbox::seccomp::stage2(Profile::Default)], || {
        vec![
            std::process::id() as u8,
            errno(libc::SYS_mount, [0; 6]) as u8,
        ]
    });
    assert_eq!(program.told, [2, libc::EPERM as u8]);
}
