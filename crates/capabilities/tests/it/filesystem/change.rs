//! write, append, copy, move.

use super::bed::{Bed, data};
use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

#[test]
fn write_makes_and_replaces_whole_files() {
    let bed = Bed::new();
    let answer = bed.ok("write", json!({"path": "a.txt", "content": "one"}));
    assert_eq!(
        (answer["path"].as_str(), answer["size"].as_u64()),
        (Some("/workspace/a.txt"), Some(3))
    );
    assert_eq!(answer["checksum"], data::sha256(b"one"));
    bed.ok("write", json!({"path": "a.txt", "content": "two"}));
    assert_eq!(bed.get("a.txt"), "two");
    bed.ok(
        "write",
        json!({"path": "b.bin", "content": "AAEC/w==", "encoding": "base64"}),
    );
    assert_eq!(std::fs::read(bed.path("b.bin")).unwrap(), [0, 1, 2, 255]);
    bed.fail(
        "write",
        json!({"path": "b.bin", "content": "no base64!", "encoding": "base64"}),
        "InvalidInput",
    );
    assert_eq!(bed.entries("."), ["a.txt", "b.bin"], "no leftovers");
}

#[test]
fn write_keeps_the_mode_but_never_setuid() {
    let bed = Bed::new();
    bed.put("run.sh", "old");
    std::fs::set_permissions(bed.path("run.sh"), std::fs::Permissions::from_mode(0o4_711)).unwrap();
    bed.ok("write", json!({"path": "run.sh", "content": "new"}));
    assert_eq!(
        std::fs::metadata(bed.path("run.sh")).unwrap().mode() & 0o7777,
        0o711
    );
    bed.ok("write", json!({"path": "new.txt", "content": ""}));
    assert_eq!(
        std::fs::metadata(bed.path("new.txt")).unwrap().mode() & 0o111,
        0
    );
}

#[test]
fn write_needs_a_parent_or_makes_it() {
    let bed = Bed::new();
    bed.put("file", "x");
    let error = bed.fail(
        "write",
        json!({"path": "a/b/c.txt", "content": ""}),
        "ParentNotFound",
    );
    assert_eq!(error["context"]["path"], "a/b/c.txt");
    bed.fail(
        "write",
        json!({"path": "file/c.txt", "content": ""}),
        "ParentNotFound",
    );
    bed.ok(
        "write",
        json!({"path": "a/b/c.txt", "content": "x", "create_parents": true}),
    );
    assert_eq!(bed.get("a/b/c.txt"), "x");
    bed.fail(
        "write",
        json!({"path": "file/d/c.txt", "content": "", "create_parents": true}),
        "ParentNotFound",
    );
    bed.fail(
        "write",
        json!({"path": "a/b", "content": ""}),
        "InvalidInput",
    );
    bed.fail("write", json!({"path": ".", "content": ""}), "InvalidInput");
    bed.fail(
        "write",
        json!({"path": "a/..", "content": ""}),
        "InvalidInput",
    );
}

#[test]
fn parents_made_for_a_write_that_fails_are_taken_away() {
    let bed = Bed::new();
    let long = format!("new/deep/{}/x", "n".repeat(300));
    bed.fail(
        "write",
        json!({"path": long, "content": "", "create_parents": true}),
        "InvalidInput",
    );
    assert!(bed.entries(".").is_empty());
}

#[test]
fn write_through_a_link_replaces_its_target() {
    let bed = Bed::new();
    bed.put("real/target.txt", "old");
    symlink("real/target.txt", bed.path("link")).unwrap();
    symlink("link", bed.path("link2")).unwrap();
    bed.ok("write", json!({"path": "link2", "content": "new"}));
    assert_eq!(bed.get("real/target.txt"), "new");
    assert!(
        std::fs::symlink_metadata(bed.path("link"))
            .unwrap()
            .is_symlink()
    );
    symlink("real/fresh.txt", bed.path("dangling")).unwrap();
    bed.ok("write", json!({"path": "dangling", "content": "made"}));
    assert_eq!(bed.get("real/fresh.txt"), "made");
    symlink("loop-b", bed.path("loop-a")).unwrap();
    symlink("loop-a", bed.path("loop-b")).unwrap();
    bed.fail(
        "write",
        json!({"path": "loop-a", "content": ""}),
        "InvalidInput",
    );
}

#[test]
fn a_write_never_goes_through_a_hard_link() {
    let bed = Bed::new();
    bed.put_outside("foreign", "theirs");
    std::fs::hard_link(bed.outside("foreign"), bed.path("mine")).unwrap();
    bed.ok("write", json!({"path": "mine", "content": "new"}));
    assert_eq!(bed.get_outside("foreign"), "theirs");
    std::fs::hard_link(bed.outside("foreign"), bed.path("again")).unwrap();
    bed.fail(
        "append",
        json!({"path": "again", "content": "x"}),
        "PermissionDenied",
    );
    assert_eq!(bed.get_outside("foreign"), "theirs");
}

#[test]
fn append_grows_in_place_and_makes_missing_files() {
    let bed = Bed::new();
    assert_eq!(
        bed.ok("append", json!({"path": "log", "content": "a\n"}))["new_size"],
        2
    );
    let inode = std::fs::metadata(bed.path("log")).unwrap().ino();
    assert_eq!(
        bed.ok("append", json!({"path": "log", "content": "b\n"}))["new_size"],
        4
    );
    assert_eq!(bed.get("log"), "a\nb\n");
    assert_eq!(std::fs::metadata(bed.path("log")).unwrap().ino(), inode);
    bed.fail(
        "append",
        json!({"path": "none/log", "content": ""}),
        "FileNotFound",
    );
    bed.fail(
        "append",
        json!({"path": "/etc/motd", "content": ""}),
        "PathOutOfScope",
    );
    bed.make_dir("dir");
    bed.fail(
        "append",
        json!({"path": "dir", "content": ""}),
        "InvalidInput",
    );
}

