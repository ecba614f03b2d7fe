//! spec/attacks.md, «Paths / files», each as a call.

use super::bed::Bed;
use kruxos_types::ErrorType;
use rustix::fs::{CWD, FileType, Mode, RenameFlags};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Every capability that takes a path, pointed at one.
fn aimed_at(path: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("read", json!({"path": path})),
        ("list", json!({"path": path})),
        ("stat", json!({"path": path})),
        ("write", json!({"path": path, "content": "pwned"})),
        (
            "write",
            json!({"path": path, "content": "pwned", "create_parents": true}),
        ),
        ("append", json!({"path": path, "content": "pwned"})),
        ("copy", json!({"source": path, "destination": "stolen"})),
        (
            "copy",
            json!({"source": "mine", "destination": path, "overwrite": true}),
        ),
        ("move", json!({"source": path, "destination": "stolen"})),
        (
            "move",
            json!({"source": "mine", "destination": path, "overwrite": true}),
        ),
        ("delete", json!({"path": path})),
        ("restore", json!({"trash_path": path})),
        (
            "edit",
            json!({"path": path, "pattern": "secret", "replace": "pwned"}),
        ),
        (
            "edit",
            json!({"path": path, "include_all": true, "pattern": "secret", "replace": "pwned"}),
        ),
        ("search", json!({"path": path, "pattern": "*"})),
        ("search_content", json!({"path": path, "pattern": "secret"})),
        ("watch", json!({"path": path})),
    ]
}

fn with_secret() -> Bed {
    let bed = Bed::new();
    bed.put_outside("secret", "the secret");
    bed.put("mine", "mine");
    bed
}

#[track_caller]
fn unharmed(bed: &Bed) {
    assert_eq!(bed.get_outside("secret"), "the secret");
    assert_eq!(std::fs::read_dir(bed.outside("")).unwrap().count(), 1);
    assert_eq!(bed.get("mine"), "mine");
}

/// Rows 1, 2, 7, 8: `..`, absolute paths, magic links named outright.
#[test]
fn paths_that_lead_out_are_out_of_scope() {
    let bed = with_secret();
    bed.make_dir("a");
    let absolute = bed.outside("secret");
    let absolute = absolute.to_str().unwrap();
    let sneaky = format!(
        "{}/../outside/secret",
        bed.path("").to_str().unwrap().trim_end_matches('/')
    );
    for path in [
        "../outside/secret",
        "../../../../../../etc/shadow",
        "/etc/passwd",
        "a/../../outside/secret",
        absolute,
        sneaky.as_str(),
        "/workspace/../outside/secret",
        "/",
        "..",
        "/proc/self/root/etc/passwd",
        "/proc/self/cwd",
        "/proc/self/fd/0",
        "/workspacex/secret",
        "//etc//passwd",
    ] {
        for (name, inputs) in aimed_at(path) {
            match bed.call(name, inputs) {
                Ok(answer) => panic!("{name} {path}: {answer}"),
                Err(error) => assert_eq!(
                    error.error_type(),
                    ErrorType::PathOutOfScope,
                    "{name} {path}"
                ),
            }
        }
    }
    unharmed(&bed);
}

#[test]
fn an_escape_is_told_with_the_allowed_roots_and_marked_for_the_audit() {
    let bed = with_secret();
    let error = bed.fail(
        "read",
        json!({"path": "../outside/secret"}),
        "PathOutOfScope",
    );
    assert_eq!(
        (
            error["context"]["escape"].as_bool(),
            error["context"]["mount"].as_str()
        ),
        (Some(true), Some("workspace"))
    );
    assert_eq!(error["context"]["allowed_roots"][0], "/workspace");
    assert!(
        error["agent_description"]
            .as_str()
            .unwrap()
            .contains("/workspace")
    );
    let error = bed.fail("read", json!({"path": "/etc/passwd"}), "PathOutOfScope");
    assert!(error["context"].get("escape").is_none());
}

