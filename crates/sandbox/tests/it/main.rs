//! The sandbox through its client: real launchers, boxes, workers and programs.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bed;
mod benign;
mod escapes;
mod faults;
mod isolation;
mod program;
mod proxy;
mod worker;

/// The launcher whose workers do as they are told.
const LAUNCHER: &str = env!("CARGO_BIN_EXE_kruxos-sandbox-testbox");
