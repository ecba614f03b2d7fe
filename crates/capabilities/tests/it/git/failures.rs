//! A box that fails, git that does not come to its end.

use super::bed::Bed;
use super::programs::Fault;
use kruxos_capabilities::program::End;
use serde_json::json;

#[test]
fn what_the_box_cannot_do_is_told() {
    let bed = Bed::with_repository();
    for (fault, error_type) in [
        (Fault::NotFound, "ServiceUnavailable"),
        (Fault::NoBox, "ServiceUnavailable"),
        (Fault::TooMany, "ResourceExhausted"),
        (Fault::Ends(End::TimedOut), "Timeout"),
        (Fault::Ends(End::Killed), "ServiceUnavailable"),
        (
            Fault::Ends(End::Limit {
                resource: "memory",
                limit: 5,
            }),
            "ResourceExhausted",
        ),
    ] {
        bed.fault("status", fault);
        bed.fail("status", json!({"path": "p"}), error_type);
    }
    bed.fault("status", Fault::Ends(End::Signalled(11)));
    bed.fail("status", json!({"path": "p"}), "ServiceUnavailable");
    assert_eq!(bed.ok("status", json!({"path": "p"}))["state"], "clean");
}

#[test]
fn a_clone_that_fails_leaves_nothing() {
    let bed = Bed::with_remote();
    let before = bed.entries(".");
    let inputs = json!({"url": bed.remote_url(), "path": "deep/down/new"});
    for (argument, fault, error_type) in [
        ("clone", Fault::Ends(End::TimedOut), "Timeout"),
        (
            "clone",
            Fault::Ends(End::Limit {
                resource: "disk",
                limit: 5,
            }),
            "ResourceExhausted",
        ),
        ("clone", Fault::Ends(End::Signalled(9)), "CloneFailed"),
        ("mkdir", Fault::Ends(End::Exited(1)), "CloneFailed"),
    ] {
        bed.fault(argument, fault);
        bed.fail("clone", inputs.clone(), error_type);
        let left = bed.entries(".");
        let is_new = |name: &&String| !before.contains(name) && *name != "deep";
        assert_eq!(left.iter().find(is_new), None);
        assert!(!bed.path("deep/down/new").exists());
    }
    bed.ok("clone", inputs);
    assert_eq!(bed.get("deep/down/new/a.txt"), "one\n");
}

#[test]
fn a_merge_that_is_broken_off_is_undone() {
    let bed = Bed::with_remote();
    bed.commit_elsewhere("a.txt", "theirs\n");
    bed.put("p/a.txt", "ours\n");
    bed.git("p", ["commit", "-qam", "ours"]);
    bed.put("p/note", "not committed\n");
    let head = bed.git("p", ["rev-parse", "HEAD"]);
    bed.fault("merge", Fault::Ends(End::TimedOut));
    bed.fail("pull", json!({"path": "p"}), "Timeout");
    assert_eq!(bed.git("p", ["rev-parse", "HEAD"]), head);
    assert_eq!(bed.get("p/a.txt"), "ours\n");
    let status = bed.ok("status", json!({"path": "p"}));
    assert_eq!(
        (&status["conflicted"], &status["untracked"]),
        (&json!([]), &json!(["note"]))
    );
    assert_eq!(status["state"], "dirty");
}
