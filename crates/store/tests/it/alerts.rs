use crate::bed::{Bed, object};
use kruxos_store::{AlertStatus, NewAlert, Severity, StoreError};
use serde_json::json;
use std::time::Duration;

fn new(source: &str, message: &str, n: u64) -> NewAlert {
    NewAlert {
        severity: Severity::Warning,
        message: message.to_owned(),
        source: source.to_owned(),
        context: object(json!({"n": n})),
    }
}

#[tokio::test]
async fn identical_open_alerts_fold_and_an_acknowledged_one_starts_anew() {
    let bed = Bed::new();
    let start = bed.now();
    let first = bed.store.raise_alert(new("disk", "full", 1)).await.unwrap();
    bed.clock.advance(Duration::from_secs(60));
    let second = bed.store.raise_alert(new("disk", "full", 2)).await.unwrap();
    assert_eq!((second.id.as_str(), second.count), (first.id.as_str(), 2));
    assert_eq!((second.first_at, second.last_at), (start, bed.now()));
    assert_eq!(second.context, object(json!({"n": 2})));
    let critical = NewAlert {
        severity: Severity::Critical,
        ..new("disk", "full", 3)
    };
    for other in [
        critical,
        new("disk", "fuller", 1),
        new("agent:a", "full", 1),
    ] {
        assert_eq!(bed.store.raise_alert(other).await.unwrap().count, 1);
    }
    bed.store
        .acknowledge_alert(&first.id, "user:ann", None)
        .await
        .unwrap();
    let anew = bed.store.raise_alert(new("disk", "full", 4)).await.unwrap();
    assert_eq!(anew.count, 1);
    assert_ne!(anew.id, first.id);
}

#[tokio::test]
async fn a_clock_set_back_does_not_turn_the_time_range_round() {
    let bed = Bed::new();
    let start = bed.now();
    bed.store.raise_alert(new("disk", "full", 1)).await.unwrap();
    bed.clock.set("2029-01-01T00:00:00Z".parse().unwrap());
    let folded = bed.store.raise_alert(new("disk", "full", 2)).await.unwrap();
    assert_eq!(
        (folded.first_at, folded.last_at, folded.count),
        (start, start, 2)
    );
}

#[tokio::test]
async fn acknowledging_twice_keeps_the_first_and_stays_within_the_source() {
    let bed = Bed::new();
    let raised = bed
        .store
        .raise_alert(new("agent:a", "help", 1))
        .await
        .unwrap();
    let foreign = bed
        .store
        .acknowledge_alert(&raised.id, "agent:b", Some("agent:b"))
        .await;
    assert!(matches!(foreign, Err(StoreError::NotFound(_))));
    let unknown = bed
        .store
        .acknowledge_alert("al_none", "user:ann", None)
        .await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
    let first = bed
        .store
        .acknowledge_alert(&raised.id, "agent:a", Some("agent:a"))
        .await
        .unwrap();
    assert_eq!(first.status, AlertStatus::Acknowledged);
    assert_eq!(first.acknowledged_at, Some(bed.now()));
    bed.clock.advance(Duration::from_secs(1));
    let second = bed
        .store
        .acknowledge_alert(&raised.id, "user:ann", None)
        .await
        .unwrap();
    assert_eq!(second, first);
}

#[tokio::test]
async fn listings_are_newest_first_filtered_and_counted_in_all() {
    let bed = Bed::new();
    for (n, source) in ["agent:a", "agent:b", "agent:a", "disk"]
        .into_iter()
        .enumerate()
    {
        bed.clock.advance(Duration::from_secs(1));
        bed.store
            .raise_alert(new(source, &format!("m{n}"), 0))
            .await
            .unwrap();
    }
    let messages = async |status, source, since, limit| {
        let (found, total) = bed
            .store
            .alerts(status, source, since, limit)
            .await
            .unwrap();
        (
            found
                .into_iter()
                .map(|alert| alert.message)
                .collect::<Vec<_>>(),
            total,
        )
    };
    assert_eq!(
        messages(None, None, None, 2).await,
        (vec!["m3".to_owned(), "m2".to_owned()], 4)
    );
    let of_a = messages(None, Some("agent:a"), None, 9).await;
    assert_eq!(of_a, (vec!["m2".to_owned(), "m0".to_owned()], 2));
    assert_eq!(
        messages(None, None, Some(bed.now()), 9).await,
        (vec!["m3".to_owned()], 1)
    );
    assert_eq!(
        messages(Some(AlertStatus::Acknowledged), None, None, 9).await,
        (vec![], 0)
    );
    // Raised again, the oldest is the newest.
    bed.clock.advance(Duration::from_secs(1));
    bed.store
        .raise_alert(new("agent:a", "m0", 0))
        .await
        .unwrap();
    assert_eq!(
        messages(None, None, None, 1).await,
        (vec!["m0".to_owned()], 4)
    );
}

#[tokio::test]
async fn only_so_many_are_kept_and_open_ones_stay_longest() {
    let bed = Bed::new();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
        INSERT INTO alerts (id, severity, message, source, context, status, count, first_at, last_at) \
        SELECT 'al_' || i, 'info', 'm' || i, 's', '{}', \
        CASE i WHEN 1 THEN 'open' ELSE 'acknowledged' END, 1, i, i FROM n";
    rusqlite::Connection::open(bed.path())
        .unwrap()
        .execute_batch(fill)
        .unwrap();
    bed.store.raise_alert(new("disk", "full", 1)).await.unwrap();
    assert_eq!(
        bed.store.alerts(None, None, None, 1).await.unwrap().1,
        10_000
    );
    let open = bed
        .store
        .alerts(Some(AlertStatus::Open), None, None, 9)
        .await
        .unwrap()
        .0;
    assert_eq!(
        open.iter().map(|a| a.message.as_str()).collect::<Vec<_>>(),
        ["full", "m1"]
    );
}
