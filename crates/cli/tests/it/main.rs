//! The command line as a person meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agents;
mod calls;
mod files;
mod grants;
mod help;
mod log;
mod socket;
mod support;
mod without;
