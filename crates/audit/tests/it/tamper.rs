use crate::support::{World, filled, frames, kinds, numbered, run};
use kruxos_audit::{Durability, Report, verify};
use std::path::PathBuf;

/// A log of twelve entries in one file.
fn subject() -> (World, PathBuf, Vec<u8>) {
    let world = World::new();
    filled(&world, 11);
    let path = world.segments()[0].clone();
    let mut bytes = std::fs::read(&path).unwrap();
    let (start, length) = *frames(&bytes).last().unwrap();
    // Most of the zeros are left away: the file is written and read again thousands of times.
    bytes.truncate(start + 8 + length + 1_000);
    (world, path, bytes)
}

fn after(world: &World, path: &PathBuf, bytes: &[u8]) -> Report {
    std::fs::write(path, bytes).unwrap();
    verify(&world.dir()).unwrap()
}

/// The bytes of one frame with its header.
fn frame(bytes: &[u8], number: usize) -> (usize, usize) {
    let (start, length) = frames(bytes)[number];
    (start, start + 8 + length)
}

fn with_new_checksum(bytes: &mut [u8], number: usize) {
    let (start, end) = frame(bytes, number);
    let crc = crc32c::crc32c(&bytes[start + 8..end]);
    bytes[start + 4..start + 8].copy_from_slice(&crc.to_be_bytes());
}

#[test]
fn an_untouched_log_is_in_order() {
    let (world, path, bytes) = subject();
    let report = after(&world, &path, &bytes);
    assert_eq!(
        (report.ok, report.entries, report.files, report.checkpoints),
        (true, 12, 1, 0)
    );
    assert_eq!(report.last_seq, Some(11));
}

#[test]
fn every_flipped_byte_is_noticed_and_its_entry_named() {
    let (world, path, bytes) = subject();
    for number in [0, 5, 10] {
        let (start, end) = frame(&bytes, number);
        for at in start..end {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            let report = after(&world, &path, &changed);
            assert!(!report.ok, "byte {at}");
            assert_eq!(report.breaks.len(), 1, "byte {at}: {report:?}");
            let found = &report.breaks[0];
            assert_eq!(
                (found.seq, found.offset),
                (Some(number as u64), start as u64),
                "byte {at}"
            );
            assert!(["crc", "frame"].contains(&found.kind.as_str()), "{found:?}");
        }
    }
}

#[test]
fn a_flipped_byte_of_the_last_entry_is_no_torn_write() {
    let (world, path, bytes) = subject();
    let (start, end) = frame(&bytes, 11);
    if bytes[end - 1] == 0 {
        return;
    }
    for at in start..end - 1 {
        let mut changed = bytes.clone();
        changed[at] ^= 0x01;
        let report = after(&world, &path, &changed);
        assert!(
            !report.ok && report.breaks[0].seq == Some(11),
            "byte {}: {report:?}",
            at - start
        );
    }
}

#[test]
fn a_changed_entry_with_a_right_checksum_has_a_wrong_hash() {
    let (world, path, bytes) = subject();
    let (start, end) = frame(&bytes, 5);
    let text = b"filesystem.read";
    let at = start
        + bytes[start..end]
            .windows(text.len())
            .position(|window| window == text)
            .unwrap();
    let mut changed = bytes;
    changed[at] = b'F';
    with_new_checksum(&mut changed, 5);
    let report = after(&world, &path, &changed);
    assert_eq!(kinds(&report), ["hash_mismatch"]);
    assert_eq!(report.breaks[0].seq, Some(5));
    assert_ne!(report.breaks[0].expected, report.breaks[0].found);
    assert_eq!(world.open_with_report().1.breaks[0].kind, "hash_mismatch");
}

#[test]
fn a_changed_entry_with_a_right_hash_breaks_the_next_link() {
    use sha2::{Digest as _, Sha256};
    let (world, path, bytes) = subject();
    let (start, end) = frame(&bytes, 5);
    let text = b"filesystem.read";
    let at = start
        + bytes[start..end]
            .windows(text.len())
            .position(|window| window == text)
            .unwrap();
    let mut changed = bytes;
    changed[at] = b'F';
    let payload = &changed[start + 8..end];
    let mut hasher = Sha256::new();
    hasher.update(&payload[payload.len() - 67..payload.len() - 35]);
    hasher.update([payload[0] - 2]);
    hasher.update(&payload[1..payload.len() - 70]);
    let hash = hasher.finalize();
    changed[end - 32..end].copy_from_slice(&hash);
    with_new_checksum(&mut changed, 5);
    let report = after(&world, &path, &changed);
    assert_eq!(kinds(&report), ["previous_hash"]);
    assert_eq!(report.breaks[0].seq, Some(6));
    assert_eq!(world.open_with_report().1.breaks[0].kind, "previous_hash");
}

