//! The clock and the machine.

pub(super) mod health;
pub(super) mod info;
pub(super) mod metrics;
pub(super) mod time;
