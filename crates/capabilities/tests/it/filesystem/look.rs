//! read, list, stat.

use super::bed::{Bed, data, names};
use serde_json::json;
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn read_answers_text_with_size_time_and_checksum() {
    let bed = Bed::new();
    bed.put("notes/todo.md", "buy milk\n");
    let answer = bed.ok("read", json!({"path": "notes/todo.md"}));
    assert_eq!(answer["content"], "buy milk\n");
    assert_eq!(answer["size"], 9);
    assert_eq!(answer["truncated"], false);
    assert_eq!(answer["checksum"], data::sha256(b"buy milk\n"));
    assert!(answer["modified"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn every_spelling_of_a_path_reads_the_same_file() {
    let bed = Bed::new();
    bed.put("a/b.txt", "x");
    let real = bed.path("a/b.txt");
    for path in [
        "a/b.txt",
        "./a//b.txt",
        "a/../a/b.txt",
        "/workspace/a/b.txt",
        real.to_str().unwrap(),
    ] {
        assert_eq!(
            bed.ok("read", json!({"path": path}))["content"],
            "x",
            "{path}"
        );
    }
}

#[test]
fn a_long_file_comes_in_pages_that_join_to_the_whole() {
    let bed = Bed::new();
    let text = "grüße, 世界! 🎉\n".repeat(3_000);
    bed.put("long.txt", &text);
    let first = bed.ok("read", json!({"path": "long.txt"}));
    assert_eq!(first["truncated"], true);
    assert!(first["content"].as_str().unwrap().len() <= 10_003);

    let mut joined = String::new();
    let mut offset = 0;
    loop {
        let page = bed.ok(
            "read",
            json!({"path": "long.txt", "offset": offset, "limit": 997}),
        );
        assert_eq!(page["checksum"], data::sha256(text.as_bytes()));
        joined.push_str(page["content"].as_str().unwrap());
        if page["truncated"] == false {
            break;
        }
        offset += 997;
    }
    assert_eq!(joined, text);
}

#[test]
fn pages_of_base64_join_too_and_an_offset_past_the_end_is_empty() {
    let bed = Bed::new();
    let bytes: Vec<u8> = (0..=255).collect();
    bed.put_bytes("b.bin", &bytes);
    let mut joined = Vec::new();
    for offset in [0, 100, 200] {
        let page = bed.ok(
            "read",
            json!({"path": "b.bin", "encoding": "base64", "offset": offset, "limit": 100}),
        );
        joined.extend(data::from_base64(page["content"].as_str().unwrap()));
    }
    assert_eq!(joined, bytes);
    let page = bed.ok(
        "read",
        json!({"path": "b.bin", "encoding": "base64", "offset": 999}),
    );
    assert_eq!(
        (page["content"].as_str(), page["truncated"].as_bool()),
        (Some(""), Some(false))
    );
}

#[test]
fn the_checksum_of_a_large_file_follows_its_content() {
    let bed = Bed::new();
    let one = "a".repeat(2 << 20);
    bed.put("big", &one);
    for _ in 0..2 {
        let page = bed.ok("read", json!({"path": "big", "limit": 10}));
        assert_eq!(page["checksum"], data::sha256(one.as_bytes()));
    }
    let other = "b".repeat(2 << 20);
    bed.put("big", &other);
    let page = bed.ok("read", json!({"path": "big", "limit": 10}));
    assert_eq!(page["checksum"], data::sha256(other.as_bytes()));
}

#[test]
fn what_is_no_text_is_told_with_its_position_and_a_way_out() {
    let bed = Bed::new();
    bed.put_bytes("image.png", b"abc\xff\xfe");
    let error = bed.fail("read", json!({"path": "image.png"}), "EncodingError");
    assert_eq!(error["context"]["position"], 3);
    let answer = bed.ok("read", json!({"path": "image.png", "encoding": "base64"}));
    assert_eq!(
        data::from_base64(answer["content"].as_str().unwrap()),
        b"abc\xff\xfe"
    );
}

#[test]
fn reading_what_is_missing_or_no_file_says_so() {
    let bed = Bed::new();
    bed.put("file", "x");
    bed.make_dir("dir");
    let error = bed.fail("read", json!({"path": "dir/none.txt"}), "FileNotFound");
    assert_eq!(error["context"]["path"], "dir/none.txt");
    bed.fail("read", json!({"path": "file/below"}), "FileNotFound");
    let error = bed.fail("read", json!({"path": "dir"}), "InvalidInput");
    assert_eq!(error["context"]["reason"], "it is a directory");
    bed.fail("read", json!({"path": "file", "limit": 0}), "InvalidInput");
}

#[test]
fn list_sorts_and_hides() {
    let bed = Bed::new();
    bed.put("b.txt", "22");
    bed.put("a.txt", "4444");
    bed.put(".hidden", "");
    bed.make_dir("z");
    let entries = |inputs| names(&bed.ok("list", inputs)["entries"]);
    assert_eq!(entries(json!({"path": "."})), ["a.txt", "b.txt", "z"]);
    assert_eq!(
        entries(json!({"path": ".", "include_hidden": true}))[0],
        ".hidden"
    );
    assert_eq!(
        entries(json!({"path": ".", "sort_by": "type"})),
        ["z", "a.txt", "b.txt"]
    );
    let by_size = entries(json!({"path": ".", "sort_by": "size"}));
    let place = |name: &str| by_size.iter().position(|entry| entry == name).unwrap();
    assert!(place("a.txt") < place("b.txt"));
    data::set_modified(&bed.path("b.txt"), 2_000_000_000);
    assert_eq!(
        entries(json!({"path": ".", "sort_by": "modified"}))[0],
        "b.txt"
    );
    let answer = bed.ok("list", json!({"path": "/workspace"}));
    assert_eq!(
        (answer["total"].as_u64(), answer["path"].as_str()),
        (Some(3), Some("/workspace"))
    );
    assert_eq!(
        answer["entries"][0]["permissions"].as_str().unwrap().len(),
        9
    );
}

#[test]
fn list_tells_where_links_lead() {
    let bed = Bed::new();
    bed.put("dir/file", "x");
    symlink("dir", bed.path("inside")).unwrap();
    symlink("../dir/file", bed.path("dir/up")).unwrap();
    symlink("/etc", bed.path("outside")).unwrap();
    symlink("nowhere", bed.path("broken")).unwrap();
    let answer = bed.ok("list", json!({"path": "."}));
    let target = |name: &str| {
        let entries = answer["entries"].as_array().unwrap();
        entries.iter().find(|entry| entry["name"] == name).unwrap()["target"].clone()
    };
    assert_eq!(target("inside"), "directory");
    assert_eq!(target("outside"), "outside");
    assert_eq!(target("broken"), "broken");
    assert_eq!(
        bed.ok("list", json!({"path": "dir"}))["entries"][1]["target"],
        "file"
    );
}

#[test]
fn listing_what_is_no_directory_says_so() {
    let bed = Bed::new();
    bed.put("file", "x");
    bed.fail("list", json!({"path": "none"}), "DirectoryNotFound");
    bed.fail("list", json!({"path": "file"}), "NotADirectory");
    bed.fail("list", json!({"path": "file/below"}), "DirectoryNotFound");
    bed.fail("list", json!({"path": "/etc"}), "PathOutOfScope");
}

#[test]
fn a_large_directory_is_counted_and_cut() {
    let bed = Bed::new();
    for number in 0..1_500 {
        bed.put(&format!("many/{number:04}"), "");
    }
    let answer = bed.ok("list", json!({"path": "many"}));
    assert_eq!(answer["total"], 1_500);
    let entries = names(&answer["entries"]);
    assert_eq!(entries.len(), 1_000);
    assert_eq!(
        (entries[0].as_str(), entries[999].as_str()),
        ("0000", "0999")
    );
}

#[test]
fn a_name_that_is_not_utf8_is_shown_with_a_note() {
    use std::os::unix::ffi::OsStrExt;
    let bed = Bed::new();
    std::fs::write(
        bed.path("").join(std::ffi::OsStr::from_bytes(b"bad\xff")),
        "x",
    )
    .unwrap();
    let answer = bed.ok("list", json!({"path": "."}));
    assert_eq!(answer["entries"][0]["name"], "bad\u{fffd}");
    assert!(
        answer["entries"][0]["note"]
            .as_str()
            .unwrap()
            .contains("UTF-8")
    );
    assert_eq!(
        bed.ok("search", json!({"path": ".", "pattern": "*"}))["total_matches"],
        1
    );
}

#[test]
fn stat_answers_for_what_is_there_and_what_is_not() {
    let bed = Bed::new();
    bed.put("file", "abc");
    std::fs::set_permissions(bed.path("file"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let answer = bed.ok("stat", json!({"path": "file"}));
    assert_eq!(
        (answer["exists"].as_bool(), answer["type"].as_str()),
        (Some(true), Some("file"))
    );
    assert_eq!(
        (answer["size"].as_u64(), answer["permissions"].as_str()),
        (Some(3), Some("rw-r-----"))
    );
    assert!(answer["owner"].as_str().unwrap().contains(':'));
    assert_eq!(bed.ok("stat", json!({"path": "."}))["type"], "directory");
    for missing in ["none", "none/below", "file/below"] {
        let answer = bed.ok("stat", json!({"path": missing}));
        assert_eq!(answer["exists"], false, "{missing}");
        assert!(answer["size"].is_null());
    }
    symlink("nowhere", bed.path("broken")).unwrap();
    assert_eq!(bed.ok("stat", json!({"path": "broken"}))["type"], "symlink");
    symlink("/etc/passwd", bed.path("out")).unwrap();
    bed.fail("stat", json!({"path": "out"}), "PathOutOfScope");
}
