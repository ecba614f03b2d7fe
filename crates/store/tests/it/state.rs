use crate::bed::{Bed, QUOTA, VERSIONS, name, options};
use kruxos_store::{SetOutcome, StoreError};
use kruxos_types::{CallError, ErrorType};
use serde_json::{Value, json};
use std::time::Duration;

/// A string whose JSON has this many bytes.
fn of_size(bytes: u64) -> Value {
    json!("x".repeat(usize::try_from(bytes).unwrap() - 2))
}

#[tokio::test]
async fn a_value_reads_back_with_its_versions_and_times() {
    let bed = Bed::new();
    let (agent, born) = (name("a"), bed.now());
    let first = bed
        .store
        .state_set(&agent, "k", json!({"n": 1}))
        .await
        .unwrap();
    assert_eq!(
        first,
        SetOutcome {
            version: 1,
            previous_version: None
        }
    );
    bed.clock.advance(Duration::from_secs(5));
    let second = bed
        .store
        .state_set(&agent, "k", json!([null]))
        .await
        .unwrap();
    assert_eq!(
        second,
        SetOutcome {
            version: 2,
            previous_version: Some(1)
        }
    );

    let now = bed
        .store
        .state_get(&agent, "k", None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((now.value, now.version), (json!([null]), 2));
    assert_eq!((now.created_at, now.updated_at), (born, bed.now()));
    let then = bed
        .store
        .state_get(&agent, "k", Some(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (then.value, then.version, then.updated_at),
        (json!({"n": 1}), 1, born)
    );
    for missing in [0, 3, u64::MAX] {
        assert_eq!(
            bed.store
                .state_get(&agent, "k", Some(missing))
                .await
                .unwrap(),
            None
        );
    }
    assert_eq!(
        bed.store.state_get(&name("b"), "k", None).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_deleted_key_keeps_history_and_counts_on() {
    let bed = Bed::new();
    let agent = name("a");
    assert!(!bed.store.state_delete(&agent, "k").await.unwrap());
    assert_eq!(
        bed.store.state_history(&agent, "k", 10).await.unwrap(),
        None
    );
    bed.store
        .state_set(&agent, "k", json!("was"))
        .await
        .unwrap();
    assert!(bed.store.state_delete(&agent, "k").await.unwrap());
    assert!(!bed.store.state_delete(&agent, "k").await.unwrap());
    assert_eq!(bed.store.state_get(&agent, "k", None).await.unwrap(), None);
    assert_eq!(
        bed.store.state_get(&agent, "k", Some(2)).await.unwrap(),
        None
    );
    let kept = bed
        .store
        .state_get(&agent, "k", Some(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.value, json!("was"));
    assert_eq!(
        bed.store.state_list(&agent, "", false, 10).await.unwrap(),
        (vec![], 0, 0)
    );

    bed.clock.advance(Duration::from_secs(9));
    let again = bed.store.state_set(&agent, "k", json!("is")).await.unwrap();
    assert_eq!(
        again,
        SetOutcome {
            version: 3,
            previous_version: None
        }
    );
    let value = bed
        .store
        .state_get(&agent, "k", None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(value.created_at, bed.now(), "it came to life again");
    let history = bed
        .store
        .state_history(&agent, "k", 10)
        .await
        .unwrap()
        .unwrap();
    let told: Vec<_> = history
        .iter()
        .map(|v| (v.version, v.deleted, v.value.clone()))
        .collect();
    assert_eq!(
        told,
        [
            (3, false, Some(json!("is"))),
            (2, true, None),
            (1, false, Some(json!("was")))
        ]
    );
    let newest = bed
        .store
        .state_history(&agent, "k", 1)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(newest, history[..1]);
}

#[tokio::test]
async fn the_quota_counts_every_version_to_the_byte() {
    let bed = Bed::new();
    let agent = name("a");
    bed.store
        .state_set(&agent, "k", of_size(600))
        .await
        .unwrap();
    bed.store
        .state_set(&agent, "k", of_size(399))
        .await
        .unwrap();
    bed.store.state_set(&agent, "l", json!(1)).await.unwrap();
    let quota = bed.store.state_quota(&agent).await.unwrap();
    assert_eq!(
        (quota.used_bytes, quota.limit_bytes, quota.keys),
        (QUOTA, QUOTA, 2)
    );
    assert_eq!(quota.largest, [("k".to_owned(), 999), ("l".to_owned(), 1)]);

    let refused = bed
        .store
        .state_set(&agent, "l", json!(2))
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            StoreError::Quota {
                used: QUOTA,
                limit: QUOTA
            }
        ),
        "{refused:?}"
    );
    let told = CallError::from(refused);
    assert_eq!(told.error_type(), ErrorType::QuotaExceeded);
    assert_eq!(told.context()["used_bytes"], QUOTA);
    assert_eq!(told.context()["limit_bytes"], QUOTA);
    assert_eq!(
        bed.store.state_quota(&agent).await.unwrap(),
        quota,
        "a refusal changes nothing"
    );
    assert_eq!(
        bed.store
            .state_get(&agent, "l", None)
            .await
            .unwrap()
            .unwrap()
            .version,
        1
    );
    bed.store
        .state_set(&name("b"), "l", of_size(QUOTA))
        .await
        .expect("a quota of its own");
}

#[tokio::test]
async fn versions_beyond_the_limit_go_before_the_quota_is_asked() {
    let bed = Bed::new();
    let agent = name("a");
    for _ in 0..VERSIONS {
        bed.store
            .state_set(&agent, "k", of_size(QUOTA / u64::from(VERSIONS)))
            .await
            .unwrap();
    }
    let fifth = bed
        .store
        .state_set(&agent, "k", of_size(QUOTA / u64::from(VERSIONS)))
        .await;
    assert_eq!(fifth.unwrap().version, 5);
    assert!(
        bed.store
            .state_set(&agent, "k", of_size(251))
            .await
            .is_err()
    );
    assert_eq!(
        bed.store.state_get(&agent, "k", Some(1)).await.unwrap(),
        None
    );
    assert!(
        bed.store
            .state_get(&agent, "k", Some(2))
            .await
            .unwrap()
            .is_some(),
        "still kept"
    );
}

#[tokio::test]
async fn deleting_makes_room_the_longest_deleted_first() {
    let bed = Bed::new();
    let agent = name("a");
    for key in ["old", "new", "live"] {
        bed.store
            .state_set(&agent, key, of_size(300))
            .await
            .unwrap();
    }
    for key in ["old", "new"] {
        bed.clock.advance(Duration::from_secs(1));
        bed.store.state_delete(&agent, key).await.unwrap();
    }
    assert_eq!(bed.store.state_quota(&agent).await.unwrap().used_bytes, 900);
    bed.store
        .state_set(&agent, "more", of_size(400))
        .await
        .unwrap();
    assert_eq!(
        bed.store.state_history(&agent, "old", 9).await.unwrap(),
        None
    );
    assert!(
        bed.store
            .state_history(&agent, "new", 9)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(
        bed.store.state_quota(&agent).await.unwrap().used_bytes,
        1000
    );
    let refused = bed
        .store
        .state_set(&agent, "huge", of_size(701))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, StoreError::Quota { used: 1000, .. }),
        "{refused:?}"
    );
    assert!(
        bed.store
            .state_history(&agent, "new", 9)
            .await
            .unwrap()
            .is_some(),
        "given back"
    );
}

#[tokio::test]
async fn keys_are_any_text_and_listings_are_in_byte_order() {
    let bed = Bed::new();
    let agent = name("a");
    let longest = "ä".repeat(256);
    let keys = [
        "%",
        "_",
        "a",
        "a%b",
        "a_b",
        "ab",
        "a\u{10ffff}",
        "a\0b",
        "ZZ",
        "é",
        "*",
        &longest,
    ];
    for key in keys {
        bed.store.state_set(&agent, key, json!(key)).await.unwrap();
    }
    let mut sorted = keys.map(str::to_owned);
    sorted.sort();
    for prefix in [
        "",
        "a",
        "a%",
        "a_",
        "a\u{10ffff}",
        "_",
        "é",
        "ä",
        "zz",
        "a\0",
        "*",
    ] {
        let (entries, count, bytes) = bed
            .store
            .state_list(&agent, prefix, true, 100)
            .await
            .unwrap();
        let expected: Vec<_> = sorted
            .iter()
            .filter(|key| key.starts_with(prefix))
            .collect();
        assert_eq!(
            entries.iter().map(|entry| &entry.key).collect::<Vec<_>>(),
            expected
        );
        assert!(
            entries
                .iter()
                .all(|entry| entry.value == Some(json!(entry.key)))
        );
        assert_eq!(count, expected.len() as u64);
        assert_eq!(
            bytes,
            entries.iter().map(|entry| entry.size_bytes).sum::<u64>()
        );
    }
    let (some, count, _) = bed.store.state_list(&agent, "a", false, 2).await.unwrap();
    assert_eq!((some.len(), count), (2, 6));
    assert!(some.iter().all(|entry| entry.value.is_none()));
    for bad in [String::new(), "x".repeat(513)] {
        let error = bed
            .store
            .state_set(&agent, &bad, json!(1))
            .await
            .unwrap_err();
        assert_eq!(CallError::from(error).error_type(), ErrorType::InvalidInput);
    }
}

#[tokio::test]
async fn any_json_comes_back_as_it_was() {
    let mut options = options();
    options.persistent_quota_bytes = 100 << 20;
    let bed = Bed::with(options);
    let agent = name("a");
    let mut deep = json!(1);
    for _ in 0..120 {
        deep = json!([deep]);
    }
    let values = [
        Value::Null,
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1.797_693_134_862_315_7e308),
        json!(5e-324),
        json!(-0.0),
        json!(0.1 + 0.2),
        json!("\u{0}\u{1f600}\u{202e}\"\\"),
        json!({"": {"a": [{}, [], ""]}}),
        of_size(10 * 1024 * 1024),
        deep.clone(),
    ];
    for value in values {
        bed.store
            .state_set(&agent, "k", value.clone())
            .await
            .unwrap();
        let read = bed
            .store
            .state_get(&agent, "k", None)
            .await
            .unwrap()
            .unwrap();
        assert!(read.value == value, "version {}", read.version);
    }
    for refused in [json!([deep]), of_size(10 * 1024 * 1024 + 1)] {
        let error = bed.store.state_set(&agent, "k", refused).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid(_)), "{error:?}");
    }
}

