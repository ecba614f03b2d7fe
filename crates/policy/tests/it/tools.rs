//! Policy test files, differences and simulations.

use crate::world::{definition, set, source, sources};
use jiff::{SignedDuration, Timestamp};
use kruxos_catalog::Catalog;
use kruxos_policy::Diagnostic;
use kruxos_policy::diff::{Diff, compare};
use kruxos_policy::simulate::{Recorded, Replayed, Simulation};
use kruxos_policy::testing::{Report, Unreadable, junit, run};
use kruxos_types::{Interface, Principal, Tier};
use serde_json::{Value, json};

fn tested(text: &str) -> Result<Report, Vec<Diagnostic>> {
    let mut open = |name: &str| match name {
        "org.yaml" => Ok(source(
            "tests/org.yaml",
            "capabilities:\n  git.push: {tier: blocked, reason: Closed}\n",
        )),
        "broken.yaml" => Ok(source("tests/broken.yaml", "rules: [{tier: maybe}]")),
        "base.yaml" => Ok(source(
            "tests/base.yaml",
            "capabilities: {git.log: {tier: notify}}",
        )),
        other => Err(Unreadable(format!("there is no file `{other}`"))),
    };
    run(
        &source("tests/cases.yaml", text),
        &mut open,
        Catalog::builtin(),
    )
}

const CASES: &str = r#"
name: what the coder may do
policies:
  org: org.yaml
  agents:
    coder:
      rules:
        - capability: filesystem.write
          conditions: {path_prefix: secret}
          tier: blocked
        - {capability: system.time, tier: autonomous, rate_limit: {max: 3, window: 60}}
        - {capability: process.list, conditions: {time_of_day: "08:00-18:00"}, tier: autonomous}
        - {capability: process.logs, conditions: {interface_in: rpc}, tier: blocked}
  templates: {careful: enterprise-restrictive}
cases:
  - {name: pushing is closed, principal: {agent: coder}, capability: git.push, inputs: {path: .}, expect: blocked}
  - {name: for people too, principal: user, capability: git.push, expect: blocked}
  - {name: a secret, principal: {agent: coder}, capability: filesystem.write, inputs: {path: secret/x, content: x}, expect: blocked}
  - {name: elsewhere, principal: {agent: coder}, capability: filesystem.write, inputs: {path: x, content: x}, expect: notify}
  - {name: the third, principal: {agent: coder}, capability: system.time, repeat: 3, expect: autonomous}
  - {name: the fourth, principal: {agent: coder}, capability: system.time, repeat: 4, expect: rate_limited}
  - {name: by day, principal: {agent: coder}, capability: process.list, at: "2026-03-04T12:00:00Z", expect: autonomous}
  - {name: over rpc, principal: {agent: coder}, capability: process.logs, interface: rpc, expect: blocked}
  - {name: a template, principal: {agent: careful}, capability: filesystem.write, expect: approval_required}
"#;

#[test]
fn cases_are_run_against_files_and_policies_written_in_place() {
    let report = tested(CASES).unwrap();
    let failures: Vec<_> = report
        .cases
        .iter()
        .filter_map(|case| case.failure.clone())
        .collect();
    assert_eq!(failures, []);
    assert_eq!((report.passed, report.failed), (9, 0));
    let told = serde_json::to_value(&report).unwrap();
    assert_eq!(
        told["cases"][0],
        json!({"name": "pushing is closed", "expected": "blocked", "actual": "blocked", "winner": "organisation"})
    );
    assert_eq!(told["cases"][5]["actual"], "rate_limited");
}

#[test]
fn a_case_that_fails_says_what_decided_and_where_it_was_expected() {
    let text = CASES.replace(
        "capability: filesystem.write, inputs: {path: secret/x, content: x}, expect: blocked",
        "capability: filesystem.write, inputs: {path: secret/x, content: x}, expect: notify",
    );
    let report = tested(&text).unwrap();
    assert_eq!((report.passed, report.failed), (8, 1));
    let failure = report.cases[2].failure.as_ref().unwrap();
    assert_eq!(
        failure.to_string(),
        "tests/cases.yaml:18:125: «a secret» expects `notify` and gets `blocked`: decided by agent tests/cases.yaml:8 `rules[filesystem.write]`",
        "the rule stands in the test file, and its line is the one there"
    );
    let xml = junit(&[("a<b>.yaml".to_owned(), report)]);
    assert!(
        xml.contains("<testsuites tests=\"9\" failures=\"1\">"),
        "{xml}"
    );
    assert!(xml.contains("classname=\"a&lt;b&gt;.yaml\" name=\"a secret\">\n      <failure message=\"«a secret» expects"), "{xml}");
}

