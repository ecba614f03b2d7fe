//! For tests only: the real daemon on free ports in a directory of its own, and small blocking clients
//! for its agent port and its control socket.
#![allow(
    clippy::disallowed_methods,
    reason = "tests start the daemon as the process it is"
)]

mod daemon;
mod http;

pub use daemon::{Daemon, Introduction};
pub use http::{Answer, Client};
