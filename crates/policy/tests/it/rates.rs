use crate::world::{Call, call, set};
use kruxos_policy::{PolicySet, RateCounters};
use kruxos_types::{Principal, Tier};
use serde_json::json;

fn send(at: &str) -> Call {
    call("email.send", json!({"to": "a@b"})).at(at)
}

/// Tiers of calls at these times; `None` for a refusal.
fn tiers(set: &PolicySet, rates: &RateCounters, times: &[&str]) -> Vec<Option<Tier>> {
    times
        .iter()
        .map(|at| {
            set.decide(&send(at).query(), rates)
                .ok()
                .map(|verdict| verdict.tier())
        })
        .collect()
}

fn limited(rate: &str) -> PolicySet {
    set(&[(
        "alice",
        &format!("capabilities: {{email.send: {{tier: notify, rate_limit: {rate}}}}}"),
    )])
}

#[test]
fn a_window_slides() {
    let (set, rates) = (
        limited("{max: 2, window: 60, on_exceed: approval_required}"),
        RateCounters::default(),
    );
    let found = tiers(
        &set,
        &rates,
        &[
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:30Z",
            "2026-01-01T00:00:59Z",
            "2026-01-01T00:01:00Z",
            "2026-01-01T00:01:01Z",
            "2026-01-01T00:01:30Z",
        ],
    );
    use Tier::{ApprovalRequired as Held, Notify};
    assert_eq!(
        found,
        [
            Some(Notify),
            Some(Notify),
            Some(Held),
            Some(Notify),
            Some(Held),
            Some(Notify)
        ]
    );
}

#[test]
fn a_limit_without_a_tier_refuses_and_says_when_to_come_back() {
    let (set, rates) = (limited("{max_per_minute: 2}"), RateCounters::default());
    assert_eq!(
        tiers(
            &set,
            &rates,
            &["2026-01-01T00:00:00Z", "2026-01-01T00:00:10.5Z"]
        )
        .len(),
        2
    );
    let refusal = set
        .decide(&send("2026-01-01T00:00:20Z").query(), &rates)
        .unwrap_err();
    assert_eq!(
        (
            refusal.used,
            refusal.max,
            refusal.window_seconds,
            refusal.retry_after_seconds
        ),
        (2, 2, 60, 40)
    );
    let told = set.explain(&send("2026-01-01T00:00:20Z").query(), &rates);
    assert_eq!(told.refusal, Some(refusal));
    assert!(
        set.decide(&send("2026-01-01T00:01:00Z").query(), &rates)
            .is_ok(),
        "waiting that long is enough"
    );
}

#[test]
fn explaining_counts_nothing_and_principals_count_apart() {
    let (set, rates) = (
        set(&[(
            "org",
            "capabilities: {email.send: {tier: autonomous, rate_limit: {max: 1, window: 60}}}",
        )]),
        RateCounters::default(),
    );
    let now = "2026-01-01T00:00:00Z";
    for _ in 0..5 {
        assert_eq!(
            set.explain(&send(now).query(), &rates).rate.unwrap().used,
            0
        );
    }
    assert_eq!(
        set.decide(&send(now).query(), &rates)
            .unwrap()
            .rate()
            .unwrap()
            .used,
        1
    );
    assert!(set.decide(&send(now).query(), &rates).is_err());
    assert!(
        set.decide(&send(now).by(Principal::agent("bob")).query(), &rates)
            .is_ok()
    );
    assert!(
        set.decide(&send(now).by(Principal::user("alice")).query(), &rates)
            .is_ok(),
        "a user of the same name is another principal"
    );
}

#[test]
fn several_ceilings_count_and_a_refused_call_counts_nowhere() {
    let set = set(&[
        (
            "system",
            "rules: [{capability: 'email.*', tier: autonomous, rate_limit: {max: 3, window: 60}}]",
        ),
        (
            "org",
            "rules: [{capability: email.send, tier: autonomous, rate_limit: {max: 1, window: 10}}]",
        ),
    ]);
    let rates = RateCounters::default();
    let found = tiers(
        &set,
        &rates,
        &[
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:01Z",
            "2026-01-01T00:00:02Z",
            "2026-01-01T00:00:10Z",
            "2026-01-01T00:00:20Z",
            "2026-01-01T00:00:30Z",
        ],
    );
    // Two refusals by the inner limit leave the outer one at 1; the sixth call meets the outer limit.
    let answered: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(answered, [true, false, false, true, true, false]);
    let refusal = set
        .decide(&send("2026-01-01T00:00:31Z").query(), &rates)
        .unwrap_err();
    assert_eq!(refusal.max, 3);
}

#[test]
fn a_blocked_call_does_not_use_up_a_limit() {
    let set = set(&[
        (
            "system",
            "rules: [{capability: email.send, tier: autonomous, rate_limit: {max: 1, window: 60}}]",
        ),
        (
            "org",
            "rules: [{capability: email.send, condition: {input_equals: {to: evil}}, tier: blocked}]",
        ),
    ]);
    let rates = RateCounters::default();
    let evil = call("email.send", json!({"to": "evil"})).at("2026-01-01T00:00:00Z");
    for _ in 0..3 {
        assert_eq!(
            set.decide(&evil.query(), &rates).unwrap().tier(),
            Tier::Blocked
        );
    }
    assert!(
        set.decide(&send("2026-01-01T00:00:00Z").query(), &rates)
            .is_ok()
    );
    assert_eq!(
        set.decide(&evil.query(), &rates).unwrap().tier(),
        Tier::Blocked,
        "blocked wins over a refusal"
    );
}

