//! Files in `mode: shadow` are told and have no say.

use crate::properties::{any_call, file};
use crate::world::{Call, call, compile, problems, read, set, source, sources};
use kruxos_policy::{PolicySet, RateCounters};
use kruxos_types::{Principal, Tier};
use proptest::prelude::*;
use serde_json::json;

const STRICT: &str = "mode: shadow\nrules:\n  - {capability: filesystem.read, conditions: {path_prefix: private}, tier: blocked, reason: Not for agents}\n";

#[test]
fn a_decision_tells_what_the_shadow_would_have_decided_and_only_where_it_differs() {
    for layer in ["system", "org", "alice"] {
        let set = set(&[(layer, STRICT)]);
        let call = read("private/x");
        let verdict = call.verdict(&set);
        assert_eq!(verdict.tier(), Tier::Autonomous, "{layer}: enforced");
        let shadow = verdict.shadow().unwrap();
        assert_eq!(shadow.tier(), Tier::Blocked, "{layer}");
        assert_eq!(
            call_shadow(&set, "notes/x"),
            json!(null),
            "{layer}: no difference"
        );
        let told = serde_json::to_value(set.explanation_of(&call.query(), &verdict)).unwrap();
        assert_eq!(told["tier"], "autonomous");
        assert_eq!(told["shadow"]["tier"], "blocked");
        assert_eq!(told["shadow"]["winner"], shadow.winner().as_str());
        assert_eq!(told["shadow"]["line"], 3);
        assert_eq!(told["shadow"]["rule"], "rules[filesystem.read]");
        assert_eq!(told["shadow"]["reason"], "Not for agents");
        let explained =
            serde_json::to_value(set.explain(&call.query(), &RateCounters::default())).unwrap();
        assert_eq!(explained["shadow"], told["shadow"]);
    }
}

fn call_shadow(set: &PolicySet, path: &str) -> serde_json::Value {
    let call = read(path);
    serde_json::to_value(set.explanation_of(&call.query(), &call.verdict(set))).unwrap()["shadow"]
        .clone()
}

#[test]
fn it_tells_loosening_as_well_and_each_principal_of_its_own_file() {
    let set = set(&[
        ("alice", "mode: shadow\ndefaults: {tier: autonomous}"),
        ("bob", "defaults: {tier: notify}"),
        ("user", "mode: shadow\ndefaults: {tier: blocked}"),
    ]);
    let push = call("git.push", json!({"path": "."}));
    let shadow = |call: &Call| call.verdict(&set).shadow().map(|shadow| shadow.tier());
    assert_eq!(push.tier(&set), Tier::ApprovalRequired);
    assert_eq!(shadow(&push), Some(Tier::Autonomous));
    assert_eq!(shadow(&push.clone().by(Principal::agent("bob"))), None);
    let user = push.clone().by(Principal::user("me"));
    assert_eq!(shadow(&user), Some(Tier::Blocked));
    assert_eq!(shadow(&push.by(Principal::system())), None);
}

#[test]
fn two_decisions_that_differ_in_their_shadow_are_not_told_in_the_same_words() {
    let set = set(&[("org", STRICT)]);
    let reasons = |path: &str| read(path).verdict(&set).reasons().unwrap();
    assert_eq!(reasons("private/x"), reasons("private/y"));
    assert_ne!(reasons("private/x"), reasons("notes/x"));
}

#[test]
fn limits_in_shadow_run_out_beside_those_that_are_enforced() {
    let set = set(&[
        (
            "org",
            "mode: shadow\nrules: [{capability: system.time, tier: autonomous, rate_limit: {max: 2, window: 60}}]",
        ),
        (
            "alice",
            "rules: [{capability: system.time, tier: autonomous, rate_limit: {max: 4, window: 60, on_exceed: notify}}]",
        ),
    ]);
    let rates = RateCounters::default();
    let call = call("system.time", json!({}));
    let mut seen = Vec::new();
    for _ in 0..5 {
        let verdict = set.decide(&call.query(), &rates).unwrap();
        let limited = verdict.shadow().map(|shadow| shadow.rate_limited());
        seen.push((verdict.tier(), limited));
    }
    let (free, told) = (Tier::Autonomous, Some(true));
    assert_eq!(
        seen,
        [
            (free, None),
            (free, None),
            (free, told),
            (free, told),
            (Tier::Notify, told)
        ]
    );
    let stored = rates.snapshot(call.now);
    assert_eq!(stored.as_array().unwrap().len(), 1, "{stored}");
}

