//! The system calls that are allowed for some arguments only. Every comparison is of the width that
//! the kernel itself reads: an `int` of the prototype by its low 32 bits.

use super::number::FCHMODAT2;
use super::table::{Condition, Rule, Table, errno_action};
use libc::*;

/// The setuid and setgid bits.
const SET_ID: u32 = S_ISUID | S_ISGID;
/// `CLONE_NEW*`: mount, cgroup, uts, ipc, user, pid, network, time.
const NEW_NAMESPACES: u32 = 0x7e02_0080;
/// `open`'s flags that make its mode count.
const CREATES: u32 = (O_CREAT | (O_TMPFILE & !O_DIRECTORY)) as u32;
/// The bits of a socket's type; the others are `SOCK_CLOEXEC` and `SOCK_NONBLOCK`.
const SOCKET_TYPE: u32 = 0xf;
/// Asks for the current personality, changes nothing.
const PERSONALITY_QUERY: u32 = u32::MAX;

/// The descriptor from which a program under [`super::Profile::Strict`] is started, the one start that
/// the filter lets through: see there.
pub const STRICT_EXEC_FD: i32 = 1024;

/// Set for programs and workers alike: permissions, devices, terminals.
pub(super) fn files(table: &mut Table) {
    let refused = EPERM;
    let mode = |argument| Rule::allow_if(Condition::without(argument, SET_ID));
    table.set(SYS_fchmod, mode(1));
    table.set(SYS_fchmodat, mode(2));
    table.set(FCHMODAT2, mode(2));
    table.set(SYS_mkdirat, mode(2));
    let node = |argument| {
        let kinds = [0, S_IFREG, S_IFIFO, S_IFSOCK];
        Rule::allow_if(Condition::masked(argument, S_IFMT | SET_ID, &kinds))
    };
    table.set(SYS_mknodat, node(2));
    let open = |flags: u8| {
        // Without one of these flags the mode is whatever the register held.
        let no_mode = vec![Condition::without(flags, CREATES)];
        let mode = vec![Condition::without(flags + 1, SET_ID)];
        Rule::allow_any(vec![no_mode, mode], refused)
    };
    table.set(SYS_openat, open(2));
    #[cfg(target_arch = "x86_64")]
    {
        table.set(SYS_chmod, mode(1));
        table.set(SYS_mkdir, mode(1));
        table.set(SYS_creat, mode(1));
        table.set(SYS_mknod, node(1));
        table.set(SYS_open, open(1));
    }
    // Its mode lies in memory, where no filter sees it. C libraries fall back to openat.
    table.set(SYS_openat2, Rule::Always(errno_action(ENOSYS)));
    table.set(SYS_ioctl, Rule::allow_if(Condition::one_of(1, IOCTLS)));
    let personalities = [0, PERSONALITY_QUERY];
    table.set(
        SYS_personality,
        Rule::allow_if(Condition::one_of(0, &personalities)),
    );
    table.set(SYS_prctl, Rule::allow_if(Condition::one_of(0, PRCTLS)));
    // Only what gives nothing a higher priority than it has.
    let plain = [SCHED_OTHER as u32, SCHED_BATCH as u32, SCHED_IDLE as u32];
    let policy = Condition::masked(1, !(SCHED_RESET_ON_FORK as u32), &plain);
    table.set(SYS_sched_setscheduler, Rule::allow_if(policy));
}

/// Set for programs and for the zygote: sockets and filters of their own.
pub(super) fn programs(table: &mut Table) {
    table.set(SYS_socket, socket());
    let pair = vec![unix(), Condition::masked(1, SOCKET_TYPE, UNIX_TYPES)];
    table.set(SYS_socketpair, Rule::allow_any(vec![pair], EAFNOSUPPORT));
    // Protocols stacked upon TCP (TLS in the kernel and others) load code that nothing here needs.
    let not_tcp = vec![Condition::none_of(1, &[IPPROTO_TCP as u32])];
    let not_stacked = vec![Condition::none_of(2, &[TCP_ULP as u32])];
    table.set(
        SYS_setsockopt,
        Rule::allow_any(vec![not_tcp, not_stacked], EPERM),
    );
    table.set(SYS_seccomp, filter_of_its_own());
}

