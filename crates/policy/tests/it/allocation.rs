use crate::world::{call, copy, read, run, set};
use kruxos_policy::RateCounters;
use serde_json::json;

/// The promise of the hot path: a decision allocates nothing once its caches are warm.
#[test]
fn a_decision_allocates_nothing() {
    let mut agent = String::from("rules:\n");
    for number in 0..500 {
        agent.push_str(&format!(
            "  - {{capability: filesystem.read, conditions: {{path_prefix: /workspace/p{number}/q}}, tier: autonomous}}\n"
        ));
    }
    agent.push_str(
        "  - {capability: process.run, conditions: {command_matches: '^(ls|cat)$', args_match: '^-l'}, tier: autonomous}\n\
         capabilities:\n  system.time: {tier: autonomous, rate_limit: {max: 1000, window: 60, on_exceed: notify}}\n  \
         network.http_request: {rules: [{condition: {domain_in: ['*.example.org']}, tier: notify}], tier: blocked}\n",
    );
    let org = "rules:\n  - {match: {capability: 'filesystem.*'}, conditions: {path_prefix: /srv/other}, tier: blocked}\n";
    let set = set(&[("org", org), ("alice", &agent)]);
    let rates = RateCounters::default();
    let calls = [
        read("p499/q/notes/todo.md"),
        read("/workspace/elsewhere/./x/../notes.md"),
        copy("p1/q/a", "p2/b"),
        run("ls", &["-l", "src"]),
        call("system.time", json!({})),
        call(
            "network.http_request",
            json!({"url": "https://api.example.org/v1", "method": "GET"}),
        ),
    ];
    for call in &calls {
        let query = call.query();
        for _ in 0..3 {
            set.decide(&query, &rates).unwrap();
        }
        let counted = allocation_counter::measure(|| {
            set.decide(&query, &rates).unwrap();
        });
        assert_eq!(counted.count_total, 0, "{}: {counted:?}", call.capability);
    }
}

/// The meter itself must see an allocation, or the test above could not fail.
#[test]
fn the_meter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 100])));
    assert_eq!(counted.count_total, 1);
}
