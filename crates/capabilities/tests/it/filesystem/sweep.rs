//! Unfinished files: what a crash leaves, and what only looks like it.

use super::bed::{Bed, names};
use kruxos_capabilities::filesystem::{Swept, sweep_unfinished};
use kruxos_types::{Clock, SystemClock, Timestamp};
use serde_json::json;
use sha2::Digest;
use std::time::Duration;

/// The name that another process would have made: prefix, process, serial and a check over them.
fn unfinished(serial: &str) -> String {
    let named = format!(".kruxos-tmp-aaaaaaaa{serial:b>16}");
    let digest = sha2::Sha256::digest(named.as_bytes());
    let check = data_encoding::HEXLOWER.encode(&digest[..4]);
    format!("{named}{check}")
}

fn sweep(bed: &Bed, now: Timestamp) -> u64 {
    let swept = sweep_unfinished(&bed.path(""), now, &|| false).unwrap();
    assert!(!swept.cut);
    swept.removed
}

/// The file system's clock stands behind the time of change, so the test moves on from the real one.
fn later(minutes: u64) -> Timestamp {
    SystemClock.now() + Duration::from_secs(60 * minutes)
}

#[test]
fn what_a_crash_left_goes_after_an_hour_and_nothing_else() {
    let bed = Bed::new();
    let alike = [
        ".kruxos-tmp-notes".to_owned(),
        ".kruxos-tmp-".to_owned(),
        ".kruxos-tmp-abcdefghijklmnopqrst".to_owned(),
        format!("{}0", unfinished("q")),
        unfinished("r").replace("aaaaaaaa", "aaaaaaac"),
        format!("x{}", unfinished("s")),
    ];
    for name in &alike {
        bed.put(name, "a user's");
        bed.put(&format!("sub/.hidden/{name}"), "a user's");
    }
    bed.put(&unfinished("c"), "torn");
    bed.put(&format!("sub/.hidden/{}", unfinished("d")), "torn");
    bed.make_dir(&unfinished("e"));
    std::os::unix::fs::symlink("nowhere", bed.path(&unfinished("f"))).unwrap();

    assert_eq!(sweep(&bed, later(59)), 0, "too young");
    let stopped = sweep_unfinished(&bed.path(""), later(61), &|| true).unwrap();
    assert_eq!((stopped.removed, stopped.cut), (0, true));
    assert_eq!(sweep(&bed, later(61)), 3);
    for name in &alike {
        assert_eq!(bed.get(name), "a user's");
        assert_eq!(bed.get(&format!("sub/.hidden/{name}")), "a user's");
    }
    assert!(
        bed.path(&unfinished("e")).is_dir(),
        "we make no directories"
    );
    assert!(!bed.path(&unfinished("c")).exists());

    let nowhere = sweep_unfinished(&bed.path("none"), later(61), &|| false).unwrap();
    assert_eq!(nowhere, Swept::default());
}

/// Only what the product itself left is hidden.
#[test]
fn a_name_that_looks_alike_is_listed_and_found() {
    let bed = Bed::new();
    bed.put(".kruxos-tmp-notes", "needle");
    bed.put(&unfinished("c"), "needle");
    let listed = bed.ok("list", json!({"path": ".", "include_hidden": true}));
    assert_eq!(names(&listed["entries"]), [".kruxos-tmp-notes"]);
    let found = bed.ok(
        "search",
        json!({"path": ".", "pattern": "*", "include_hidden": true}),
    );
    assert_eq!(found["total_matches"], 1);
}