/// Rows 4, 14: links out of the workspace, to read or to write through.
#[test]
fn links_that_lead_out_are_refused_and_those_inside_work() {
    let bed = with_secret();
    symlink(bed.outside("secret"), bed.path("absolute")).unwrap();
    symlink("../outside/secret", bed.path("relative")).unwrap();
    symlink("../outside", bed.path("dir")).unwrap();
    symlink("relative", bed.path("chain")).unwrap();
    symlink("/proc/self/root/etc/passwd", bed.path("magic")).unwrap();
    for path in [
        "absolute",
        "relative",
        "chain",
        "dir/secret",
        "magic",
        "dir/new",
    ] {
        for (name, inputs) in aimed_at(path) {
            // Deleting and moving a link is about the link itself.
            let about_link = !path.contains('/') && (name == "delete" || name == "move");
            if about_link || name == "restore" {
                continue;
            }
            let outcome = bed.call(name, inputs);
            let error = outcome.expect_err(&format!("{name} {path}"));
            assert_eq!(
                error.error_type(),
                ErrorType::PathOutOfScope,
                "{name} {path}"
            );
        }
    }
    unharmed(&bed);
    assert_eq!(
        bed.entries("."),
        ["absolute", "chain", "dir", "magic", "mine", "relative"]
    );
    bed.put("inner/file", "fine");
    symlink("../inner/file", bed.path("inner/way")).unwrap();
    assert_eq!(
        bed.ok("read", json!({"path": "inner/way"}))["content"],
        "fine"
    );
}

/// Row 3: NUL, length, control characters.
#[test]
fn malformed_paths_are_errors_and_do_not_reach_the_output_raw() {
    let bed = with_secret();
    let long_name = "n".repeat(300);
    let too_long = "a/".repeat(3_000);
    for path in ["", "a\0b", "mine\0", long_name.as_str(), too_long.as_str()] {
        for (name, inputs) in aimed_at(path) {
            if let Err(error) = bed.call(name, inputs) {
                assert!(
                    error.error_type() != ErrorType::Internal,
                    "{name} {path:?}: {error:?}"
                );
            }
        }
    }
    unharmed(&bed);
    let error = bed.fail(
        "read",
        json!({"path": "\u{1b}[31m\n\u{202e}x"}),
        "FileNotFound",
    );
    let text = error.to_string();
    assert!(
        !text.contains("\\u001b") && !text.contains('\u{202e}'),
        "{text}"
    );
}

#[test]
fn strings_of_ten_megabytes_are_taken_or_refused() {
    let bed = with_secret();
    let huge = "x".repeat(10 << 20);
    assert_eq!(
        bed.ok("write", json!({"path": "big", "content": huge}))["size"],
        10 << 20
    );
    assert_eq!(
        bed.ok("append", json!({"path": "big", "content": huge}))["new_size"],
        20 << 20
    );
    for (name, inputs) in aimed_at(&huge) {
        let error = bed.call(name, inputs).expect_err(name);
        assert!(error.to_json().to_string().len() < 10_000, "{name}");
    }
    bed.fail(
        "search_content",
        json!({"path": ".", "pattern": huge}),
        "InvalidPattern",
    );
    bed.fail(
        "search",
        json!({"path": ".", "pattern": huge}),
        "InvalidPattern",
    );
    bed.fail(
        "edit",
        json!({"path": "mine", "pattern": huge, "replace": "", "regex": true}),
        "InvalidPattern",
    );
    unharmed(&bed);
}

/// Row 5: the last component and a directory above it flip between a file inside and a link out.
#[test]
fn a_race_of_links_never_gets_out() {
    const ROUNDS: usize = 20_000;
    let bed = with_secret();
    bed.put("real/secret", "inside");
    symlink(bed.outside(""), bed.path("link")).unwrap();
    bed.put("file", "inside");
    symlink(bed.outside("secret"), bed.path("out")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let swap = |one: &str, other: &str| {
                rustix::fs::renameat_with(
                    CWD,
                    bed.path(one),
                    CWD,
                    bed.path(other),
                    RenameFlags::EXCHANGE,
                )
                .unwrap();
            };
            while !stop.load(Ordering::Relaxed) {
                swap("real", "link");
                swap("file", "out");
            }
        });
        let mut read = 0;
        for round in 0..ROUNDS {
            let (name, inputs) = match round % 200 {
                0 => ("write", json!({"path": "real/secret", "content": "inside"})),
                1 => ("write", json!({"path": "file", "content": "inside"})),
                2 => ("append", json!({"path": "file", "content": ""})),
                3 => (
                    "edit",
                    json!({"path": "real/secret", "pattern": "the secret", "replace": "pwned"}),
                ),
                4 => (
                    "search_content",
                    json!({"path": ".", "pattern": "the secret"}),
                ),
                5 => (
                    "copy",
                    json!({"source": "real/secret", "destination": "copied", "overwrite": true}),
                ),
                n if n % 2 == 0 => ("read", json!({"path": "real/secret"})),
                _ => ("read", json!({"path": "file"})),
            };
            if let Ok(answer) = bed.call(name, inputs) {
                assert!(
                    !answer.to_string().contains("the secret"),
                    "{name}: {answer}"
                );
                read += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(read > 0, "the race never let a benign call through");
    });
    if let Ok(copied) = std::fs::read_to_string(bed.path("copied")) {
        assert_eq!(copied, "inside");
    }
    unharmed(&bed);
}

