//! The system calls that are allowed whatever their arguments are, in groups with the reason for each
//! group. What is not here, and not in `arguments.rs`, is refused. The set was found by running bash,
//! coreutils, python, git, node, gcc, rustc, npm and pip and is kept to what they use.

use super::number::*;
use libc::*;

/// Calls with the reason why they are allowed.
pub(super) struct Group {
    /// Why; read by people only.
    #[allow(dead_code, reason = "the reason is for who reads the list")]
    pub(super) reason: &'static str,
    pub(super) calls: &'static [c_long],
}

/// What every confined process may do: use its memory, its files, its threads and its clock.
pub(super) const BASE: &[Group] = &[
    Group {
        reason: "its own memory; what is mapped executable is limited by mounts and Landlock, not here",
        calls: &[
            SYS_brk,
            SYS_mmap,
            SYS_munmap,
            SYS_mremap,
            SYS_mprotect,
            SYS_madvise,
            SYS_msync,
            SYS_mlock,
            SYS_mlock2,
            SYS_munlock,
            SYS_membarrier,
            SYS_pkey_alloc,
            SYS_pkey_free,
            SYS_pkey_mprotect,
            SYS_get_mempolicy,
            SYS_set_mempolicy,
            MSEAL,
            MAP_SHADOW_STACK,
        ],
    },
    Group {
        reason: "reading and writing what is open",
        calls: &[
            SYS_read,
            SYS_write,
            SYS_readv,
            SYS_writev,
            SYS_pread64,
            SYS_pwrite64,
            SYS_preadv,
            SYS_pwritev,
            SYS_preadv2,
            SYS_pwritev2,
            SYS_lseek,
            SYS_close,
            SYS_close_range,
            SYS_dup,
            SYS_dup3,
            SYS_pipe2,
            SYS_fcntl,
            SYS_flock,
            SYS_fsync,
            SYS_fdatasync,
            SYS_sync,
            SYS_syncfs,
            SYNC_FILE_RANGE,
            SYS_ftruncate,
            SYS_truncate,
            SYS_fallocate,
            SYS_fadvise64,
            SYS_sendfile,
            SYS_copy_file_range,
            SYS_splice,
        ],
    },
    Group {
        reason: "names and metadata; where they lead is limited by mounts and Landlock",
        calls: &[
            SYS_newfstatat,
            SYS_fstat,
            SYS_statx,
            SYS_statfs,
            SYS_fstatfs,
            SYS_faccessat,
            SYS_faccessat2,
            SYS_getdents64,
            SYS_readlinkat,
            SYS_getcwd,
            SYS_chdir,
            SYS_fchdir,
            SYS_umask,
            RENAMEAT,
            SYS_renameat2,
            SYS_linkat,
            SYS_symlinkat,
            SYS_unlinkat,
            SYS_fchown,
            SYS_fchownat,
            SYS_utimensat,
            SYS_getxattr,
            SYS_lgetxattr,
            SYS_fgetxattr,
            SYS_setxattr,
            SYS_lsetxattr,
            SYS_fsetxattr,
            SYS_listxattr,
            SYS_llistxattr,
            SYS_flistxattr,
            SYS_removexattr,
            SYS_lremovexattr,
            SYS_fremovexattr,
            SYS_inotify_init1,
            SYS_inotify_add_watch,
            SYS_inotify_rm_watch,
        ],
    },
    Group {
        reason: "waiting for what is open and for time",
        calls: &[
            SYS_ppoll,
            SYS_pselect6,
            SYS_epoll_create1,
            SYS_epoll_ctl,
            SYS_epoll_pwait,
            SYS_epoll_pwait2,
            SYS_eventfd2,
            SYS_signalfd4,
            SYS_timerfd_create,
            SYS_timerfd_settime,
            SYS_timerfd_gettime,
            SYS_nanosleep,
            SYS_clock_nanosleep,
            SYS_clock_gettime,
            SYS_clock_getres,
            SYS_gettimeofday,
            SYS_times,
            SYS_timer_create,
            SYS_timer_settime,
            SYS_timer_gettime,
            SYS_timer_getoverrun,
            SYS_timer_delete,
            SYS_getitimer,
            SYS_setitimer,
            SYS_restart_syscall,
        ],
    },
    Group {
        reason: "threads and signals of its own",
        calls: &[
            SYS_futex,
            SYS_futex_waitv,
            SYS_get_robust_list,
            SYS_set_robust_list,
            SYS_set_tid_address,
            SYS_rseq,
            SYS_sched_yield,
            SYS_rt_sigaction,
            SYS_rt_sigprocmask,
            SYS_rt_sigreturn,
            SYS_rt_sigsuspend,
            SYS_rt_sigpending,
            SYS_rt_sigtimedwait,
            SYS_sigaltstack,
            SYS_tgkill,
            SYS_exit,
            SYS_exit_group,
        ],
    },
    Group {
        reason: "who and where it is; the answers are those of its namespaces",
        calls: &[
            SYS_getpid,
            SYS_getppid,
            SYS_gettid,
            SYS_getuid,
            SYS_geteuid,
            SYS_getgid,
            SYS_getegid,
            SYS_getresuid,
            SYS_getresgid,
            SYS_getgroups,
            SYS_getpgid,
            SYS_getsid,
            SYS_capget,
            SYS_uname,
            SYS_sysinfo,
            SYS_getrusage,
            SYS_getcpu,
            SYS_getrandom,
            SYS_prlimit64,
            GETRLIMIT,
            SYS_getpriority,
            SYS_sched_getaffinity,
            SYS_sched_getscheduler,
            SYS_sched_getparam,
            SYS_sched_getattr,
            SYS_sched_get_priority_max,
            SYS_sched_get_priority_min,
            SYS_ioprio_get,
        ],
    },
    Group {
        reason: "messages over sockets that it was given",
        calls: &[
            SYS_sendto,
            SYS_recvfrom,
            SYS_sendmsg,
            SYS_recvmsg,
            SYS_sendmmsg,
            SYS_recvmmsg,
            SYS_shutdown,
            SYS_getsockname,
            SYS_getpeername,
            SYS_getsockopt,
        ],
    },
];