#[test]
fn copy_copies_content_and_mode() {
    let bed = Bed::new();
    bed.put("a.sh", "echo");
    std::fs::set_permissions(bed.path("a.sh"), std::fs::Permissions::from_mode(0o750)).unwrap();
    let answer = bed.ok("copy", json!({"source": "a.sh", "destination": "b.sh"}));
    assert_eq!(
        (answer["size"].as_u64(), answer["checksum"].clone()),
        (Some(4), data::sha256(b"echo").into())
    );
    assert_eq!(bed.get("b.sh"), "echo");
    assert_eq!(
        std::fs::metadata(bed.path("b.sh")).unwrap().mode() & 0o7777,
        0o750
    );

    let error = bed.fail(
        "copy",
        json!({"source": "a.sh", "destination": "b.sh"}),
        "DestinationExists",
    );
    assert_eq!(error["context"]["path"], "b.sh");
    bed.put("a.sh", "changed");
    bed.ok(
        "copy",
        json!({"source": "a.sh", "destination": "b.sh", "overwrite": true}),
    );
    assert_eq!(bed.get("b.sh"), "changed");
}

#[test]
fn copy_refuses_what_it_cannot_copy() {
    let bed = Bed::new();
    bed.put("a", "x");
    bed.make_dir("dir");
    bed.fail(
        "copy",
        json!({"source": "none", "destination": "b"}),
        "FileNotFound",
    );
    bed.fail(
        "copy",
        json!({"source": "dir", "destination": "b"}),
        "InvalidInput",
    );
    let error = bed.fail(
        "copy",
        json!({"source": "a", "destination": "none/b"}),
        "FileNotFound",
    );
    assert_eq!(error["context"]["path"], "none");
    bed.fail(
        "copy",
        json!({"source": "a", "destination": "dir", "overwrite": true}),
        "DestinationExists",
    );
    bed.fail(
        "copy",
        json!({"source": "a", "destination": "a", "overwrite": true}),
        "InvalidInput",
    );
    bed.fail(
        "copy",
        json!({"source": "/etc/passwd", "destination": "b"}),
        "PathOutOfScope",
    );
    bed.fail(
        "copy",
        json!({"source": "a", "destination": "../b"}),
        "PathOutOfScope",
    );
    assert_eq!(bed.entries("."), ["a", "dir"]);
}

#[test]
fn move_renames_files_and_directories() {
    let bed = Bed::new();
    bed.put("a", "abc");
    let answer = bed.ok("move", json!({"source": "a", "destination": "b"}));
    assert_eq!(
        (answer["size"].as_u64(), answer["destination"].as_str()),
        (Some(3), Some("/workspace/b"))
    );
    bed.put("dir/x", "1");
    bed.ok("move", json!({"source": "dir", "destination": "other"}));
    assert_eq!(bed.get("other/x"), "1");
    assert_eq!(bed.entries("."), ["b", "other"]);
}

#[test]
fn move_refuses_what_would_lose_or_loop() {
    let bed = Bed::new();
    bed.put("a", "1");
    bed.put("b", "2");
    bed.put("dir/x", "3");
    bed.fail(
        "move",
        json!({"source": "a", "destination": "b"}),
        "DestinationExists",
    );
    bed.fail(
        "move",
        json!({"source": "none", "destination": "c"}),
        "FileNotFound",
    );
    bed.fail(
        "move",
        json!({"source": "dir", "destination": "dir/below"}),
        "InvalidInput",
    );
    bed.fail(
        "move",
        json!({"source": ".", "destination": "c"}),
        "InvalidInput",
    );
    bed.fail(
        "move",
        json!({"source": "a", "destination": "dir", "overwrite": true}),
        "DestinationExists",
    );
    bed.fail(
        "move",
        json!({"source": "dir", "destination": "a", "overwrite": true}),
        "DestinationExists",
    );
    bed.fail(
        "move",
        json!({"source": "a", "destination": "none/c"}),
        "FileNotFound",
    );
    bed.fail(
        "move",
        json!({"source": "a", "destination": "../c"}),
        "PathOutOfScope",
    );
    bed.fail(
        "move",
        json!({"source": "/etc/hostname", "destination": "c"}),
        "PathOutOfScope",
    );
    assert_eq!(
        (bed.get("a"), bed.get("b"), bed.get("dir/x")),
        ("1".into(), "2".into(), "3".into())
    );
    bed.ok(
        "move",
        json!({"source": "a", "destination": "b", "overwrite": true}),
    );
    assert_eq!(bed.get("b"), "1");
}

#[test]
fn moving_a_link_moves_the_link() {
    let bed = Bed::new();
    symlink("/etc/passwd", bed.path("link")).unwrap();
    bed.ok("move", json!({"source": "link", "destination": "moved"}));
    assert!(
        std::fs::symlink_metadata(bed.path("moved"))
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn writers_at_once_leave_one_whole_content() {
    let bed = Bed::new();
    let contents: Vec<String> = ('a'..='h')
        .map(|letter| letter.to_string().repeat(20_000))
        .collect();
    let shared = &bed;
    std::thread::scope(|threads| {
        for content in &contents {
            threads.spawn(move || {
                for _ in 0..5 {
                    shared.ok("write", json!({"path": "shared", "content": content}));
                }
            });
        }
    });
    assert!(contents.contains(&bed.get("shared")));
    assert_eq!(bed.entries("."), ["shared"]);
}
