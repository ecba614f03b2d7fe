use crate::support::{World, copy_log, effect, filled, frames, kinds, numbered, run, segments};
use kruxos_audit::{Durability, Kind, Query, verify};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Cuts the last frame at every byte; either the file ends there or zeros follow.
#[test]
fn a_frame_torn_at_any_byte_is_cut_off_noted_and_the_chain_goes_on() {
    let world = World::new();
    filled(&world, 5);
    let original = std::fs::read(&world.segments()[0]).unwrap();
    let name = world.segments()[0].file_name().unwrap().to_owned();
    let all = frames(&original);
    let (start, length) = *all.last().unwrap();
    let end = start + 8 + length;
    for cut in start..end {
        for zeros in [true, false] {
            let dir = world.root.path().join(format!("cut-{cut}-{zeros}"));
            std::fs::create_dir(&dir).unwrap();
            let mut bytes = original[..cut].to_vec();
            if zeros {
                bytes.resize(original.len().min(end + 64), 0);
            }
            std::fs::write(dir.join(&name), &bytes).unwrap();
            let lost = bytes[start..]
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |at| at as u64 + 1);
            // A hash that ends with zeros may lose them without being torn.
            if bytes.len() >= end && bytes[..end] == original[..end] {
                continue;
            }
            let report = verify(&dir).unwrap();
            assert!(report.ok, "a torn write is no break: {cut} {report:?}");
            assert_eq!((report.entries, report.torn_bytes), (5, lost), "{cut}");
            // Opening is slower than verifying: a sample of the places will do.
            if (cut - start) % 16 < 2 || cut + 4 > end {
                let (log, recovery) = world.open_at(&dir);
                assert_eq!(
                    (recovery.torn_bytes, recovery.last_seq),
                    (lost, Some(4)),
                    "{cut}"
                );
                assert!(recovery.breaks.is_empty());
                run(log.append(numbered(9), Durability::Waited)).unwrap();
                let noted = log.tail(2).unwrap();
                if lost > 0 {
                    assert_eq!(
                        (noted[0].kind, noted[0].metadata["event"].as_str()),
                        (Kind::System, Some("torn_tail"))
                    );
                    assert_eq!(noted[0].metadata["bytes"], lost);
                }
                drop(log);
                let report = verify(&dir).unwrap();
                assert_eq!(
                    (report.ok, report.torn_bytes),
                    (true, 0),
                    "{cut} {report:?}"
                );
            }
            std::fs::remove_dir_all(&dir).unwrap();
        }
    }
}

#[test]
fn a_damaged_last_segment_is_left_and_a_new_chain_names_the_break() {
    let world = World::new();
    filled(&world, 10);
    let path = world.segments()[0].clone();
    let mut bytes = std::fs::read(&path).unwrap();
    let (start, length) = frames(&bytes)[4];
    bytes[start + 8 + length / 2] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (log, report) = world.open_with_report();
    assert_eq!(report.breaks.len(), 1);
    assert_eq!(
        (report.breaks[0].seq, report.breaks[0].offset),
        (Some(4), start as u64)
    );
    assert_eq!(
        (report.breaks[0].kind.as_str(), report.last_seq),
        ("crc", Some(10))
    );
    let entry = log.tail(1).unwrap().remove(0);
    assert_eq!((entry.kind, entry.seq), (Kind::ChainBreak, 11));
    assert_eq!(entry.metadata["offset"], start);
    assert_eq!(entry.metadata["broken_seq"], 4);
    assert_eq!(
        entry.metadata["file"],
        path.file_name().unwrap().to_str().unwrap()
    );
    assert!(entry.metadata["expected"].is_string() && entry.metadata["found"].is_string());
    run(effect(&log, numbered(1)));
    // What is still good behind the damage is found.
    let page = log
        .query(&Query {
            capability: Some("filesystem.read".to_owned()),
            kind: Some(Kind::Call),
            ..Query::default()
        })
        .unwrap();
    assert_eq!(page.entries.len(), 10);
    drop(log);
    assert_eq!(
        std::fs::read(&path).unwrap(),
        bytes,
        "evidence is not touched"
    );
    for _ in 0..2 {
        let report = verify(&world.dir()).unwrap();
        assert_eq!(
            (report.ok, kinds(&report)),
            (false, vec!["crc", "chain_break"]),
            "{report:?}"
        );
        let (log, recovery) = world.open_with_report();
        assert!(
            recovery.breaks.is_empty(),
            "the break is on record: {recovery:?}"
        );
        drop(log);
    }
}