/// A filter of its own narrows a program further. One with a listener, or one that asks for weaker
/// speculation barriers, would not.
fn filter_of_its_own() -> Rule {
    let harmless = (SECCOMP_FILTER_FLAG_TSYNC
        | SECCOMP_FILTER_FLAG_LOG
        | SECCOMP_FILTER_FLAG_TSYNC_ESRCH) as u32;
    let install = vec![
        Condition::one_of(0, &[SECCOMP_SET_MODE_FILTER]),
        Condition::without(1, !harmless),
    ];
    let ask = vec![Condition::one_of(0, &[SECCOMP_GET_ACTION_AVAIL])];
    Rule::allow_any(vec![install, ask], EPERM)
}

fn unix() -> Condition {
    Condition::one_of(0, &[AF_UNIX as u32])
}

const UNIX_TYPES: &[u32] = &[SOCK_STREAM as u32, SOCK_DGRAM as u32, SOCK_SEQPACKET as u32];

/// Unix, TCP and UDP; no netlink, packet, vsock, crypto or raw sockets, and no other transport, since
/// the rules for TCP (Landlock's among them) do not see those.
fn socket() -> Rule {
    let internet = || Condition::one_of(0, &[AF_INET as u32, AF_INET6 as u32]);
    let kind = |kind: i32| Condition::masked(1, SOCKET_TYPE, &[kind as u32]);
    let protocol = |number: i32| Condition::one_of(2, &[0, number as u32]);
    let alternatives = vec![
        vec![unix(), Condition::masked(1, SOCKET_TYPE, UNIX_TYPES)],
        vec![internet(), kind(SOCK_STREAM), protocol(IPPROTO_TCP)],
        vec![internet(), kind(SOCK_DGRAM), protocol(IPPROTO_UDP)],
    ];
    Rule::allow_any(alternatives, EAFNOSUPPORT)
}

/// New processes and threads, in no new namespace.
pub(super) fn processes(table: &mut Table) {
    table.set(
        SYS_clone,
        Rule::allow_if(Condition::without(0, NEW_NAMESPACES)),
    );
}

/// New threads, no new processes.
pub(super) fn threads_only(table: &mut Table) {
    let thread = CLONE_THREAD as u32;
    let condition = Condition::masked(0, NEW_NAMESPACES | thread, &[thread]);
    table.set(SYS_clone, Rule::allow_if(condition));
}

/// The one start that `strict` lets through.
pub(super) fn start_once(table: &mut Table) {
    let from = Condition::one_of(0, &[STRICT_EXEC_FD as u32]);
    let flags = Condition::one_of(4, &[AT_EMPTY_PATH as u32]);
    table.set(
        SYS_execveat,
        Rule::allow_any(vec![vec![from, flags]], EPERM),
    );
}

/// The zygote makes mount and pid namespaces for its children, and no other.
pub(super) fn zygote(table: &mut Table) {
    let theirs = (CLONE_NEWNS | CLONE_NEWPID) as u32;
    let no_other = Condition::without(0, NEW_NAMESPACES & !theirs);
    table.set(SYS_clone, Rule::allow_if(no_other));
}

