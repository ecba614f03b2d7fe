//! watch.

use super::bed::{Bed, PATIENCE};
use kruxos_capabilities::filesystem::FileEvent;
use serde_json::json;
use std::collections::HashSet;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};

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

/// The gateway ends watches where nothing may block, and a sink may be slow.
#[test]
fn ending_waits_for_nobody_and_nothing_is_told_afterwards() {
    let (tell, told) = channel();
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let bed = Bed::with_sink(Arc::new(move |event: FileEvent| {
        tell.send(event.path).unwrap();
        // Answers at once with an error when the test has let go.
        held.lock().unwrap().recv().ok();
    }));
    bed.ok("watch", json!({"path": "."}));
    bed.put("first", "");
    bed.put("second", "");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "/workspace/first");

    // The sink holds the thread now.
    let (done, ended) = channel();
    std::thread::spawn(move || {
        bed.files.end_watches();
        drop(bed);
        done.send(()).unwrap();
    });
    ended
        .recv_timeout(PATIENCE)
        .expect("ending does not wait for the sink");
    drop(release);
    // The thread lets go of its sink, and with it of `tell`, without telling of the second file.
    let after = told.recv_timeout(PATIENCE);
    assert_eq!(after, Err(RecvTimeoutError::Disconnected));
}

#[test]
fn a_burst_is_told_in_full() {
    const FILES: usize = 3_000;
    let bed = Bed::new();
    bed.ok("watch", json!({"path": ".", "event_types": ["created"]}));
    for number in 0..FILES {
        bed.put(&format!("f{number}"), "");
    }
    let told: HashSet<String> = (0..FILES).map(|_| bed.event().path).collect();
    assert_eq!(told.len(), FILES);
}

#[test]
fn a_tree_with_too_many_directories_is_refused_at_once() {
    let bed = Bed::new();
    for number in 0..4_100 {
        bed.make_dir(&format!("d{number}"));
    }
    let error = bed.fail(
        "watch",
        json!({"path": ".", "recursive": true}),
        "TooManyWatches",
    );
    assert_eq!(error["context"]["limit"], 4_096);
    bed.ok("watch", json!({"path": "."}));
    bed.put("x", "");
    assert_eq!(bed.event().path, "/workspace/x");
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
