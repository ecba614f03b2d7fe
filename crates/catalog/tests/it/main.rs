//! The catalogue as the other crates see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admission;
mod contract;
mod errors;
mod loader;
mod output;
mod resolve;
