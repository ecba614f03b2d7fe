use crate::world::{call, compile, read, run, set, sources};
use kruxos_policy::{PolicyLayer, RateCounters};
use kruxos_types::{Principal, Tier};
use serde_json::json;

const MAP: &str = r#"
name: team
version: "1.0"
description: text
extends: team-moderate
defaults: {tier: notify}
capabilities:
  filesystem.*: {tier: autonomous}
  filesystem.write:
    rules:
      - condition: {content_size_lt: 10240}
        tier: autonomous
      - condition: {content_size_gte: 10240}
        tier: approval_required
        reason: Large writes need a review
  email.send:
    tier: notify
    rate_limit: {max: 20, window: 3600, on_exceed: approval_required}
    reason: Sending is limited
  process.run:
    rules:
      - condition: {command_matches: "^(ls|cat)$"}
        tier: autonomous
    tier: approval_required
"#;

const LIST: &str = r#"
name: team
extends: team-moderate
defaults: {tier: notify}
rules:
  - match: {capability: "process.run"}
    conditions: {command_matches: "^(ls|cat)$"}
    tier: autonomous
  - capability: process.run
    tier: approval_required
  - match: {capability: "email.send"}
    tier: notify
    rate_limit: {max_per_hour: 20, escalate_to: approval_required}
  - {capability: filesystem.write, conditions: {content_size_lt: 10240}, tier: autonomous}
  - {capability: filesystem.write, conditions: {content_size_gte: 10240}, tier: approval_required}
  - {capability: filesystem.delete, tier: approval_required}
  - {capability: filesystem.*, tier: autonomous}
"#;

#[test]
fn both_spellings_decide_alike() {
    let (map, list) = (set(&[("alice", MAP)]), set(&[("alice", LIST)]));
    for (call, expected) in [
        (run("ls", &[]), Tier::Autonomous),
        (run("rm", &["x"]), Tier::ApprovalRequired),
        (read("a.txt"), Tier::Autonomous),
        (
            call(
                "filesystem.write",
                json!({"path": "a", "content": "x".repeat(10_239)}),
            ),
            Tier::Autonomous,
        ),
        (
            call(
                "filesystem.write",
                json!({"path": "a", "content": "x".repeat(10_240)}),
            ),
            Tier::ApprovalRequired,
        ),
        // From the template that the map extends; the map's `filesystem.*` is less specific.
        (
            call("filesystem.delete", json!({"path": "a"})),
            Tier::ApprovalRequired,
        ),
        (
            call("git.push", json!({"path": "a"})),
            Tier::ApprovalRequired,
        ),
        (
            call("git.commit", json!({"path": "a", "message": "m"})),
            Tier::Notify,
        ),
        (
            call(
                "email.send",
                json!({"to": "a@b", "subject": "s", "body": "b"}),
            ),
            Tier::Notify,
        ),
    ] {
        assert_eq!(call.tier(&map), expected, "map: {}", call.capability);
        assert_eq!(call.tier(&list), expected, "list: {}", call.capability);
    }
    for set in [&map, &list] {
        let (call, rates) = (
            call("email.send", json!({"to": "a@b"})),
            RateCounters::default(),
        );
        for _ in 0..20 {
            assert_eq!(
                set.decide(&call.query(), &rates).unwrap().tier(),
                Tier::Notify
            );
        }
        assert_eq!(
            set.decide(&call.query(), &rates).unwrap().tier(),
            Tier::ApprovalRequired
        );
    }
}

#[test]
fn an_agent_relaxes_its_template_but_no_ceiling() {
    let agent =
        "capabilities: {git.push: {tier: autonomous}, filesystem.delete: {tier: autonomous}}";
    let push = call("git.push", json!({"path": "."}));
    let delete = call("filesystem.delete", json!({"path": "x"}));
    let relaxed = set(&[("alice", agent)]);
    assert_eq!(push.tier(&relaxed), Tier::Autonomous);
    let org = "capabilities: {git.push: {tier: approval_required, reason: Release rules}}";
    let enforced = set(&[("alice", agent), ("org", org)]);
    assert_eq!(push.tier(&enforced), Tier::ApprovalRequired);
    assert_eq!(delete.tier(&enforced), Tier::Autonomous);
    let verdict = push.verdict(&enforced);
    assert_eq!(verdict.winner(), PolicyLayer::Organisation);
    assert_eq!(verdict.winner_reason(), Some("Release rules"));
    assert_eq!(verdict.winner_rule(), Some("capabilities.git.push"));
    assert_eq!(verdict.winner_place(), Some(("policies/org.yaml", 1)));
}

