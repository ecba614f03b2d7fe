//! System call filters. A filter is data (`calls.rs`, `arguments.rs`), compiled once to the kernel's
//! BPF (`compile.rs`) and installed twice on the way into a box: [`stage1`] by an agent's zygote,
//! inherited by everything it forks at no cost, and what [`stage2`] adds to it
//! ([`stage2_over_stage1`]) by each worker and each program.
//! A process under several filters gets the strictest answer of them.
//!
//! What a filter does not name is refused with `EPERM`; a call of another architecture or of x32 kills
//! the process; `clone3`, whose flags lie in memory where no filter sees them, answers `ENOSYS` from
//! stage 2 on, so that C libraries fall back to `clone`.

mod arguments;
mod calls;
mod compile;
mod number;
mod profile;
mod table;
#[cfg(test)]
mod tests;

pub use arguments::STRICT_EXEC_FD;
pub use profile::{Profile, stage1, stage2, stage2_over_stage1};
use table::Table;

use std::io;

/// A compiled filter.
#[derive(Clone)]
pub struct Filter {
    program: Vec<libc::sock_filter>,
}

impl Filter {
    fn of(table: &Table) -> Filter {
        Filter {
            program: compile::compile(table),
        }
    }

    /// The BPF program, in the kernel's order.
    #[must_use]
    pub fn instructions(&self) -> &[libc::sock_filter] {
        &self.program
    }

    /// Puts the calling thread, and everything it will fork or execute, under this filter for ever. It
    /// makes one system call, allocates nothing and takes no lock, so a forked child may call it.
    ///
    /// # Errors
    /// `EACCES` without `no_new_privs`; `EINVAL` if the kernel cannot filter or finds the program
    /// longer than its 4,096 instructions.
    pub fn install(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.program.len())
                .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?,
            filter: self.program.as_ptr().cast_mut(),
        };
        // SAFETY: `program` points to `len` initialised instructions that outlive the call; the kernel
        // copies them and writes nothing.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const program,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
