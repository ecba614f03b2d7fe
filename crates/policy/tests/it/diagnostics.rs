use crate::world::{compile, problems, source, sources};
use kruxos_catalog::Catalog;
use kruxos_policy::{
    Diagnostic, PolicyLayer, Source, render_diagnostic, validate, validate_among, validate_as,
};

/// The first fatal problem as `line:column message`.
fn fatal(text: &str) -> String {
    let found = problems(text);
    let first = found.iter().find(|diagnostic| diagnostic.fatal);
    first.map_or_else(
        || format!("none: {found:?}"),
        |found| format!("{}:{} {}", found.line, found.column, found.message),
    )
}

#[test]
fn mistakes_are_named_with_their_place_and_the_nearest_name() {
    for (text, expected) in [
        (
            "capabilites: {}",
            "1:1 unknown field `capabilites` in a policy file; did you mean `capabilities`?",
        ),
        (
            "rules:\n  - match: {capability: filesystem.raed}\n    tier: notify",
            "2:25 unknown capability `filesystem.raed`; did you mean `filesystem.read`?",
        ),
        (
            "capabilities:\n  filesytem.*: {tier: notify}",
            "2:3 unknown capability category `filesytem.*`; did you mean `filesystem.*`?",
        ),
        (
            "capabilities: {filesystem: {tier: notify}}",
            "did you mean `filesystem.*`?",
        ),
        (
            "capabilities: {'file*': {tier: notify}}",
            "is not a pattern",
        ),
        (
            "capabilities: {weather.*: {tier: notify}}",
            "unknown capability category",
        ),
        (
            "capabilities: {git.push: {tier: aproval_required}}",
            "did you mean `approval_required`?",
        ),
        (
            "rules:\n- capability: git.push\n  condition: {path_prefx: x}\n  tier: notify",
            "3:15 unknown field `path_prefx` in conditions; did you mean `path_prefix`?",
        ),
        (
            "rules: [{capability: filesystem.read, condition: {input_equals: {pth: x}}, tier: notify}]",
            "`filesystem.read` has no input `pth`; did you mean `path`?",
        ),
        (
            "rules: [{capability: git.push, condition: {weekday_in: [mon, tud]}, tier: notify}]",
            "unknown weekday `tud`",
        ),
        (
            "rules: [{capability: git.push, condition: {interface_in: [schedular]}, tier: notify}]",
            "did you mean `scheduler`?",
        ),
        (
            "rules: [{capability: git.push, condition: {time_of_day: '8-18'}, tier: notify}]",
            "`08:00-18:00`",
        ),
        (
            "rules: [{capability: git.push, condition: {time_of_day: '08:00-24:01'}, tier: notify}]",
            "is not a range",
        ),
        (
            "rules: [{capability: git.push, condition: {path_prefix: '../x'}, tier: notify}]",
            "leads out of the workspace",
        ),
        (
            "rules: [{capability: git.push, condition: {path_prefix: 'x/*'}, tier: notify}]",
            "use `path_glob`",
        ),
        (
            "rules: [{capability: git.push, condition: {}, tier: notify}]",
            "empty conditions",
        ),
        (
            "rules: [{capability: process.run, condition: {command_matches: '(a'}, tier: notify}]",
            "unclosed group",
        ),
        (
            "rules: [{capability: process.run, condition: {command_matches: '(?=a)'}, tier: notify}]",
            "not a valid regular expression",
        ),
        (
            "rules: [{capability: process.run, condition: {command_matches: '\\pL{1000}{1000}'}, tier: notify}]",
            "size limit",
        ),
        (
            "rules: [{capability: process.run, condition: {command_in: [true]}, tier: notify}]",
            "put it in quotes",
        ),
        (
            "rules: [{capability: process.run, condition: {domain_in: ['bücher.example']}, tier: notify}]",
            "xn--",
        ),
        ("rules: [{capability: git.push}]", "a rule needs a `tier`"),
        ("rules: [{tier: notify}]", "a rule needs `match"),
        (
            "rules: [{capability: git.push, match: {capability: git.pull}, tier: notify}]",
            "use one",
        ),
        ("rules: {}", "`rules` must be a list, not a mapping"),
        ("capabilities: {git.push: {}}", "needs a `tier` or `rules`"),
        (
            "capabilities: {git.push: autonomous}",
            "must be a mapping, not a string",
        ),
        (
            "capabilities: {git.push: {tier: notify, rate_limit: {max: 1}}}",
            "needs `max` and `window`",
        ),
        (
            "capabilities: {git.push: {tier: notify, rate_limit: {max: 0, window: 5}}}",
            "`max` must be a whole number from 1",
        ),
        (
            "capabilities: {git.push: {tier: notify, rate_limit: {max_per_hour: 3, window: 5}}}",
            "names its window",
        ),
        (
            "capabilities: {git.push: {tier: notify, rate_limit: {max: 1, window: 5, on_exceed: notify}}}",
            "more restrictive",
        ),
        (
            "capabilities: {git.push: {tier: notify, rate_limit: {max: 1, window: 5, on_exceed: autonomous}}}",
            "more restrictive",
        ),
        (
            "mode: shade",
            "1:7 unknown mode `shade`; did you mean `shadow`?",
        ),
        ("enforce: ceiling", "are baselines"),
        ("extends: team-moderat", "did you mean `team-moderate`?"),
        (
            "name: x\nextends: other.yaml",
            "2:10 there is no policy file `other.yaml`",
        ),
        ("extends: other", "`base.yaml`"),
        ("sandbox: {memory: 5}", "did you mean `memory_mb`?"),
        ("sandbox: {network: open}", "unknown network `open`"),
        ("network: {allow: ['http://a/b']}", "is not a host"),
        ("network: {allow: ['a:99999']}", "is not a host"),
        ("a: 1\na: 2", "2:1 not valid YAML: duplicate mapping key"),
        ("rules: [", "not valid YAML"),
        ("- x", "must be a mapping, not a list"),
        ("---\nname: a\n---\nname: b", "not valid YAML"),
        ("name: {<<: {a: b}}", "not valid YAML"),
        (
            "name: !foo x",
            "1:12 not valid YAML: unsupported tag `!foo`",
        ),
        (
            "name: x\nrules: !!python/tuple []",
            "2:23 not valid YAML: unsupported tag",
        ),
        (
            "rules:\n  - {capability: git.push, tier: !!python/object:os.system autonomous}",
            "not valid YAML: unsupported tag",
        ),
        (
            "name: !<tag:example.com,2000:x> y",
            "not valid YAML: unsupported tag",
        ),
        (
            "capabilities: {!foo git.push: {tier: notify}}",
            "not valid YAML",
        ),
        ("!foo name: x", "not valid YAML"),
        ("!foo\nname: x", "not valid YAML"),
    ] {
        let found = fatal(text);
        assert!(
            found.contains(expected),
            "{text}\n  expected {expected}\n  found    {found}"
        );
    }
}

