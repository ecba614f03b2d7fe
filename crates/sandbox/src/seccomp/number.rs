//! Numbers of system calls that `libc` does not name on both architectures, from the kernel's
//! `arch/x86/entry/syscalls/syscall_64.tbl` and `scripts/syscall.tbl`.

use libc::c_long;

#[cfg(target_arch = "x86_64")]
mod own {
    use super::c_long;
    pub(crate) const SYNC_FILE_RANGE: c_long = libc::SYS_sync_file_range;
    pub(crate) const RENAMEAT: c_long = libc::SYS_renameat;
    pub(crate) const GETRLIMIT: c_long = libc::SYS_getrlimit;
    pub(crate) const SETRLIMIT: c_long = libc::SYS_setrlimit;
}

#[cfg(target_arch = "aarch64")]
mod own {
    use super::c_long;
    pub(crate) const SYNC_FILE_RANGE: c_long = 84;
    pub(crate) const RENAMEAT: c_long = 38;
    pub(crate) const GETRLIMIT: c_long = 163;
    pub(crate) const SETRLIMIT: c_long = 164;
}

pub(super) use own::*;

// The same on every architecture since 424.
pub(super) const FCHMODAT2: c_long = 452;
pub(super) const MAP_SHADOW_STACK: c_long = 453;
pub(super) const MSEAL: c_long = 462;
