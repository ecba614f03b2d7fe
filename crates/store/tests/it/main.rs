//! The store as its users see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agents;
mod alerts;
mod approvals;
mod bed;
mod boxes;
mod damage;
mod durability;
mod grants;
mod mounts;
mod state;
mod state_model;
