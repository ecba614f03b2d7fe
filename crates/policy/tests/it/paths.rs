//! Calls with several paths: one path is enough for a rule that restricts, all are needed for one
//! that permits.

use crate::world::{Call, call, copy, problems, read, set};
use kruxos_policy::{RateCounters, Touched};
use kruxos_types::Tier;
use serde_json::json;

#[track_caller]
fn tiers(files: &[(&str, &str)], cases: &[(Call, Tier)]) {
    let set = set(files);
    for (call, expected) in cases {
        assert_eq!(call.tier(&set), *expected, "{:?}", call.inputs);
    }
}

#[test]
fn a_copy_out_of_or_into_a_blocked_directory_is_blocked() {
    let rule = "{capability: 'filesystem.*', conditions: {path_prefix: secret}, tier: blocked}";
    let file = format!("rules: [{rule}]");
    let free = "defaults: {tier: autonomous}";
    let cases = [
        (copy("secret/key", "public/key"), Tier::Blocked),
        (copy("public/key", "secret/key"), Tier::Blocked),
        (copy("secret/a", "secret/b"), Tier::Blocked),
        (copy("public/a", "public/b"), Tier::Autonomous),
        (
            call(
                "filesystem.move",
                json!({"source": "./x/../secret/key", "destination": "public"}),
            ),
            Tier::Blocked,
        ),
    ];
    for layer in ["system", "org"] {
        tiers(&[(layer, &file), ("alice", free)], &cases);
    }
    tiers(&[("alice", &format!("{free}\nrules: [{rule}]"))], &cases);
}

#[test]
fn path_conditions_of_one_rule_are_about_one_path() {
    let file = "defaults: {tier: autonomous}\nrules: [{capability: 'filesystem.*', tier: approval_required, \
                conditions: {path_prefix: a, path_not_prefix: a/public, path_glob: '**/*.key'}}]";
    tiers(
        &[("alice", file)],
        &[
            (copy("a/x.key", "b/x.key"), Tier::ApprovalRequired),
            (copy("b/x.key", "a/x.key"), Tier::ApprovalRequired),
            // Below `a`, not below `a/public`, and a key: but never the same path.
            (copy("a/public/x.key", "b/x.key"), Tier::Autonomous),
            (copy("a/x.txt", "b/x.key"), Tier::Autonomous),
            (copy("a/x.txt", "a/public/x.key"), Tier::Autonomous),
        ],
    );
}

#[test]
fn whatever_leaves_a_place_is_held_though_its_other_end_is_inside() {
    let file = "defaults: {tier: autonomous}\nrules: [{capability: 'filesystem.*', conditions: {path_not_prefix: /workspace}, tier: blocked}]";
    tiers(
        &[("alice", file)],
        &[
            (copy("a", "/mnt/out"), Tier::Blocked),
            (copy("/mnt/in", "a"), Tier::Blocked),
            (copy("a", "b"), Tier::Autonomous),
        ],
    );
}

#[test]
fn a_rule_that_matches_one_path_never_hides_a_stricter_one_for_the_other() {
    let rules = "
  - {capability: filesystem.copy, conditions: {path_prefix: waits}, tier: approval_required}
  - {capability: filesystem.copy, conditions: {path_prefix: never}, tier: blocked}
  - {capability: filesystem.copy, conditions: {path_prefix: free}, tier: autonomous}
  - {capability: filesystem.copy, tier: notify}
";
    let cases = [
        (copy("waits/a", "never/a"), Tier::Blocked),
        (copy("never/a", "waits/a"), Tier::Blocked),
        (copy("free/a", "never/a"), Tier::Blocked),
        (copy("waits/a", "free/a"), Tier::ApprovalRequired),
        (copy("free/a", "free/b"), Tier::Autonomous),
        (copy("free/a", "b"), Tier::Notify),
    ];
    tiers(&[("alice", &format!("rules:{rules}"))], &cases);
    // As ceilings too, and there a permissive rule is no way past the next one.
    let free = "defaults: {tier: autonomous}";
    tiers(
        &[("org", &format!("rules:{rules}")), ("alice", free)],
        &cases,
    );
}

#[test]
fn an_exemption_holds_for_its_path_only() {
    let file = "defaults: {tier: autonomous}\nrules:
  - {capability: filesystem.copy, conditions: {path_prefix: secret/shared}, tier: notify}
  - {capability: filesystem.copy, conditions: {path_prefix: secret}, tier: blocked}
";
    tiers(
        &[("alice", file)],
        &[
            (copy("secret/shared/a", "secret/shared/b"), Tier::Notify),
            (copy("secret/shared/a", "public/b"), Tier::Notify),
            (copy("secret/shared/a", "secret/b"), Tier::Blocked),
        ],
    );
}

