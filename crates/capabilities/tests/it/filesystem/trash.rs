//! delete, restore, what is kept of replaced content, cleaning.

use super::bed::{Bed, KEEP, data};
use kruxos_capabilities::filesystem::clean_trash;
use kruxos_types::Clock;
use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

fn delete(bed: &Bed, path: &str) -> String {
    bed.ok("delete", json!({"path": path}))["trash_path"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn what_was_deleted_comes_back_as_it_was() {
    let bed = Bed::new();
    bed.put("a/b.txt", "content");
    std::fs::set_permissions(bed.path("a/b.txt"), std::fs::Permissions::from_mode(0o640)).unwrap();
    data::set_modified(&bed.path("a/b.txt"), 1_000_000_000);
    let answer = bed.ok("delete", json!({"path": "a/b.txt"}));
    assert_eq!(answer["deleted_path"], "/workspace/a/b.txt");
    assert_eq!(answer["recoverable_until"], "2030-01-03T03:04:05Z");
    assert!(!bed.path("a/b.txt").exists());

    let sidecar = bed.sidecar("deleted");
    assert_eq!(sidecar["path"], "a/b.txt");
    assert_eq!(sidecar["sha256"], data::sha256(b"content"));
    assert_eq!(
        sidecar["principal"],
        json!({"type": "agent", "name": "tester"})
    );

    std::fs::remove_dir(bed.path("a")).unwrap();
    let trash_path = answer["trash_path"].as_str().unwrap();
    let answer = bed.ok("restore", json!({"trash_path": trash_path}));
    assert_eq!(
        (answer["restored_path"].as_str(), answer["size"].as_u64()),
        (Some("/workspace/a/b.txt"), Some(7))
    );
    assert_eq!(bed.get("a/b.txt"), "content");
    let facts = std::fs::metadata(bed.path("a/b.txt")).unwrap();
    assert_eq!(
        (facts.mode() & 0o7777, facts.mtime()),
        (0o640, 1_000_000_000)
    );
    assert!(bed.trash_entries().is_empty());
    bed.fail("restore", json!({"trash_path": trash_path}), "FileNotFound");
}

#[test]
fn an_empty_directory_comes_back_with_mode_and_time() {
    let bed = Bed::new();
    bed.make_dir("dir");
    std::fs::set_permissions(bed.path("dir"), std::fs::Permissions::from_mode(0o750)).unwrap();
    data::set_modified(&bed.path("dir"), 1_000_000_000);
    let trash_path = delete(&bed, "dir/");
    assert!(bed.entries(".").is_empty());
    bed.ok("restore", json!({"trash_path": trash_path}));
    let facts = std::fs::metadata(bed.path("dir")).unwrap();
    assert_eq!(
        (facts.mode() & 0o7777, facts.mtime()),
        (0o750, 1_000_000_000)
    );
}

#[test]
fn delete_takes_the_link_and_not_its_target() {
    let bed = Bed::new();
    bed.put_outside("target", "theirs");
    symlink(bed.outside("target"), bed.path("link")).unwrap();
    let trash_path = delete(&bed, "link");
    assert_eq!(bed.get_outside("target"), "theirs");
    bed.ok("restore", json!({"trash_path": trash_path}));
    assert_eq!(
        std::fs::read_link(bed.path("link")).unwrap(),
        bed.outside("target")
    );
}

#[test]
fn delete_refuses_what_it_should() {
    let bed = Bed::new();
    bed.put("dir/x", "1");
    bed.fail("delete", json!({"path": "none"}), "FileNotFound");
    bed.fail("delete", json!({"path": "dir"}), "DirectoryNotEmpty");
    for root in [".", "/workspace", "dir/.."] {
        bed.fail("delete", json!({"path": root}), "InvalidInput");
    }
    bed.fail("delete", json!({"path": "/etc/passwd"}), "PathOutOfScope");
    assert_eq!(bed.get("dir/x"), "1");
    assert!(bed.trash_entries().is_empty());
}

#[test]
fn restore_refuses_what_it_should() {
    let bed = Bed::new();
    bed.put("a", "old");
    let trash_path = delete(&bed, "a");
    bed.put("a", "new");
    let error = bed.fail(
        "restore",
        json!({"trash_path": trash_path}),
        "DestinationExists",
    );
    assert_eq!(error["context"]["path"], "/workspace/a");
    for wrong in ["/trash/none", "none", "x".repeat(3_000).as_str(), "a\0b"] {
        bed.fail("restore", json!({"trash_path": wrong}), "FileNotFound");
    }
    for wrong in ["/trash/../ws/a", "/etc/passwd", ".."] {
        bed.fail("restore", json!({"trash_path": wrong}), "PathOutOfScope");
    }
    let id = trash_path.strip_prefix("/trash/").unwrap();
    bed.ok("restore", json!({"trash_path": id, "overwrite": true}));
    assert_eq!(bed.get("a"), "old");
}

#[test]
fn after_its_time_the_trash_is_empty() {
    let bed = Bed::new();
    bed.put("early", "1");
    bed.put("late", "2");
    let early = delete(&bed, "early");
    bed.clock.advance(KEEP - Duration::from_secs(1));
    let late = delete(&bed, "late");
    assert_eq!(bed.clean_trash(), 0);
    bed.clock.advance(Duration::from_secs(1));
    bed.fail("restore", json!({"trash_path": early}), "FileNotFound");
    assert_eq!(bed.clean_trash(), 1);
    bed.ok("restore", json!({"trash_path": late}));
    assert!(bed.trash_entries().is_empty());
}

#[test]
fn broken_entries_go_when_their_time_would_be_over() {
    let bed = Bed::new();
    bed.put("a", "1");
    let trash_path = delete(&bed, "a");
    let id = trash_path.strip_prefix("/trash/").unwrap();
    std::fs::write(bed.trash().join(format!("{id}.json")), "{torn").unwrap();
    bed.fail("restore", json!({"trash_path": trash_path}), "FileNotFound");
    assert_eq!(bed.clean_trash(), 0);
    bed.clock.advance(KEEP);
    assert!(bed.clean_trash() > 0);
    assert!(bed.trash_entries().is_empty());
}

#[test]
fn cleaning_leaves_what_the_trash_did_not_make() {
    let bed = Bed::new();
    std::fs::create_dir(bed.trash().join("d0-directory")).unwrap();
    for name in ["README", "notes.json", "d12", "old", "dzzzzzzzzzzz-abc"] {
        std::fs::write(bed.trash().join(name), "a person's").unwrap();
    }
    let before = bed.trash_entries();
    bed.clock.advance(KEEP * 1000);
    assert_eq!(bed.clean_trash(), 0);
    assert_eq!(bed.trash_entries(), before);
    let stopped = clean_trash(&bed.trash(), KEEP, bed.clock.now(), false, &|| true);
    assert_eq!(stopped.unwrap(), 0);
    let none = clean_trash(&bed.path("none"), KEEP, bed.clock.now(), false, &|| false);
    assert_eq!(
        none.unwrap(),
        0,
        "an agent that deleted nothing has no trash"
    );
}

/// A day's deletions are bounded by number too, so that empty files cannot fill the disk's inodes.
#[test]
fn deleted_files_are_bounded_in_number() {
    const MOST: usize = 50_000;
    let bed = Bed::new();
    let id = |at: usize| format!("d{at:011x}-aaaaaaaaaaaa");
    for at in 0..MOST {
        std::fs::write(bed.trash().join(format!("{}.json", id(at))), "").unwrap();
    }
    bed.put("one", "1");
    let trash_path = delete(&bed, "one");
    let left = bed.trash_entries();
    assert!(left.len() < MOST, "{}", left.len());
    assert!(
        !left.contains(&format!("{}.json", id(0))),
        "the oldest goes"
    );
    assert!(left.contains(&format!("{}.json", id(MOST - 1))));
    bed.ok("restore", json!({"trash_path": trash_path}));
}

#[test]
fn a_write_that_fails_keeps_nothing() {
    let bed = Bed::new();
    bed.make_dir("dir");
    bed.fail(
        "write",
        json!({"path": "dir", "content": "x"}),
        "InvalidInput",
    );
    assert!(bed.trash_entries().is_empty());
}

/// On most machines `/dev/shm` is another file system than the temporary directory; where it is not,
/// the same must hold.
#[test]
fn a_trash_on_another_file_system_keeps_and_gives_back() {
    let shm = std::path::Path::new("/dev/shm");
    let other = if shm.is_dir() {
        tempfile::tempdir_in(shm)
    } else {
        tempfile::tempdir()
    };
    let other = other.unwrap();
    let bed = Bed::with_trash(Some(other.path()));
    bed.put("t", "old");
    std::fs::set_permissions(bed.path("t"), std::fs::Permissions::from_mode(0o640)).unwrap();
    data::set_modified(&bed.path("t"), 1_000_000_000);
    symlink("t", bed.path("link")).unwrap();
    let file = delete(&bed, "t");
    let link = delete(&bed, "link");
    assert!(bed.entries(".").is_empty());
    bed.ok("restore", json!({"trash_path": file}));
    bed.ok("restore", json!({"trash_path": link}));
    let facts = std::fs::symlink_metadata(bed.path("t")).unwrap();
    assert_eq!(
        (facts.mode() & 0o7777, facts.mtime()),
        (0o640, 1_000_000_000)
    );
    assert_eq!(
        std::fs::read_link(bed.path("link")).unwrap(),
        std::path::Path::new("t")
    );
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0);
}
