//! The kernel sandbox: what confines an agent's file operations and programs.
//!
//! [`launcher`] is a small process that the gateway starts before it has threads, sockets or data. For
//! each agent it makes a *box*: a process in namespaces, with a root of its own, that clones confined
//! processes on request. A [`worker`] answers typed calls; a program gets a pid namespace and a mount
//! namespace for itself. [`client`] is the gateway's side.
//!
//! [`backstop`] is what the host itself refuses to agents' uids, should anything of theirs ever get out.
//!
//! Every layer is a step ([`step::Step`]) that either succeeds or ends the way into the box.

pub mod backstop;
pub mod cgroup;
#[cfg(feature = "client")]
pub mod client;
mod confine;
pub mod launcher;
pub mod probe;
mod program;
mod protocol;
pub mod seccomp;
pub mod spec;
pub mod standin;
pub mod step;
mod sys;
pub mod worker;
mod zygote;

pub use protocol::{BoxReport, EndedBy, Exit, FrameError, MAX_ANSWER, MAX_REQUEST};
