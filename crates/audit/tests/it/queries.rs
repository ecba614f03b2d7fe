use crate::support::{World, effect, filled, numbered, numbers, record, run, success};
use kruxos_audit::{AuditLog, Durability, Kind, Query, Record, Status, entry_json};
use kruxos_types::{Principal, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn put(log: &AuditLog, record: Record) -> u64 {
    run(log.append(record, Durability::Soon)).unwrap().seq
}

fn found(log: &AuditLog, query: Query) -> Vec<u64> {
    log.query(&query)
        .unwrap()
        .entries
        .iter()
        .map(|entry| entry.seq)
        .collect()
}

/// One entry of each sort, a minute apart.
fn varied(world: &World) -> AuditLog {
    let log = world.open();
    let minute = || world.clock.advance(Duration::from_secs(60));
    let mut second = record("filesystem.write");
    second.status = Status::Denied;
    second.session_id = Some("ses_two".to_owned());
    let mut third = record("system.time");
    third.actor = Principal::user("tester");
    third.kind = Kind::Decision;
    minute();
    assert_eq!(put(&log, record("filesystem.read")), 1);
    minute();
    assert_eq!(put(&log, second), 2);
    minute();
    assert_eq!(put(&log, third), 3);
    log
}

#[test]
fn every_filter_finds_its_entries_at_once() {
    let world = World::new();
    let log = varied(&world);
    let all = Query::default;
    assert_eq!(found(&log, all()), [3, 2, 1, 0]);
    assert_eq!(
        found(
            &log,
            Query {
                agent: Some("tester".to_owned()),
                ..all()
            }
        ),
        [2, 1]
    );
    assert_eq!(
        found(
            &log,
            Query {
                user: Some("tester".to_owned()),
                ..all()
            }
        ),
        [3]
    );
    assert_eq!(
        found(
            &log,
            Query {
                agent: Some("nobody".to_owned()),
                ..all()
            }
        ),
        [0u64; 0]
    );
    assert_eq!(
        found(
            &log,
            Query {
                capability: Some("filesystem.*".to_owned()),
                ..all()
            }
        ),
        [2, 1]
    );
    assert_eq!(
        found(
            &log,
            Query {
                capability: Some("system.time".to_owned()),
                ..all()
            }
        ),
        [3]
    );
    assert_eq!(
        found(
            &log,
            Query {
                status: Some(Status::Denied),
                ..all()
            }
        ),
        [2]
    );
    assert_eq!(
        found(
            &log,
            Query {
                session: Some("ses_two".to_owned()),
                ..all()
            }
        ),
        [2]
    );
    assert_eq!(
        found(
            &log,
            Query {
                kind: Some(Kind::Decision),
                ..all()
            }
        ),
        [3]
    );
    assert_eq!(
        found(
            &log,
            Query {
                from: Some(at("2026-03-01T12:02:00Z")),
                ..all()
            }
        ),
        [3, 2]
    );
    assert_eq!(
        found(
            &log,
            Query {
                to: Some(at("2026-03-01T12:01:30Z")),
                ..all()
            }
        ),
        [1, 0]
    );
    assert_eq!(
        found(
            &log,
            Query {
                before_seq: Some(2),
                ..all()
            }
        ),
        [1, 0]
    );
    assert_eq!(
        found(
            &log,
            Query {
                after_seq: Some(1),
                newest_first: false,
                ..all()
            }
        ),
        [2, 3]
    );
}

#[test]
fn pages_follow_each_other_without_overlap() {
    let world = World::new();
    filled(&world, 95);
    let log = world.open();
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = log
            .query(&Query {
                limit: 10,
                before_seq: before,
                ..Query::default()
            })
            .unwrap();
        seen.extend(page.entries.iter().map(|entry| entry.seq));
        before = page.entries.last().map(|entry| entry.seq);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (0..96).rev().collect::<Vec<_>>());
    assert_eq!(numbers(&log.tail(3).unwrap()), [92, 93, 94]);
}