/// What programs may do beyond [`BASE`], except to start another program.
pub(super) const PROGRAM: &[Group] = &[
    Group {
        reason: "sockets in its own network namespace; which ones is limited by `socket`",
        calls: &[SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4],
    },
    Group {
        reason: "processes of its own pid namespace",
        calls: &[
            SYS_wait4,
            SYS_waitid,
            SYS_kill,
            SYS_tkill,
            SYS_rt_sigqueueinfo,
            SYS_setpgid,
            SYS_setsid,
            SYS_setpriority,
            SYS_sched_setaffinity,
            SYS_ioprio_set,
            SETRLIMIT,
        ],
    },
    Group {
        reason: "only ids that its user namespace maps, which is one; shells call these at their start",
        calls: &[
            SYS_setuid,
            SYS_setgid,
            SYS_setreuid,
            SYS_setregid,
            SYS_setresuid,
            SYS_setresgid,
        ],
    },
];

/// Starting programs; `strict` refuses these.
pub(super) const START: &[Group] = &[Group {
    reason: "a shell, a compiler driver, git and npm start programs",
    calls: &[SYS_execve],
}];

/// What the zygote and its children still do once the box stands, each refused from stage 2 on. What only
/// building the box takes comes before the filter and is not here.
pub(super) const SET_UP: &[Group] = &[
    Group {
        reason: "each program mounts its own /proc, and an empty directory over what only workers see",
        calls: &[SYS_mount],
    },
    Group {
        reason: "giving up what it has: capabilities, paths",
        calls: &[SYS_capset, SYS_landlock_restrict_self],
    },
    Group {
        reason: "children straight into their control group, watched by descriptor; the kernel keeps the \
                 flags of clone3 in memory, where no filter sees them",
        calls: &[SYS_clone3, SYS_pidfd_open],
    },
    Group {
        reason: "the typed calls resolve every path with it; `strict` starts its program with execveat",
        calls: &[SYS_openat2, SYS_execveat],
    },
];

/// Older forms that only x86_64 has: C libraries and programs there still use them.
#[cfg(target_arch = "x86_64")]
pub(super) const OLD_BASE: &[Group] = &[Group {
    reason: "older forms of what BASE allows",
    calls: &[
        SYS_access,
        SYS_stat,
        SYS_lstat,
        SYS_readlink,
        SYS_rename,
        SYS_link,
        SYS_symlink,
        SYS_unlink,
        SYS_rmdir,
        SYS_chown,
        SYS_lchown,
        SYS_utime,
        SYS_utimes,
        SYS_getdents,
        SYS_dup2,
        SYS_pipe,
        SYS_poll,
        SYS_select,
        SYS_epoll_create,
        SYS_epoll_wait,
        SYS_alarm,
        SYS_pause,
        SYS_time,
        SYS_getpgrp,
        SYS_arch_prctl,
    ],
}];
#[cfg(not(target_arch = "x86_64"))]
pub(super) const OLD_BASE: &[Group] = &[];

/// Older forms of starting processes.
#[cfg(target_arch = "x86_64")]
pub(super) const OLD_START: &[c_long] = &[SYS_fork, SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
pub(super) const OLD_START: &[c_long] = &[];
