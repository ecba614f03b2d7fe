//! Reads, lone durable sets against one bare sync, and 64 writers at once.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kruxos_store::{NewApproval, Options, Store};
use kruxos_types::{AgentName, ApprovalId, Object, Principal, SystemClock};
use serde_json::json;
use std::hint::black_box;
use std::io::{Seek, Write};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Beside the build, not in /tmp, which may be in memory.
fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn open(dir: &TempDir) -> Store {
    let options = Options {
        persistent_quota_bytes: 1 << 40,
        versions_kept: 100,
        approval_key: [7; 32],
    };
    Store::open(&dir.path().join("state.db"), options, Arc::new(SystemClock)).unwrap()
}

fn reads(c: &mut Criterion) {
    let (dir, runtime) = (directory(), Runtime::new().unwrap());
    let store = open(&dir);
    let agent = AgentName::new("bench").unwrap();
    runtime.block_on(async {
        for n in 0..1000 {
            let value = json!({"n": n, "text": "a value of usual size, about a hundred bytes"});
            store
                .state_set(&agent, &format!("key{n:04}"), value)
                .await
                .unwrap();
        }
    });
    let mut group = c.benchmark_group("read");
    group.bench_function("state_get", |b| {
        b.iter(|| {
            black_box(
                runtime
                    .block_on(store.state_get(&agent, "key0500", None))
                    .unwrap(),
            )
        });
    });
    group.bench_function("state_list_100_of_1000", |b| {
        b.iter(|| {
            black_box(
                runtime
                    .block_on(store.state_list(&agent, "key", false, 100))
                    .unwrap(),
            )
        });
    });
    let principal = Principal::agent("bench");
    group.bench_function("matching_approval_none", |b| {
        b.iter(|| {
            let found = store.matching_approval(&principal, "digest", jiff::Timestamp::MIN);
            black_box(runtime.block_on(found).unwrap())
        });
    });
    group.finish();
}

fn writes(c: &mut Criterion) {
    let (dir, runtime) = (directory(), Runtime::new().unwrap());
    let store = open(&dir);
    let agent = AgentName::new("bench").unwrap();
    let mut group = c.benchmark_group("write");
    let mut file = std::fs::File::create(dir.path().join("bare")).unwrap();
    file.write_all(&[0; 1 << 20]).unwrap();
    file.sync_all().unwrap();
    group.bench_function("one_fdatasync_of_8_KiB", |b| {
        b.iter(|| {
            file.rewind().unwrap();
            file.write_all(&[1; 8192]).unwrap();
            file.sync_data().unwrap();
        });
    });
    group.bench_function("state_set_alone", |b| {
        b.iter(|| {
            runtime
                .block_on(store.state_set(&agent, "key", json!("v")))
                .unwrap()
        });
    });
    group.bench_function("create_approval", |b| {
        b.iter(|| {
            runtime
                .block_on(store.create_approval(new_approval()))
                .unwrap()
        });
    });
    group.throughput(Throughput::Elements(64 * 16));
    group.bench_function("state_set_by_64_writers", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let mut writers = tokio::task::JoinSet::new();
                for n in 0..64 {
                    let (store, agent) = (store.clone(), agent.clone());
                    writers.spawn(async move {
                        for _ in 0..16 {
                            let key = format!("writer{n}");
                            store.state_set(&agent, &key, json!("v")).await.unwrap();
                        }
                    });
                }
                writers.join_all().await;
            });
        });
    });
    group.finish();
}

fn new_approval() -> NewApproval {
    NewApproval {
        id: ApprovalId::random(),
        principal: Principal::agent("bench"),
        session_id: "ses_1".to_owned(),
        interface: "mcp".to_owned(),
        capability: "filesystem.delete".to_owned(),
        exact_inputs: Object::from_iter([("path".to_owned(), json!("notes.md"))]),
        shown_inputs: json!({"path": "notes.md"}),
        digest: "d".to_owned(),
        reason: "rule 3".to_owned(),
        rule: json!({}),
        preview: json!({"diff": "x".repeat(500)}),
        risk_notes: Vec::new(),
        expires_at: None,
    }
}

criterion_group!(benches, reads, writes);
criterion_main!(benches);
