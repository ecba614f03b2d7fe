//! `git.*` through `run`, with the real git on real repositories.

mod attacks;
mod bed;
mod branch;
mod change;
mod failures;
mod look;
mod names;
mod programs;
mod remotes;
mod server;
