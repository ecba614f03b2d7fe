//! `git.branch`.

use super::bed::Bed;
use serde_json::json;

#[test]
fn branches_come_and_go() {
    let bed = Bed::with_repository();
    let branch = |inputs| bed.ok("branch", inputs);
    let list = branch(json!({"path": "p", "action": "list"}));
    assert_eq!(
        list,
        json!({"branches": ["main"], "current_branch": "main"})
    );
    let made = branch(json!({"path": "p", "action": "create", "name": "fix/login"}));
    assert_eq!(
        made,
        json!({"branches": ["fix/login", "main"], "current_branch": "fix/login"})
    );
    bed.put("p/a.txt", "two\n");
    bed.git("p", ["commit", "-qam", "second"]);
    branch(json!({"path": "p", "action": "switch", "name": "main"}));
    assert_eq!(bed.get("p/a.txt"), "one\n");
    let made =
        branch(json!({"path": "p", "action": "create", "name": "b", "start_point": "fix/login"}));
    assert_eq!(made["current_branch"], "b");
    assert_eq!(bed.get("p/a.txt"), "two\n");
    let gone = branch(json!({"path": "p", "action": "delete", "name": "fix/login"}));
    assert_eq!(gone["branches"], json!(["b", "main"]));
}

#[test]
fn nothing_is_lost_by_switching_or_deleting() {
    let bed = Bed::with_repository();
    bed.ok(
        "branch",
        json!({"path": "p", "action": "create", "name": "work"}),
    );
    bed.put("p/a.txt", "work\n");
    bed.git("p", ["commit", "-qam", "work"]);
    bed.ok(
        "branch",
        json!({"path": "p", "action": "switch", "name": "main"}),
    );
    bed.put("p/a.txt", "not committed\n");
    let error = bed.fail(
        "branch",
        json!({"path": "p", "action": "switch", "name": "work"}),
        "ConflictError",
    );
    assert!(
        error["agent_description"]
            .as_str()
            .unwrap()
            .contains("overwritten")
    );
    assert_eq!(bed.get("p/a.txt"), "not committed\n");
    bed.fail(
        "branch",
        json!({"path": "p", "action": "create", "name": "x", "start_point": "work"}),
        "ConflictError",
    );
    assert_eq!(bed.git("p", ["branch", "--list", "x"]), "");
    bed.fail(
        "branch",
        json!({"path": "p", "action": "delete", "name": "work"}),
        "ConflictError",
    );
    bed.fail(
        "branch",
        json!({"path": "p", "action": "delete", "name": "main"}),
        "ConflictError",
    );
    let list = bed.ok("branch", json!({"path": "p", "action": "list"}));
    assert_eq!(list["branches"], json!(["main", "work"]));
}

#[test]
fn what_is_not_there_or_there_already_is_told() {
    let bed = Bed::with_remote();
    bed.git("p", ["push", "-q", "origin", "main:dev"]);
    for action in ["switch", "delete"] {
        let inputs = json!({"path": "p", "action": action, "name": "nope"});
        let error = bed.fail("branch", inputs, "BranchNotFound");
        assert_eq!(error["context"]["branch"], "nope");
        let way = &error["recovery_actions"][0]["inputs"];
        assert_eq!(*way, json!({"path": "p", "action": "list"}));
    }
    // A branch of a remote is named, and can be the start of one's own.
    let error = bed.fail(
        "branch",
        json!({"path": "p", "action": "switch", "name": "dev"}),
        "BranchNotFound",
    );
    assert!(
        error["description"]
            .as_str()
            .unwrap()
            .contains("start_point origin/dev")
    );
    bed.ok(
        "branch",
        json!({"path": "p", "action": "create", "name": "dev", "start_point": "origin/dev"}),
    );
    let inputs = json!({"path": "p", "action": "create", "name": "new", "start_point": "nope"});
    bed.fail("branch", inputs, "BranchNotFound");
    let error = bed.fail(
        "branch",
        json!({"path": "p", "action": "create", "name": "dev"}),
        "BranchAlreadyExists",
    );
    let way = json!({"path": "p", "action": "switch", "name": "dev"});
    assert_eq!(error["recovery_actions"][0]["inputs"], way);
    let error = bed.fail(
        "branch",
        json!({"path": "p", "action": "rename", "name": "x"}),
        "InvalidAction",
    );
    assert_eq!(
        error["context"]["allowed"],
        json!(["list", "create", "switch", "delete"])
    );
    let error = bed.fail(
        "branch",
        json!({"path": "p", "action": "create"}),
        "InvalidInput",
    );
    assert_eq!(error["context"]["field"], "name");
}

#[test]
fn names_are_not_options_or_expressions() {
    let bed = Bed::with_repository();
    bed.git("p", ["switch", "-qc", "other"]);
    bed.git("p", ["switch", "-q", "main"]);
    for action in ["create", "switch", "delete"] {
        for name in [
            "-D", "--force", "-", "@{-1}", "a b", "HEAD", "a..b", "x.lock",
        ] {
            bed.fail(
                "branch",
                json!({"path": "p", "action": action, "name": name}),
                "InvalidInput",
            );
        }
    }
    bed.fail(
        "branch",
        json!({"path": "p", "action": "create", "name": "x", "start_point": "--orphan"}),
        "InvalidInput",
    );
    let list = bed.ok("branch", json!({"path": "p", "action": "list"}));
    assert_eq!(
        list,
        json!({"branches": ["main", "other"], "current_branch": "main"})
    );
}

#[test]
fn a_branch_without_commits_is_one() {
    let bed = Bed::new();
    bed.ok("init", json!({"path": "p", "initial_branch": "trunk"}));
    let list = bed.ok("branch", json!({"path": "p", "action": "list"}));
    assert_eq!(list, json!({"branches": [], "current_branch": "trunk"}));
    bed.ok(
        "branch",
        json!({"path": "p", "action": "switch", "name": "trunk"}),
    );
    let made = bed.ok(
        "branch",
        json!({"path": "p", "action": "create", "name": "main"}),
    );
    assert_eq!(made["current_branch"], "main");
}
