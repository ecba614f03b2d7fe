use crate::support::{World, effect, numbered, record, run, segments, success};
use kruxos_audit::{AuditError, AuditLog, Durability, Kind, MAX_QUEUED, Query, Status, verify};
use kruxos_types::Object;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

#[test]
fn a_new_log_begins_with_one_entry_and_files_only_the_owner_reads() {
    let world = World::new();
    let log = world.open();
    let first = log.show("0").unwrap().unwrap();
    assert_eq!(
        (first.kind, first.metadata["event"].as_str()),
        (Kind::System, Some("log_created"))
    );
    assert_eq!(first.previous_hash.len(), 64);
    assert_eq!(
        world.segments()[0].file_name().unwrap(),
        "audit-2026-03-01.000.log"
    );
    drop(log);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.dir()), 0o700);
    for file in std::fs::read_dir(world.dir()).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    let other = World::new();
    assert_ne!(
        other.open().show("0").unwrap().unwrap().previous_hash,
        first.previous_hash
    );
}

#[test]
fn a_call_with_effects_has_its_intent_on_disk_before_it_runs() {
    let world = World::new();
    let log = world.open();
    run(async {
        let mut begun = log.begin_effect(record("filesystem.write")).unwrap();
        begun.durable().await.unwrap();
        let copy = world.root.path().join("copy");
        crate::support::copy_log(&world.dir(), &copy);
        let (survivor, _) = world.open_at(&copy);
        let intent = survivor.show("1").unwrap().unwrap();
        assert_eq!(
            (intent.kind, intent.status),
            (Kind::Intent, Status::Success)
        );
        let position = begun.finish(success(77)).await.unwrap();
        assert_eq!(position.seq, 2);
        assert_eq!(log.durable_seq(), Some(2));
        begun = log.begin_effect(record("filesystem.write")).unwrap();
        begun.durable().await.unwrap();
        begun.durable().await.unwrap();
        drop(begun);
    });
    let result = log.show("2").unwrap().unwrap();
    assert_eq!((result.kind, result.duration_us), (Kind::Call, Some(77)));
    assert_eq!(result.metadata["intent_seq"], 1);
    assert_eq!(
        result.inputs,
        Some(json!({"path": "notes/todo.md", "limit": 10}))
    );
}

#[test]
fn a_read_writes_one_entry_and_only_at_its_end() {
    let world = World::new();
    let log = world.open();
    run(async {
        let mut begun = log.begin_read(record("filesystem.read")).unwrap();
        begun.durable().await.unwrap();
        assert_eq!(log.queued(), 0);
        assert_eq!(log.tail(10).unwrap().len(), 1);
        let position = begun.finish(success(3)).await.unwrap();
        assert_eq!(position.seq, 1);
        log.flush().await.unwrap();
        assert_eq!(log.durable_seq(), Some(1));
    });
}

#[test]
fn an_entry_nobody_waits_for_reaches_the_disk_by_itself() {
    let world = World::new();
    let log = world.open();
    let mut live = log.subscribe();
    run(async {
        log.append(record("system.time"), Durability::Soon)
            .await
            .unwrap();
        // Nothing flushes it: it comes through the file and the index.
        let mut entry = live.recv().await.unwrap();
        if entry["seq"] == 0 {
            entry = live.recv().await.unwrap();
        }
        assert_eq!(
            (entry["seq"].as_u64(), entry["capability"].as_str()),
            (Some(1), Some("system.time"))
        );
        assert!(log.durable_seq() >= Some(1));
    });
}

#[test]
fn a_call_that_is_dropped_says_interrupted() {
    let world = World::new();
    let log = world.open();
    drop(log.begin_read(record("filesystem.read")).unwrap());
    drop(log.begin_effect(record("filesystem.write")).unwrap());
    let entries = log.tail(3).unwrap();
    assert_eq!(entries[0].kind, Kind::Call);
    assert_eq!(entries[1].kind, Kind::Intent);
    for entry in [&entries[0], &entries[2]] {
        assert_eq!(
            (entry.status, &entry.metadata["interrupted"]),
            (Status::Error, &Value::Bool(true))
        );
        assert_eq!(entry.duration_us, None);
    }
}

