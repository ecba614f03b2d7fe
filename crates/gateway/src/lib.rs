//! The kruxos gateway: the one way between an agent and the machine.
//!
//! Start reading at `call.rs`, the spine that every call takes.

pub mod agents;
mod announce;
pub mod api;
pub mod approvals;
pub mod auth;
pub mod bootstrap;
mod boxes;
pub mod call;
mod checkpoints;
pub mod config;
mod decisions;
mod detached;
pub mod egress;
pub mod events;
mod files;
pub mod gateway;
pub mod health;
#[cfg(test)]
mod hooks;
mod host;
mod housekeeping;
pub mod layout;
mod lifecycle;
mod limits;
mod listen;
pub mod mcp;
pub mod metrics;
pub mod mounts;
pub mod operator;
mod overdue;
pub mod policy_files;
mod probes;
pub mod sandbox;
pub mod serve;
pub mod session;
mod summary;
mod timers;
mod touched;
pub mod transport;
mod undo;
mod webhooks;
