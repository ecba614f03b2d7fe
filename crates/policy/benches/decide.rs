//! Placed first so that the manifest parses.
fn main() {}