/// Row 6: a directory is moved out of the tree while `..` is resolved from it.
#[test]
fn a_directory_moved_out_takes_nobody_with_it() {
    let bed = with_secret();
    bed.make_dir("a/b");
    let stop = AtomicBool::new(false);
    let (inside, moved) = (bed.path("a/b"), bed.outside("b"));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::fs::rename(&inside, &moved).unwrap();
                std::fs::rename(&moved, &inside).unwrap();
            }
        });
        for _ in 0..5_000 {
            for path in [
                "a/b/../../mine",
                "a/b/../secret",
                "a/b/../../outside/secret",
            ] {
                if let Ok(answer) = bed.call("read", json!({"path": path})) {
                    assert_eq!(answer["content"], "mine", "{path}");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    unharmed(&bed);
}

/// Row 9: hard links to files of somebody else, where the machine lets them be made.
#[test]
fn hard_links_to_files_of_others_are_refused() {
    let bed = with_secret();
    std::fs::hard_link(bed.outside("secret"), bed.path("hard")).unwrap();
    let other = rustix::fs::Uid::from_raw(54_321);
    if rustix::fs::chown(bed.outside("secret"), Some(other), None).is_err() {
        // Only root can make a file of another owner; then the owner is the same, and so are its rights.
        assert_eq!(
            bed.ok("read", json!({"path": "hard"}))["content"],
            "the secret"
        );
        return;
    }
    bed.fail("read", json!({"path": "hard"}), "PermissionDenied");
    bed.fail(
        "copy",
        json!({"source": "hard", "destination": "stolen"}),
        "PermissionDenied",
    );
    bed.fail(
        "append",
        json!({"path": "hard", "content": "x"}),
        "PermissionDenied",
    );
    bed.fail(
        "edit",
        json!({"path": "hard", "pattern": "secret", "replace": "x"}),
        "PermissionDenied",
    );
    unharmed(&bed);
}

/// Rows 10, 11: pipes, sockets and directories where a file is expected do not hold a call.
#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let bed = with_secret();
    rustix::fs::mknodat(
        CWD,
        bed.path("fifo"),
        FileType::Fifo,
        Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bed.path("socket")).unwrap();
    bed.make_dir("dir");
    let (send, done) = channel();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for path in ["fifo", "socket", "dir"] {
                for name in ["read", "append", "write", "edit", "copy", "search_content"] {
                    let inputs = match name {
                        "read" => json!({"path": path}),
                        "edit" => json!({"path": path, "pattern": "x", "replace": "y"}),
                        "copy" => json!({"source": path, "destination": "copy"}),
                        "search_content" if path == "dir" => continue,
                        "search_content" => json!({"path": path, "pattern": "x"}),
                        _ => json!({"path": path, "content": "x"}),
                    };
                    send.send((name, path, bed.call(name, inputs))).unwrap();
                }
            }
            let found = bed.ok("search_content", json!({"path": ".", "pattern": "x"}));
            assert_eq!(found["total_matches"], 0);
            drop(send);
        });
        let mut seen = 0;
        while let Ok((name, path, outcome)) = done.recv_timeout(Duration::from_secs(10)) {
            let error = outcome.expect_err(name);
            assert_eq!(
                error.error_type(),
                ErrorType::InvalidInput,
                "{name} {path}: {error:?}"
            );
            seen += 1;
        }
        assert_eq!(seen, 17, "a call hangs");
    });
    let types = bed.ok("list", json!({"path": ".", "sort_by": "name"}));
    assert_eq!(types["entries"][1]["type"], "fifo");
}

