//! `git.status`, `git.diff`, `git.log`.

use super::bed::Bed;
use serde_json::{Value, json};

#[test]
fn a_status_names_every_change() {
    let bed = Bed::with_remote();
    for name in ["gone", "moved", "both"] {
        bed.put(&format!("p/{name}"), format!("{name}\n").repeat(9));
    }
    bed.git("p", ["add", "-A"]);
    bed.git("p", ["commit", "-qm", "more"]);
    bed.git("p", ["mv", "moved", "dir name"]);
    bed.git("p", ["rm", "-q", "gone"]);
    bed.put("p/both", "staged\n");
    bed.git("p", ["add", "both"]);
    bed.put("p/both", "and more\n");
    bed.put("p/sub/new.txt", "new\n");
    let answer = bed.ok("status", json!({"path": "p"}));
    assert_eq!(
        answer,
        json!({
            "branch": "main",
            "staged": [
                {"path": "both", "change": "modified"},
                {"path": "dir name", "change": "renamed", "old_path": "moved"},
                {"path": "gone", "change": "deleted"},
            ],
            "unstaged": [{"path": "both", "change": "modified"}],
            "untracked": ["sub/new.txt"],
            "conflicted": [],
            "upstream": "origin/main",
            "ahead": 1,
            "behind": 0,
            "state": "dirty",
        })
    );
    // A directory in it, a file of it, and the agent's and the real absolute path are the same.
    let real = bed.path("p").display().to_string();
    for path in ["p/sub", "/workspace/p", "p/../p/./sub", "p/both", &real] {
        assert_eq!(bed.ok("status", json!({"path": path})), answer, "{path}");
    }
}

#[test]
fn a_status_tells_what_is_under_way() {
    let bed = Bed::with_repository();
    let state = |bed: &Bed| bed.ok("status", json!({"path": "p"}))["state"].clone();
    assert_eq!(state(&bed), "clean");
    bed.git("p", ["switch", "-qc", "other"]);
    bed.put("p/a.txt", "other\n");
    bed.git("p", ["commit", "-qam", "other"]);
    bed.git("p", ["switch", "-q", "main"]);
    bed.put("p/a.txt", "mine\n");
    bed.git("p", ["commit", "-qam", "mine"]);
    for (command, abort, expected) in [
        ("merge", "--abort", "merging"),
        ("cherry-pick", "--abort", "cherry_picking"),
        ("rebase", "--abort", "rebasing"),
    ] {
        assert!(!bed.try_git("p", [command, "other"]).0);
        let answer = bed.ok("status", json!({"path": "p"}));
        assert_eq!(answer["state"], expected);
        assert_eq!(answer["conflicted"], json!(["a.txt"]));
        let branch = if command == "rebase" {
            Value::Null
        } else {
            "main".into()
        };
        assert_eq!(answer["branch"], branch);
        bed.git("p", [command, abort]);
    }
    bed.put("p/a.txt", "again\n");
    bed.git("p", ["commit", "-qam", "again"]);
    assert!(!bed.try_git("p", ["revert", "--no-edit", "HEAD~1"]).0);
    assert_eq!(state(&bed), "reverting");
    bed.git("p", ["revert", "--abort"]);
    bed.git("p", ["bisect", "start"]);
    assert_eq!(state(&bed), "bisecting");
    bed.git("p", ["bisect", "reset"]);
    assert_eq!(state(&bed), "clean");
}

#[test]
fn an_empty_repository_can_be_looked_at() {
    let bed = Bed::new();
    bed.ok("init", json!({"path": "p"}));
    let status = bed.ok("status", json!({"path": "p"}));
    assert_eq!(
        (&status["branch"], &status["state"]),
        (&json!("main"), &json!("clean"))
    );
    let log = bed.ok("log", json!({"path": "p"}));
    assert_eq!(
        (&log["commits"], &log["branch"]),
        (&json!([]), &json!("main"))
    );
    assert_eq!(
        bed.ok("log", json!({"path": "p", "branch": "main"}))["total_returned"],
        0
    );
    assert_eq!(bed.ok("diff", json!({"path": "p"}))["files_changed"], 0);
    bed.put("p/x", "x\n");
    bed.git("p", ["add", "x"]);
    let staged = bed.ok("diff", json!({"path": "p", "cached": true}));
    assert_eq!(staged["changes"][0]["change"], "added");
    bed.fail(
        "diff",
        json!({"path": "p", "commit": "HEAD"}),
        "CommitNotFound",
    );
}

