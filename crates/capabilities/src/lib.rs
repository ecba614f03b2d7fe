//! One file for each capability, by category, and the permit that lets them run.

mod cx;
pub mod filesystem;
pub mod git;
mod in_process;
mod permit;
pub mod process;
pub mod program;
mod session_state;
mod shapes;

pub use cx::{Cx, Host, SessionFacts};
pub use in_process::run as run_in_process;
pub use permit::{Held, Permit};
pub use session_state::SessionState;