#[test]
fn two_free_places_are_not_free_between_each_other() {
    let file = "defaults: {tier: approval_required}\nrules:
  - {capability: filesystem.copy, conditions: {path_prefix: a}, tier: autonomous}
  - {capability: filesystem.copy, conditions: {path_prefix: b}, tier: autonomous}
";
    tiers(
        &[("alice", file)],
        &[
            (copy("a/x", "a/y"), Tier::Autonomous),
            (copy("b/x", "b/y"), Tier::Autonomous),
            (copy("a/x", "b/y"), Tier::ApprovalRequired),
        ],
    );
}

#[test]
fn a_nearer_baseline_for_one_path_does_not_loosen_the_other() {
    let system = "enforce: baseline\nrules: [{capability: 'filesystem.*', tier: blocked}]";
    for own in ["approval_required", "autonomous"] {
        let user = format!(
            "rules: [{{capability: 'filesystem.*', conditions: {{path_prefix: mine}}, tier: {own}}}]"
        );
        let set = set(&[("system", system), ("user", &user)]);
        let by_user = |call: Call| call.by(kruxos_types::Principal::user("eve"));
        assert_eq!(by_user(copy("mine/a", "mine/b")).tier(&set).as_str(), own);
        assert_eq!(by_user(copy("mine/a", "b")).tier(&set), Tier::Blocked);
        assert_eq!(by_user(copy("a", "mine/b")).tier(&set), Tier::Blocked);
    }
}

#[test]
fn a_limit_on_one_place_counts_what_is_copied_out_of_it() {
    let file = "defaults: {tier: autonomous}\nrules:
  - {capability: filesystem.copy, conditions: {path_prefix: a}, tier: notify, rate_limit: {max: 1, window: 60, on_exceed: blocked}}
";
    let set = set(&[("alice", file)]);
    let rates = RateCounters::default();
    let out = copy("a/x", "b/x");
    assert_eq!(
        set.decide(&out.query(), &rates).unwrap().tier(),
        Tier::Notify
    );
    assert_eq!(
        set.decide(&out.query(), &rates).unwrap().tier(),
        Tier::Blocked
    );
}

#[test]
fn a_path_that_no_input_names_counts_like_one_that_is() {
    let file = "defaults: {tier: autonomous}\nrules: [{capability: filesystem.restore, conditions: {path_prefix: secret}, tier: blocked}]";
    let set = set(&[("alice", file)]);
    let restore = |from: &str| {
        let mut call = call(
            "filesystem.restore",
            json!({"trash_path": "/trash/d0193f2a4b7c-abcdefghij23"}),
        );
        call.touches = vec![Touched {
            name: "restored_path",
            path: from.to_owned(),
        }];
        call
    };
    assert_eq!(restore("/workspace/secret/x").tier(&set), Tier::Blocked);
    assert_eq!(restore("/workspace/public/x").tier(&set), Tier::Autonomous);
    // System paths are protected without any rule.
    assert_eq!(restore("/etc/passwd").tier(&set), Tier::Blocked);
    // Where the entry is put back is the call's one path, so no layer has to say which it means.
    let told = set.explain(&restore("secret/x").query(), &RateCounters::default());
    assert_eq!(told.tier, Tier::Blocked);
    assert_eq!(told.layers[4].path, None);
}

#[test]
fn the_explanation_names_the_path_that_decided() {
    let org = "rules: [{capability: 'filesystem.*', conditions: {path_prefix: secret}, tier: blocked, reason: Keys stay}]";
    let set = set(&[("org", org)]);
    let told = |call: &Call| set.explain(&call.query(), &RateCounters::default());
    let out = told(&copy("public/a", "secret/a"));
    let layer = &out.layers[2];
    assert_eq!(out.winner, "organisation");
    assert_eq!(layer.path.as_deref(), Some("destination"));
    assert_eq!(
        told(&copy("secret/a", "b")).layers[2].path.as_deref(),
        Some("source")
    );
    assert_eq!(told(&copy("secret/a", "secret/b")).layers[2].path, None);
    assert_eq!(told(&read("secret/a")).layers[2].path, None);

    let query = copy("public/a", "secret/a");
    let query = query.query();
    let verdict = set.decide(&query, &RateCounters::default()).unwrap();
    let audited = serde_json::to_value(set.explanation_of(&query, &verdict)).unwrap();
    assert_eq!(audited["layers"][2]["path"], "destination", "{audited}");

    let rules = set.rules_for(&kruxos_types::Principal::agent("alice"));
    let rule = rules
        .iter()
        .find(|rule| rule["layer"] == "organisation")
        .unwrap();
    assert_eq!(rule["paths"], "any");
}

#[test]
fn examples_of_a_rule_follow_the_same_reading() {
    let example = |tier: &str, kind: &str| {
        format!(
            "rules: [{{capability: filesystem.copy, conditions: {{path_prefix: a}}, tier: {tier}, \
             examples: {{{kind}: [{{source: a/x, destination: b/x}}]}}}}]"
        )
    };
    let fatal = |text: &str| problems(text).iter().any(|problem| problem.fatal);
    assert!(!fatal(&example("blocked", "match")));
    assert!(fatal(&example("blocked", "no_match")));
    assert!(!fatal(&example("autonomous", "no_match")));
    assert!(fatal(&example("autonomous", "match")));
}
