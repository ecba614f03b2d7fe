//! edit.

use super::bed::Bed;
use serde_json::json;

#[test]
fn one_match_is_replaced_and_shown() {
    let bed = Bed::new();
    bed.put("main.rs", "fn a() {}\nfn b() {}\nfn c() {}\n");
    let answer = bed.ok(
        "edit",
        json!({"path": "main.rs", "pattern": "fn b()", "replace": "fn bee()"}),
    );
    assert_eq!(answer["applied"], "applied");
    assert_eq!(
        (
            answer["total_replacements"].as_u64(),
            answer["files_changed"].as_u64()
        ),
        (Some(1), Some(1))
    );
    assert_eq!(
        answer["per_file"],
        json!([{"path": "/workspace/main.rs", "replacements": 1}])
    );
    let diff = answer["diff"].as_str().unwrap();
    assert!(
        diff.contains("--- a/workspace/main.rs") && diff.contains("-fn b() {}\n+fn bee() {}\n"),
        "{diff}"
    );
    assert_eq!(bed.get("main.rs"), "fn a() {}\nfn bee() {}\nfn c() {}\n");
}

#[test]
fn an_unexpected_number_of_matches_writes_nothing() {
    let bed = Bed::new();
    bed.put("t", "x x x");
    let attempt = |more: serde_json::Value| {
        let mut inputs = json!({"path": "t", "pattern": "x", "replace": "y"});
        inputs
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        inputs
    };
    let error = bed.fail("edit", attempt(json!({})), "MatchCountMismatch");
    assert_eq!(error["context"]["found"], 3);
    assert_eq!(error["context"]["expected"], "exactly 1");
    bed.fail(
        "edit",
        attempt(json!({"expected_replacements": 2})),
        "MatchCountMismatch",
    );
    bed.fail(
        "edit",
        attempt(json!({"pattern": "none"})),
        "MatchCountMismatch",
    );
    bed.fail(
        "edit",
        attempt(json!({"pattern": "none", "replace_all": true})),
        "MatchCountMismatch",
    );
    bed.fail(
        "edit",
        attempt(json!({"replace_all": true, "expected_replacements": 4})),
        "MatchCountMismatch",
    );
    assert_eq!(bed.get("t"), "x x x");
    bed.ok("edit", attempt(json!({"expected_replacements": 3})));
    assert_eq!(bed.get("t"), "y y y");
}

#[test]
fn a_dry_run_shows_and_writes_nothing() {
    let bed = Bed::new();
    bed.put("t", "one\n");
    let answer = bed.ok(
        "edit",
        json!({"path": "t", "pattern": "one", "replace": "two", "dry_run": true}),
    );
    assert_eq!(answer["applied"], "dry_run");
    assert!(answer["diff"].as_str().unwrap().contains("+two"));
    assert_eq!(bed.get("t"), "one\n");
    let answer = bed.ok(
        "edit",
        json!({"path": "t", "pattern": "one", "replace": "one"}),
    );
    assert_eq!(
        (answer["applied"].as_str(), answer["files_changed"].as_u64()),
        (Some("unchanged"), Some(0))
    );
}

#[test]
fn expressions_replace_with_groups_and_literals_do_not() {
    let bed = Bed::new();
    bed.put("t", "v1.0 and v2.0\n");
    bed.ok("edit", json!({"path": "t", "pattern": r"v(\d)\.0", "replace": "v$1.5", "regex": true, "replace_all": true}));
    assert_eq!(bed.get("t"), "v1.5 and v2.5\n");
    bed.ok(
        "edit",
        json!({"path": "t", "pattern": "v1.5", "replace": "$1"}),
    );
    assert_eq!(bed.get("t"), "$1 and v2.5\n");
    bed.ok(
        "edit",
        json!({"path": "t", "pattern": "^", "replace": "> ", "regex": true, "replace_all": true}),
    );
    assert!(bed.get("t").starts_with("> $1"));
}

#[test]
fn many_files_change_together() {
    let bed = Bed::new();
    bed.put("src/a.rs", "old\n");
    bed.put("src/deep/b.rs", "old old\n");
    bed.put("src/c.md", "old\n");
    bed.put_bytes("src/d.rs", b"old\0binary");
    let inputs = json!({"path": "src", "include_glob": "*.rs", "pattern": "old", "replace": "new", "replace_all": true});
    let answer = bed.ok("edit", inputs);
    assert_eq!(
        (
            answer["files_changed"].as_u64(),
            answer["total_replacements"].as_u64()
        ),
        (Some(2), Some(3))
    );
    assert_eq!(
        answer["skipped"],
        json!([{"path": "/workspace/src/d.rs", "reason": "it is binary"}])
    );
    assert_eq!(bed.get("src/deep/b.rs"), "new new\n");
    assert_eq!(bed.get("src/c.md"), "old\n");
    let answer = bed.ok(
        "edit",
        json!({"path": "src", "include_all": true, "pattern": "old", "replace": "new"}),
    );
    assert_eq!(answer["per_file"][0]["path"], "/workspace/src/c.md");
}

#[test]
fn wrong_targets_and_patterns_are_told() {
    let bed = Bed::new();
    bed.put("t", "x");
    bed.put_bytes("bin", b"\xff\xfe");
    bed.make_dir("dir");
    let with = |path: &str, pattern: &str, regex: bool| json!({"path": path, "pattern": pattern, "replace": "", "regex": regex});
    bed.fail("edit", with("none", "x", false), "FileNotFound");
    bed.fail("edit", with("dir", "x", false), "InvalidInput");
    bed.fail("edit", with("bin", "x", false), "InvalidInput");
    bed.fail("edit", with("../t", "x", false), "PathOutOfScope");
    let error = bed.fail("edit", with("t", "a(b", true), "InvalidPattern");
    assert_eq!(error["context"]["position"], 1);
    bed.fail("edit", with("t", "", false), "InvalidPattern");
    bed.fail(
        "edit",
        json!({"path": "t", "pattern": "x", "replace": "", "include_all": true}),
        "InvalidInput",
    );
    bed.fail(
        "edit",
        json!({"path": "dir", "pattern": "x", "replace": "", "include_glob": "[a"}),
        "InvalidPattern",
    );
    assert_eq!(bed.get("t"), "x");
}

#[test]
fn a_replacement_that_explodes_is_stopped() {
    let bed = Bed::new();
    bed.put("t", &"x".repeat(100_000));
    let inputs =
        json!({"path": "t", "pattern": "x", "replace": "y".repeat(10_000), "replace_all": true});
    let error = bed.fail("edit", inputs, "ResourceExhausted");
    assert_eq!(error["context"]["limit"], 64 << 20);
    assert_eq!(bed.get("t").len(), 100_000);
}