#[test]
fn every_mistake_of_every_file_is_told_at_once() {
    let found = compile(&sources(&[
        ("system", "mode: shade\nnetwork: {allow: [x]}"),
        (
            "alice",
            "rules:\n  - {capability: a.b, tier: notify}\n  - {capability: git.push, tier: never}",
        ),
    ]))
    .unwrap_err();
    let places: Vec<String> = found
        .iter()
        .map(|found| format!("{}:{}", found.file, found.line))
        .collect();
    assert_eq!(
        places,
        [
            "policies/system.yaml:1",
            "policies/system.yaml:2",
            "policies/agents/alice.yaml:2",
            "policies/agents/alice.yaml:3"
        ]
    );
}

#[test]
fn harmless_files_are_accepted() {
    for text in [
        "",
        "# nothing\n",
        "name: x",
        "version: 1.0",
        "rules: []",
        "capabilities: {}",
        "mode: enforce",
        "mode: shadow",
    ] {
        assert_eq!(problems(text), [], "{text:?}");
    }
}

#[test]
fn files_are_bounded() {
    let long = "#".repeat((1 << 20) + 1);
    assert!(fatal(&long).contains("1048576"));
    let many = format!(
        "rules:\n{}",
        "- {capability: git.push, tier: notify}\n".repeat(20_001)
    );
    assert!(fatal(&many).contains("more than 20000 rules"));
    let deep = format!("rules: {}{}", "[".repeat(100), "]".repeat(100));
    assert!(fatal(&deep).contains("not valid YAML"));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]";
    assert!(fatal(bomb).contains("not valid YAML"), "{}", fatal(bomb));
    let wrong = format!(
        "rules:\n{}",
        "- {capability: git.pusch, tier: notify}\n".repeat(5_000)
    );
    assert!(problems(&wrong).len() <= 100);
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_line() {
    let found = Source::from_bytes("policies/org.yaml", b"name: a\nb: \xff").unwrap_err();
    assert_eq!((found.line, found.fatal), (2, true));
    assert!(Source::from_bytes("x", "name: ä".as_bytes()).is_ok());
}