#[test]
fn an_entry_is_shown_by_number_and_by_id_in_its_stable_form() {
    let world = World::new();
    let log = varied(&world);
    let entry = log.show("2").unwrap().unwrap();
    assert_eq!(log.show(&entry.id).unwrap(), Some(entry.clone()));
    assert_eq!(&entry.id[14..15], "7", "a UUIDv7");
    assert_eq!(log.show("99").unwrap(), None);
    assert_eq!(log.show("nonsense").unwrap(), None);
    let mut json = entry_json(&entry);
    for (field, length) in [("id", 36), ("entry_hash", 64), ("previous_hash", 64)] {
        assert_eq!(json[field].as_str().unwrap().len(), length);
        json[field] = Value::Null;
    }
    assert_eq!(
        json,
        json!({
            "id": null, "seq": 2, "timestamp": "2026-03-01T12:02:00.000001Z",
            "actor": {"type": "agent", "name": "tester"}, "session_id": "ses_two", "interface": "mcp",
            "kind": "call", "capability": "filesystem.write", "inputs": {"path": "notes/todo.md", "limit": 10},
            "output_summary": null, "status": "denied", "policy_decision": {"tier": "autonomous", "layers": []},
            "duration_us": null, "resource_usage": null, "metadata": {}, "schema_version": 1,
            "previous_hash": null, "entry_hash": null,
        })
    );
}

#[test]
fn statistics_count_calls_and_their_latencies() {
    let world = World::new();
    let log = world.open();
    run(async {
        for duration in 1..=100 {
            log.begin_read(record("filesystem.read"))
                .unwrap()
                .finish(success(duration))
                .await
                .unwrap();
        }
        effect(&log, record("filesystem.write")).await;
        drop(log.begin_read(record("system.time")).unwrap());
    });
    let stats = log.stats(None).unwrap();
    assert_eq!(stats.entries, 104);
    assert_eq!(stats.by_kind["intent"], 1);
    assert_eq!(stats.by_status["success"], 102);
    assert_eq!(stats.by_status["error"], 1);
    let read = &stats.capabilities[0];
    assert_eq!(
        (read.capability.as_str(), read.calls),
        ("filesystem.read", 100)
    );
    assert_eq!(
        (read.p50_us, read.p95_us, read.p99_us),
        (Some(50), Some(95), Some(99))
    );
    let interrupted = stats
        .capabilities
        .iter()
        .find(|stats| stats.capability == "system.time")
        .unwrap();
    assert_eq!(
        (interrupted.p50_us, interrupted.by_status["error"]),
        (None, 1)
    );
    assert_eq!(
        (stats.chain.ok, stats.chain.entries, stats.chain.files),
        (true, 104, 1)
    );
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(
        log.stats(Some(at("2026-03-01T12:30:00Z"))).unwrap().entries,
        0
    );
}

#[test]
fn the_index_is_only_a_copy_and_comes_back_however_it_is_lost() {
    let world = World::new();
    filled(&world, 3_000);
    let index = world.dir().join("index.db");
    let damages: [&dyn Fn(); 4] = [
        &|| {},
        &|| std::fs::remove_file(&index).unwrap(),
        &|| std::fs::write(&index, b"this is no database, but long enough to look at").unwrap(),
        &|| std::fs::write(&index, b"").unwrap(),
    ];
    for (round, damage) in damages.iter().enumerate() {
        damage();
        let log = world.open();
        let page = log
            .query(&Query {
                limit: 10_000,
                newest_first: false,
                ..Query::default()
            })
            .unwrap();
        assert_eq!(numbers(&page.entries).len(), 3_000 + round, "round {round}");
        put(&log, numbered(7));
        assert_eq!(numbers(&log.tail(1).unwrap()), [7]);
        if round == 1 {
            assert_eq!(log.reindex().unwrap(), 3_003);
            assert_eq!(numbers(&log.tail(1).unwrap()), [7]);
        }
    }
}

#[test]
fn live_tails_get_every_entry_in_order_and_do_not_hold_the_log_up() {
    let world = World::new();
    let log = world.open();
    // The first entry is out of the way.
    assert_eq!(log.tail(1).unwrap().len(), 1);
    let mut live = log.subscribe();
    let mut lazy = log.subscribe();
    run(async {
        for number in 0..2_000 {
            log.append(numbered(number), Durability::Soon)
                .await
                .unwrap();
            if number % 500 == 499 {
                for expected in number - 499..=number {
                    assert_eq!(live.recv().await.unwrap()["inputs"]["number"], expected);
                }
            }
        }
        let lost = lazy.recv().await;
        assert!(
            matches!(
                lost,
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_))
            ),
            "{lost:?}"
        );
    });
}