#[test]
fn what_is_enforced_cannot_rest_on_a_file_in_shadow_mode() {
    let mut files = sources(&[("alice", "name: x\nextends: base.yaml")]);
    files.shared.insert(
        "base.yaml".to_owned(),
        source("base.yaml", "mode: shadow\ndefaults: {tier: autonomous}"),
    );
    let found = compile(&files).unwrap_err();
    assert_eq!(
        found[0].to_string(),
        "policies/agents/alice.yaml:2:10: `base.yaml` is in shadow mode; a file that is enforced cannot extend it"
    );
    files
        .agents
        .get_mut("alice")
        .unwrap()
        .text
        .push_str("\nmode: shadow");
    assert!(compile(&files).is_ok());
}

#[test]
fn mistakes_in_a_shadow_file_are_mistakes() {
    assert!(problems("mode: shadow\nrules: [{capability: git.pusch, tier: notify}]")[0].fatal);
}

#[test]
fn a_shadow_file_changes_no_list_network_or_sandbox() {
    let shadow = "mode: shadow\nnetwork: {allow: [a.example], deny: [b.example]}\nsandbox: {pids: 3}\ndefaults: {tier: blocked}\n";
    let (with, without) = (set(&[("alice", shadow)]), set(&[]));
    let alice = Principal::agent("alice");
    assert_eq!(with.network_for(&alice), without.network_for(&alice));
    assert_eq!(with.sandbox_for(&alice), without.sandbox_for(&alice));
    assert_eq!(with.rules_for(&alice), without.rules_for(&alice));
    assert_eq!(with.default_tier(&alice), without.default_tier(&alice));
    for definition in kruxos_catalog::Catalog::builtin().all() {
        assert_eq!(
            with.listed_tier(&alice, definition),
            without.listed_tier(&alice, definition)
        );
    }
}

#[test]
fn a_decision_with_a_shadow_allocates_nothing_either() {
    let set = set(&[("org", STRICT)]);
    let (call, rates) = (read("private/x"), RateCounters::default());
    let query = call.query();
    drop(set.decide(&query, &rates));
    let counted = allocation_counter::measure(|| drop(set.decide(&query, &rates)));
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_in_shadow_mode_has_no_say(
        shadow in file(20), system in file(10), org in file(10), agent in file(10),
        layer in prop::sample::select(vec!["system", "org", "alice"]),
        calls in prop::collection::vec(any_call(), 1..12),
    ) {
        let limited = "\ncapabilities: {system.time: {tier: autonomous, rate_limit: {max: 2, window: 60}}}\n";
        let layers = [("system", system), ("org", org), ("alice", format!("{agent}{limited}"))];
        let others: Vec<(&str, &str)> =
            layers.iter().filter(|(name, _)| *name != layer).map(|(name, text)| (*name, text.as_str())).collect();
        let shadow = format!("mode: shadow\n{shadow}{limited}");
        let mut all = others.clone();
        all.push((layer, &shadow));
        let (with, without) = (set(&all), set(&others));
        let (rates, other_rates) = (RateCounters::default(), RateCounters::default());
        for call in &calls {
            match (with.decide(&call.query(), &rates), without.decide(&call.query(), &other_rates)) {
                (Ok(with_it), Ok(without_it)) => {
                    let seen = |set: &PolicySet, verdict| {
                        let mut told = serde_json::to_value(set.explanation_of(&call.query(), verdict)).unwrap();
                        told.as_object_mut().unwrap().remove("shadow");
                        told
                    };
                    prop_assert_eq!(seen(&with, &with_it), seen(&without, &without_it));
                }
                (left, right) => prop_assert_eq!(left.unwrap_err(), right.unwrap_err()),
            }
        }
        let now = calls[0].now;
        prop_assert_eq!(rates.snapshot(now), other_rates.snapshot(now));
    }
}
