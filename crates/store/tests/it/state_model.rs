//! Random operations against a small model of persistent state.

use crate::bed::{Bed, QUOTA, VERSIONS, name};
use kruxos_store::StoreError;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const KEYS: [&str; 5] = ["a", "ab", "a%", "b", "ä"];

#[derive(Debug, Clone)]
enum Op {
    Set(usize, usize),
    Delete(usize),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..KEYS.len(), prop_oneof![2usize..120, 200usize..500]).prop_map(|(k, s)| Op::Set(k, s)),
        3 => (0..KEYS.len()).prop_map(Op::Delete),
        1 => Just(Op::Reopen),
    ]
}

/// Versions of a key, oldest first; `None` is a deletion. And when it was changed last.
#[derive(Debug, Clone, Default)]
struct Key {
    versions: Vec<(u64, Option<Value>)>,
    changed: u64,
}

impl Key {
    fn push(&mut self, value: Option<Value>, time: u64) -> u64 {
        let version = self.versions.last().map_or(1, |(version, _)| version + 1);
        self.versions.push((version, value));
        let kept = VERSIONS as usize;
        self.versions
            .drain(..self.versions.len().saturating_sub(kept));
        self.changed = time;
        version
    }

    fn live(&self) -> Option<&(u64, Option<Value>)> {
        self.versions.last().filter(|(_, value)| value.is_some())
    }

    fn bytes(&self) -> u64 {
        let size = |value: &Value| value.to_string().len() as u64;
        self.versions
            .iter()
            .filter_map(|(_, value)| value.as_ref())
            .map(size)
            .sum()
    }
}

type Model = BTreeMap<String, Key>;

fn used(model: &Model) -> u64 {
    model.values().map(Key::bytes).sum()
}

/// The set's outcome in the model: the new version, or a refusal that leaves it alone.
fn set(model: &mut Model, key: &str, value: Value, time: u64) -> Option<u64> {
    let mut next = model.clone();
    let version = next
        .entry(key.to_owned())
        .or_default()
        .push(Some(value), time);
    while used(&next) > QUOTA {
        let dead = next.iter().filter(|(_, key)| key.live().is_none());
        let oldest = dead
            .min_by_key(|(_, key)| key.changed)
            .map(|(name, _)| name.clone())?;
        next.remove(&oldest);
    }
    *model = next;
    Some(version)
}

async fn compare(bed: &Bed, model: &Model) -> Result<(), TestCaseError> {
    let agent = name("tester");
    for key in KEYS {
        let known = model.get(key);
        let live = known.and_then(Key::live);
        let read = bed.store.state_get(&agent, key, None).await.unwrap();
        prop_assert_eq!(
            read.map(|read| (read.version, Some(read.value))),
            live.cloned(),
            "{}",
            key
        );
        let history = bed.store.state_history(&agent, key, 100).await.unwrap();
        let history = history.map(|found| {
            found
                .into_iter()
                .rev()
                .map(|entry| (entry.version, entry.value))
                .collect::<Vec<_>>()
        });
        prop_assert_eq!(history, known.map(|known| known.versions.clone()));
    }
    let quota = bed.store.state_quota(&agent).await.unwrap();
    prop_assert_eq!(quota.used_bytes, used(model));
    let live: Vec<_> = model
        .iter()
        .filter(|(_, key)| key.live().is_some())
        .collect();
    prop_assert_eq!(quota.keys, live.len() as u64);
    let (listed, count, _) = bed.store.state_list(&agent, "a", false, 100).await.unwrap();
    let expected: Vec<_> = live
        .iter()
        .map(|(name, _)| (*name).clone())
        .filter(|name| name.starts_with('a'))
        .collect();
    prop_assert_eq!(count, expected.len() as u64);
    prop_assert_eq!(
        listed
            .into_iter()
            .map(|entry| entry.key)
            .collect::<Vec<_>>(),
        expected
    );
    Ok(())
}

async fn follow(ops: Vec<Op>) -> Result<(), TestCaseError> {
    let (mut bed, mut model) = (Bed::new(), Model::new());
    let agent = name("tester");
    for (time, op) in (0u64..).zip(ops) {
        bed.clock.advance(Duration::from_secs(1));
        match op {
            Op::Set(key, size) => {
                let value = json!(format!("{time:0>width$}", width = size));
                let had = model
                    .get(KEYS[key])
                    .and_then(Key::live)
                    .map(|(version, _)| *version);
                let expected = set(&mut model, KEYS[key], value.clone(), time);
                match bed.store.state_set(&agent, KEYS[key], value).await {
                    Ok(outcome) => {
                        prop_assert_eq!(Some(outcome.version), expected);
                        prop_assert_eq!(outcome.previous_version, had);
                    }
                    Err(StoreError::Quota { limit: QUOTA, .. }) => prop_assert_eq!(None, expected),
                    Err(error) => return Err(TestCaseError::fail(error.to_string())),
                }
            }
            Op::Delete(key) => {
                let live = model
                    .get_mut(KEYS[key])
                    .filter(|known| known.live().is_some());
                let expected = live.map(|known| known.push(None, time)).is_some();
                let deleted = bed.store.state_delete(&agent, KEYS[key]).await.unwrap();
                prop_assert_eq!(deleted, expected);
            }
            Op::Reopen => bed = bed.reopen(crate::bed::options()),
        }
    }
    compare(&bed, &model).await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn persistent_state_behaves_like_the_model(ops in prop::collection::vec(op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(follow(ops))?;
    }
}
