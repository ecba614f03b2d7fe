use super::bed::{Bed, VERSIONS};
use kruxos_types::Principal;
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn versions_count_up_and_old_ones_stay_readable() {
    let bed = Bed::new();
    let first = bed.ok(
        "state.persistent.set",
        json!({"key": "k", "value": {"n": 1}}),
    );
    assert_eq!(first, json!({"version": 1, "previous_version": null}));
    bed.clock.advance(Duration::from_secs(60));
    let second = bed.ok("state.persistent.set", json!({"key": "k", "value": 0.1}));
    assert_eq!(second, json!({"version": 2, "previous_version": 1}));

    let now = bed.ok("state.persistent.get", json!({"key": "k"}));
    assert_eq!(now["value"], json!(0.1));
    assert_eq!(now["version"], 2);
    assert_eq!(now["found"], true);
    assert!(now["created_at"].as_str().unwrap() < now["updated_at"].as_str().unwrap());
    let before = bed.ok("state.persistent.get", json!({"key": "k", "version": 1}));
    assert_eq!(before["value"], json!({"n": 1}));
    let error = bed.fail(
        "state.persistent.get",
        json!({"key": "k", "version": 3}),
        "KeyNotFound",
    );
    assert_eq!(error["context"]["version"], 3);
}

#[test]
fn a_missing_key_is_an_answer_to_get_and_an_error_elsewhere() {
    let bed = Bed::new();
    let nothing = bed.ok("state.persistent.get", json!({"key": "k"}));
    let expected = json!({"value": null, "version": null, "found": false, "created_at": null, "updated_at": null});
    assert_eq!(nothing, expected);
    for name in ["state.persistent.delete", "state.persistent.history"] {
        let error = bed.fail(name, json!({"key": "k"}), "KeyNotFound");
        assert_eq!(error["context"]["key"], "k");
    }
    bed.fail(
        "state.persistent.get",
        json!({"key": "k", "version": 1}),
        "KeyNotFound",
    );
}

#[test]
fn a_deleted_key_keeps_its_history() {
    let bed = Bed::new();
    bed.ok("state.persistent.set", json!({"key": "k", "value": "was"}));
    assert_eq!(
        bed.ok("state.persistent.delete", json!({"key": "k"})),
        json!({"deleted": true})
    );
    assert_eq!(
        bed.ok("state.persistent.get", json!({"key": "k"}))["found"],
        false
    );
    bed.fail(
        "state.persistent.delete",
        json!({"key": "k"}),
        "KeyNotFound",
    );
    let history = bed.ok("state.persistent.history", json!({"key": "k"}));
    assert_eq!(history["count"], 2);
    assert_eq!(history["versions"][0]["deleted"], true);
    assert!(history["versions"][0].get("value").is_none());
    assert_eq!(history["versions"][1]["value"], "was");
}

#[test]
fn history_is_newest_first_and_bounded() {
    let bed = Bed::new();
    for number in 0..8 {
        bed.ok("state.persistent.set", json!({"key": "k", "value": number}));
    }
    let history = bed.ok("state.persistent.history", json!({"key": "k"}));
    assert_eq!(history["count"], VERSIONS);
    assert_eq!(history["versions"][0]["value"], 7);
    let two = bed.ok("state.persistent.history", json!({"key": "k", "limit": 2}));
    assert_eq!(two["count"], 2);

    // Values beyond what an answer carries are named, not shown.
    for _ in 0..3 {
        bed.ok(
            "state.persistent.set",
            json!({"key": "big", "value": "x".repeat(30_000)}),
        );
    }
    let big = bed.ok("state.persistent.history", json!({"key": "big"}));
    assert_eq!(big["versions"][1]["value"].as_str().unwrap().len(), 30_000);
    assert!(big["versions"][2].get("value").is_none());
    assert_eq!(big["versions"][2]["value_omitted"], true);
}

#[test]
fn list_has_sizes_and_query_has_values() {
    let bed = Bed::new();
    for (key, value) in [
        ("a/1", json!("x".repeat(60_000))),
        ("a/2", json!("y".repeat(10_000))),
        ("a/3", json!(3)),
        ("b", json!(null)),
    ] {
        bed.ok("state.persistent.set", json!({"key": key, "value": value}));
    }
    let all = bed.ok("state.persistent.list", json!({}));
    assert_eq!(all["count"], 4);
    assert!(all["entries"][0].get("value").is_none());
    let sizes: u64 = all["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["size_bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(all["total_size_bytes"], sizes);

    let some = bed.ok("state.persistent.query", json!({"prefix": "a/"}));
    assert_eq!(some["count"], 3);
    assert_eq!(some["entries"][0]["value"].as_str().unwrap().len(), 60_000);
    assert_eq!(some["entries"][1]["key"], "a/2");
    assert_eq!(some["entries"][1]["value_omitted"], true);
    let null = bed.ok("state.persistent.query", json!({"prefix": "b"}));
    assert_eq!(
        null["entries"][0].get("value"),
        Some(&Value::Null),
        "a stored null is a value"
    );
    assert!(null["entries"][0].get("value_omitted").is_none());
}

#[test]
fn a_prefix_is_text_and_not_a_pattern() {
    let bed = Bed::new();
    for key in ["a%b", "a_b", "axb", "A%b", "a%"] {
        bed.ok("state.persistent.set", json!({"key": key, "value": 1}));
    }
    assert_eq!(
        bed.ok("state.persistent.list", json!({"prefix": "a%"}))["count"],
        2
    );
    assert_eq!(
        bed.ok("state.persistent.list", json!({"prefix": "a_"}))["count"],
        1
    );
}

#[test]
fn the_quota_counts_all_versions_and_a_refusal_changes_nothing() {
    let bed = Bed::new();
    let large = json!("x".repeat(100_000));
    bed.ok("state.persistent.set", json!({"key": "k", "value": large}));
    bed.ok("state.persistent.set", json!({"key": "k", "value": large}));
    let error = bed.fail(
        "state.persistent.set",
        json!({"key": "k", "value": large}),
        "QuotaExceeded",
    );
    assert_eq!(error["context"]["scope"], "persistent state");
    assert_eq!(
        bed.ok("state.persistent.get", json!({"key": "k"}))["version"],
        2
    );
}

#[test]
fn state_belongs_to_one_agent_and_people_have_none() {
    let bed = Bed::new();
    bed.ok("state.persistent.set", json!({"key": "k", "value": 1}));
    let other = Principal::agent("other");
    assert_eq!(
        bed.ok_as(other.clone(), "state.persistent.get", json!({"key": "k"}))["found"],
        false
    );
    assert_eq!(
        bed.ok_as(other, "state.persistent.list", json!({}))["count"],
        0
    );
    let person = Principal::user("tester");
    let error = bed.fail_as(
        person,
        "state.persistent.get",
        json!({"key": "k"}),
        "PermissionDenied",
    );
    assert!(
        error["agent_description"]
            .as_str()
            .unwrap()
            .contains("Only agents")
    );
}
