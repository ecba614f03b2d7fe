//! Every capability through the entry the gateway uses, with real permits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod filesystem;
mod git;
mod in_process;
mod permits;
