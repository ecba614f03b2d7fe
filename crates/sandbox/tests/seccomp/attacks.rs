//! The attacks of the threat list that reach the kernel through a system call.

use crate::child::{both, errno, run};
use kruxos_sandbox::seccomp::{Profile, stage2};
use libc::*;

struct Attack {
    name: &'static str,
    number: c_long,
    arguments: [u64; 6],
    /// How the filter answers it.
    expected: i32,
}

/// Something that can be pointed to.
static PATH: &[u8] = b"/nonexistent/file\0";
static DIRECTORY: &[u8] = b"/tmp\0";

fn attack(name: &'static str, number: c_long, given: &[u64], expected: i32) -> Attack {
    let mut arguments = [0; 6];
    arguments[..given.len()].copy_from_slice(given);
    Attack {
        name,
        number,
        arguments,
        expected,
    }
}

/// Refused whatever the arguments are; these make the kernel itself answer something else.
fn outright() -> Vec<Attack> {
    let path = PATH.as_ptr() as u64;
    let none = u64::MAX;
    let calls: &[(&'static str, c_long, &[u64])] = &[
        ("mount", SYS_mount, &[path, path]),
        ("umount2", SYS_umount2, &[path]),
        ("pivot_root", SYS_pivot_root, &[path, path]),
        ("chroot", SYS_chroot, &[path]),
        ("fsopen", SYS_fsopen, &[path]),
        ("fsmount", SYS_fsmount, &[none]),
        ("open_tree", SYS_open_tree, &[none, path]),
        ("move_mount", SYS_move_mount, &[none, path, none, path]),
        ("mount_setattr", SYS_mount_setattr, &[none, path]),
        ("statmount", 457, &[0]),
        ("listmount", 458, &[0]),
        ("unshare user", SYS_unshare, &[CLONE_NEWUSER as u64]),
        ("unshare files", SYS_unshare, &[CLONE_FILES as u64]),
        ("setns", SYS_setns, &[none]),
        ("io_uring_setup", SYS_io_uring_setup, &[1]),
        ("io_uring_enter", SYS_io_uring_enter, &[none]),
        ("io_uring_register", SYS_io_uring_register, &[none]),
        ("userfaultfd", SYS_userfaultfd, &[none]),
        ("bpf", SYS_bpf, &[none]),
        ("perf_event_open", SYS_perf_event_open, &[0]),
        ("keyctl", SYS_keyctl, &[none]),
        ("add_key", SYS_add_key, &[path, 0, 0, 0, 0]),
        ("request_key", SYS_request_key, &[path, 0]),
        ("ptrace", SYS_ptrace, &[none]),
        ("process_vm_readv", SYS_process_vm_readv, &[none]),
        ("process_vm_writev", SYS_process_vm_writev, &[none]),
        ("process_madvise", SYS_process_madvise, &[none]),
        ("pidfd_open", SYS_pidfd_open, &[none]),
        ("pidfd_getfd", SYS_pidfd_getfd, &[none]),
        ("pidfd_send_signal", SYS_pidfd_send_signal, &[none]),
        ("kcmp", SYS_kcmp, &[none, none]),
        ("init_module", SYS_init_module, &[0]),
        ("finit_module", SYS_finit_module, &[none]),
        ("delete_module", SYS_delete_module, &[path]),
        ("kexec_load", SYS_kexec_load, &[0, 0, 0, none]),
        ("reboot", SYS_reboot, &[0]),
        ("swapon", SYS_swapon, &[path]),
        ("swapoff", SYS_swapoff, &[path]),
        ("acct", SYS_acct, &[path]),
        ("quotactl", SYS_quotactl, &[none]),
        ("memfd_create", SYS_memfd_create, &[path, 0]),
        ("memfd_secret", SYS_memfd_secret, &[none]),
        (
            "execveat",
            SYS_execveat,
            &[none, path, 0, 0, AT_EMPTY_PATH as u64],
        ),
        ("shmget", SYS_shmget, &[0]),
        ("msgget", SYS_msgget, &[0]),
        ("semget", SYS_semget, &[0, none]),
        ("mq_open", SYS_mq_open, &[path]),
        ("vmsplice", SYS_vmsplice, &[none]),
        ("mbind", SYS_mbind, &[1]),
        ("move_pages", SYS_move_pages, &[none]),
        ("migrate_pages", SYS_migrate_pages, &[none]),
        ("remap_file_pages", SYS_remap_file_pages, &[1]),
        ("clock_settime", SYS_clock_settime, &[none]),
        ("clock_adjtime", SYS_clock_adjtime, &[none]),
        ("adjtimex", SYS_adjtimex, &[0]),
        ("settimeofday", SYS_settimeofday, &[0, 0]),
        ("sethostname", SYS_sethostname, &[0, none]),
        ("setdomainname", SYS_setdomainname, &[0, none]),
        ("capset", SYS_capset, &[0, 0]),
        ("setgroups", SYS_setgroups, &[0, 0]),
        ("syslog", SYS_syslog, &[none]),
        ("fanotify_init", SYS_fanotify_init, &[none]),
        ("name_to_handle_at", SYS_name_to_handle_at, &[none, path]),
        ("open_by_handle_at", SYS_open_by_handle_at, &[none]),
        ("sched_setattr", SYS_sched_setattr, &[0]),
        ("lookup_dcookie", SYS_lookup_dcookie, &[0]),
        ("io_setup", SYS_io_setup, &[0]),
        #[cfg(target_arch = "x86_64")]
        ("modify_ldt", SYS_modify_ldt, &[none]),
        #[cfg(target_arch = "x86_64")]
        ("iopl", SYS_iopl, &[none]),
        #[cfg(target_arch = "x86_64")]
        ("ioperm", SYS_ioperm, &[0]),
    ];
    calls
        .iter()
        .map(|(name, number, arguments)| attack(name, *number, arguments, EPERM))
        .collect()
}

/// Refused for these arguments.
fn by_argument() -> Vec<Attack> {
    let high = 1_u64 << 32;
    let path = PATH.as_ptr() as u64;
    let directory = DIRECTORY.as_ptr() as u64;
    let here = AT_FDCWD as u64;
    let none = u64::MAX;
    let creates = (O_CREAT | O_WRONLY) as u64;
    let mut attacks = vec![
        attack("chmod u+s", SYS_fchmodat, &[here, path, 0o4755], EPERM),
        attack("fchmod g+s", SYS_fchmod, &[none, 0o2755], EPERM),
        attack(
            "fchmodat2 u+s",
            452,
            &[here, path, 0o4755, AT_SYMLINK_NOFOLLOW as u64],
            EPERM,
        ),
        attack(
            "openat u+s",
            SYS_openat,
            &[here, path, creates, 0o4755],
            EPERM,
        ),
        attack(
            "openat tmpfile g+s",
            SYS_openat,
            &[here, path, (O_TMPFILE | O_WRONLY) as u64, 0o2755],
            EPERM,
        ),
        attack("mkdirat g+s", SYS_mkdirat, &[here, path, 0o2755], EPERM),
        attack(
            "mknodat u+s",
            SYS_mknodat,
            &[here, path, (S_IFREG | 0o4755) as u64],
            EPERM,
        ),
        attack(
            "mknodat device",
            SYS_mknodat,
            &[here, path, (S_IFCHR | 0o600) as u64, 0x103],
            EPERM,
        ),
        attack(
            "mknodat block device",
            SYS_mknodat,
            &[here, path, (S_IFBLK | 0o600) as u64, 0x103],
            EPERM,
        ),
        // openat2's mode lies in memory.
        attack("openat2", SYS_openat2, &[here, directory, 0, 24], ENOSYS),
        attack("clone3", SYS_clone3, &[0, 0], ENOSYS),
        attack("landlock", SYS_landlock_create_ruleset, &[0, 0, 1], ENOSYS),
        attack("TIOCSTI", SYS_ioctl, &[none, TIOCSTI], EPERM),
        attack(
            "TIOCSTI, upper half",
            SYS_ioctl,
            &[none, high | TIOCSTI],
            EPERM,
        ),
        attack("TIOCLINUX", SYS_ioctl, &[none, TIOCLINUX], EPERM),
        attack("TIOCSETD", SYS_ioctl, &[none, 0x5423], EPERM),
        attack("personality", SYS_personality, &[0x004_0000], EPERM),
        attack("read implies exec", SYS_personality, &[0x040_0000], EPERM),
        attack(
            "listening filter",
            SYS_seccomp,
            &[1, SECCOMP_FILTER_FLAG_NEW_LISTENER, 0],
            EPERM,
        ),
        attack(
            "weaker barriers",
            SYS_seccomp,
            &[1, SECCOMP_FILTER_FLAG_SPEC_ALLOW, 0],
            EPERM,
        ),
        attack("SCHED_FIFO", SYS_sched_setscheduler, &[0, 1, 0], EPERM),
        attack(
            "TLS upon TCP",
            SYS_setsockopt,
            &[none, IPPROTO_TCP as u64, TCP_ULP as u64],
            EPERM,
        ),
    ];
    for option in [PR_SET_MM, PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_SET_SECCOMP] {
        let arguments = [option as u64, none];
        attacks.push(attack("prctl", SYS_prctl, &arguments, EPERM));
    }
    // PR_SET_PTRACER, PR_SET_SYSCALL_USER_DISPATCH, PR_SCHED_CORE.
    for option in [0x5961_6d61, 59, 62] {
        attacks.push(attack("prctl", SYS_prctl, &[option, none], EPERM));
    }
    for bit in [7, 17, 25, 26, 27, 28, 29, 30] {
        let flags = 1_u64 << bit | SIGCHLD as u64;
        attacks.push(attack("clone", SYS_clone, &[flags], EPERM));
    }
    let internet = AF_INET as u64;
    let stream = SOCK_STREAM as u64;
    for (name, arguments) in [
        ("netlink", [AF_NETLINK as u64, SOCK_RAW as u64, 0]),
        ("packet", [AF_PACKET as u64, SOCK_RAW as u64, 0]),
        ("packet by inet", [internet, 10, 0]),
        ("vsock", [AF_VSOCK as u64, stream, 0]),
        ("crypto", [AF_ALG as u64, SOCK_SEQPACKET as u64, 0]),
        ("xdp", [AF_XDP as u64, SOCK_RAW as u64, 0]),
        ("bluetooth", [AF_BLUETOOTH as u64, SOCK_RAW as u64, 0]),
        ("raw", [internet, SOCK_RAW as u64, IPPROTO_ICMP as u64]),
        ("ping", [internet, SOCK_DGRAM as u64, IPPROTO_ICMP as u64]),
        ("mptcp", [internet, stream, 262]),
        ("sctp", [AF_INET6 as u64, stream, 132]),
        ("udplite", [internet, SOCK_DGRAM as u64, 136]),
        ("dccp", [internet, 6, 33]),
        (
            "netlink, upper half",
            [high | AF_NETLINK as u64, SOCK_RAW as u64, 0],
        ),
        ("mptcp, upper half", [internet, stream, high | 262]),
    ] {
        attacks.push(attack(name, SYS_socket, &arguments, EAFNOSUPPORT));
    }
    attacks
}

fn answers(attacks: &[Attack]) -> Vec<u8> {
    let answer = |attack: &Attack| errno(attack.number, attack.arguments).to_le_bytes();
    attacks.iter().flat_map(answer).collect()
}

fn told(bytes: &[u8]) -> Vec<i32> {
    let chunks = bytes.chunks_exact(4);
    chunks
        .map(|four| i32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

pub(crate) fn are_refused() {
    let attacks: Vec<Attack> = outright().into_iter().chain(by_argument()).collect();
    for filters in [
        both(Profile::Default),
        vec![stage2(Profile::Default)],
        both(Profile::Strict),
    ] {
        let outcome = run(&filters, || answers(&attacks));
        assert_eq!(outcome.status, 0);
        let answers = told(&outcome.told);
        assert_eq!(answers.len(), attacks.len());
        for (attack, answer) in attacks.iter().zip(answers) {
            let Attack { name, number, .. } = attack;
            assert_eq!(answer, attack.expected, "{name} ({number})");
        }
    }
}

/// Without a filter the kernel answers otherwise: the test above would notice a missing one.
pub(crate) fn refusals_are_the_filters() {
    let attacks: Vec<Attack> = outright().into_iter().chain(by_argument()).collect();
    let outcome = run(&[], || answers(&attacks));
    let answers = told(&outcome.told);
    // A host may refuse some itself: to a normal user, or by a filter of its container.
    // SAFETY: takes nothing.
    let is_root = unsafe { geteuid() } == 0;
    let same = |(attack, answer): &(&Attack, i32)| *answer == attack.expected;
    let same: Vec<&str> = attacks
        .iter()
        .zip(answers)
        .filter(same)
        .map(|(attack, _)| attack.name)
        .collect();
    let most = if is_root {
        attacks.len() / 4
    } else {
        attacks.len() / 2
    };
    print!(
        "[{} of {} refused without a filter: {same:?}] ",
        same.len(),
        attacks.len()
    );
    assert!(same.len() < most);
}

pub(crate) fn foreign_entries_kill() {
    for filters in [
        both(Profile::Default),
        both(Profile::Worker),
        vec![stage2(Profile::Strict)],
    ] {
        #[cfg(target_arch = "x86_64")]
        {
            let x32 = run(&filters, || {
                vec![errno(0x4000_0000 | SYS_getpid, [0; 6]) as u8]
            });
            assert_eq!(x32.signal(), Some(SIGSYS));
            // A user-mode Linux has no other entry: it takes this one for its own.
            let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap();
            if !processor.contains("User Mode Linux") {
                let compat = run(&filters, || vec![interrupt_80()]);
                assert_eq!(compat.signal(), Some(SIGSYS));
            }
        }
        let own = run(&filters, || vec![errno(SYS_getpid, [0; 6]) as u8]);
        assert_eq!(own.status, 0);
    }
}

/// `getpid` by the entry of 32-bit programs.
#[cfg(target_arch = "x86_64")]
fn interrupt_80() -> u8 {
    let answer: u64;
    // SAFETY: the call takes no argument and touches no memory; the registers are declared.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") 20_u64 => answer,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    answer as u8
}

pub(crate) fn a_filter_needs_no_new_privs() {
    let body = || {
        // SAFETY: takes no pointer; without privileges the filter may not be installed.
        unsafe { setresuid(65534, 65534, 65534) };
        match stage2(Profile::Default).install() {
            Err(error) => error.raw_os_error().unwrap().to_le_bytes().to_vec(),
            Ok(()) => vec![0; 4],
        }
    };
    assert_eq!(told(&run(&[], body).told), [EACCES]);
}
