//! The file capabilities in a confined worker, asked the way the gateway asks.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../sandbox/tests/it/bed.rs"]
mod bed;
mod files;
#[path = "../../../capabilities/tests/it/permits.rs"]
#[allow(dead_code, reason = "the capabilities' own tests need more of it")]
mod permits;
mod races;
mod setting;

/// The launcher of the product.
const LAUNCHER: &str = env!("CARGO_BIN_EXE_kruxos-jail");