#[test]
fn examples_are_checked_when_the_file_is_loaded() {
    let rule = |examples: &str| {
        format!(
            "rules:\n- capability: process.run\n  conditions: {{command_matches: '^(ls|cat)$'}}\n  tier: autonomous\n  examples: {examples}\n"
        )
    };
    for good in [
        "{match: [ls, {command: cat}], no_match: [{command: rm, args: [x]}, concat]}",
        "{match: [{capability: process.run, inputs: {command: ls}, at: '2026-01-01T00:00:00Z', interface: rpc, principal_type: user}]}",
        "{no_match: [{capability: git.push, inputs: {path: x}}]}",
    ] {
        assert_eq!(problems(&rule(good)), [], "{good}");
    }
    for (bad, expected) in [
        (
            "{match: [rm]}",
            "5:22 the rule does not hold for this example",
        ),
        (
            "{no_match: [ls]}",
            "the rule holds for this example of `no_match`",
        ),
        ("{match: [{comand: ls}]}", "has no input `comand`"),
        ("{matches: [ls]}", "did you mean `match`?"),
        ("{match: [3]}", "a map of inputs or a string"),
    ] {
        let found = fatal(&rule(bad));
        assert!(found.contains(expected), "{bad}: {found}");
    }
}

fn warnings(text: &str) -> Vec<String> {
    let found = validate(
        &source("policies/agents/alice.yaml", text),
        Catalog::builtin(),
    );
    assert!(found.iter().all(|found| !found.fatal), "{found:?}");
    found
        .iter()
        .map(|found| format!("{} {}", found.line, found.message))
        .collect()
}

#[test]
fn rules_that_never_answer_are_told() {
    for (rules, line, expected) in [
        (
            "- {capability: git.*, tier: notify}\n- {capability: git.push, condition: {path_prefix: x}, tier: blocked}",
            3,
            "line 2",
        ),
        (
            "- {capability: git.*, condition: {path_prefix: x}, tier: notify}\n- {capability: git.push, conditions: {path_prefix: x, input_equals: {branch: main}}, tier: blocked}",
            3,
            "line 2",
        ),
        (
            "- {capability: email.send, condition: {path_prefix: x}, tier: notify}",
            2,
            "never holds",
        ),
        (
            "- {capability: email.send, tier: blocked, rate_limit: {max: 1, window: 1}}",
            2,
            "no effect",
        ),
    ] {
        let found = warnings(&format!("rules:\n{rules}\ndefaults: {{tier: notify}}"));
        assert_eq!(found.len(), 1, "{rules}: {found:?}");
        assert!(
            found[0].starts_with(&format!("{line} ")) && found[0].contains(expected),
            "{found:?}"
        );
    }
    let entries = "defaults: {tier: notify}\nrules: [{capability: git.push, tier: notify}]\ncapabilities:\n  git.push: {tier: blocked}\n  state.session.*: {rules: [{condition: {weekday_in: mon}, tier: notify}, {condition: {weekday_in: mon}, tier: blocked}]}\n";
    let found = warnings(entries);
    assert!(
        found.len() == 2 && found[0].starts_with("4 ") && found[1].starts_with("5 "),
        "{found:?}"
    );
    let reachable = "defaults: {tier: notify}\nrules:\n- {capability: git.push, condition: {path_prefix: x}, tier: notify}\n- {capability: git.*, condition: {path_prefix: x}, tier: blocked}\n";
    assert_eq!(warnings(reachable), [] as [String; 0]);
}

