use crate::world::{Call, call, copy, read, run, set};
use kruxos_types::{Interface, Principal, Tier};
use serde_json::json;

/// Whether a rule with these conditions holds for a call.
fn holds(conditions: &str, call: &Call) -> bool {
    let text = format!(
        "rules: [{{capability: '*', conditions: {conditions}, tier: autonomous}}, {{capability: '*', tier: approval_required}}]"
    );
    call.tier(&set(&[("alice", &text)])) == Tier::Autonomous
}

#[track_caller]
fn table(conditions: &str, cases: Vec<(Call, bool)>) {
    for (call, expected) in cases {
        assert_eq!(
            holds(conditions, &call),
            expected,
            "{conditions} {} {:?}",
            call.capability,
            call.inputs
        );
    }
}

#[test]
fn path_prefixes_compare_normal_paths_by_components() {
    for conditions in [
        "{path_prefix: /workspace/notes}",
        "{path_prefix: notes}",
        "{path_prefix: ./notes/}",
        "{path_prefix: /srv/ws/alice/notes}",
    ] {
        table(
            conditions,
            vec![
                (read("notes"), true),
                (read("notes/a"), true),
                (read("./x/../notes//a"), true),
                (read("/workspace/notes/a"), true),
                (read("/srv/ws/alice/notes/a"), true),
                (read("/srv/ws/../ws/alice/./notes/a"), true),
                (read("notesx"), false),
                (read("notes/../secret"), false),
                (read("/notes/a"), false),
                (read("../bob/notes/a"), false),
                (read("/workspace/../workspace/notes"), true),
                (read("/workspacex/notes"), false),
                (call("system.time", json!({})), false),
            ],
        );
    }
    table(
        "{path_prefix: /}",
        vec![(read("a"), true), (read("/etc"), true)],
    );
    table(
        "{path_prefix: /workspace}",
        vec![
            (read("a"), true),
            (read(""), true),
            (read("../x"), false),
            (read("/srv/ws/alicex"), false),
        ],
    );
    table(
        "{path_prefix: [/mnt/data, docs]}",
        vec![
            (read("/mnt/data/x"), true),
            (read("docs/x"), true),
            (read("/mnt/x"), false),
        ],
    );
}

#[test]
fn every_path_of_a_call_must_satisfy_what_permits() {
    table(
        "{path_prefix: a}",
        vec![
            (copy("a/x", "a/y"), true),
            (copy("a/x", "b/y"), false),
            (copy("b/x", "a/y"), false),
        ],
    );
    table(
        "{path_not_prefix: a}",
        vec![
            (copy("b/x", "c/y"), true),
            (copy("a/x", "b/y"), false),
            (copy("b/x", "./c/../a/y"), false),
        ],
    );
    table(
        "{path_not_prefix: a}",
        vec![(call("system.time", json!({})), false)],
    );
}

#[test]
fn globs_match_inside_the_workspace_or_from_the_root() {
    table(
        "{path_glob: '**/*.md'}",
        vec![
            (read("a.md"), true),
            (read("x/y/a.md"), true),
            (read("a.txt"), false),
            (read("/etc/a.md"), false),
        ],
    );
    table(
        "{path_glob: '/workspace/*.md'}",
        vec![(read("a.md"), true), (read("x/a.md"), false)],
    );
    table(
        "{path_glob: '/mnt/*/x{1,2}'}",
        vec![
            (read("/mnt/a/x1"), true),
            (read("/mnt/a/../b/x2"), true),
            (read("/mnt/a/x3"), false),
        ],
    );
}

#[test]
fn content_is_measured_in_bytes() {
    let write = |content: &str| call("filesystem.write", json!({"path": "x", "content": content}));
    table(
        "{content_size_lt: 4}",
        vec![
            (write("abc"), true),
            (write("abcd"), false),
            (write("äö"), false),
            (read("x"), false),
        ],
    );
    table(
        "{content_size_lte: 4}",
        vec![(write("äö"), true), (write("abcde"), false)],
    );
    table(
        "{content_size_gt: 4}",
        vec![(write("abcd"), false), (write("abcde"), true)],
    );
    table(
        "{content_size_gte: 4}",
        vec![(write("abcd"), true), (write("abc"), false)],
    );
    table(
        "{content_size_gte: 4}",
        vec![(
            call("email.send", json!({"to": "a", "body": "long body"})),
            true,
        )],
    );
    table(
        "{content_size_gte: 2, content_size_lt: 3}",
        vec![
            (write("ab"), true),
            (write("abc"), false),
            (write("a"), false),
        ],
    );
}

#[test]
fn hosts_schemes_and_methods() {
    let get = |url: &str| call("network.http_request", json!({"url": url, "method": "get"}));
    table(
        "{domain_in: [api.example.com, '*.example.org']}",
        vec![
            (get("https://API.example.com./x"), true),
            (get("https://a.example.org"), true),
            (get("https://example.org"), false),
            (get("https://api.example.com.evil.net"), false),
            (get("https://evil.net/api.example.com"), false),
            (get("https://api.example.com@evil.net"), false),
            (read("x"), false),
            (
                call("network.dns_lookup", json!({"hostname": "API.example.COM"})),
                true,
            ),
        ],
    );
    table(
        "{domain_not_in: ['*.example.org']}",
        vec![
            (get("https://a.example.org"), false),
            (get("https://b.net"), true),
            (read("x"), false),
        ],
    );
    table(
        "{url_scheme_in: [https]}",
        vec![(get("HTTPS://b.net"), true), (get("http://b.net"), false)],
    );
    table(
        "{method_in: [GET, HEAD]}",
        vec![
            (get("https://b.net"), true),
            (
                call(
                    "network.http_request",
                    json!({"url": "https://b.net", "method": "POST"}),
                ),
                false,
            ),
        ],
    );
}