/// Row 12: a sparse file of 1 TiB.
#[test]
fn a_file_of_a_terabyte_is_read_by_the_page_and_nothing_else() {
    let bed = with_secret();
    let sparse = std::fs::File::create(bed.path("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    let answer = bed.ok(
        "read",
        json!({"path": "sparse", "encoding": "base64", "offset": 1u64 << 39, "limit": 30}),
    );
    assert_eq!(
        (answer["size"].as_u64(), answer["truncated"].as_bool()),
        (Some(1 << 40), Some(true))
    );
    assert!(answer["checksum"].is_null());
    bed.fail(
        "copy",
        json!({"source": "sparse", "destination": "copy"}),
        "ResourceExhausted",
    );
    bed.fail(
        "edit",
        json!({"path": "sparse", "pattern": "x", "replace": "y"}),
        "InvalidInput",
    );
    bed.fail(
        "search_content",
        json!({"path": "sparse", "pattern": "x"}),
        "ResourceExhausted",
    );
    let found = bed.ok("search_content", json!({"path": ".", "pattern": "mine"}));
    assert_eq!(
        (
            found["total_matches"].as_u64(),
            found["truncated"].as_bool()
        ),
        (Some(1), Some(true))
    );
    let found = bed.ok(
        "search",
        json!({"path": ".", "pattern": "sparse", "include_hash": true}),
    );
    assert!(found["matches"][0].get("sha256").is_none());
    let preview = bed.preview("write", json!({"path": "sparse", "content": "x"}));
    assert_eq!(preview["notes"], json!(["cannot be inspected"]));
    let trash = bed.ok("delete", json!({"path": "sparse"}))["trash_path"].clone();
    bed.ok("restore", json!({"trash_path": trash}));
}

/// Row 13: a file that grows while it is read.
#[test]
fn a_growing_file_ends() {
    use std::io::Write;
    let bed = with_secret();
    let mut file = std::fs::File::create(bed.path("grows")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) && written < 256 << 20 {
                file.write_all(&[b'x'; 65_536]).unwrap();
                written += 65_536;
            }
        });
        for _ in 0..20 {
            assert!(
                bed.ok("read", json!({"path": "grows"}))["content"]
                    .as_str()
                    .unwrap()
                    .len()
                    <= 10_003
            );
            bed.ok("search_content", json!({"path": ".", "pattern": "nothing"}));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Row 24: deep nesting, deeper than a path can be written.
#[test]
fn a_tree_deeper_than_paths_can_be_is_searched_to_its_bound() {
    use rustix::fs::{OFlags, mkdirat, openat};
    let bed = with_secret();
    let flags = OFlags::DIRECTORY | OFlags::RDONLY;
    let mut dir = openat(CWD, bed.path(""), flags, Mode::empty()).unwrap();
    for _ in 0..3_000 {
        mkdirat(&dir, "d", Mode::from_raw_mode(0o755)).unwrap();
        dir = openat(&dir, "d", flags, Mode::empty()).unwrap();
    }
    let answer = bed.ok(
        "search",
        json!({"path": ".", "pattern": "d", "max_results": 5}),
    );
    assert_eq!(answer["truncated"], true);
    let answer = bed.ok("search_content", json!({"path": ".", "pattern": "mine"}));
    assert_eq!(
        (
            answer["total_matches"].as_u64(),
            answer["truncated"].as_bool()
        ),
        (Some(1), Some(true))
    );
    bed.fail("read", json!({"path": "d/".repeat(2_047)}), "InvalidInput");
}

/// Row 25: names with escapes stay inside JSON strings and come out encoded.
#[test]
fn names_with_control_characters_are_encoded() {
    let bed = with_secret();
    bed.put("evil\u{1b}[31m\nname", "x");
    let listed = bed.ok("list", json!({"path": "."})).to_string();
    assert!(!listed.contains('\u{1b}') && !listed.contains('\n'));
    let error = bed.fail(
        "read",
        json!({"path": "none\u{1b}[31m\nname"}),
        "FileNotFound",
    );
    assert_eq!(error["context"]["path"], "none\\u{1b}[31m\\u{a}name");
}

/// Row 29: expressions that explode in other engines or when compiled.
#[test]
fn expressions_are_linear_and_bounded() {
    let bed = with_secret();
    bed.put("aaa", &"a".repeat(100_000));
    let search = |pattern: &str| json!({"path": ".", "pattern": pattern, "regex": true});
    bed.ok("search_content", search("(a|a)*$"));
    bed.ok("search_content", search("(a*)*b"));
    for pattern in [
        r"\pL{1000}{1000}",
        r"(((a{100}){100}){100}){100}",
        &"(".repeat(5_000),
        &"(?:a".repeat(200),
    ] {
        bed.fail("search_content", search(pattern), "InvalidPattern");
        let edit = json!({"path": "aaa", "pattern": pattern, "replace": "", "regex": true});
        bed.fail("edit", edit, "InvalidPattern");
    }
    bed.fail("search_content", search("(a)\\1"), "InvalidPattern");
}

/// Row 30: globs that explode in other matchers.
#[test]
fn globs_are_bounded() {
    let bed = with_secret();
    for number in 0..200 {
        bed.put(&format!("x/{}/{number}", "a".repeat(100)), "");
    }
    for pattern in [
        "**/**/**/**/*".to_owned(),
        "*a*a*a*a*a*a*a*a*a*a*a*b".to_owned(),
        "{a,b}".repeat(200),
        "?".repeat(1_024),
    ] {
        bed.ok("search", json!({"path": ".", "pattern": pattern}));
    }
}
