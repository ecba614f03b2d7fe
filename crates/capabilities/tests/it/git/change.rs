//! `git.init` and `git.commit`.

use super::bed::Bed;
use serde_json::{Value, json};

#[test]
fn a_new_repository() {
    let bed = Bed::new();
    bed.put("p/deep/keep.txt", "keep\n");
    let made = bed.ok("init", json!({"path": "p/deep"}));
    assert_eq!(made, json!({"path": "/workspace/p/deep", "branch": "main"}));
    assert_eq!(bed.entries("p/deep"), [".git", "keep.txt"]);
    assert!(!bed.path("p/deep/.git/hooks").exists());
    let made = bed.ok(
        "init",
        json!({"path": "new/-dir", "initial_branch": "trunk"}),
    );
    assert_eq!(made["branch"], "trunk");
    for path in ["p/deep", "p/deep/.git"] {
        bed.fail("init", json!({"path": path}), "DestinationExists");
    }
    let error = bed.fail("init", json!({"path": "p/deep/keep.txt"}), "InitFailed");
    assert_eq!(
        error["recovery_actions"][0]["inputs"]["path"],
        "p/deep/keep.txt"
    );
    bed.fail(
        "init",
        json!({"path": "q", "initial_branch": "-x"}),
        "InvalidInput",
    );
    bed.fail("init", json!({"path": "../q"}), "PathOutOfScope");
    // A repository in another one.
    bed.ok("init", json!({"path": "p/deep/inner"}));
}

#[test]
fn everything_is_committed() {
    let bed = Bed::with_repository();
    bed.put("p/b.txt", "b\n");
    bed.put("p/c/d.txt", "d\n");
    bed.git("p", ["rm", "-q", "--cached", "a.txt"]);
    std::fs::remove_file(bed.path("p/a.txt")).unwrap();
    let message = "Subject\n\n# not a comment\n-- dashes";
    let answer = bed.ok("commit", json!({"path": "p/c", "message": message}));
    assert_eq!(answer["files_committed"], 3);
    assert_eq!(answer["branch"], "main");
    assert_eq!(answer["commit_hash"], bed.git("p", ["rev-parse", "HEAD"]));
    assert_eq!(bed.git("p", ["log", "-1", "--format=%B"]), message);
    let people = bed.git("p", ["log", "-1", "--format=%an|%ae|%cn|%ce"]);
    assert_eq!(
        people,
        "tester|tester@kruxos.invalid|tester|tester@kruxos.invalid"
    );
    assert_eq!(bed.ok("status", json!({"path": "p"}))["state"], "clean");
    let error = bed.fail(
        "commit",
        json!({"path": "p", "message": "x"}),
        "NothingToCommit",
    );
    assert_eq!(error["recovery_actions"][0]["inputs"], json!({"path": "p"}));
}