#[test]
fn a_template_limit_is_not_asked_once_the_agent_has_an_answer() {
    let rates = RateCounters::default();
    let set = set(&[("alice", "capabilities: {email.send: {tier: autonomous}}")]);
    for _ in 0..40 {
        assert_eq!(
            set.decide(&send("2026-01-01T00:00:00Z").query(), &rates)
                .unwrap()
                .tier(),
            Tier::Autonomous
        );
    }
}

#[test]
fn an_entrys_limit_covers_its_rules() {
    let set = set(&[(
        "alice",
        "capabilities: {email.send: {rules: [{condition: {input_equals: {to: 'a@b'}}, tier: autonomous}], tier: notify, rate_limit: {max: 1, window: 60}}}",
    )]);
    let rates = RateCounters::default();
    let found = tiers(
        &set,
        &rates,
        &["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"],
    );
    assert_eq!(found, [Some(Tier::Autonomous), None]);
    let other = call("email.send", json!({"to": "c"})).at("2026-01-01T00:00:02Z");
    assert!(set.decide(&other.query(), &rates).is_err());
}

#[test]
fn a_clock_that_goes_back_frees_nothing() {
    let (set, rates) = (limited("{max: 2, window: 60}"), RateCounters::default());
    let found = tiers(
        &set,
        &rates,
        &[
            "2026-01-01T12:00:00Z",
            "2026-01-01T11:00:00Z",
            "2026-01-01T11:30:00Z",
            "2026-01-01T12:00:59Z",
            "2026-01-01T12:01:00Z",
        ],
    );
    let answered: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(answered, [true, true, false, false, true]);
    let extreme = RateCounters::default();
    for at in [
        "9999-12-30T00:00:00Z",
        "-009990-01-01T00:00:00Z",
        "9999-12-30T00:00:00Z",
    ] {
        drop(set.decide(&send(at).query(), &extreme));
    }
    assert!(
        set.decide(&send("2026-01-01T12:00:00Z").query(), &extreme)
            .is_err()
    );
}

#[test]
fn counters_survive_a_restart_and_a_reload() {
    let rate = "{max: 3, window: 3600}";
    let (before, rates) = (limited(rate), RateCounters::default());
    drop(tiers(
        &before,
        &rates,
        &["2026-01-01T00:00:00Z", "2026-01-01T00:10:00Z"],
    ));
    let now = "2026-01-01T00:20:00Z".parse().unwrap();
    let stored: serde_json::Value = serde_json::from_str(&rates.snapshot(now).to_string()).unwrap();
    let restored = RateCounters::restore(&stored, now);
    // The file was edited meanwhile: another rule came above.
    let after = set(&[(
        "alice",
        &format!(
            "rules: [{{capability: git.push, tier: notify}}]\ncapabilities: {{email.send: {{tier: notify, rate_limit: {rate}}}}}"
        ),
    )]);
    let found = tiers(
        &after,
        &restored,
        &[
            "2026-01-01T00:20:00Z",
            "2026-01-01T00:59:59Z",
            "2026-01-01T01:00:00Z",
        ],
    );
    assert_eq!(
        found.iter().map(Option::is_some).collect::<Vec<_>>(),
        [true, false, true]
    );
    let late = RateCounters::restore(&stored, "2026-01-02T00:00:00Z".parse().unwrap());
    assert_eq!(
        late.snapshot("2026-01-02T00:00:00Z".parse().unwrap()),
        json!([]),
        "what no longer counts is not kept"
    );
}

#[test]
fn a_snapshot_that_does_not_parse_is_dropped_entry_by_entry() {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    for bad in [
        json!(null),
        json!("x"),
        json!({}),
        json!([1, {"rule": 3}, {"rule": "r", "principal": {"type": "agent", "name": "a"}, "length": -5, "groups": [{"first": 9, "last": i64::MAX, "calls": u32::MAX}]}]),
    ] {
        let restored = RateCounters::restore(&bad, now);
        assert_eq!(restored.snapshot(now), json!([]), "{bad}");
    }
    // A clock that was wrong before the restart does not hold a limit for ever.
    let future = json!([{"rule": "agent:policies/agents/alice.yaml:capabilities.email.send", "principal": {"type": "agent", "name": "alice"}, "length": 60_000, "groups": [{"first": 1, "last": i64::MAX, "calls": 2}]}]);
    let restored = RateCounters::restore(&future, now);
    let set = limited("{max: 2, window: 60}");
    let found = tiers(
        &set,
        &restored,
        &["2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"],
    );
    assert_eq!(
        found.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn a_large_limit_is_kept_in_few_groups_and_never_frees_early() {
    let (set, rates) = (limited("{max: 1000, window: 640}"), RateCounters::default());
    let start: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let at = |seconds: i64| start + jiff::SignedDuration::from_secs(seconds);
    let mut call = send("2026-01-01T00:00:00Z");
    for second in 0..500 {
        call.now = at(second);
        set.decide(&call.query(), &rates).unwrap();
        set.decide(&call.query(), &rates).unwrap();
    }
    call.now = at(500);
    assert!(set.decide(&call.query(), &rates).is_err());
    call.now = at(639);
    assert!(
        set.decide(&call.query(), &rates).is_err(),
        "the first call still counts"
    );
    call.now = at(640 + 10);
    assert!(
        set.decide(&call.query(), &rates).is_ok(),
        "one group later it does not"
    );
    let stored = rates.snapshot(at(650));
    assert!(
        stored[0]["groups"].as_array().unwrap().len() <= 66,
        "{stored}"
    );
}

#[test]
fn threads_never_get_more_than_the_limit() {
    let (set, rates) = (limited("{max: 100, window: 60}"), RateCounters::default());
    let admitted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let call = send("2026-01-01T00:00:00Z");
                    (0..60)
                        .filter(|_| set.decide(&call.query(), &rates).is_ok())
                        .count()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(admitted, 100);
}
