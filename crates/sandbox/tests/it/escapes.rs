//! Hostile programs. Each attempt is a real one; its honest twin is in `benign.rs`. Numbers are rows of
//! the attack list.

use crate::bed::{Bed, LONG, Mode, modes, run, shell};
use kruxos_sandbox::cgroup::Limit;
use kruxos_sandbox::client::{Outcome, Over};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
use std::time::Duration;

/// Runs a line that must not succeed; what it printed on standard error.
async fn fails(mode: Mode, line: &str) -> String {
    let bed = Bed::new(mode);
    let agent = bed.agent("hostile");
    let done = run(&agent, shell(line)).await;
    assert_ne!(
        done.ended.outcome,
        Outcome::Exited(0),
        "{mode:?}: {line}: {}",
        done.stdout
    );
    done.stderr
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_host_are_not_there_or_not_writable() {
    let lines = [
        // 4, 20, 32-38: files of the system and of the kernel.
        "cat /etc/shadow",
        "cat /proc/1/environ | grep .",
        "cat /proc/kallsyms",
        "cat /proc/cmdline",
        "cat /proc/meminfo",
        "cat /proc/sys/kernel/hostname",
        "echo c > /proc/sysrq-trigger",
        "ls /sys/kernel",
        "cat /etc/machine-id",
        "echo -1000 > /proc/self/oom_score_adj",
        "echo '0 0 1' > /proc/self/uid_map",
        "exec 3<> /proc/1/mem",
        "touch /usr/bin/mine",
        "touch /etc/mine",
        "touch /mine",
        "mkdir /dev/mine",
        "ln -s / /proc/mine",
        // 7: the roots of other processes.
        "ls /proc/1/root/",
        "ls /proc/1/cwd/",
        "test $(ls -d /proc/[0-9]* | wc -l) -gt 6",
        // 11: devices; 17, 18: other users' rights.
        "mknod disk b 8 0",
        "mknod null c 1 3",
        "cp /bin/sh sh && chmod u+s sh",
        "cp /bin/sh sh && chmod 2755 sh",
        "install -m 4755 /bin/sh sh",
        "su -c id",
        "setpriv --reuid 0 id",
        "chown 0 .",
        // 36, 37, 41, 42: mounts and namespaces.
        "mount -t tmpfs none /tmp",
        "umount /workspace",
        "unshare -U true",
        "unshare -m true",
        "unshare -n true",
        "chroot . true",
        // 39, 61: the host's names and clocks.
        "hostname other",
        "date -s 2000-01-01",
        // 74: more than it was given.
        "nice -n -5 true && test $(nice -n -5 nice) -lt 0",
        "ulimit -n 4096",
        "bash -c 'ulimit -Hu 10000'",
    ];
    for mode in modes() {
        let bed = Bed::new(mode);
        let agent = bed.agent("hostile");
        for line in lines {
            let done = run(&agent, shell(line)).await;
            assert_ne!(
                done.ended.outcome,
                Outcome::Exited(0),
                "{mode:?}: {line}: {}",
                done.stdout
            );
        }
    }
}

/// Numbers of x86_64 where they differ; the filters' own tests go through all.
#[cfg(target_arch = "x86_64")]
const CALLS: &str = r#"
import ctypes, errno, socket
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
    return errno.errorcode.get(ctypes.get_errno(), "OK") if result == -1 else "OK"
def make(*arguments):
    try: socket.socket(*arguments); return "OK"
    except OSError as error: return errno.errorcode[error.errno]
for name, number, *arguments in [
    ("ptrace", 101, 16, 1), ("process_vm_readv", 310, 1), ("keyctl", 250, 0, -3, 1), ("add_key", 248),
    ("request_key", 249), ("io_uring_setup", 425, 8), ("userfaultfd", 323, 0), ("bpf", 321),
    ("perf_event_open", 298), ("open_by_handle_at", 304), ("kexec_load", 246), ("init_module", 175),
    ("reboot", 169), ("swapon", 167), ("quotactl", 179), ("mount", 165), ("pivot_root", 155),
    ("setns", 308, 0, 0), ("unshare", 272, 0x10000000), ("clone_newuser", 56, 0x10000011),
    ("clone_newns", 56, 0x20011), ("fsopen", 430), ("open_tree", 428), ("move_mount", 429),
    ("pidfd_getfd", 438), ("kcmp", 312), ("personality", 135, 0x0040000), ("modify_ldt", 154),
    ("memfd_create", 319), ("settimeofday", 164), ("sethostname", 170), ("capset", 126),
    ("fanotify_init", 300), ("lookup_dcookie", 212), ("vmsplice", 278), ("mbind", 237),
    ("seccomp_listener", 317, 1, 8),
]:
    print(name, call(number, *arguments))
print("clone3", call(435, 0, 0))
for name, arguments in [
    ("netlink", (16, 3, 0)), ("packet", (17, 3, 0)), ("vsock", (40, 1, 0)), ("alg", (38, 5, 0)),
    ("xdp", (44, 3, 0)), ("raw", (2, 3, 1)), ("mptcp", (2, 1, 262)), ("sctp", (2, 1, 132)), ("udplite", (2, 2, 136)),
    ("bluetooth", (31, 3, 0)),
]:
    print("socket", name, make(*arguments))
"#;

#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread")]
async fn system_calls_that_reach_further_are_refused() {
    for mode in modes() {
        let bed = Bed::new(mode);
        let agent = bed.agent("hostile");
        let mut program = shell("exec /usr/bin/python3 -");
        program.stdin = CALLS.as_bytes().to_vec();
        let done = run(&agent, program).await;
        assert_eq!(done.ended.outcome, Outcome::Exited(0), "{}", done.stderr);
        assert_eq!(done.stdout.lines().count(), 48, "{}", done.stdout);
        for line in done.stdout.lines() {
            let refused = ["EPERM", "ENOSYS", "EAFNOSUPPORT"]
                .iter()
                .any(|errno| line.ends_with(errno));
            assert!(refused, "{mode:?}: {line}");
        }
        // 62: nothing is left, and nothing comes back.
        let done = run(
            &agent,
            shell("grep -E '^(Cap|NoNew|Seccomp:|Uid|Groups)' /proc/self/status"),
        )
        .await;
        for line in done.stdout.lines() {
            let (name, value) = line.split_once(':').unwrap();
            let expected = match name {
                "NoNewPrivs" => "1",
                "Seccomp" => "2",
                "Uid" => "1000\t1000\t1000\t1000",
                // A user without privilege cannot give up the groups of the launcher's user.
                "Groups" if mode == Mode::User => continue,
                "Groups" => "",
                _ => "0000000000000000",
            };
            assert_eq!(value.trim(), expected, "{mode:?}: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_of_the_host_and_of_other_agents_are_out_of_reach() {
    let host = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let name = format!("kruxos-test-{}", std::process::id());
    let abstract_socket = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(
        &abstract_socket,
        &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap(),
    )
    .unwrap();
    listen(&abstract_socket, 1).unwrap();
    for mode in modes() {
        let bed = Bed::new(mode);
        let path = bed.directory.path().join("socket");
        let _listening = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let agent = bed.agent("hostile");
        let script = format!(
            r#"
import errno, socket
def reach(family, address):
    try:
        s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(5); s.connect(address); return "OK"
    except OSError as error: return errno.errorcode.get(error.errno, str(error))
print(reach(socket.AF_INET, ("127.0.0.1", {port})))
print(reach(socket.AF_INET, ("169.254.169.254", 80)))
print(reach(socket.AF_INET, ("1.1.1.1", 443)))
print(reach(socket.AF_INET6, ("2606:4700:4700::1111", 443)))
print(reach(socket.AF_UNIX, "\0{name}"))
print(reach(socket.AF_UNIX, "{}"))
"#,
            path.display()
        );
        let mut program = shell("exec /usr/bin/python3 -");
        program.stdin = script.into_bytes();
        let done = run(&agent, program).await;
        let answers: Vec<&str> = done.stdout.lines().collect();
        assert_eq!(answers.len(), 6, "{}", done.stderr);
        assert!(!answers.contains(&"OK"), "{mode:?}: {answers:?}");
        let mut program =
            shell("/usr/bin/python3 -c 'import socket; socket.create_server((\"127.0.0.1\", 0))'");
        program.spec.network = kruxos_sandbox::spec::Network::None;
        assert_ne!(run(&agent, program).await.ended.outcome, Outcome::Exited(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_is_bounded_and_leaves_nothing() {
    for mode in modes() {
        let bed = Bed::new(mode);
        let (agent, other) = (bed.agent("bomb"), bed.agent("other"));
        let mut program = shell("bomb() { bomb | bomb & }; bomb; while :; do :; done");
        program.timeout = Duration::from_millis(700);
        let running = agent.run(program).await.unwrap();
        let done = run(&other, shell("seq 3 | wc -l")).await;
        assert_eq!(done.stdout, "3\n", "the others go on");
        let ended = running.wait().await;
        let is_bounded = matches!(
            ended.outcome,
            Outcome::TimedOut | Outcome::Limited(Over::Group(Limit::Processes, _))
        );
        assert!(is_bounded, "{ended:?}");
        let done = run(&agent, shell("echo recovered")).await;
        assert_eq!(done.stdout, "recovered\n");
        // The kernel refuses the process after the last.
        let line = "i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done";
        let stderr = fails(mode, line).await;
        assert!(stderr.to_lowercase().contains("fork"), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_processor_files_and_descriptors_are_bounded() {
    for mode in modes() {
        let bed = Bed::new(mode);
        let agent = bed.agent("greedy");
        // 66: one process, then many that share the amount.
        let mut program = shell("exec /usr/bin/python3 -c 'x = bytearray(600 << 20)'");
        program.spec.limits.memory_bytes = Some(512 << 20);
        assert_ne!(run(&agent, program).await.ended.outcome, Outcome::Exited(0));
        let mut program = shell(
            "for i in 1 2 3 4; do /usr/bin/python3 -c 'import time; x = bytearray(b\"x\") * (40 << 20); time.sleep(60)' & done; wait",
        );
        program.spec.limits.memory_bytes = Some(100 << 20);
        program.timeout = LONG;
        let done = run(&agent, program).await;
        assert_eq!(
            done.ended.outcome,
            Outcome::Limited(Over::Group(Limit::Memory, Some(100 << 20))),
            "{mode:?} {}",
            done.stderr
        );
        // 67: a second of processor time.
        let mut program = shell("while :; do :; done");
        program.spec.limits.cpu_seconds = Some(1);
        assert_eq!(
            run(&agent, program).await.ended.outcome,
            Outcome::Limited(Over::CpuSeconds(1))
        );
        // 21, 22, 23: a file, /tmp in bytes and in files.
        let mut program = shell("exec head -c 2000000 /dev/zero > big");
        program.spec.limits.file_bytes = 1_000_000;
        assert_eq!(
            run(&agent, program).await.ended.outcome,
            Outcome::Limited(Over::FileBytes(1_000_000))
        );
        let done = run(&agent, shell("head -c 200000000 /dev/zero > /tmp/fill; ls -l /tmp/fill | awk '{print $5}'; rm /tmp/fill")).await;
        assert!(
            done.stdout.trim().parse::<u64>().unwrap() <= 100 << 20,
            "{}",
            done.stdout
        );
        assert!(done.stderr.contains("space"), "{}", done.stderr);
        let line = "cd /tmp && seq 20000 | xargs touch; ls | wc -l; ls | xargs rm";
        let done = run(&agent, shell(line)).await;
        assert!(
            done.stdout.trim().parse::<u64>().unwrap() < 10_000,
            "{}",
            done.stdout
        );
        // 75
        let line = "/usr/bin/python3 -c 'import os; [os.dup(0) for _ in range(2000)]'";
        assert!(fails(mode, line).await.contains("Too many open files"));
        // 63: no core file.
        let done = run(
            &agent,
            shell("sh -c 'kill -SEGV $$'; ls core* 2>/dev/null; true"),
        )
        .await;
        assert_eq!(done.stdout, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_cannot_speak_for_its_box() {
    // 8, 78: no descriptor but its own streams, and none to be had from pid 1.
    for mode in modes() {
        let bed = Bed::new(mode);
        let agent = bed.agent("forger");
        let done = run(
            &agent,
            shell(
                "ls /proc/self/fd | wc -l; ls -l /proc/1/fd; kill -9 1; kill -STOP 1; echo alive",
            ),
        )
        .await;
        // Three streams and the directory that ls reads.
        assert!(done.stdout.starts_with("4\n"), "{}", done.stdout);
        assert!(done.stdout.ends_with("alive\n"), "{}", done.stdout);
        assert!(!done.stdout.contains("socket:"), "{}", done.stdout);
        assert_eq!(done.ended.outcome, Outcome::Exited(0));
    }
}
