//! The command line as a person meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agents;
mod approve_watch;
mod calls;
mod files;
mod grants;
mod help;
mod log;
mod policy;
mod socket;
mod support;
mod terminal;
mod without;