#[test]
fn the_given_files_alone_are_committed() {
    let bed = Bed::with_repository();
    bed.git("p", ["config", "user.name", "of the repository"]);
    for name in ["x.txt", "y.txt", "-dash", ":(top)z", "sub/*"] {
        bed.put(&format!("p/{name}"), "new\n");
    }
    bed.put("p/sub/other", "new\n");
    bed.git("p", ["add", "y.txt"]);
    std::fs::remove_file(bed.path("p/a.txt")).unwrap();
    let files = json!(["x.txt", "-dash", ":(top)z", "sub/*", "/workspace/p/a.txt"]);
    let answer = bed.ok(
        "commit",
        json!({"path": "p", "message": "m", "files": files, "author_name": "Ada", "author_email": "ada@example.com"}),
    );
    assert_eq!(answer["files_committed"], 5);
    let people = bed.git("p", ["log", "-1", "--format=%an|%ae|%cn"]);
    assert_eq!(people, "Ada|ada@example.com|tester");
    // What was staged before is still staged, and what a pattern would have matched is untouched.
    let status = bed.ok("status", json!({"path": "p"}));
    assert_eq!(
        status["staged"],
        json!([{"path": "y.txt", "change": "added"}])
    );
    assert_eq!(status["untracked"], json!(["sub/other"]));
    bed.fail(
        "commit",
        json!({"path": "p", "message": "m", "files": ["x.txt"]}),
        "NothingToCommit",
    );
    std::fs::create_dir(bed.path("p/empty")).unwrap();
    bed.fail(
        "commit",
        json!({"path": "p", "message": "m", "files": ["empty"]}),
        "NothingToCommit",
    );
    let error = bed.fail(
        "commit",
        json!({"path": "p", "message": "m", "files": ["nope"]}),
        "FileNotFound",
    );
    assert_eq!(error["context"]["path"], "nope");
    for file in ["../q", "/workspace/q", "/etc/passwd", "a/../../q"] {
        bed.fail(
            "commit",
            json!({"path": "p", "message": "m", "files": [file]}),
            "PathOutOfScope",
        );
    }
    let long = vec!["n".repeat(4000); 200];
    bed.fail(
        "commit",
        json!({"path": "p", "message": "m", "files": long}),
        "InvalidInput",
    );
    bed.put("p/.gitignore", "ignored\n");
    bed.put("p/ignored", "x\n");
    let error = bed.fail(
        "commit",
        json!({"path": "p", "message": "m", "files": ["ignored"]}),
        "CommitFailed",
    );
    assert!(
        error["context"]["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty())
    );
    let all = bed.ok(
        "commit",
        json!({"path": "p", "message": "m", "files": ["."]}),
    );
    assert_eq!(all["files_committed"], 3);
}

#[test]
fn the_first_commit_and_a_long_message() {
    let bed = Bed::new();
    bed.ok("init", json!({"path": "p"}));
    bed.fail(
        "commit",
        json!({"path": "p", "message": "m"}),
        "NothingToCommit",
    );
    bed.put("p/x", "x\n");
    let message = "é".repeat(30_000);
    let answer = bed.ok(
        "commit",
        json!({"path": "p", "message": message, "files": ["x"]}),
    );
    assert_eq!(answer["files_committed"], 1);
    assert_eq!(bed.git("p", ["log", "--format=%B"]), message);
    let too_long = "é".repeat(40_000);
    for (field, text) in [
        ("message", too_long.as_str()),
        ("message", " \n\t"),
        ("message", "a\0b"),
        ("author_name", "<>"),
        ("author_email", "a\nb"),
    ] {
        let mut inputs = json!({"path": "p", "message": "m"});
        inputs[field] = text.into();
        let error = bed.fail("commit", inputs, "InvalidInput");
        assert_eq!(error["context"]["field"], field);
    }
}

/// `main` and `other` change the same line.
fn diverged() -> Bed {
    let bed = Bed::with_repository();
    bed.put("p/b.txt", "b\n");
    bed.git("p", ["add", "-A"]);
    bed.git("p", ["commit", "-qm", "base"]);
    bed.git("p", ["switch", "-qc", "other"]);
    bed.put("p/a.txt", "other\n");
    bed.put("p/b.txt", "other\n");
    bed.git("p", ["commit", "-qam", "other"]);
    bed.git("p", ["switch", "-q", "main"]);
    bed.put("p/a.txt", "mine\n");
    bed.git("p", ["commit", "-qam", "mine"]);
    bed
}

#[test]
fn a_merge_ends_when_its_conflicts_are_named_as_solved() {
    let bed = diverged();
    assert!(!bed.try_git("p", ["merge", "other"]).0);
    let error = bed.fail(
        "commit",
        json!({"path": "p", "message": "merge"}),
        "CommitFailed",
    );
    assert_eq!(error["context"]["files"], json!(["a.txt"]));
    assert!(bed.get("p/a.txt").contains("<<<<<<<"));
    bed.put("p/a.txt", "both\n");
    let answer = bed.ok(
        "commit",
        json!({"path": "p", "message": "merge", "files": ["a.txt"]}),
    );
    assert_eq!(answer["files_committed"], 2);
    assert_eq!(
        bed.git("p", ["log", "-1", "--format=%p"])
            .split(' ')
            .count(),
        2
    );
    assert_eq!(bed.ok("status", json!({"path": "p"}))["state"], "clean");
}

#[test]
fn a_merge_that_changes_nothing_is_a_commit() {
    let bed = diverged();
    assert!(!bed.try_git("p", ["merge", "other"]).0);
    bed.git("p", ["checkout", "-q", "HEAD", "--", "a.txt", "b.txt"]);
    let answer = bed.ok("commit", json!({"path": "p", "message": "keep ours"}));
    assert_eq!(answer["files_committed"], 0);
    assert_eq!(answer["commit_hash"], bed.git("p", ["rev-parse", "HEAD"]));
}

#[test]
fn no_commit_without_a_branch() {
    let bed = diverged();
    assert!(!bed.try_git("p", ["rebase", "other"]).0);
    let error = bed.fail(
        "commit",
        json!({"path": "p", "message": "m"}),
        "CommitFailed",
    );
    assert!(
        error["description"]
            .as_str()
            .unwrap()
            .contains("a rebase is under way")
    );
    bed.git("p", ["rebase", "--abort"]);
    bed.git("p", ["switch", "-q", "--detach"]);
    bed.put("p/a.txt", "x\n");
    bed.fail(
        "commit",
        json!({"path": "p", "message": "m"}),
        "CommitFailed",
    );
    assert_eq!(bed.ok("status", json!({"path": "p"}))["staged"], json!([]));
}

#[test]
fn a_locked_repository_is_told_as_such() {
    let bed = Bed::with_repository();
    bed.put("p/a.txt", "x\n");
    bed.put("p/.git/index.lock", "");
    let error = bed.fail(
        "commit",
        json!({"path": "p", "message": "m"}),
        "CommitFailed",
    );
    let reason = error["context"]["reason"].as_str().unwrap();
    assert!(reason.contains("/workspace/p/.git/index.lock"), "{reason}");
    assert_eq!(
        bed.ok("status", json!({"path": "p"}))["unstaged"][0]["path"],
        "a.txt"
    );
    assert_ne!(error["recovery_actions"], Value::Null);
}