#[test]
fn mistakes_of_a_test_file_and_of_its_policies_have_their_place() {
    for (text, expected) in [
        ("cases: [{}]", "tests/cases.yaml:1:9: a case needs"),
        ("policies: {}", "1:1: a policy test file needs `cases`"),
        (
            "case: []\ncases: []",
            "1:1: unknown field `case` in a policy test file; did you mean `cases`?",
        ),
        (
            "policies: {orgs: {}}\ncases: []",
            "1:12: unknown field `orgs`",
        ),
        (
            "policies: {org: missing.yaml}\ncases: []",
            "1:17: there is no file `missing.yaml`",
        ),
        (
            "policies: {org: broken.yaml}\ncases: []",
            "tests/broken.yaml:1:",
        ),
        (
            "policies:\n  org:\n    rules:\n      - {capability: git.pusch, tier: notify}\ncases: []",
            "tests/cases.yaml:4:22: unknown capability `git.pusch`",
        ),
        (
            "cases:\n- {name: a, principal: user, capability: git.pull, inputs: {pat: x}, expect: notify}",
            "tests/cases.yaml:2:61: `git.pull`",
        ),
        (
            "cases:\n- {name: a, principal: user, capability: git.pusch, expect: notify}",
            "did you mean `git.push`?",
        ),
        (
            "cases:\n- {name: a, principal: user, capability: git.push, expect: never}",
            "unknown expectation `never`; ",
        ),
        (
            "cases:\n- {name: a, principal: coder, capability: git.push, expect: notify}",
            "write `user` or `{agent: coder}`",
        ),
        (
            "cases:\n- {name: a, principal: user, capability: git.push, at: noon, expect: notify}",
            "is not a time",
        ),
        (
            "cases:\n- {name: a, principal: user, capability: git.push, repeat: 0, expect: notify}",
            "`repeat` must be a whole number from 1",
        ),
        (
            "cases:\n- {name: a, principal: user, capability: git.push, interface: http, expect: notify}",
            "unknown interface `http`",
        ),
        ("cases: [*a]", "not valid YAML"),
    ] {
        let found = tested(text).unwrap_err();
        assert!(
            found[0].to_string().contains(expected),
            "{text}\n  expected {expected}\n  found {found:?}"
        );
    }
}

#[test]
fn a_tested_policy_may_extend_a_shared_file() {
    let text = "policies: {shared: {base.yaml: base.yaml}, agents: {a: {extends: base.yaml}}}\ncases: [{name: x, principal: {agent: a}, capability: git.log, expect: notify}]";
    assert_eq!(tested(text).unwrap().passed, 1);
}

fn difference(old: &[(&str, &str)], new: &[(&str, &str)]) -> Diff {
    compare(&sources(old), &sources(new), Catalog::builtin()).unwrap()
}

/// `principal capability old new` of each difference, and the value of an input of its example.
fn shown(diff: &Diff, input: &str) -> Vec<String> {
    let line = |one: &kruxos_policy::diff::Difference| {
        let example = one
            .example
            .as_ref()
            .map(|example| match example.inputs.get(input) {
                Some(value) => format!(" {value}"),
                None => " …".to_owned(),
            });
        format!(
            "{} {} {} {}{}",
            one.principal,
            one.capability,
            one.old.tier,
            one.new.tier,
            example.unwrap_or_default()
        )
    };
    diff.differences.iter().map(line).collect()
}

#[test]
fn a_pair_that_changes_its_tier_is_found_and_nothing_else() {
    let old = [(
        "alice",
        "capabilities: {git.push: {tier: notify}, 'email.*': {tier: blocked}}",
    )];
    let new = [(
        "alice",
        "capabilities: {git.push: {tier: blocked}, 'email.*': {tier: blocked}}",
    )];
    let diff = difference(&old, &new);
    assert_eq!(shown(&diff, ""), ["agent alice git.push notify blocked"]);
    assert_eq!(diff.differences[0].new.line, Some(1));
    assert!(difference(&old, &old).differences.is_empty());
    let org = difference(
        &[],
        &[("org", "capabilities: {system.time: {tier: notify}}")],
    );
    assert_eq!(
        shown(&org, ""),
        [
            "any other agent system.time autonomous notify",
            "user system.time autonomous notify"
        ]
    );
}

#[test]
fn differences_under_conditions_are_found_with_an_example() {
    let file = |condition: &str| format!("defaults: {{tier: autonomous}}\nrules: [{condition}]");
    for (old, new, input, expected) in [
        (
            "",
            "{capability: filesystem.write, conditions: {path_prefix: secret}, tier: blocked}",
            "path",
            "filesystem.write autonomous blocked \"/workspace/secret/probe\"",
        ),
        (
            "{capability: filesystem.write, conditions: {content_size_gt: 100}, tier: blocked}",
            "{capability: filesystem.write, conditions: {content_size_gt: 99}, tier: blocked}",
            "path",
            "filesystem.write autonomous blocked …",
        ),
        (
            "{capability: process.run, conditions: {command_matches: '^(ls|cat)$'}, tier: notify}",
            "{capability: process.run, conditions: {command_matches: '^(ls)$'}, tier: notify}",
            "command",
            "process.run notify autonomous \"cat\"",
        ),
        (
            "",
            "{capability: network.http_request, conditions: {domain_in: ['*.example.org'], method_in: [POST]}, tier: blocked}",
            "url",
            "network.http_request autonomous blocked \"https://probe.example.org/\"",
        ),
        (
            "",
            "{capability: filesystem.read, conditions: {path_prefix: a, path_not_prefix: a/open, path_glob: '**/*.key'}, tier: blocked}",
            "path",
            "",
        ),
        (
            "",
            "{capability: filesystem.search, conditions: {input_gt: {max_results: 500}}, tier: notify}",
            "max_results",
            "filesystem.search autonomous notify 501",
        ),
        (
            "",
            "{capability: git.push, conditions: {input_equals: {branch: main}, weekday_in: [sat], time_of_day: '22:00-06:00', interface_in: [scheduler]}, tier: blocked}",
            "branch",
            "git.push autonomous blocked \"main\"",
        ),
        (
            "",
            "{capability: filesystem.copy, conditions: {path_prefix: secret}, tier: blocked}",
            "source",
            "filesystem.copy autonomous blocked \"/workspace/secret/probe\"",
        ),
    ] {
        let diff = difference(&[("alice", &file(old))], &[("alice", &file(new))]);
        let found = shown(&diff, input);
        match expected {
            // A rule that no made-up call meets is counted, not passed over.
            "" => assert_eq!((found.len(), diff.rules_not_reached), (0, 1), "{found:?}"),
            expected => assert!(
                found.contains(&format!("agent alice {expected}")),
                "{new}\n{found:?}\n{diff:?}"
            ),
        }
    }
}