#[test]
fn a_diff_is_split_by_file() {
    let bed = Bed::with_repository();
    bed.put("p/bin", b"\0\x01");
    bed.put("p/kind", "was a file\n");
    bed.put("p/old", "a\nb\nc\nd\n");
    bed.git("p", ["add", "-A"]);
    bed.git("p", ["commit", "-qm", "more"]);
    bed.put("p/a.txt", "one\ntwo\ndiff --git a/old b/old\n");
    bed.put("p/bin", b"\0\x02");
    std::fs::remove_file(bed.path("p/kind")).unwrap();
    std::os::unix::fs::symlink("a.txt", bed.path("p/kind")).unwrap();
    bed.git("p", ["mv", "old", "new \"name\"\n"]);
    bed.put("p/sub/added", "x\n");
    let unstaged = bed.ok("diff", json!({"path": "p"}));
    assert_eq!(unstaged["files_changed"], 3);
    bed.git("p", ["add", "-A"]);
    let answer = bed.ok("diff", json!({"path": "p", "cached": true}));
    let changes = answer["changes"].as_array().unwrap();
    let facts: Vec<_> = changes
        .iter()
        .map(|c| {
            (
                c["path"].as_str().unwrap(),
                c["change"].as_str().unwrap(),
                c["additions"].as_u64().unwrap(),
                c["diff"].is_string(),
            )
        })
        .collect();
    assert_eq!(
        facts,
        [
            ("a.txt", "modified", 2, true),
            ("bin", "modified", 0, false),
            ("kind", "type_changed", 1, true),
            ("new \"name\"\n", "renamed", 0, true),
            ("sub/added", "added", 1, true),
        ]
    );
    assert_eq!(changes[3]["old_path"], "old");
    let diff = changes[0]["diff"].as_str().unwrap();
    assert!(diff.starts_with("diff --git a/a.txt b/a.txt\n"), "{diff}");
    assert!(diff.ends_with("+two\n+diff --git a/old b/old\n"), "{diff}");
    let kind = changes[2]["diff"].as_str().unwrap();
    assert_eq!(kind.matches("diff --git").count(), 2);
    assert_eq!(
        (&answer["total_additions"], &answer["total_deletions"]),
        (&json!(4), &json!(1))
    );
    // Only a part of it, also by a path that is not there any more.
    let part =
        |path: &str| bed.ok("diff", json!({"path": path, "cached": true}))["files_changed"].clone();
    assert_eq!(part("p/sub"), 1);
    assert_eq!(part("p/sub/added"), 1);
    assert_eq!(part("p/nowhere/at/all"), 0);
    std::fs::remove_dir_all(bed.path("p/sub")).unwrap();
    assert_eq!(part("p/sub/added"), 1);
}

#[test]
fn a_diff_against_a_commit() {
    let bed = Bed::with_repository();
    bed.put("p/a.txt", "one\ntwo\n");
    bed.git("p", ["commit", "-qam", "second"]);
    bed.git("p", ["tag", "v2"]);
    bed.put("p/a.txt", "one\ntwo\nthree\n");
    let added = |inputs| bed.ok("diff", inputs)["total_additions"].clone();
    assert_eq!(added(json!({"path": "p", "commit": "HEAD~1"})), 2);
    assert_eq!(added(json!({"path": "p", "commit": "v2"})), 1);
    assert_eq!(
        added(json!({"path": "p", "commit": "HEAD~1", "cached": true})),
        1
    );
    for commit in [
        "nope",
        "HEAD~9",
        "^HEAD",
        "HEAD..HEAD~1",
        "HEAD:a.txt",
        "0000000000000000000000000000000000000000",
    ] {
        let error = bed.fail(
            "diff",
            json!({"path": "p", "commit": commit}),
            "CommitNotFound",
        );
        assert_eq!(error["context"]["commit"], commit);
        assert_eq!(error["recovery_actions"][0]["inputs"], json!({"path": "p"}));
    }
    bed.fail(
        "diff",
        json!({"path": "p", "commit": "--output=x"}),
        "InvalidInput",
    );
}

#[test]
fn a_conflict_shows_our_side() {
    let bed = Bed::with_repository();
    bed.git("p", ["switch", "-qc", "other"]);
    bed.put("p/a.txt", "theirs\n");
    bed.git("p", ["commit", "-qam", "o"]);
    bed.git("p", ["switch", "-q", "main"]);
    bed.put("p/a.txt", "ours\n");
    bed.git("p", ["commit", "-qam", "m"]);
    bed.try_git("p", ["merge", "other"]);
    let answer = bed.ok("diff", json!({"path": "p"}));
    assert_eq!(answer["files_changed"], 1);
    assert!(
        answer["changes"][0]["diff"]
            .as_str()
            .unwrap()
            .contains("+<<<<<<<")
    );
    let staged = bed.ok("diff", json!({"path": "p", "cached": true}));
    assert_eq!(staged["changes"][0]["diff"], Value::Null);
}

