#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod approval_model;
mod migrations;
mod writer;

use crate::{Options, Store};
use kruxos_types::FakeClock;
use std::sync::Arc;
use tempfile::TempDir;

fn clock() -> Arc<FakeClock> {
    Arc::new(FakeClock::new("2030-01-01T00:00:00Z".parse().unwrap()))
}

fn open(dir: &TempDir) -> Store {
    let options = Options {
        persistent_quota_bytes: 1 << 30,
        versions_kept: 100,
        approval_key: [7; 32],
    };
    Store::open(&dir.path().join("state.db"), options, clock()).unwrap()
}
