//! search and search_content.

use super::bed::{Bed, data, paths};
use serde_json::json;

fn tree() -> Bed {
    let bed = Bed::new();
    bed.put("readme.md", "hello needle\n");
    bed.put("src/main.rs", "use x;\n// needle needle\nlet a = needle;\n");
    bed.put("src/deep/lib.rs", "pub fn needle() {}\n");
    bed.put("src/deep/notes.md", "nothing\n");
    bed.put(".git/config", "needle\n");
    bed
}

#[test]
fn a_glob_without_a_slash_matches_names_at_any_depth() {
    let bed = tree();
    let find = |pattern: &str| {
        paths(&bed.ok("search", json!({"path": ".", "pattern": pattern}))["matches"])
    };
    assert_eq!(find("*.rs"), ["src/deep/lib.rs", "src/main.rs"]);
    assert_eq!(find("src/*.rs"), ["src/main.rs"]);
    assert_eq!(find("src/**/*.rs"), ["src/deep/lib.rs", "src/main.rs"]);
    assert_eq!(find("*.{md,rs}").len(), 4);
    assert_eq!(find("deep"), ["src/deep"]);
    assert!(find("config").is_empty());
    let answer = bed.ok("search", json!({"path": "src", "pattern": "*.md"}));
    assert_eq!(answer["matches"][0]["path"], "/workspace/src/deep/notes.md");
    assert_eq!(
        (
            answer["matches"][0]["type"].as_str(),
            answer["matches"][0]["size"].as_u64()
        ),
        (Some("file"), Some(8))
    );
    let answer = bed.ok(
        "search",
        json!({"path": ".", "pattern": "config", "include_hidden": true}),
    );
    assert_eq!(answer["total_matches"], 1);
}

#[test]
fn results_are_the_first_by_path_and_the_rest_is_counted() {
    let bed = Bed::new();
    for number in 0..50 {
        bed.put(&format!("d{}/f{number:02}", number % 7), "");
    }
    let answer = bed.ok(
        "search",
        json!({"path": ".", "pattern": "f*", "max_results": 3}),
    );
    assert_eq!(
        (
            answer["total_matches"].as_u64(),
            answer["truncated"].as_bool()
        ),
        (Some(50), Some(true))
    );
    assert_eq!(paths(&answer["matches"]), ["d0/f00", "d0/f07", "d0/f14"]);
}

#[test]
fn groups_count_and_sum() {
    let bed = Bed::new();
    bed.put("a/1.txt", "1234");
    bed.put("a/2.TXT", "12");
    bed.put("b/3.md", "1234567890");
    bed.put("none", "1");
    let answer = bed.ok(
        "search",
        json!({"path": ".", "pattern": "*", "aggregate": {"by": "extension"}}),
    );
    assert_eq!(
        answer["groups"][0],
        json!({"key": ".txt", "count": 2, "bytes": 6})
    );
    assert_eq!(answer["groups_truncated"], false);
    let inputs = json!({"path": ".", "pattern": "*", "aggregate": {"by": "top_directory", "metrics": ["bytes"], "top": 1}});
    let answer = bed.ok("search", inputs);
    assert_eq!(answer["groups"], json!([{"key": "b", "bytes": 10}]));
    assert_eq!(answer["groups_truncated"], true);
    bed.fail(
        "search",
        json!({"path": ".", "pattern": "*", "aggregate": {"by": "colour"}}),
        "InvalidInput",
    );
}

#[test]
fn files_of_equal_content_are_found() {
    let bed = Bed::new();
    bed.put("one", "same content");
    bed.put("dir/two", "same content");
    bed.put("other", "differs here");
    bed.put("empty1", "");
    bed.put("empty2", "");
    std::fs::hard_link(bed.path("one"), bed.path("link-to-one")).unwrap();
    bed.put("big1", &"x".repeat(5_000));
    bed.put("big2", &"x".repeat(5_000));
    let answer = bed.ok(
        "search",
        json!({"path": ".", "pattern": "*", "include_hash": true, "max_hash_bytes": 4_000}),
    );
    let groups = answer["duplicate_groups"].as_array().unwrap();
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert_eq!(
        (
            groups[0]["count"].as_u64(),
            groups[0]["wasted_bytes"].as_u64()
        ),
        (Some(2), Some(12))
    );
    assert_eq!(groups[0]["sha256"], data::sha256(b"same content"));
    let skipped = paths(&answer["large_files_skipped"]);
    assert_eq!(skipped.len(), 2);
    let other = answer["matches"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["path"] == "/workspace/other")
        .unwrap();
    assert_eq!(other["sha256"], data::sha256(b"differs here"));
}