#[test]
fn a_log_answers_what_was_asked() {
    let bed = Bed::with_repository();
    let commit = |author: &str, date: &str, message: &str| {
        bed.put("p/b.txt", message);
        bed.git("p", ["add", "-A"]);
        let author = format!("--author={author}");
        let date = format!("--date={date}");
        bed.git("p", ["commit", "-qm", message, &author, &date]);
    };
    commit(
        "Alice [x] <alice@example.com>",
        "2020-01-02T03:04:05+02:00",
        "two\n\nwhy: \u{fc}\ttab\n\n\nend",
    );
    commit("Bob <bob@example.com>", "2020-01-03T00:00:00Z", "three");
    let answer = bed.ok("log", json!({"path": "p"}));
    assert_eq!(answer["total_returned"], 3);
    assert_eq!(answer["branch"], "main");
    let alice = &answer["commits"][1];
    assert_eq!(alice["author_name"], "Alice [x]");
    assert_eq!(alice["author_email"], "alice@example.com");
    assert_eq!(alice["date"], "2020-01-02T03:04:05+02:00");
    assert_eq!(alice["message"], "two\n\nwhy: \u{fc}\ttab\n\nend");
    assert_eq!(alice["hash"], bed.git("p", ["rev-parse", "HEAD~1"]));
    let count = |inputs: Value| bed.ok("log", inputs)["total_returned"].clone();
    assert_eq!(count(json!({"path": "p", "limit": 2})), 2);
    assert_eq!(count(json!({"path": "p", "author": "alice [X]"})), 1);
    assert_eq!(count(json!({"path": "p", "author": "--all"})), 0);
    assert_eq!(count(json!({"path": "p", "author": "."})), 3);
    assert_eq!(count(json!({"path": "p/b.txt"})), 2);
    assert_eq!(count(json!({"path": "p/gone/and/away"})), 0);
    assert_eq!(
        count(json!({"path": "p", "since": "2100-01-01T00:00:00Z"})),
        0
    );
    assert_eq!(
        count(json!({"path": "p", "since": "1950-01-01T00:00:00.5+01:00"})),
        3
    );
    bed.git("p", ["tag", "main", "HEAD~2"]);
    bed.git("p", ["tag", "v1", "HEAD~1"]);
    // A branch before a tag of its name.
    assert_eq!(count(json!({"path": "p", "branch": "main"})), 3);
    let tag = bed.ok("log", json!({"path": "p", "branch": "v1"}));
    assert_eq!(
        (&tag["total_returned"], &tag["branch"]),
        (&json!(2), &json!("v1"))
    );
    let error = bed.fail(
        "log",
        json!({"path": "p", "branch": "nope"}),
        "BranchNotFound",
    );
    let inputs = json!({"path": "p", "action": "list"});
    assert_eq!(error["recovery_actions"][0]["inputs"], inputs);
    bed.fail(
        "log",
        json!({"path": "p", "branch": "--all"}),
        "InvalidInput",
    );
    bed.git("p", ["switch", "-q", "--detach", "HEAD~1"]);
    let detached = bed.ok("log", json!({"path": "p"}));
    assert_eq!(
        (&detached["total_returned"], &detached["branch"]),
        (&json!(2), &json!("HEAD"))
    );
}

#[test]
fn ten_thousand_files_are_bounded() {
    let bed = Bed::with_repository();
    for number in 0..10_001 {
        let dir = bed.path(&format!("p/d{}", number % 50));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("f{number}")), "x\n").unwrap();
    }
    // Too many for one list: whole directories instead.
    let status = bed.ok("status", json!({"path": "p"}));
    assert_eq!(status["untracked"].as_array().unwrap().len(), 50);
    assert_eq!(status["untracked"][0], "d0/");
    bed.git("p", ["add", "-A"]);
    let error = bed.fail("status", json!({"path": "p"}), "ResourceExhausted");
    assert_eq!(error["context"]["limit"], 10_000);
    let diff = bed.ok("diff", json!({"path": "p", "cached": true}));
    assert_eq!(diff["files_changed"], 10_001);
    assert_eq!(diff["total_additions"], 10_001);
    assert_eq!(diff["changes"].as_array().unwrap().len(), 10_000);
    assert!(diff["changes"][0]["diff"].is_string());
    assert!(diff["changes"][9_999]["diff"].is_null());
    bed.git("p", ["rm", "-q", "--cached", "d0/f0"]);
    let status = bed.ok("status", json!({"path": "p"}));
    assert_eq!(status["staged"].as_array().unwrap().len(), 10_000);
}

#[test]
fn a_long_diff_is_null_and_counted() {
    let bed = Bed::with_repository();
    bed.put("p/a.txt", "a long line of text\n".repeat(20_000));
    let diff = bed.ok("diff", json!({"path": "p"}));
    assert_eq!(diff["total_additions"], 20_000);
    assert!(diff["changes"][0]["diff"].is_null());
}
