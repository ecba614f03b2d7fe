//! Control groups (cgroup v2): what limits and counts all processes of an agent together.
//!
//! ```text
//! <the delegated group>/          Subtree::claim
//!   supervisor/                   gateway and launcher: a group with children holds no processes itself
//!   agent-<name>/                 Subtree::agent: the agent's limits
//!     zygote/                     Agent::leaf: the agent's zygote and workers
//!     call-<n>/                   Agent::call: one program, with limits of its own
//! ```
//!
//! Each call gets a fresh group: a child that is cloned into one that ever received `cgroup.kill` dies
//! at once. The files with limits stay root's; an agent's uid is given `cgroup.procs` only, which
//! cloning into a group takes. Nothing of this is mounted inside a box.

mod error;
mod files;
mod group;
mod limits;
mod subtree;

pub use error::CgroupError;
pub use group::{Agent, Events, Group, Usage};
pub use limits::{Controller, Device, Limit, Limits};
pub use subtree::{Subtree, locate};
