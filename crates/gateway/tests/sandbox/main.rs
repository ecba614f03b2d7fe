//! Files and programs through the whole daemon, each in its agent's box: what a user notices of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests start the daemon, and kill what it started"
)]

mod boxes;
mod failures;
mod mounts;
mod network;
mod processes;
mod require;
mod stage;
mod undo;
