//! The log as its users see it: what is on disk, what survives, what is found, what is noticed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod format;
mod queries;
mod recovery;
mod support;
mod tamper;
mod writing;