/// What programs ask of terminals, files and sockets. `TIOCSTI` and `TIOCLINUX`, which type into a
/// terminal, are not among it.
#[allow(
    clippy::unnecessary_cast,
    reason = "the constants' type differs between C libraries"
)]
const IOCTLS: &[u32] = &[
    // Terminals.
    TCGETS as u32,
    TCSETS as u32,
    TCSETSW as u32,
    TCSETSF as u32,
    TCGETS2 as u32,
    TCSETS2 as u32,
    TCSETSW2 as u32,
    TCSETSF2 as u32,
    TCSBRK as u32,
    TCSBRKP as u32,
    TCXONC as u32,
    TCFLSH as u32,
    TIOCEXCL as u32,
    TIOCNXCL as u32,
    TIOCGWINSZ as u32,
    TIOCSWINSZ as u32,
    TIOCGPGRP as u32,
    TIOCSPGRP as u32,
    TIOCGSID as u32,
    TIOCSCTTY as u32,
    TIOCNOTTY as u32,
    TIOCOUTQ as u32,
    TIOCPKT as u32,
    TIOCGPTN,
    TIOCSPTLCK,
    TIOCGPTPEER,
    // Any descriptor.
    FIONREAD as u32,
    FIONBIO as u32,
    FIOCLEX as u32,
    FIONCLEX as u32,
    FIOASYNC as u32,
    // Files: shared blocks, flags such as "append only", holes.
    FICLONE as u32,
    FICLONERANGE as u32,
    FS_IOC_GETFLAGS as u32,
    FS_IOC_GETVERSION as u32,
    FS_IOC_FIEMAP,
    // Reading the network interfaces of its namespace.
    SIOCATMARK,
    SIOCGIFNAME as u32,
    SIOCGIFCONF as u32,
    SIOCGIFFLAGS as u32,
    SIOCGIFADDR as u32,
    SIOCGIFNETMASK as u32,
    SIOCGIFMTU as u32,
    SIOCGIFHWADDR as u32,
    SIOCGIFINDEX as u32,
];
/// `_IOWR('f', 11, struct fiemap)`.
const FS_IOC_FIEMAP: u32 = 0xc020_660b;
/// `_IOR('T', 0x30, unsigned int)`, `_IOW('T', 0x31, int)`, `_IO('T', 0x41)`.
const TIOCGPTN: u32 = 0x8004_5430;
const TIOCSPTLCK: u32 = 0x4004_5431;
const TIOCGPTPEER: u32 = 0x5441;

/// `asm-generic/sockios.h`.
const SIOCATMARK: u32 = 0x8905;

/// A process's settings of itself that give it nothing.
const PRCTLS: &[u32] = &[
    PR_SET_PDEATHSIG as u32,
    PR_GET_PDEATHSIG as u32,
    PR_GET_DUMPABLE as u32,
    PR_SET_DUMPABLE as u32,
    PR_GET_KEEPCAPS as u32,
    PR_SET_NAME as u32,
    PR_GET_NAME as u32,
    PR_GET_SECCOMP as u32,
    PR_CAPBSET_READ as u32,
    PR_GET_SECUREBITS as u32,
    PR_SET_TIMERSLACK as u32,
    PR_GET_TIMERSLACK as u32,
    PR_SET_CHILD_SUBREAPER as u32,
    PR_GET_CHILD_SUBREAPER as u32,
    PR_SET_NO_NEW_PRIVS as u32,
    PR_GET_NO_NEW_PRIVS as u32,
    PR_GET_TID_ADDRESS as u32,
    PR_SET_THP_DISABLE as u32,
    PR_GET_THP_DISABLE as u32,
    PR_GET_SPECULATION_CTRL,
    PR_SET_MDWE,
    PR_GET_MDWE,
    PR_SET_VMA,
    #[cfg(target_arch = "aarch64")]
    PR_PAC_RESET_KEYS,
];
// `linux/prctl.h`; `libc` names them on some targets only.
const PR_GET_SPECULATION_CTRL: u32 = 52;
const PR_SET_MDWE: u32 = 65;
const PR_GET_MDWE: u32 = 66;
/// Names anonymous memory.
const PR_SET_VMA: u32 = 0x5356_4d41;
#[cfg(target_arch = "aarch64")]
const PR_PAC_RESET_KEYS: u32 = 54;
