use crate::bed::{Bed, name, options};
use kruxos_store::{Options, Store};
use kruxos_types::FakeClock;
use serde_json::json;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

fn roomy() -> Options {
    Options {
        persistent_quota_bytes: 1 << 30,
        ..options()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_writers_at_once_lose_nothing() {
    let bed = Bed::with(roomy());
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..64 {
        let store = bed.store.clone();
        writers.spawn(async move {
            for i in 0..8 {
                store
                    .state_set(&name("a"), &format!("k{n}-{i}"), json!([n, i]))
                    .await
                    .unwrap();
            }
        });
    }
    writers.join_all().await;
    let bed = bed.reopen(roomy());
    let (entries, count, _) = bed
        .store
        .state_list(&name("a"), "", true, 1000)
        .await
        .unwrap();
    assert_eq!((entries.len(), count), (512, 512));
    for n in 0..64 {
        let read = bed
            .store
            .state_get(&name("a"), &format!("k{n}-7"), None)
            .await
            .unwrap();
        assert_eq!(read.unwrap().value, json!([n, 7]));
    }
}

/// What the disk holds at one moment of a running store, as after kill -9. Few enough writes that
/// no checkpoint moves pages between the two copies.
fn copy_as_it_is(from: &Path, to: &Path) {
    for file in ["state.db", "state.db-wal"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let bed = Bed::with(roomy());
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (store, acknowledged) = (bed.store.clone(), acknowledged.clone());
        writers.spawn(async move {
            for i in 0..10 {
                let key = format!("k{n}-{i}");
                store.state_set(&name("a"), &key, json!(i)).await.unwrap();
                acknowledged.lock().unwrap().push(key);
            }
        });
    }
    let mut copies = Vec::new();
    while !writers.is_empty() {
        writers.join_next().await.unwrap().unwrap();
        let known = acknowledged.lock().unwrap().clone();
        let copy = tempfile::tempdir().unwrap();
        copy_as_it_is(bed.dir.path(), copy.path());
        copies.push((known, copy));
    }
    for (known, copy) in copies {
        let path = copy.path().join("state.db");
        let store = Store::open(&path, roomy(), bed.clock.clone()).unwrap();
        for key in known {
            assert!(
                store
                    .state_get(&name("a"), &key, None)
                    .await
                    .unwrap()
                    .is_some(),
                "{key}"
            );
        }
        drop(store);
        let conn = rusqlite::Connection::open(path).unwrap();
        let check: String = conn
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
    }
}

#[tokio::test]
async fn the_audit_mark_rides_on_every_commit() {
    let bed = Bed::new();
    bed.store.put_fact("a", json!(1)).await.unwrap();
    assert_eq!(bed.store.audit_mark().await.unwrap(), None);
    let durable = Arc::new(AtomicU64::new(41));
    let source = durable.clone();
    bed.store
        .set_audit_mark(Arc::new(move || Some(source.load(Ordering::SeqCst))));
    bed.store.put_fact("a", json!(2)).await.unwrap();
    assert_eq!(bed.store.audit_mark().await.unwrap(), Some(41));
    durable.store(99, Ordering::SeqCst);
    assert!(bed.store.delete_agent(&name("none")).await.is_err());
    assert_eq!(
        bed.store.audit_mark().await.unwrap(),
        Some(41),
        "a refusal commits nothing"
    );
    bed.store.put_fact("a", json!(3)).await.unwrap();
    let bed = bed.reopen(options());
    assert_eq!(bed.store.audit_mark().await.unwrap(), Some(99));
}

#[tokio::test]
async fn facts_are_replaced_and_survive() {
    let bed = Bed::new();
    assert_eq!(bed.store.fact("policy.rates").await.unwrap(), None);
    bed.store
        .put_fact("policy.rates", json!({"a": [1, 2]}))
        .await
        .unwrap();
    bed.store
        .put_fact("policy.rates", json!(null))
        .await
        .unwrap();
    bed.store.put_fact("other", json!(u64::MAX)).await.unwrap();
    let bed = bed.reopen(options());
    assert_eq!(
        bed.store.fact("policy.rates").await.unwrap(),
        Some(json!(null))
    );
    assert_eq!(
        bed.store.fact("other").await.unwrap(),
        Some(json!(u64::MAX))
    );
}

#[test]
fn the_files_are_the_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let bed = Bed::new();
    let files: Vec<_> = std::fs::read_dir(bed.dir.path())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(files.len() >= 2, "database and log");
    for file in files {
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{file:?}"
        );
    }
}

#[test]
fn closing_folds_the_log_into_the_database() {
    let bed = Bed::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(bed.store.put_fact("a", json!(1))).unwrap();
    let Bed { dir, store, clock } = bed;
    drop(store);
    assert!(!dir.path().join("state.db-wal").exists());
    let clock: Arc<FakeClock> = clock;
    let store = Store::open(&dir.path().join("state.db"), options(), clock).unwrap();
    assert_eq!(runtime.block_on(store.fact("a")).unwrap(), Some(json!(1)));
}