#[test]
fn the_system_and_the_organisation_can_leave_a_rule_to_nearer_layers() {
    let push = call("git.push", json!({"path": "."}));
    for org in [
        "enforce: baseline\ncapabilities: {git.push: {tier: blocked}}",
        "capabilities: {git.push: {tier: blocked, enforce: baseline}}",
        "defaults: {tier: blocked}",
    ] {
        let set = set(&[("org", org)]);
        // The template is nearer and answers.
        assert_eq!(push.tier(&set), Tier::ApprovalRequired, "{org}");
        // A person has no template; the organisation's baseline is then the nearest.
        assert_eq!(
            call("git.push", json!({"path": "."}))
                .by(Principal::user("eve"))
                .tier(&set),
            Tier::Blocked,
            "{org}"
        );
    }
}

#[test]
fn the_definition_answers_when_nothing_else_does() {
    let set = set(&[]);
    let by = |principal| call("filesystem.delete", json!({"path": "x"})).by(principal);
    assert_eq!(
        by(Principal::user("eve")).verdict(&set).winner(),
        PolicyLayer::Definition
    );
    assert_eq!(
        by(Principal::user("eve")).tier(&set),
        Tier::ApprovalRequired
    );
    let agent = by(Principal::agent("nobody-knows"));
    assert_eq!(
        agent.verdict(&set).winner(),
        PolicyLayer::Template,
        "unknown agents get a template"
    );
}

#[test]
fn the_gateway_itself_is_bound_by_the_built_in_protections_only() {
    let set = set(&[("system", "rules: [{capability: '*', tier: blocked}]")]);
    assert_eq!(
        read("x").by(Principal::system()).tier(&set),
        Tier::Autonomous
    );
    let write = call(
        "filesystem.write",
        json!({"path": "/etc/passwd", "content": ""}),
    );
    assert_eq!(write.by(Principal::system()).tier(&set), Tier::Blocked);
    assert_eq!(read("x").tier(&set), Tier::Blocked);
}

#[test]
fn the_first_rule_that_holds_answers_and_the_map_only_after_the_list() {
    let set = set(&[(
        "alice",
        r#"
capabilities:
  filesystem.read: {tier: blocked}
  "*": {tier: approval_required}
rules:
  - {capability: "filesystem.*", conditions: {path_prefix: notes}, tier: notify}
  - {capability: filesystem.read, conditions: {path_prefix: /workspace/notes/open}, tier: autonomous}
"#,
    )]);
    assert_eq!(
        read("notes/open/x").tier(&set),
        Tier::Notify,
        "the first rule of the list"
    );
    assert_eq!(
        read("other").tier(&set),
        Tier::Blocked,
        "the most specific entry"
    );
    assert_eq!(
        call("system.time", json!({})).tier(&set),
        Tier::ApprovalRequired
    );
}

#[test]
fn an_entry_without_an_answer_leaves_it_to_the_defaults() {
    let set = set(&[(
        "alice",
        r#"
defaults: {tier: blocked}
capabilities:
  filesystem.*: {tier: autonomous}
  filesystem.read: {rules: [{condition: {path_prefix: a}, tier: notify}]}
"#,
    )]);
    assert_eq!(read("a/x").tier(&set), Tier::Notify);
    assert_eq!(read("b/x").tier(&set), Tier::Blocked);
    assert_eq!(
        call("filesystem.stat", json!({"path": "b"})).tier(&set),
        Tier::Autonomous
    );
}

