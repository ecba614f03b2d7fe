//! Against a plain map, and the bounds to the byte.
#![allow(clippy::unwrap_used)]

use super::{MAX_KEYS, QUOTA_BYTES, SessionState};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Small, so that random values run into it.
const LIMIT: u64 = 60;

#[derive(Debug, Clone)]
enum Op {
    Set(String, Value),
    Get(String),
    Delete(String),
    Keys(String),
    Clear,
    Checkpoint,
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab]{1,2}", 1 => "[a-c/é🦀]{1,6}"]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Exactly what was stored comes back, to the last bit of a fraction.
        any::<f64>()
            .prop_filter("JSON has no others", |f| f.is_finite())
            .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..5).prop_map(Value::from),
        (key(), any::<i32>()).prop_map(|(key, number)| json!({ key: [number, {"x": null}] })),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (key(), value()).prop_map(|(key, value)| Op::Set(key, value)),
        4 => key().prop_map(Op::Get),
        3 => key().prop_map(Op::Delete),
        2 => prop_oneof![Just(String::new()), key()].prop_map(Op::Keys),
        1 => Just(Op::Clear),
        1 => Just(Op::Checkpoint),
    ]
}

fn used(model: &HashMap<String, Value>) -> u64 {
    model.iter().map(|(key, value)| weight(key, value)).sum()
}

fn weight(key: &str, value: &Value) -> u64 {
    (key.len() + value.to_string().len()) as u64
}

fn set(state: &SessionState, model: &mut HashMap<String, Value>, key: String, value: Value) {
    let before = used(model);
    let freed = model.get(&key).map_or(0, |old| weight(&key, old));
    let fits = before - freed + weight(&key, &value) <= LIMIT;
    match state.set(&key, value.clone()) {
        Ok(previous) => {
            assert!(fits, "over the limit: {before}");
            assert_eq!(previous, model.insert(key, value));
            assert!(state.is_dirty());
        }
        Err(error) => {
            assert!(!fits, "{error:?}");
            let json = error.to_json();
            assert_eq!(json["error_type"], "QuotaExceeded");
            assert_eq!(json["context"]["used_bytes"], before);
            assert_eq!(json["context"]["limit_bytes"], LIMIT);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn does_what_a_map_does(ops in prop::collection::vec(op(), 1..40)) {
        let state = SessionState::with_limit(LIMIT);
        let mut model = HashMap::new();
        for op in ops {
            match op {
                Op::Set(key, value) => set(&state, &mut model, key, value),
                Op::Get(key) => prop_assert_eq!(state.get(&key).unwrap(), model.get(&key).cloned()),
                Op::Delete(key) => prop_assert_eq!(state.delete(&key).unwrap(), model.remove(&key)),
                Op::Keys(prefix) => {
                    let mut expected: Vec<_> =
                        model.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
                    expected.sort();
                    let total = expected.len() as u64;
                    expected.truncate(3);
                    prop_assert_eq!(state.keys(&prefix, 3), (expected, total));
                }
                Op::Clear => {
                    prop_assert_eq!(state.clear(), model.len() as u64);
                    model.clear();
                }
                Op::Checkpoint => {
                    let copy = SessionState::import(state.export());
                    prop_assert!(!state.is_dirty());
                    prop_assert_eq!(copy.is_dirty(), !model.is_empty());
                    prop_assert_eq!(copy.usage(), (used(&model), QUOTA_BYTES));
                    for (key, value) in &model {
                        prop_assert_eq!(&copy.get(key).unwrap(), &Some(value.clone()));
                    }
                }
            }
            prop_assert_eq!(state.usage(), (used(&model), LIMIT));
            prop_assert_eq!(state.key_count(), model.len() as u64);
        }
    }
}

#[test]
fn the_quota_is_exact_and_a_refusal_changes_nothing() {
    let state = SessionState::default();
    let limit = usize::try_from(QUOTA_BYTES).unwrap();
    // One byte of key and two quotes.
    let exact = Value::from("x".repeat(limit - 3));
    assert!(state.set("k", exact).is_ok());
    assert_eq!(state.usage(), (QUOTA_BYTES, QUOTA_BYTES));
    assert!(state.set("l", Value::from(1)).is_err());
    assert!(state.set("k", Value::from("x".repeat(limit - 2))).is_err());
    assert_eq!(state.usage(), (QUOTA_BYTES, QUOTA_BYTES));
    assert_eq!(state.key_count(), 1);
    assert!(state.set("k", Value::from(1)).unwrap().is_some());
    assert_eq!(state.usage().0, 2);
}

#[test]
fn the_number_of_keys_is_bounded_but_changing_one_is_not() {
    let state = SessionState::default();
    for number in 0..MAX_KEYS {
        state.set(&number.to_string(), Value::Null).unwrap();
    }
    let error = state.set("one more", Value::Null).unwrap_err().to_json();
    assert_eq!(error["error_type"], "ResourceExhausted");
    assert_eq!(error["context"]["limit"], MAX_KEYS);
    assert_eq!(state.set("7", Value::from(1)).unwrap(), Some(Value::Null));
}

#[test]
fn a_damaged_checkpoint_gives_what_is_left_of_it() {
    let checkpoint = json!({"version": 1, "entries": {"good": "[1]", "cut": "[1", "wrong": 7}});
    let state = SessionState::import(checkpoint);
    assert_eq!(state.get("good").unwrap(), Some(json!([1])));
    assert_eq!(state.key_count(), 1);
    for unusable in [
        json!(null),
        json!({"version": 2, "entries": {"a": "1"}}),
        json!({"version": 1}),
    ] {
        assert_eq!(SessionState::import(unusable).key_count(), 0);
    }
}

#[test]
fn debug_output_shows_no_content() {
    let state = SessionState::default();
    state.set("token", Value::from("s3cret")).unwrap();
    let shown = format!("{state:?}");
    assert!(
        !shown.contains("s3cret") && !shown.contains("token"),
        "{shown}"
    );
}

#[test]
fn concurrent_sets_all_count() {
    let state = SessionState::default();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let state = &state;
            scope.spawn(move || {
                for number in 0..250 {
                    state
                        .set(&format!("{thread}/{number:03}"), Value::from(true))
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(state.usage().0, 1000 * (5 + 4));
    assert_eq!(state.keys("2/", 1), (vec!["2/000".to_owned()], 250));
}