#[test]
fn a_limit_that_changes_is_a_difference_and_files_that_do_not_compile_are_told() {
    let file = |max: u32| {
        format!(
            "capabilities: {{system.time: {{tier: autonomous, rate_limit: {{max: {max}, window: 60}}}}}}"
        )
    };
    let diff = difference(&[("alice", &file(3))], &[("alice", &file(4))]);
    assert_eq!(diff.differences.len(), 1);
    assert_eq!(
        (diff.differences[0].old.limit, diff.differences[0].new.limit),
        (Some((3, 60)), Some((4, 60)))
    );
    let broken = sources(&[("alice", "rules: 3")]);
    assert!(compare(&sources(&[]), &broken, Catalog::builtin()).unwrap_err()[0].fatal);
}

fn replayed(
    simulation: &Simulation,
    capability: &str,
    inputs: Value,
    seconds: i64,
    decided: Option<Tier>,
) -> Replayed {
    let at: Timestamp = "2026-03-04T12:00:00Z".parse().unwrap();
    simulation.replay(&Recorded {
        principal: &Principal::agent("alice"),
        definition: definition(capability),
        inputs: inputs.as_object().unwrap(),
        interface: Interface::Mcp,
        at: at + SignedDuration::from_secs(seconds),
        workspace: "/srv/ws/alice",
        touches: &[],
        decided,
    })
}

#[test]
fn recorded_calls_are_decided_again_and_what_is_redacted_is_never_guessed() {
    let rules = r#"
rules:
  - {capability: filesystem.write, conditions: {content_size_gt: 10}, tier: blocked, reason: Too much}
  - {capability: filesystem.write, conditions: {path_prefix: secret}, tier: blocked}
  - {capability: email.send, conditions: {input_equals: {body: hello}}, tier: blocked}
  - {capability: system.time, tier: autonomous, rate_limit: {max: 1, window: 60}}
"#;
    let simulation = Simulation::new(set(&[("alice", rules)]));
    let summary = |size: u64| json!({"size": size, "sha256": "0".repeat(64)});
    let write = |size: u64| {
        let inputs = json!({"path": "x", "content": summary(size)});
        replayed(
            &simulation,
            "filesystem.write",
            inputs,
            0,
            Some(Tier::Notify),
        )
    };
    assert_eq!(write(10), Replayed::Same, "the size is known");
    let Replayed::Differs(instead) = write(11) else {
        panic!("{:?}", write(11))
    };
    assert_eq!(
        (instead.tier, instead.line, instead.reason.as_deref()),
        ("blocked", Some(3), Some("Too much"))
    );
    let undecided = |inputs: &[&str]| Replayed::Undecided {
        inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
    };
    let path = json!({"path": "[REDACTED:path]", "content": "x"});
    assert_eq!(
        replayed(&simulation, "filesystem.write", path, 0, Some(Tier::Notify)),
        undecided(&["path"])
    );
    let mail = json!({"to": "x", "body": summary(5)});
    assert_eq!(
        replayed(&simulation, "email.send", mail, 0, Some(Tier::Notify)),
        undecided(&["body"])
    );
    let draft = json!({"to": "x", "body": summary(5)});
    assert_eq!(
        replayed(&simulation, "email.draft", draft, 0, Some(Tier::Autonomous)),
        Replayed::Same,
        "no rule looks at it"
    );

    let time = |seconds, decided| replayed(&simulation, "system.time", json!({}), seconds, decided);
    assert_eq!(time(0, Some(Tier::Autonomous)), Replayed::Same);
    assert!(
        matches!(time(30, Some(Tier::Autonomous)), Replayed::Differs(instead) if instead.tier == "rate_limited")
    );
    assert_eq!(time(40, None), Replayed::Same);
    assert_eq!(
        time(61, Some(Tier::Autonomous)),
        Replayed::Same,
        "the window has passed"
    );
}
