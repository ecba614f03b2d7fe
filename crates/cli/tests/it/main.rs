//! The command line as a person meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agents;
mod calls;
mod files;
mod help;
mod log;
mod policy;
mod socket;
mod support;
mod without;