#[test]
fn wrong_searches_are_told() {
    let bed = tree();
    bed.fail(
        "search",
        json!({"path": "none", "pattern": "*"}),
        "DirectoryNotFound",
    );
    bed.fail(
        "search",
        json!({"path": "readme.md", "pattern": "*"}),
        "InvalidInput",
    );
    bed.fail(
        "search",
        json!({"path": "/etc", "pattern": "*"}),
        "PathOutOfScope",
    );
    let error = bed.fail(
        "search",
        json!({"path": ".", "pattern": "a[b"}),
        "InvalidPattern",
    );
    assert_eq!(error["context"]["position"], 1);
    bed.fail(
        "search",
        json!({"path": ".", "pattern": "*".repeat(2_000)}),
        "InvalidPattern",
    );
    bed.fail(
        "search",
        json!({"path": ".", "pattern": "*", "max_results": 0}),
        "InvalidInput",
    );
}

#[test]
fn lines_are_found_best_files_first() {
    let bed = tree();
    let answer = bed.ok("search_content", json!({"path": ".", "pattern": "needle"}));
    assert_eq!(
        (
            answer["total_matches"].as_u64(),
            answer["truncated"].as_bool()
        ),
        (Some(4), Some(false))
    );
    assert_eq!(
        paths(&answer["matches"]),
        ["src/deep/lib.rs", "src/main.rs", "src/main.rs", "readme.md"]
    );
    let line = &answer["matches"][1];
    assert_eq!(
        (
            line["line"].as_u64(),
            line["column"].as_u64(),
            line["text"].as_str()
        ),
        (Some(2), Some(4), Some("// needle needle"))
    );
}

#[test]
fn overviews_count() {
    let bed = tree();
    let inputs =
        json!({"path": ".", "pattern": "needle", "total_only": true, "count_by": "extension"});
    let answer = bed.ok("search_content", inputs);
    assert_eq!(answer["matches"], json!([]));
    assert_eq!(answer["counts"], json!({".rs": 3, ".md": 1}));
    let answer = bed.ok(
        "search_content",
        json!({"path": ".", "pattern": "needle", "files_only": true}),
    );
    assert_eq!(
        answer["matches"][1],
        json!({"path": "/workspace/src/main.rs", "matches": 2})
    );
    let answer = bed.ok(
        "search_content",
        json!({"path": ".", "pattern": "needle", "count_by": "directory"}),
    );
    assert_eq!(answer["counts"]["src"], 2);
}

#[test]
fn one_file_globs_and_expressions() {
    let bed = tree();
    let answer = bed.ok(
        "search_content",
        json!({"path": "src/main.rs", "pattern": "needle"}),
    );
    assert_eq!(paths(&answer["matches"]), ["src/main.rs", "src/main.rs"]);
    let answer = bed.ok(
        "search_content",
        json!({"path": ".", "pattern": "(?i)NEEDLE.*;$", "regex": true}),
    );
    assert_eq!(answer["total_matches"], 1);
    let answer = bed.ok(
        "search_content",
        json!({"path": ".", "pattern": "needle", "include_glob": "*.md"}),
    );
    assert_eq!(paths(&answer["matches"]), ["readme.md"]);
    let answer = bed.ok(
        "search_content",
        json!({"path": ".", "pattern": "needle()"}),
    );
    assert_eq!(answer["total_matches"], 1, "a literal is no expression");
}

#[test]
fn long_lines_binary_files_and_many_matches_stay_small() {
    let bed = Bed::new();
    bed.put(
        "min.js",
        &format!("{}needle{}", "a".repeat(50_000), "b".repeat(50_000)),
    );
    bed.put_bytes("bin", b"needle\0needle");
    let answer = bed.ok("search_content", json!({"path": ".", "pattern": "needle"}));
    let text = answer["matches"][0]["text"].as_str().unwrap();
    assert!(text.len() < 400 && text.contains("needle"));
    assert_eq!(
        (
            answer["total_matches"].as_u64(),
            answer["matches"][0]["column"].as_u64()
        ),
        (Some(1), Some(50_001))
    );

    bed.put(
        "many.txt",
        &format!("needle {}\n", "x".repeat(200)).repeat(5_000),
    );
    let answer = bed.ok("search_content", json!({"path": ".", "pattern": "needle"}));
    assert_eq!(
        (
            answer["total_matches"].as_u64(),
            answer["truncated"].as_bool()
        ),
        (Some(5_001), Some(true))
    );
    assert!(answer.to_string().len() < 15_000);
}

#[test]
fn wrong_content_searches_are_told() {
    let bed = tree();
    let fail = |pattern: &str, regex: bool| {
        bed.fail(
            "search_content",
            json!({"path": ".", "pattern": pattern, "regex": regex}),
            "InvalidPattern",
        )
    };
    assert_eq!(fail("needle(", true)["context"]["position"], 6);
    fail("", false);
    fail("a\nb", false);
    bed.fail(
        "search_content",
        json!({"path": "none", "pattern": "x"}),
        "FileNotFound",
    );
    bed.fail(
        "search_content",
        json!({"path": "..", "pattern": "x"}),
        "PathOutOfScope",
    );
    bed.fail(
        "search_content",
        json!({"path": ".", "pattern": "x", "include_glob": "{a"}),
        "InvalidPattern",
    );
}