#[test]
fn commands_and_arguments() {
    table(
        "{command_in: [ls, cat]}",
        vec![
            (run("ls", &[]), true),
            (run("lsx", &[]), false),
            (run("/bin/ls", &[]), false),
            (read("ls"), false),
        ],
    );
    table(
        "{command_matches: '^(ls|cat)$'}",
        vec![
            (run("cat", &[]), true),
            (run("cat\n", &[]), false),
            (run("concat", &[]), false),
        ],
    );
    table(
        "{command_matches: '^git$', args_match: '^(status|log)( |$)'}",
        vec![
            (run("git", &["status"]), true),
            (run("git", &["log", "-1"]), true),
            (run("git", &["push"]), false),
            (run("git", &[]), false),
        ],
    );
    table(
        "{args_match: '^$'}",
        vec![(run("x", &[]), true), (read("x"), false)],
    );
}

#[test]
fn inputs_are_compared_as_json() {
    let list = |limit: serde_json::Value| {
        call(
            "filesystem.read",
            json!({"path": "x", "limit": limit, "encoding": "utf-8"}),
        )
    };
    table(
        "{input_equals: {encoding: utf-8, limit: 5}}",
        vec![
            (list(json!(5)), true),
            (list(json!(5.0)), true),
            (list(json!("5")), false),
            (read("x"), false),
        ],
    );
    table(
        "{input_in: {limit: [1, 2]}}",
        vec![(list(json!(2)), true), (list(json!(3)), false)],
    );
    table(
        "{input_lt: {limit: 10}}",
        vec![
            (list(json!(9)), true),
            (list(json!(10)), false),
            (list(json!("9")), false),
            (read("x"), false),
        ],
    );
    table(
        "{input_gt: {limit: 10}}",
        vec![(list(json!(11)), true), (list(json!(10)), false)],
    );
}

#[test]
fn times_may_cross_midnight_and_exclude_their_end() {
    let at = |time: &str| read("x").at(&format!("2026-03-04T{time}Z"));
    table(
        "{time_of_day: '08:00-18:00'}",
        vec![
            (at("08:00:00"), true),
            (at("17:59:59"), true),
            (at("18:00:00"), false),
            (at("07:59:59"), false),
        ],
    );
    table(
        "{time_of_day: '22:00-06:00'}",
        vec![
            (at("22:00:00"), true),
            (at("00:00:00"), true),
            (at("05:59:59"), true),
            (at("06:00:00"), false),
            (at("12:00:00"), false),
        ],
    );
    table(
        "{time_of_day: ['00:00-01:00', '23:00-24:00']}",
        vec![
            (at("23:59:59"), true),
            (at("00:30:00"), true),
            (at("01:00:00"), false),
        ],
    );
    let on = |date: &str| read("x").at(&format!("{date}T12:00:00Z"));
    table(
        "{weekday_in: [wed, Friday]}",
        vec![
            (on("2026-03-04"), true),
            (on("2026-03-06"), true),
            (on("2026-03-05"), false),
        ],
    );
    table(
        "{weekday_in: [thu]}",
        vec![
            (on("1970-01-01"), true),
            (on("1969-12-25"), true),
            (on("1969-12-26"), false),
        ],
    );
}

#[test]
fn callers_and_doors() {
    table("{principal_type: agent}", vec![(read("x"), true)]);
    table("{principal_type: [user, system]}", vec![(read("x"), false)]);
    table(
        "{interface_in: [scheduler, autonomous]}",
        vec![
            (read("x").through(Interface::Scheduler), true),
            (read("x").through(Interface::Autonomous), true),
            (read("x"), false),
        ],
    );
    let system = set(&[(
        "system",
        "rules: [{capability: '*', condition: {principal_type: user}, tier: blocked}]",
    )]);
    assert_eq!(
        read("x").by(Principal::user("eve")).tier(&system),
        Tier::Blocked
    );
    assert_eq!(read("x").tier(&system), Tier::Autonomous);
}

#[test]
fn a_long_list_answers_like_a_short_one() {
    let mut rules = String::from(
        "rules:\n  - {capability: 'filesystem.*', condition: {content_size_gt: 100}, tier: blocked}\n",
    );
    for number in 0..200 {
        rules.push_str(&format!("  - {{capability: filesystem.read, condition: {{path_prefix: [a/b{number}, /mnt/m{number}]}}, tier: approval_required}}\n"));
    }
    rules
        .push_str("  - {capability: filesystem.read, condition: {path_prefix: a}, tier: notify}\n");
    rules.push_str("  - {capability: filesystem.read, condition: {path_prefix: a/b1/c, path_glob: '**/*.md'}, tier: blocked}\n");
    rules.push_str("  - {capability: filesystem.read, condition: {input_equals: {encoding: base64}}, tier: notify}\n");
    rules.push_str("  - {capability: filesystem.read, tier: autonomous}\n");
    let set = set(&[("alice", &rules)]);
    for (path, expected) in [
        ("a/b7/x", Tier::ApprovalRequired),
        ("a/b77", Tier::ApprovalRequired),
        ("a/b1/c/d.md", Tier::ApprovalRequired),
        ("/mnt/m199/x", Tier::ApprovalRequired),
        ("a/bx", Tier::Notify),
        ("a", Tier::Notify),
        ("b", Tier::Autonomous),
        ("/mnt/m1999", Tier::Autonomous),
        ("", Tier::Autonomous),
    ] {
        assert_eq!(read(path).tier(&set), expected, "{path}");
    }
    let base64 = call(
        "filesystem.read",
        json!({"path": "b", "encoding": "base64"}),
    );
    assert_eq!(base64.tier(&set), Tier::Notify);
}
