//! `filesystem.*` through `run`, on real directories.

mod attacks;
mod bed;
mod change;
mod edit;
mod look;
mod preview;
mod properties;
mod search;
mod trash;
mod watch;
