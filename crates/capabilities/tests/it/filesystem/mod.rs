//! `filesystem.*` through `run`, on real directories.

mod attacks;
mod bed;
mod change;
mod edit;
mod handles;
mod links;
mod look;
mod preview;
mod properties;
mod search;
mod sweep;
mod trash;
mod undo;
mod watch;