#[test]
fn a_missing_or_changed_segment_before_the_last_is_noticed_at_the_start() {
    let world = World::new();
    filled(&world, 3_500);
    let files = world.segments();
    assert!(files.len() > 2);
    let copy = world.root.path().join("copy");
    copy_log(&world.dir(), &copy);
    std::fs::remove_file(copy.join(files[files.len() - 2].file_name().unwrap())).unwrap();
    let (log, report) = world.open_at(&copy);
    assert_eq!(report.breaks[0].kind, "previous_hash");
    assert_eq!(log.tail(1).unwrap()[0].kind, Kind::ChainBreak);
    assert_eq!(log.tail(1).unwrap()[0].seq, 3_501);
    drop(log);
    assert_eq!(
        kinds(&verify(&copy).unwrap()),
        ["missing_file", "chain_break"]
    );
}

#[test]
fn a_crash_right_after_rotation_leaves_an_empty_segment_that_is_used() {
    let world = World::new();
    filled(&world, 20);
    let first = world.segments()[0].clone();
    // Sealed, the next one made, nothing in it.
    let bytes = std::fs::read(&first).unwrap();
    let (start, length) = *frames(&bytes).last().unwrap();
    std::fs::write(&first, &bytes[..start + 8 + length]).unwrap();
    let second = world.dir().join("audit-2026-03-01.001.log");
    std::fs::write(&second, vec![0; 1 << 19]).unwrap();
    let (log, report) = world.open_with_report();
    assert_eq!((report.breaks.len(), report.last_seq), (0, Some(20)));
    assert_eq!(
        run(log.append(numbered(1), Durability::Waited))
            .unwrap()
            .seq,
        21
    );
    drop(log);
    assert_eq!(frames(&std::fs::read(&second).unwrap()).len(), 1);
    // Sealed, and the next one not made.
    std::fs::remove_file(&second).unwrap();
    let (log, _) = world.open_with_report();
    assert_eq!(
        run(log.append(numbered(1), Durability::Waited))
            .unwrap()
            .seq,
        21
    );
    drop(log);
    assert_eq!(world.segments().len(), 2);
    assert!(verify(&world.dir()).unwrap().ok);
}

/// Copies the files again and again while entries are written: whatever was acknowledged before the
/// copy began is in it, and the copy is a log that opens without a break.
#[test]
fn a_crash_loses_nothing_that_was_acknowledged() {
    let world = World::new();
    let log = world.open();
    let acknowledged = Arc::new(AtomicU64::new(0));
    run(async {
        for round in 0..8 {
            let writers: Vec<_> = (0..8)
                .map(|_| {
                    let (log, acknowledged) = (log.clone(), Arc::clone(&acknowledged));
                    tokio::spawn(async move {
                        for _ in 0..40 {
                            let seq = effect(&log, numbered(0)).await;
                            acknowledged.fetch_max(seq, Ordering::SeqCst);
                        }
                    })
                })
                .collect();
            while acknowledged.load(Ordering::SeqCst) < round * 640 + 50 {
                tokio::task::yield_now().await;
            }
            let copy = world.root.path().join(format!("crash-{round}"));
            let before = acknowledged.load(Ordering::SeqCst);
            tokio::task::block_in_place(|| {
                copy_log(&world.dir(), &copy);
                // And the log itself verifies while it is written.
                let live = verify(&world.dir()).unwrap();
                assert!(live.ok, "{live:?}");
                let (survivor, recovery) = world.open_at(&copy);
                assert!(recovery.breaks.is_empty(), "{recovery:?}");
                assert!(recovery.last_seq >= Some(before), "{recovery:?} {before}");
                drop(survivor);
                let report = verify(&copy).unwrap();
                assert!(report.ok, "{report:?}");
            });
            for writer in writers {
                writer.await.unwrap();
            }
        }
    });
    assert!(!segments(&world.dir()).is_empty());
}

#[test]
fn garbage_instead_of_a_segment_is_a_break_or_a_torn_write_never_a_refusal() {
    use proptest::prelude::*;
    let config = ProptestConfig {
        cases: 24,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let bytes = prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(0u8)], 0..4_000);
    let strategy = (bytes, any::<bool>());
    runner
        .run(&strategy, |(garbage, behind_good)| {
            let world = World::new();
            filled(&world, 2);
            let path = world.segments()[0].clone();
            let mut bytes = std::fs::read(&path).unwrap();
            let (start, length) = *frames(&bytes).last().unwrap();
            let at = if behind_good { start + 8 + length } else { 0 };
            bytes[at..at + garbage.len()].copy_from_slice(&garbage);
            std::fs::write(&path, &bytes).unwrap();
            verify(&world.dir()).unwrap();
            let (log, _) = world.open_with_report();
            run(log.append(numbered(1), Durability::Waited)).unwrap();
            prop_assert_eq!(
                log.tail(1).unwrap()[0].inputs.clone(),
                Some(serde_json::json!({"number": 1}))
            );
            drop(log);
            prop_assert_eq!(
                world.open_with_report().1.breaks.len(),
                0,
                "once recovered it opens cleanly"
            );
            Ok(())
        })
        .unwrap();
}
