use super::open;
use crate::{Store, StoreError};
use kruxos_types::{AgentName, CallError, ErrorType};
use serde_json::json;
use std::sync::mpsc;

/// Keeps the writer busy until the returned sender is dropped, so that what is asked meanwhile becomes
/// one group.
async fn hold_writer(store: &Store) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let (release, released) = mpsc::channel::<()>();
    let (started, at_work) = tokio::sync::oneshot::channel();
    let store = store.clone();
    let task = tokio::spawn(async move {
        let work = move |_: &rusqlite::Connection| {
            started.send(()).unwrap();
            assert!(released.recv().is_err(), "only ever dropped");
            Ok(())
        };
        store.write(work).await.unwrap();
    });
    at_work.await.unwrap();
    (release, task)
}

async fn fact(store: &Store, name: &str) -> Option<serde_json::Value> {
    store.fact(name).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_group_a_refusal_and_a_panic_undo_only_their_own_work() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (release, held) = hold_writer(&store).await;
    let insert = "INSERT INTO facts (name, value, updated_at) VALUES (?1, '1', 0)";
    let (mut good, mut refused, mut panicking) = (vec![], vec![], vec![]);
    for n in 0..10 {
        let writer = store.clone();
        good.push(tokio::spawn(async move {
            writer.put_fact(&format!("good{n}"), json!(n)).await
        }));
        let writer = store.clone();
        refused.push(tokio::spawn(async move {
            let work = move |conn: &rusqlite::Connection| -> Result<(), StoreError> {
                conn.execute(insert, [format!("refused{n}")])?;
                Err(StoreError::NotFound("me".to_owned()))
            };
            writer.write(work).await
        }));
        let writer = store.clone();
        panicking.push(tokio::spawn(async move {
            let work = move |conn: &rusqlite::Connection| -> Result<(), StoreError> {
                conn.execute(insert, [format!("panicked{n}")])?;
                panic!("on purpose")
            };
            writer.write(work).await
        }));
    }
    drop(release);
    held.await.unwrap();
    for (n, ((good, refused), panicking)) in
        good.into_iter().zip(refused).zip(panicking).enumerate()
    {
        good.await.unwrap().unwrap();
        assert!(matches!(
            refused.await.unwrap(),
            Err(StoreError::NotFound(_))
        ));
        assert!(matches!(
            panicking.await.unwrap(),
            Err(StoreError::Stopped(_))
        ));
        assert_eq!(fact(&store, &format!("good{n}")).await, Some(json!(n)));
        assert_eq!(fact(&store, &format!("refused{n}")).await, None);
        assert_eq!(fact(&store, &format!("panicked{n}")).await, None);
    }
}

#[tokio::test]
async fn a_failed_commit_is_told_to_everybody_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.put_fact("before", json!(1)).await.unwrap();
    // A foreign key that is only checked at the commit.
    let orphan = "PRAGMA defer_foreign_keys = ON; INSERT INTO state_versions \
        (key_id, version, deleted, size, created_at, key_created_at) VALUES (999, 1, 1, 0, 0, 0)";
    let (release, held) = hold_writer(&store).await;
    let writer = store.clone();
    let bad = tokio::spawn(async move {
        writer
            .write(move |conn| Ok(conn.execute_batch(orphan)?))
            .await
    });
    let writer = store.clone();
    let neighbour = tokio::spawn(async move { writer.put_fact("neighbour", json!(1)).await });
    tokio::task::yield_now().await;
    drop(release);
    held.await.unwrap();
    let code = |error: StoreError| error.sqlite_code();
    let violation = Some(rusqlite::ErrorCode::ConstraintViolation);
    assert_eq!(code(bad.await.unwrap().unwrap_err()), violation);
    let told = neighbour.await.unwrap().unwrap_err();
    assert_eq!(
        code(told),
        violation,
        "it queued behind the same hold, so it shared the commit"
    );
    assert_eq!(fact(&store, "neighbour").await, None);
    store
        .put_fact("after", json!(1))
        .await
        .expect("the writer goes on");
    assert_eq!(fact(&store, "before").await, Some(json!(1)));
}

#[tokio::test]
async fn a_full_disk_refuses_and_keeps_what_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let agent = AgentName::new("a").unwrap();
    store.state_set(&agent, "k", json!("kept")).await.unwrap();
    let limit = |pages: i64| {
        move |conn: &rusqlite::Connection| {
            conn.pragma_update(None, "max_page_count", pages)?;
            Ok(())
        }
    };
    store.write(limit(1)).await.unwrap();
    let (release, held) = hold_writer(&store).await;
    let mut large = vec![];
    for n in 0..4 {
        let (store, agent) = (store.clone(), agent.clone());
        large.push(tokio::spawn(async move {
            store
                .state_set(&agent, &format!("large{n}"), json!("x".repeat(500_000)))
                .await
        }));
    }
    tokio::task::yield_now().await;
    drop(release);
    held.await.unwrap();
    for refused in large {
        let told = CallError::from(refused.await.unwrap().unwrap_err());
        let kinds = [ErrorType::ResourceExhausted, ErrorType::ServiceUnavailable];
        assert!(kinds.contains(&told.error_type()), "{told}");
    }
    let alone = store
        .state_set(&agent, "k", json!("x".repeat(500_000)))
        .await
        .unwrap_err();
    assert_eq!(
        CallError::from(alone).error_type(),
        ErrorType::ResourceExhausted
    );
    assert_eq!(store.state_list(&agent, "", false, 9).await.unwrap().1, 1);
    let kept = store.state_get(&agent, "k", None).await.unwrap().unwrap();
    assert_eq!((kept.value, kept.version), (json!("kept"), 1));
    store.write(limit(1_000_000)).await.unwrap();
    store
        .state_set(&agent, "k", json!("x".repeat(500_000)))
        .await
        .expect("once there is room");
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_take_its_write_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (release, held) = hold_writer(&store).await;
    {
        let mut write = Box::pin(store.put_fact("left", json!(1)));
        let waker = std::task::Waker::noop();
        let polled = write
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker));
        assert!(polled.is_pending(), "queued");
    }
    drop(release);
    held.await.unwrap();
    drop(store);
    assert_eq!(fact(&open(&dir), "left").await, Some(json!(1)));
}

#[tokio::test]
async fn a_damaged_answer_is_internal_and_tells_the_caller_nothing() {
    let error = CallError::from(StoreError::Corrupt("page 7 of /data/state.db".to_owned()));
    assert_eq!(error.error_type(), ErrorType::Internal);
    assert!(!error.to_json().to_string().contains("state.db"));
    assert!(error.internal_cause().unwrap().contains("page 7"));
}