#[test]
fn an_explanation_names_every_layer_with_its_place() {
    let set = set(&[(
        "org",
        "capabilities:\n  filesystem.*: {tier: notify, reason: Seen by all}\n",
    )]);
    let call = read("x");
    let told = serde_json::to_value(set.explain(&call.query(), &RateCounters::default())).unwrap();
    assert_eq!(told["tier"], "notify");
    assert_eq!(told["winner"], "organisation");
    assert_eq!(told["generation"], 1);
    let names: Vec<_> = told["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["layer"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "built_in",
            "system",
            "organisation",
            "template",
            "agent",
            "definition"
        ]
    );
    let org = &told["layers"][2];
    assert_eq!(
        *org,
        json!({"layer": "organisation", "tier": "notify", "file": "policies/org.yaml", "line": 2,
               "rule": "capabilities.filesystem.*", "reason": "Seen by all", "force": "ceiling"})
    );
    assert_eq!(told["layers"][3]["file"], "policies/team-moderate.yaml");
    assert_eq!(told["layers"][4]["tier"], json!(null));
    let verdict = call.verdict(&set);
    let audit = serde_json::to_value(set.explanation_of(&call.query(), &verdict)).unwrap();
    assert_eq!(audit["layers"][2], *org);
    assert_eq!(audit["layers"][4], json!({"layer": "agent", "tier": null}));
}

#[test]
fn listing_shows_the_least_that_a_call_could_get_and_hides_what_is_always_blocked() {
    let agent = r#"
capabilities:
  filesystem.write: {rules: [{condition: {path_prefix: out}, tier: autonomous}], tier: blocked}
  filesystem.read: {rules: [{condition: {principal_type: user}, tier: autonomous}], tier: notify}
  git.push: {tier: autonomous}
"#;
    let set = set(&[
        (
            "org",
            "capabilities: {email.*: {tier: blocked}, git.push: {tier: approval_required}}",
        ),
        ("alice", agent),
    ]);
    let listed =
        |name: &str| set.listed_tier(&Principal::agent("alice"), crate::world::definition(name));
    assert_eq!(listed("filesystem.write"), Some(Tier::Autonomous));
    assert_eq!(
        listed("filesystem.read"),
        Some(Tier::Notify),
        "an agent is not a user"
    );
    assert_eq!(listed("git.push"), Some(Tier::ApprovalRequired));
    assert_eq!(listed("email.send"), None);
    assert_eq!(
        set.default_tier(&Principal::agent("alice")),
        Some(Tier::Notify)
    );
    let rules = set.rules_for(&Principal::agent("alice"));
    assert!(
        rules
            .iter()
            .any(|rule| rule["capability"] == "email.*" && rule["force"] == "ceiling")
    );
    assert_eq!(rules[0]["layer"], "built_in");
}

#[test]
fn sandbox_limits_only_tighten_and_the_network_is_closed_by_default() {
    let set = set(&[
        (
            "system",
            "sandbox: {memory_mb: 512, seccomp: strict}\nnetwork: {deny: [evil.example]}",
        ),
        (
            "alice",
            "sandbox: {memory_mb: 1024, pids: 50, network: none, seccomp: default}\n\
                   network: {allow: [API.example.com, '*.example.org:443', 'https://[::1]:8443', {host: nas.local, allow_private: true}]}",
        ),
    ]);
    let agent = Principal::agent("alice");
    let sandbox = serde_json::to_value(set.sandbox_for(&agent)).unwrap();
    assert_eq!(
        sandbox,
        json!({"memory_mb": 512, "cpu_percent": null, "pids": 50, "network": "none", "seccomp": "strict"})
    );
    let network = set.network_for(&agent);
    let hosts: Vec<_> = network
        .allow
        .iter()
        .map(|rule| {
            (
                rule.host.as_str(),
                rule.below,
                rule.port,
                rule.allow_private,
            )
        })
        .collect();
    assert_eq!(
        hosts,
        [
            ("api.example.com", false, None, false),
            ("example.org", true, Some(443), false),
            ("::1", false, Some(8443), false),
            ("nas.local", false, None, true),
        ]
    );
    assert_eq!(network.deny.len(), 1);
    assert!(set.network_for(&Principal::agent("bob")).allow.is_empty());
}

#[test]
fn an_unknown_policy_group_is_told_and_gets_the_safest_template() {
    let mut sources = sources(&[]);
    sources
        .groups
        .insert("alice".to_owned(), "personal-permisive".to_owned());
    sources
        .groups
        .insert("bob".to_owned(), "personal-permissive".to_owned());
    let (set, warnings) = compile(&sources).unwrap();
    assert!(
        warnings[0]
            .message
            .contains("did you mean `personal-permissive`"),
        "{warnings:?}"
    );
    let push = || call("git.push", json!({"path": "."}));
    assert_eq!(push().tier(&set), Tier::Blocked);
    assert_eq!(
        push().by(Principal::agent("bob")).tier(&set),
        Tier::ApprovalRequired
    );
}
