//! Files that are not what they should be: an error, never a panic.

use crate::bed::{Bed, name, new_agent, new_approval, options};
use kruxos_store::{Store, StoreError};
use kruxos_types::{ApprovalId, Clock, FakeClock};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

fn clock() -> Arc<dyn Clock> {
    Arc::new(FakeClock::new("2030-01-01T00:00:00Z".parse().unwrap()))
}

fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(path, options(), clock())
}

#[test]
fn a_file_that_is_no_database_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let text = "this is not a database, however long it may be".repeat(100);
    std::fs::write(&path, &text).unwrap();
    let error = open(&path).unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt(why) if why.contains("state.db")),
        "{error:?}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn another_programs_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(conn);
    assert!(matches!(open(&path), Err(StoreError::Corrupt(_))));
}

#[test]
fn a_newer_schema_is_refused_and_not_touched() {
    let bed = Bed::new();
    let path = bed.path();
    drop(bed.store);
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 999).unwrap();
    drop(conn);
    let error = open(&path).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::NewerSchema {
                found: 999,
                known: 6
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        open(&dir.path().join("no/state.db")),
        Err(StoreError::Io(_))
    ));
}

/// Everything the store can be asked, with whatever comes back.
async fn use_everything(store: &Store) -> usize {
    let agent = name("tester");
    let id = ApprovalId::from_text("ap_1");
    let answers = [
        store.agents().await.is_err(),
        store.token_owners().await.is_err(),
        store.user_tokens().await.is_err(),
        store.approvals(None, None, 99).await.is_err(),
        store.approval(&id).await.is_err(),
        store.claim_approval(&id).await.is_err(),
        store.recover_approvals().await.is_err(),
        store.alerts(None, None, None, 99).await.is_err(),
        store.state_get(&agent, "k1", None).await.is_err(),
        store.state_list(&agent, "", true, 999).await.is_err(),
        store.state_history(&agent, "k1", 99).await.is_err(),
        store.state_quota(&agent).await.is_err(),
        store.state_set(&agent, "k1", json!("y")).await.is_err(),
        store.state_delete(&agent, "k2").await.is_err(),
        store.put_fact("f", json!(1)).await.is_err(),
        store.delete_agent(&agent).await.is_err(),
    ];
    answers.into_iter().filter(|failed| *failed).count()
}

#[tokio::test]
async fn overwritten_pages_give_errors() {
    let bed = Bed::new();
    let agent = name("tester");
    bed.store
        .create_agent(new_agent("tester", 1))
        .await
        .unwrap();
    bed.store
        .create_approval(new_approval("ap_1", None))
        .await
        .unwrap();
    for n in 0..60 {
        bed.store
            .state_set(&agent, &format!("k{n}"), json!("v"))
            .await
            .unwrap();
    }
    let path = bed.path();
    let Bed { dir, store, .. } = bed;
    drop(store);
    let good = std::fs::read(&path).unwrap();
    let mut failures = 0;
    for page in 1..good.len() / 4096 {
        let mut bytes = good.clone();
        for (n, byte) in bytes[page * 4096..(page + 1) * 4096].iter_mut().enumerate() {
            *byte = (n * 31 + page) as u8;
        }
        std::fs::write(&path, bytes).unwrap();
        match open(&path) {
            Ok(store) => failures += use_everything(&store).await,
            Err(_) => failures += 1,
        }
        for rest in ["state.db-wal", "state.db-shm"] {
            drop(std::fs::remove_file(dir.path().join(rest)));
        }
    }
    assert!(failures > 10, "the damage was met: {failures}");
}

#[tokio::test]
async fn damaged_rows_give_errors() {
    let bed = Bed::new();
    let agent = name("tester");
    bed.store
        .create_agent(new_agent("tester", 1))
        .await
        .unwrap();
    bed.store
        .create_approval(new_approval("ap_1", None))
        .await
        .unwrap();
    bed.store.state_set(&agent, "k", json!(1)).await.unwrap();
    bed.store.put_fact("f", json!(1)).await.unwrap();
    let conn = rusqlite::Connection::open(bed.path()).unwrap();
    let damage = "UPDATE agents SET status = 'dancing', created_at = 9223372036854775807; \
        UPDATE approvals SET principal_kind = 'robot'; \
        UPDATE state_versions SET value = '{'; UPDATE facts SET value = 'x';";
    conn.execute_batch(damage).unwrap();
    let corrupt = |error: StoreError| assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    corrupt(bed.store.agent(&agent).await.unwrap_err());
    corrupt(bed.store.token_owners().await.unwrap_err());
    corrupt(bed.store.approvals(None, None, 9).await.unwrap_err());
    corrupt(bed.store.state_get(&agent, "k", None).await.unwrap_err());
    corrupt(bed.store.state_history(&agent, "k", 9).await.unwrap_err());
    corrupt(bed.store.fact("f").await.unwrap_err());
    bed.store
        .state_set(&agent, "k", json!(2))
        .await
        .expect("what is whole still works");
}
