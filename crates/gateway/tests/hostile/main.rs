//! Everything that a hostile or confused peer can send to the real daemon, and everything that an
//! operator can do wrong to a policy file: a structured answer each time, no panic, no hang, nothing
//! half-written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test; it prints how much it did"
)]

mod answers;
mod cases;
mod fields;
mod framing;
mod limits;
mod policy_files;
mod shutdown;
mod slow;
mod stage;
mod websocket;
mod wire;
