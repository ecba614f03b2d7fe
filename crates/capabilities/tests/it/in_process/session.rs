use super::bed::Bed;
use serde_json::{Value, json};

#[test]
fn values_of_every_type_come_back() {
    let bed = Bed::new();
    let values = [
        json!(null),
        json!(true),
        json!(-7),
        json!(0.1),
        json!("ü\n"),
        json!([1, [2]]),
        json!({"a": {}}),
    ];
    for value in values {
        let set = bed.ok("state.session.set", json!({"key": "k", "value": value}));
        let got = bed.ok("state.session.get", json!({"key": "k"}));
        assert_eq!(got, json!({"found": true, "value": value}));
        assert!(set["overwritten"].is_boolean());
    }
}

#[test]
fn each_write_tells_what_was_there() {
    let bed = Bed::new();
    let first = bed.ok("state.session.set", json!({"key": "k", "value": null}));
    assert_eq!(first, json!({"previous_value": null, "overwritten": false}));
    let second = bed.ok("state.session.set", json!({"key": "k", "value": [2]}));
    assert_eq!(second, json!({"previous_value": null, "overwritten": true}));
    let gone = bed.ok("state.session.delete", json!({"key": "k"}));
    assert_eq!(gone, json!({"previous_value": [2], "deleted": true}));
    let again = bed.ok("state.session.delete", json!({"key": "k"}));
    assert_eq!(again, json!({"previous_value": null, "deleted": false}));
    let missing = bed.ok("state.session.get", json!({"key": "k"}));
    assert_eq!(missing, json!({"value": null, "found": false}));
}

#[test]
fn listing_counts_what_it_does_not_show() {
    let bed = Bed::new();
    for number in 0..1100 {
        bed.cx
            .state
            .set(&format!("n/{number:04}"), Value::Null)
            .unwrap();
    }
    bed.cx.state.set("o", Value::Null).unwrap();
    let listed = bed.ok("state.session.list", json!({"prefix": "n/"}));
    assert_eq!(listed["count"], 1100);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1000);
    assert_eq!(listed["keys"][999], "n/0999");
    assert_eq!(bed.ok("state.session.list", json!({}))["count"], 1101);
    assert_eq!(
        bed.ok("state.session.clear", json!({}))["removed_count"],
        1101
    );
    assert_eq!(bed.ok("state.session.list", json!({}))["count"], 0);
}

#[test]
fn a_value_and_a_session_have_their_limits() {
    let bed = Bed::new();
    // Two strings, each as long as admission allows, are more than one value may have.
    let half = "x".repeat(6 << 20);
    let error = bed.fail(
        "state.session.set",
        json!({"key": "k", "value": [half, half]}),
        "InvalidInput",
    );
    assert_eq!(error["context"]["field"], "value");
    let large = json!("x".repeat(9 << 20));
    for number in 0..5 {
        bed.ok(
            "state.session.set",
            json!({"key": number.to_string(), "value": large}),
        );
    }
    let error = bed.fail(
        "state.session.set",
        json!({"key": "6", "value": large}),
        "QuotaExceeded",
    );
    assert_eq!(error["context"]["limit_bytes"], 50 * 1024 * 1024);
    assert_eq!(bed.ok("state.session.list", json!({}))["count"], 5);
}