#[test]
fn sixty_four_tasks_leave_no_gap_and_every_answer_is_true() {
    let world = World::new();
    let log = world.open();
    let mut seqs = run(async {
        let tasks: Vec<_> = (0..64)
            .map(|task| {
                let log = log.clone();
                tokio::spawn(async move {
                    let mut seqs = Vec::new();
                    for round in 0..12u64 {
                        let number = task * 100 + round;
                        match round % 3 {
                            0 => {
                                let position = log
                                    .append(numbered(number), Durability::Waited)
                                    .await
                                    .unwrap();
                                assert!(log.durable_seq() >= Some(position.seq));
                                seqs.push(position.seq);
                            }
                            1 => {
                                let seq = effect(&log, numbered(number)).await;
                                assert!(log.durable_seq() >= Some(seq));
                                seqs.push(seq);
                            }
                            _ => {
                                let begun = log.begin_read(numbered(number)).unwrap();
                                seqs.push(begun.finish(success(1)).await.unwrap().seq);
                            }
                        }
                    }
                    seqs
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all
    });
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), 64 * 12, "every answer has a place of its own");
    drop(log);
    let report = verify(&world.dir()).unwrap();
    // The first entry, and an intent for each third call.
    assert_eq!(
        (report.ok, report.entries),
        (true, 1 + 64 * 12 + 64 * 4),
        "{report:?}"
    );
}

#[test]
fn segments_rotate_under_load_and_the_chain_goes_through_them() {
    let world = World::new();
    let log = world.open();
    run(async {
        for number in 0..4_000 {
            let durability = if number % 100 == 0 {
                Durability::Waited
            } else {
                Durability::Soon
            };
            log.append(crate::support::bulky(number), durability)
                .await
                .unwrap();
        }
        log.flush().await.unwrap();
    });
    assert!(world.segments().len() > 2, "{:?}", world.segments());
    let live = verify(&world.dir()).unwrap();
    assert_eq!((live.ok, live.entries), (true, 4_001), "{live:?}");
    let page = log
        .query(&Query {
            limit: 5_000,
            newest_first: false,
            ..Query::default()
        })
        .unwrap();
    assert_eq!(
        crate::support::numbers(&page.entries),
        (0..4_000).map(Value::from).collect::<Vec<_>>()
    );
    drop(log);
    let (log, report) = world.open_with_report();
    assert_eq!(
        (report.torn_bytes, report.breaks.len(), report.last_seq),
        (0, 0, Some(4_000))
    );
    drop(log);
    assert!(verify(&world.dir()).unwrap().ok);
}

#[test]
fn midnight_starts_a_segment_and_a_clock_that_goes_back_does_not() {
    let world = World::new();
    let log = world.open();
    let append = |log: &AuditLog| {
        run(async {
            log.append(numbered(0), Durability::Waited)
                .await
                .unwrap()
                .seq
        })
    };
    append(&log);
    world
        .clock
        .set("2026-03-01T23:59:59.999999Z".parse().unwrap());
    append(&log);
    world.clock.advance(Duration::from_micros(1));
    append(&log);
    world.clock.set("2026-02-27T01:00:00Z".parse().unwrap());
    let back = append(&log);
    let names: Vec<_> = world
        .segments()
        .iter()
        .map(|path| path.file_name().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        ["audit-2026-03-01.000.log", "audit-2026-03-02.000.log"]
    );
    assert_eq!(
        log.show(&back.to_string()).unwrap().unwrap().timestamp,
        "2026-02-27T01:00:00.000000Z"
    );
    drop(log);
    let (log, report) = world.open_with_report();
    assert!(report.breaks.is_empty());
    append(&log);
    drop(log);
    let report = verify(&world.dir()).unwrap();
    assert_eq!((report.ok, report.entries, report.files), (true, 6, 2));
}

#[test]
fn a_second_writer_is_refused_and_the_place_is_free_again_after_the_first() {
    let world = World::new();
    let log = world.open();
    let again = AuditLog::open(&world.dir(), world.options.clone(), world.clock.clone());
    assert!(matches!(again, Err(AuditError::Locked(_))));
    let kept = log.clone();
    drop(log);
    assert!(AuditLog::open(&world.dir(), world.options.clone(), world.clock.clone()).is_err());
    drop(kept);
    assert_eq!(world.open_with_report().1.last_seq, Some(0));
}

#[test]
fn what_is_too_large_is_replaced_by_size_and_digest() {
    let world = World::new();
    let log = world.open();
    let mut large = record("x.".repeat(2_000).as_str());
    large.inputs = Some(json!({"text": "x".repeat(10 << 20), "path": "a"}));
    large.output_summary = Some(json!({"lines": vec!["y"; 100_000]}));
    large.resource_usage = Some(json!({"kept": true}));
    run(async { log.append(large, Durability::Waited).await.unwrap() });
    let entry = log.show("1").unwrap().unwrap();
    let inputs = entry.inputs.unwrap();
    assert_eq!(inputs["too_large"], true);
    assert!(inputs["size"].as_u64().unwrap() > 10 << 20);
    assert_eq!(inputs["sha256"].as_str().unwrap().len(), 64);
    // 200 kB fit once the ten megabytes are gone.
    assert_eq!(
        entry.output_summary.unwrap()["lines"]
            .as_array()
            .unwrap()
            .len(),
        100_000
    );
    assert_eq!(entry.resource_usage, Some(json!({"kept": true})));
    assert_eq!(entry.capability.unwrap().len(), 512);
    assert!(verify(&world.dir()).unwrap().ok);
}

#[test]
fn secrets_never_reach_the_disk_and_contents_only_when_asked() {
    let mut world = World::new();
    let token = "0123456789abcdef".repeat(4);
    let mut secret = record("network.http_request");
    secret.inputs = Some(
        json!({"headers": {"Authorization": "hunter2-a"}, "url": format!("http://x/?t={token}"), "body": "hunter2-b"}),
    );
    secret.output_summary = Some(json!({"set_cookie": "hunter2-c", "content": "hunter2-d"}));
    secret.metadata = Object::from_iter([("password".to_owned(), json!("hunter2-e"))]);
    let log = world.open();
    run(async {
        log.append(secret.clone(), Durability::Waited)
            .await
            .unwrap();
        effect(&log, secret.clone()).await;
    });
    drop(log);
    let bytes = std::fs::read(&world.segments()[0]).unwrap();
    let contains = |bytes: &[u8], text: &str| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    for text in ["hunter2", token.as_str()] {
        assert!(!contains(&bytes, text), "{text}");
    }
    assert!(contains(&bytes, "[REDACTED:Authorization]"));
    world.options.include_content = true;
    let log = world.open();
    run(async { log.append(secret, Durability::Waited).await.unwrap() });
    drop(log);
    let bytes = std::fs::read(&world.segments()[0]).unwrap();
    assert!(contains(&bytes, "hunter2-b") && contains(&bytes, "hunter2-d"));
    for text in ["hunter2-a", "hunter2-c", "hunter2-e", token.as_str()] {
        assert!(!contains(&bytes, text), "{text}");
    }
}

#[test]
fn a_full_queue_refuses_new_calls_but_never_the_end_of_one() {
    let world = World::new();
    let log = world.open();
    let begun: Vec<_> = (0..MAX_QUEUED)
        .map(|_| log.begin_read(record("a")).unwrap())
        .collect();
    assert!(matches!(
        log.begin_read(record("a")),
        Err(AuditError::Full(_))
    ));
    assert!(matches!(
        log.begin_effect(record("a")),
        Err(AuditError::Full(_))
    ));
    assert!(matches!(
        run(log.append(record("a"), Durability::Waited)),
        Err(AuditError::Full(_))
    ));
    run(async {
        for call in begun {
            call.finish(success(1)).await.unwrap();
        }
        log.flush().await.unwrap();
        effect(&log, record("b")).await;
    });
    drop(log);
    assert_eq!(
        verify(&world.dir()).unwrap().entries,
        1 + MAX_QUEUED as u64 + 2
    );
}

#[test]
fn a_log_that_cannot_write_refuses_everything_and_names_the_cause() {
    let world = World::new();
    let log = world.open();
    let mut begun = run(async {
        let mut begun = log.begin_effect(record("a")).unwrap();
        begun.durable().await.unwrap();
        begun
    });
    let read = log.begin_read(record("a")).unwrap();
    // The next segment can no longer be made.
    let gone = world.root.path().join("gone");
    std::fs::rename(world.dir(), &gone).unwrap();
    world.clock.set("2026-03-05T00:00:00Z".parse().unwrap());
    run(async {
        assert!(matches!(
            log.append(record("b"), Durability::Waited).await,
            Err(AuditError::Stopped(_))
        ));
        begun.durable().await.unwrap();
        assert!(matches!(
            begun.finish(success(1)).await,
            Err(AuditError::Stopped(_))
        ));
        assert!(read.finish(success(1)).await.is_err());
        assert!(log.flush().await.is_err());
    });
    for refused in [
        log.begin_read(record("c")).err(),
        log.begin_effect(record("c")).err(),
    ] {
        let text = refused.unwrap().to_string();
        assert!(
            text.contains("stopped") && text.contains("audit-2026-03-05.000.log"),
            "{text}"
        );
    }
    assert!(log.stopped().is_some());
    drop(log);
    std::fs::rename(&gone, world.dir()).unwrap();
    assert_eq!(segments(&world.dir()).len(), 1);
    let (log, report) = world.open_with_report();
    assert_eq!(report.last_seq, Some(1));
    drop(log);
    assert!(verify(&world.dir()).unwrap().ok);
}

#[test]
fn strict_makes_reads_wait_too() {
    let mut world = World::new();
    world.options.strict = true;
    let log = world.open();
    run(async {
        let begun = log.begin_read(record("a")).unwrap();
        let position = begun.finish(success(1)).await.unwrap();
        assert!(log.durable_seq() >= Some(position.seq));
        let position = log.append(record("a"), Durability::Soon).await.unwrap();
        assert!(log.durable_seq() >= Some(position.seq));
    });
}

#[test]
fn a_waiter_that_goes_away_loses_nothing() {
    let world = World::new();
    let log = world.open();
    run(async {
        for number in 0..40 {
            let mut begun = log.begin_effect(numbered(number)).unwrap();
            // Polled once and given up, or done already.
            tokio::select! { biased; done = begun.durable() => done.unwrap(), () = async {} => {} }
            if number % 2 == 0 {
                drop(begun);
            } else {
                tokio::select! { biased; _ = begun.finish(success(1)) => {}, () = async {} => {} }
            }
        }
        log.flush().await.unwrap();
    });
    let page = log
        .query(&Query {
            limit: 500,
            ..Query::default()
        })
        .unwrap();
    let intents = page
        .entries
        .iter()
        .filter(|entry| entry.kind == Kind::Intent)
        .count();
    let results = page
        .entries
        .iter()
        .filter(|entry| entry.kind == Kind::Call)
        .count();
    assert_eq!(
        (intents, results),
        (40, 40),
        "every intent has its result, if only «interrupted»"
    );
}
