//! watch.

use super::bed::Bed;
use serde_json::json;

#[test]
fn a_watch_reports_what_happens_below_it() {
    let bed = Bed::new();
    bed.make_dir("in");
    let answer = bed.ok("watch", json!({"path": "in"}));
    assert_eq!(
        (answer["path"].as_str(), answer["recursive"].as_bool()),
        (Some("/workspace/in"), Some(false))
    );
    let next = || {
        let event = bed.event();
        assert_eq!(event.watch_id, answer["watch_id"].as_str().unwrap());
        (event.event, event.path)
    };
    bed.ok("write", json!({"path": "in/a", "content": "1"}));
    assert_eq!(next(), ("created", "/workspace/in/a".to_owned()));
    bed.ok("write", json!({"path": "in/a", "content": "2"}));
    assert_eq!(next(), ("modified", "/workspace/in/a".to_owned()));
    bed.ok("move", json!({"source": "in/a", "destination": "in/b"}));
    assert_eq!(next(), ("renamed", "/workspace/in/b".to_owned()));
    bed.ok("append", json!({"path": "in/b", "content": "3"}));
    assert_eq!(next(), ("modified", "/workspace/in/b".to_owned()));
    bed.ok("delete", json!({"path": "in/b"}));
    assert_eq!(next(), ("deleted", "/workspace/in/b".to_owned()));
}

#[test]
fn a_recursive_watch_follows_new_directories() {
    let bed = Bed::new();
    bed.make_dir("deep/er");
    bed.ok(
        "watch",
        json!({"path": ".", "recursive": true, "event_types": ["created"], "pattern": "*.txt"}),
    );
    bed.put("deep/er/old.txt", "1");
    assert_eq!(bed.event().path, "/workspace/deep/er/old.txt");
    bed.ok(
        "write",
        json!({"path": "new/one/two/x.txt", "content": "", "create_parents": true}),
    );
    assert_eq!(bed.event().path, "/workspace/new/one/two/x.txt");
    bed.put("new/one/other.md", "not asked for");
    bed.put("new/one/two/y.txt", "");
    assert_eq!(bed.event().path, "/workspace/new/one/two/y.txt");
}

#[test]
fn a_directory_that_moved_is_told_at_its_new_place_only() {
    let bed = Bed::new();
    bed.make_dir("old/in");
    bed.ok(
        "watch",
        json!({"path": ".", "recursive": true, "event_types": ["created", "renamed"]}),
    );
    bed.ok("move", json!({"source": "old", "destination": "new"}));
    let event = bed.event();
    assert_eq!(
        (event.event, event.path.as_str()),
        ("renamed", "/workspace/new")
    );
    bed.put("new/x", "");
    assert_eq!(bed.event().path, "/workspace/new/x");
    bed.put("new/in/y", "");
    assert_eq!(bed.event().path, "/workspace/new/in/y");
}

#[test]
fn watches_are_bounded_and_end() {
    let bed = Bed::new();
    bed.put("file", "");
    for _ in 0..3 {
        bed.ok("watch", json!({"path": "."}));
    }
    let error = bed.fail("watch", json!({"path": "."}), "TooManyWatches");
    assert_eq!(
        (
            error["context"]["limit"].as_u64(),
            error["context"]["current"].as_u64()
        ),
        (Some(3), Some(3))
    );
    bed.files.end_watches();
    bed.put("after", "nobody is told");
    let answer = bed.ok("watch", json!({"path": "."}));
    bed.put("later", "");
    let event = bed.event();
    assert_eq!(
        (event.watch_id.as_str(), event.path.as_str()),
        (answer["watch_id"].as_str().unwrap(), "/workspace/later")
    );
    bed.fail("watch", json!({"path": "none"}), "DirectoryNotFound");
    bed.fail("watch", json!({"path": "/tmp"}), "PathOutOfScope");
}

#[test]
fn wrong_watches_are_told() {
    let bed = Bed::new();
    bed.put("file", "");
    bed.fail("watch", json!({"path": "file"}), "InvalidInput");
    bed.fail(
        "watch",
        json!({"path": ".", "event_types": ["exploded"]}),
        "InvalidInput",
    );
    bed.fail(
        "watch",
        json!({"path": ".", "pattern": "[a"}),
        "InvalidInput",
    );
}
