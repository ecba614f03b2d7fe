//! The command line as a person meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod help;
