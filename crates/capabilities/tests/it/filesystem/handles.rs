//! Open handles: one call must not use up what all agents share.

use super::bed::Bed;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

/// Says to the test binary that it runs this test in a process of its own.
const ALONE: &str = "KRUXOS_TEST_ALONE";
/// Handles that one call may have at once; none needs more than its two slots, a file and the trash.
const SPARE: u64 = 12;
const DIRECTORIES: usize = 300;

/// The limit holds for a whole process, so the calls are made in one of their own.
#[test]
fn many_files_take_few_handles() {
    if std::env::var_os(ALONE).is_some() {
        calls_on_many_files();
        return;
    }
    let program = std::env::current_exe().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the test runs itself")]
    let outcome = std::process::Command::new(program)
        .args([
            "--exact",
            "filesystem::handles::many_files_take_few_handles",
        ])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&outcome.stdout);
    assert!(
        outcome.status.success() && told.contains("1 passed"),
        "{told}{}",
        String::from_utf8_lossy(&outcome.stderr)
    );
}

fn calls_on_many_files() {
    let bed = Bed::new();
    for number in 0..DIRECTORIES {
        bed.put(&format!("d{number}/file"), "old content");
    }
    bed.put(&format!("{}deepest", "down/".repeat(100)), "content");
    // What the first call opens for good is open now.
    bed.ok("stat", json!({"path": "."}));
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let limit = Rlimit {
        current: Some(open + SPARE),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).unwrap();

    let edit = |pattern: &str, replace: &str| {
        bed.call(
            "edit",
            json!({"path": ".", "include_glob": "file", "pattern": pattern, "replace": replace,
                   "expected_replacements": DIRECTORIES}),
        )
    };
    let answer = edit("old", "new").unwrap();
    assert_eq!(answer["files_changed"], DIRECTORIES);
    assert_eq!(bed.get("d299/file"), "new content");
    bed.put("d0/file", "new new");
    bed.fail(
        "edit",
        json!({"path": ".", "include_all": true, "pattern": "new", "replace": "old"}),
        "MatchCountMismatch",
    );
    let found = bed.ok(
        "search",
        json!({"path": ".", "pattern": "*", "include_hash": true, "max_results": 1000,
               "aggregate": {"by": "directory"}}),
    );
    assert_eq!(found["truncated"], false, "{found}");
    let found = bed.ok(
        "search_content",
        json!({"path": ".", "pattern": "content", "max_results": 1000, "count_by": "file"}),
    );
    assert_eq!(found["total_matches"], DIRECTORIES);
    assert_eq!(found["truncated"], false);
    for _ in 0..20 {
        bed.ok("list", json!({"path": "."}));
        bed.ok(
            "copy",
            json!({"source": "d1/file", "destination": "d2/copy", "overwrite": true}),
        );
    }
    bed.ok("watch", json!({"path": ".", "recursive": true}));
    bed.put("d299/seen", "");
    assert_eq!(bed.event().path, "/workspace/d299/seen");
}
