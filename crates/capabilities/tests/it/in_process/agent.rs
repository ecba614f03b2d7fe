use super::bed::{Bed, QUOTA};
use kruxos_types::Principal;
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn whoami_comes_from_the_session() {
    let bed = Bed::new();
    let me = bed.ok("agent.whoami", json!({}));
    assert_eq!(me["agent_name"], "tester");
    assert_eq!(me["purpose"], "tests");
    assert_eq!(me["created_at"], "2029-12-31T00:00:00Z");
    let error = bed.fail(
        "agent.whoami",
        json!({"agent_name": "root"}),
        "InvalidInput",
    );
    assert!(
        error["context"]["field"]
            .as_str()
            .unwrap()
            .contains("agent_name")
    );
}

#[test]
fn session_counts_time_and_state() {
    let bed = Bed::new();
    bed.clock.advance(Duration::from_secs(90));
    bed.ok("state.session.set", json!({"key": "key", "value": "four"}));
    bed.ok("state.persistent.set", json!({"key": "a", "value": [1, 2]}));
    let session = bed.ok("agent.session", json!({}));
    assert_eq!(session["session_id"], "ses_test");
    assert_eq!(session["duration_seconds"], 90);
    assert_eq!(session["invocation_count"], 4);
    // Three bytes of key, six of JSON.
    assert_eq!(session["resource_usage"]["session_state_bytes"], 9);
    assert_eq!(session["resource_usage"]["persistent_state_keys"], 1);
    let quota = &session["state_quota"];
    assert_eq!(quota["session_free_bytes"], 50 * 1024 * 1024 - 9);
    assert_eq!(quota["persistent_limit_bytes"], QUOTA);
    assert!(quota["persistent_free_bytes"].as_u64().unwrap() < QUOTA);

    let user = bed.ok_as(Principal::user("ada"), "agent.session", json!({}));
    assert_eq!(user["state_quota"]["persistent_limit_bytes"], Value::Null);
    assert_eq!(user["resource_usage"]["persistent_state_keys"], Value::Null);
}

#[test]
fn policy_shows_the_agents_own_rules() {
    let bed = Bed::with_policy("  alerts.*: {tier: blocked}\n");
    let policy = bed.ok("agent.policy", json!({}));
    assert_eq!(policy["policy_group"], "personal-standard");
    let rules = policy["rules"].as_array().unwrap();
    let own = rules
        .iter()
        .find(|rule| rule["layer"] == "agent")
        .expect("the agent's rule");
    assert_eq!(own["capability"], "alerts.*");
    assert_eq!(own["tier"], "blocked");
    assert!(policy["default_tier"].is_string());
}

#[test]
fn very_many_rules_are_cut_with_a_note() {
    let rule = |n| format!("      - {{condition: {{content_size_lt: {n}}}, tier: autonomous}}\n");
    let rules: String = (1..=700).map(rule).collect();
    let rules = format!("  filesystem.write:\n    rules:\n{rules}");
    let bed = Bed::with_policy(&rules);
    let policy = bed.ok("agent.policy", json!({}));
    let rules = policy["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 501);
    assert!(rules[500]["note"].as_str().unwrap().contains("more rules"));
}

#[test]
fn capabilities_leaves_out_what_is_blocked_or_not_built() {
    let bed = Bed::with_policy("  \"*\": {tier: autonomous}\n  alerts.*: {tier: blocked}\n");
    let all = bed.ok("agent.capabilities", json!({}));
    let names: Vec<&str> = all["capabilities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(all["total"], names.len());
    assert!(names.contains(&"system.time") && names.contains(&"filesystem.read"));
    assert!(
        !names.iter().any(|name| name.starts_with("alerts.")),
        "blocked"
    );
    assert!(!names.contains(&"email.send"), "planned");
    assert!(names.is_sorted());

    let some = bed.ok("agent.capabilities", json!({"category": "state"}));
    assert_eq!(some["total"], 11);
    let none = bed.ok("agent.capabilities", json!({"category": "alerts"}));
    assert_eq!(none["total"], 0);
    let error = bed.fail(
        "agent.capabilities",
        json!({"category": "files"}),
        "InvalidInput",
    );
    let expected = error["context"]["expected"].as_str().unwrap();
    assert!(
        expected.contains("filesystem") && expected.contains("state"),
        "{expected}"
    );
}
