//! What holds for every capability that runs in the gateway.

use super::bed::Bed;
use kruxos_catalog::{Catalog, Executor, Status};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One good call of each, in an order in which all of them work.
fn good_calls() -> Vec<(&'static str, Value)> {
    vec![
        ("system.time", json!({})),
        ("system.info", json!({})),
        ("system.health", json!({})),
        ("system.metrics", json!({})),
        ("agent.whoami", json!({})),
        ("agent.session", json!({})),
        ("agent.policy", json!({})),
        ("agent.capabilities", json!({})),
        ("alerts.send", json!({"message": "hello"})),
        ("alerts.list", json!({})),
        ("state.session.set", json!({"key": "k", "value": 1})),
        ("state.session.get", json!({"key": "k"})),
        ("state.session.delete", json!({"key": "k"})),
        ("state.session.list", json!({})),
        ("state.session.clear", json!({})),
        ("state.persistent.set", json!({"key": "k", "value": 1})),
        ("state.persistent.get", json!({"key": "k"})),
        ("state.persistent.list", json!({})),
        ("state.persistent.query", json!({"prefix": ""})),
        ("state.persistent.history", json!({"key": "k"})),
        ("state.persistent.delete", json!({"key": "k"})),
    ]
}

#[test]
fn each_has_a_handler_and_answers_what_its_definition_says() {
    let bed = Bed::new();
    let mut answered = BTreeMap::new();
    for (name, inputs) in good_calls() {
        answered.insert(name, bed.ok(name, inputs));
    }
    let id = &answered["alerts.send"]["alert_id"];
    answered.insert(
        "alerts.acknowledge",
        bed.ok("alerts.acknowledge", json!({"alert_id": id})),
    );
    let available = Catalog::builtin()
        .all()
        .iter()
        .filter(|d| d.status == Status::Available && d.executor == Executor::InProcess);
    for definition in available {
        assert!(
            answered.contains_key(definition.name),
            "{} was not called",
            definition.name
        );
    }
}

/// Keys and prefixes that no handler may let through, whatever admission does before.
#[test]
fn bad_keys_are_refused_everywhere() {
    let bed = Bed::new();
    let long = "é".repeat(257);
    let keyed = good_calls()
        .into_iter()
        .filter(|(_, inputs)| inputs.get("key").is_some());
    for (name, inputs) in keyed {
        for bad in ["", "a\0b", &long] {
            let mut inputs = inputs.clone();
            inputs["key"] = bad.into();
            let error = bed.fail(name, inputs, "InvalidInput");
            assert_eq!(error["context"]["field"], "key", "{name} {bad:?}");
        }
    }
    for name in [
        "state.session.list",
        "state.persistent.list",
        "state.persistent.query",
    ] {
        for bad in ["a\0b", &long] {
            let error = bed.fail(name, json!({"prefix": bad}), "InvalidInput");
            assert_eq!(error["context"]["field"], "prefix", "{name} {bad:?}");
        }
    }
}

/// What may be stored can also be shown, in whatever depth an answer has it.
#[test]
fn deep_values_are_refused_or_come_back() {
    let bed = Bed::new();
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    for set in ["state.session.set", "state.persistent.set"] {
        let mut deepest = 0;
        for levels in 50..63 {
            let value = nested(levels);
            let call = json!({"key": "deep", "value": value});
            if super::bed::wait(bed.call(set, call)).is_ok() {
                deepest = levels;
            }
        }
        assert!((50..62).contains(&deepest), "{set}: {deepest}");
        bed.fail(
            set,
            json!({"key": "deep", "value": nested(deepest + 1)}),
            "InvalidInput",
        );
    }
    bed.ok("state.session.get", json!({"key": "deep"}));
    bed.ok("state.persistent.get", json!({"key": "deep"}));
    bed.ok("state.persistent.query", json!({"prefix": "deep"}));
    bed.ok("state.persistent.history", json!({"key": "deep"}));

    let context = json!({"a": nested(60)});
    bed.ok(
        "alerts.send",
        json!({"message": "deep", "context": context}),
    );
    bed.ok("alerts.list", json!({}));
    let context = json!({"a": nested(61)});
    bed.fail(
        "alerts.send",
        json!({"message": "deep", "context": context}),
        "InvalidInput",
    );
}
