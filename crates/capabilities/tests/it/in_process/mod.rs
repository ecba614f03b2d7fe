//! Capabilities that run in the gateway, through `run_in_process`, on a real store, policy and log.

mod agent;
mod alerts;
mod bed;
mod every;
mod persistent;
mod session;
mod system;