#[test]
fn a_deleted_a_doubled_and_two_swapped_entries_are_out_of_sequence() {
    let (world, path, bytes) = subject();
    let (start, end) = frame(&bytes, 5);
    let deleted = [&bytes[..start], &bytes[end..]].concat();
    let report = after(&world, &path, &deleted);
    assert_eq!(
        (kinds(&report), report.breaks[0].seq),
        (vec!["sequence"], Some(6))
    );
    assert_eq!(report.breaks[0].expected.as_deref(), Some("5"));

    let doubled = [&bytes[..end], &bytes[start..]].concat();
    let report = after(&world, &path, &doubled);
    assert_eq!(
        (kinds(&report), report.breaks[0].seq),
        (vec!["sequence"], Some(5))
    );

    let (_, second_end) = frame(&bytes, 6);
    let swapped = [
        &bytes[..start],
        &bytes[end..second_end],
        &bytes[start..end],
        &bytes[second_end..],
    ]
    .concat();
    let report = after(&world, &path, &swapped);
    assert_eq!(kinds(&report), ["sequence"; 3]);

    let first = frame(&bytes, 0).1;
    let report = after(&world, &path, &bytes[first..]);
    assert_eq!(
        (kinds(&report), report.breaks[0].seq),
        (vec!["missing_file"], Some(1))
    );
    let report = after(
        &world,
        &path,
        &[&vec![0; end - start][..], &bytes[end..]].concat(),
    );
    assert!(!report.ok);

    let mut blanked = bytes.clone();
    blanked[start..end].fill(0);
    let report = after(&world, &path, &blanked);
    assert_eq!(
        (kinds(&report), report.breaks[0].seq),
        (vec!["frame"], Some(5))
    );
}

#[test]
fn files_that_are_missing_exchanged_or_shortened_are_noticed() {
    let world = World::new();
    filled(&world, 5_000);
    let files = world.segments();
    assert!(files.len() >= 4, "{files:?}");
    let whole: Vec<Vec<u8>> = files
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    let restore = || {
        files
            .iter()
            .zip(&whole)
            .for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap())
    };

    for missing in [0, 1, 2] {
        std::fs::remove_file(&files[missing]).unwrap();
        let report = verify(&world.dir()).unwrap();
        assert_eq!(kinds(&report), ["missing_file"], "{missing}");
        assert_eq!(
            report.breaks[0].file,
            files[missing + 1].file_name().unwrap().to_str().unwrap()
        );
        restore();
    }

    std::fs::write(&files[1], &whole[2]).unwrap();
    std::fs::write(&files[2], &whole[1]).unwrap();
    assert!(kinds(&verify(&world.dir()).unwrap()).contains(&"missing_file"));
    restore();

    let all = frames(&whole[1]);
    let (last, _) = *all.last().unwrap();
    for (cut, expected) in [
        (last, vec!["missing_file"]),
        (last + 20, vec!["truncated"]),
        (last + 3, vec!["truncated"]),
    ] {
        std::fs::write(&files[1], &whole[1][..cut]).unwrap();
        let report = verify(&world.dir()).unwrap();
        assert_eq!(kinds(&report), expected, "{cut}");
    }
    restore();
    assert!(verify(&world.dir()).unwrap().ok);
}

#[test]
fn another_logs_file_does_not_fit() {
    let (world, path, _) = subject();
    let (_other, _, bytes) = subject();
    let next = world.dir().join("audit-2026-03-01.001.log");
    let (start, _) = frame(&bytes, 0);
    std::fs::write(&next, &bytes[start..]).unwrap();
    assert!(!verify(&world.dir()).unwrap().ok);
    let first = std::fs::read(&path).unwrap();
    let (_, end) = frame(&first, 5);
    let (from, _) = frame(&bytes, 6);
    std::fs::remove_file(&next).unwrap();
    let report = after(&world, &path, &[&first[..end], &bytes[from..]].concat());
    assert_eq!(
        (kinds(&report), report.breaks[0].seq),
        (vec!["previous_hash"], Some(6))
    );
}

#[test]
fn a_log_that_goes_on_after_damage_never_verifies_again() {
    let (world, path, mut bytes) = subject();
    let (start, _) = frame(&bytes, 5);
    bytes[start + 40] ^= 4;
    std::fs::write(&path, &bytes).unwrap();
    let log = world.open();
    run(log.append(numbered(1), Durability::Waited)).unwrap();
    let stats = log.stats(None).unwrap();
    assert!(!stats.chain.ok);
    assert_eq!(stats.chain.breaks.len(), 2);
}