#[test]
fn capabilities_that_nothing_covers_are_counted() {
    let found = warnings("capabilities: {'filesystem.*': {tier: notify}}");
    assert!(
        found.len() == 1
            && found[0].contains("are named by no rule")
            && found[0].contains("agent.capabilities"),
        "{found:?}"
    );
    assert!(warnings("capabilities: {'*': {tier: notify}}").is_empty());
}

#[test]
fn a_rule_that_would_loosen_a_ceiling_is_told() {
    let (_, found) = compile(&sources(&[
        ("org", "capabilities:\n  git.push: {tier: approval_required}\n  email.send: {rules: [{condition: {input_equals: {to: x}}, tier: blocked}]}\n"),
        ("alice", "capabilities:\n  git.push: {tier: autonomous}\n  git.pull: {tier: autonomous}\n  email.send: {tier: autonomous}\n"),
    ]))
    .unwrap();
    let told: Vec<String> = found.iter().map(Diagnostic::to_string).collect();
    assert_eq!(
        told,
        [
            "policies/agents/alice.yaml:2:3: `capabilities.git.push` has no effect: policies/org.yaml:2 enforces `approval_required`, and `autonomous` cannot loosen it"
        ]
    );
}

#[test]
fn the_layer_is_told_from_the_files_name() {
    let ceiling = "enforce: ceiling\ndefaults: {tier: notify}";
    assert_eq!(
        validate(&source("/x/policies/org.yaml", ceiling), Catalog::builtin()),
        []
    );
    assert_eq!(
        validate(&source("system.yaml", ceiling), Catalog::builtin()),
        []
    );
    assert!(
        validate(
            &source("policies/agents/org.yaml", ceiling),
            Catalog::builtin()
        )[0]
        .fatal
    );
    assert_eq!(
        validate_as(
            &source("any", ceiling),
            PolicyLayer::System,
            Catalog::builtin()
        ),
        []
    );
}

#[test]
fn a_diagnostic_points_at_its_column() {
    let text = "rules:\n  - {capability: git.pusch, tier: notify}\n";
    let found = problems(text);
    let shown = render_diagnostic(&found[0], text);
    assert_eq!(
        shown,
        "error: unknown capability `git.pusch`; did you mean `git.push`?\n --> policies/agents/alice.yaml:2:18\n  |\n2 |   - {capability: git.pusch, tier: notify}\n  |                  ^\n"
    );
    let elsewhere = Diagnostic {
        line: 99,
        ..found[0].clone()
    };
    assert_eq!(render_diagnostic(&elsewhere, text).lines().count(), 2);
}

#[test]
fn defaults_that_nothing_is_left_for_are_told() {
    let found = warnings("capabilities:\n  '*': {tier: notify}\ndefaults: {tier: blocked}");
    assert_eq!(
        found,
        ["3 `defaults` are never reached: rules and entries answer everything"]
    );
    let some = "capabilities:\n  '*': {rules: [{condition: {weekday_in: mon}, tier: notify}]}\ndefaults: {tier: blocked}";
    assert_eq!(warnings(some), [] as [String; 0]);
}

#[test]
fn a_file_among_others_is_held_against_what_they_enforce() {
    let others = sources(&[(
        "org",
        "capabilities:\n  git.push: {tier: approval_required}\n",
    )]);
    let agent = source(
        "agents/bob.yaml",
        "capabilities:\n  '*': {tier: notify}\n  git.push: {tier: autonomous}\n",
    );
    let found = validate_among(&agent, PolicyLayer::Agent, Catalog::builtin(), &others);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        render_diagnostic(&found[0], &agent.text),
        "warning: `capabilities.git.push` has no effect: policies/org.yaml:2 enforces `approval_required`, and `autonomous` cannot loosen it\n --> agents/bob.yaml:3:3\n  |\n3 |   git.push: {tier: autonomous}\n  |   ^\n"
    );
}