#[tokio::test]
async fn an_agent_can_have_only_so_many_keys() {
    use kruxos_store::MAX_KEYS_PER_AGENT;
    let bed = Bed::new();
    let agent = name("a");
    bed.store.state_set(&agent, "k", json!(1)).await.unwrap();
    let path = bed.path();
    // As if it had filled itself up: the counter is what the limit is held against.
    let conn = rusqlite::Connection::open(path).unwrap();
    let sql = "UPDATE state_usage SET keys_kept = ?1 WHERE agent = 'a'";
    conn.execute(sql, [i64::try_from(MAX_KEYS_PER_AGENT).unwrap()])
        .unwrap();
    let error = bed
        .store
        .state_set(&agent, "l", json!(1))
        .await
        .unwrap_err();
    let told = CallError::from(error);
    assert_eq!(told.error_type(), ErrorType::ResourceExhausted);
    assert_eq!(told.context()["limit"], MAX_KEYS_PER_AGENT);
    bed.store
        .state_set(&agent, "k", json!(2))
        .await
        .expect("a key it has");
    bed.store.state_delete(&agent, "k").await.unwrap();
    bed.store
        .state_set(&agent, "l", json!(1))
        .await
        .expect("in place of the deleted one");
    assert_eq!(bed.store.state_history(&agent, "k", 9).await.unwrap(), None);
}
