//! Truths about every policy, tried on random ones.

use crate::world::{Call, call, compile, copy, read, run, sources};
use kruxos_policy::{PolicySet, RateCounters};
use kruxos_types::Tier;
use proptest::prelude::*;
use serde_json::json;

/// Few names and paths, so that rules and calls meet often.
const PATTERNS: [&str; 7] = [
    "*",
    "filesystem.*",
    "filesystem.read",
    "filesystem.write",
    "process.*",
    "process.run",
    "system.time",
];
const PATHS: [&str; 8] = [
    "a",
    "a/b",
    "a/b/c",
    "/workspace/a",
    "/srv/ws/alice/a/b",
    "/mnt/x",
    "/",
    "a/bx",
];
const CONDITIONS: [&str; 8] = [
    "content_size_lt: 3",
    "path_glob: '**/c'",
    "input_equals: {path: a/b}",
    "command_in: [ls]",
    "command_matches: '^l'",
    "principal_type: agent",
    "weekday_in: [wed]",
    "interface_in: [rpc]",
];

fn tier() -> impl Strategy<Value = Tier> {
    prop::sample::select(Tier::ALL.to_vec())
}

fn condition() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        prop::sample::select(PATHS.to_vec())
            .prop_map(|path| format!(", conditions: {{path_prefix: {path}}}")),
        prop::sample::select(PATHS.to_vec())
            .prop_map(|path| format!(", conditions: {{path_not_prefix: {path}}}")),
        prop::sample::select(CONDITIONS.to_vec())
            .prop_map(|condition| format!(", conditions: {{{condition}}}")),
    ]
}

fn rule() -> impl Strategy<Value = String> {
    (prop::sample::select(PATTERNS.to_vec()), condition(), tier())
        .prop_map(|(pattern, condition, tier)| {
            format!("  - {{capability: '{pattern}'{condition}, tier: {tier}}}\n")
        })
        // An input that a narrow pattern does not have is refused.
        .prop_filter("input_equals names a path", |rule| {
            !rule.contains("input_equals") || rule.contains("filesystem") || rule.contains("'*'")
        })
}

/// A file of up to `most` rules; long ones exercise the index.
pub(crate) fn file(most: usize) -> impl Strategy<Value = String> {
    (
        prop::collection::vec(rule(), 0..most),
        prop::option::of(tier()),
    )
        .prop_map(|(rules, defaults)| {
            let defaults = defaults
                .map(|tier| format!("defaults: {{tier: {tier}}}\n"))
                .unwrap_or_default();
            if rules.is_empty() {
                defaults
            } else {
                format!("{defaults}rules:\n{}", rules.concat())
            }
        })
}

fn any_copy() -> impl Strategy<Value = Call> {
    let path = || prop::sample::select(PATHS.to_vec());
    (path(), path()).prop_map(|(source, destination)| copy(source, destination))
}

fn any_call_of_one_path() -> impl Strategy<Value = Call> {
    prop_oneof![
        prop::sample::select(PATHS.to_vec()).prop_map(read),
        (prop::sample::select(PATHS.to_vec()), "[xyz]{0,5}").prop_map(|(path, content)| call(
            "filesystem.write",
            json!({"path": path, "content": content})
        )),
        prop::sample::select(vec!["ls", "cat"]).prop_map(|command| run(command, &[])),
        Just(call("system.time", json!({}))),
    ]
}

pub(crate) fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![4 => any_call_of_one_path(), 1 => any_copy()]
}

fn compiled(files: &[(&str, &str)]) -> PolicySet {
    compile(&sources(files))
        .map_err(|found| format!("{found:?} {files:?}"))
        .unwrap()
        .0
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.capability, self.inputs)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        drop(compile(&sources(&[("alice", &text)])));
    }

    #[test]
    fn nothing_that_looks_like_policy_makes_it_panic(words in prop::collection::vec(prop::sample::select(vec![
        "rules:", "capabilities:", "- ", "\n", "  ", "{", "}", "[", "]", ": ", "tier", "notify", "match", "capability", "git.push", "*", "&a", "*a",
        "conditions", "path_prefix", "rate_limit", "max", "1", "-1", "examples", "defaults", "network", "allow", "sandbox", "'", "\"", "|", "#", "\t", ",",
    ]), 0..60)) {
        drop(compile(&sources(&[("org", &words.concat())])));
    }

    #[test]
    fn nothing_goes_below_a_ceiling(org in file(20), agent in file(20), call in any_call()) {
        let alone = compiled(&[("org", &org)]);
        let both = compiled(&[("org", &org), ("alice", &agent)]);
        let rates = RateCounters::default();
        let told = alone.explain(&call.query(), &rates);
        let enforced = told.layers.iter().filter(|layer| layer.force == Some("ceiling")).filter_map(|layer| layer.tier).max();
        prop_assert!(Some(call.tier(&both)) >= enforced);
    }

    #[test]
    fn a_further_ceiling_never_loosens(system in file(20), org in file(20), agent in file(20), call in any_call()) {
        // A `defaults` in the system's file is a baseline, not a ceiling.
        let system = system.lines().filter(|line| !line.starts_with("defaults")).collect::<Vec<_>>().join("\n");
        let without = call.tier(&compiled(&[("org", &org), ("alice", &agent)]));
        let with = call.tier(&compiled(&[("system", &system), ("org", &org), ("alice", &agent)]));
        prop_assert!(with >= without, "{without} became {with}");
    }

    #[test]
    fn the_index_answers_like_trying_all_in_order(agent in file(60), call in any_call_of_one_path()) {
        let whole = compiled(&[("alice", &agent)]);
        let told = whole.explain(&call.query(), &RateCounters::default());
        // One rule at a time there is no index.
        let lines: Vec<&str> = agent.lines().filter(|line| line.starts_with("  - ")).collect();
        let first = lines.iter().position(|line| {
            let one = compiled(&[("alice", &format!("rules:\n{line}\n"))]);
            let told = one.explain(&call.query(), &RateCounters::default());
            told.layers[4].tier.is_some()
        });
        let offset = if agent.starts_with("defaults") { 3 } else { 2 };
        match first {
            Some(position) => prop_assert_eq!(told.layers[4].line, Some(position + offset)),
            None => prop_assert!(told.layers[4].rule.as_deref().is_none_or(|rule| rule == "defaults")),
        }
    }

    #[test]
    fn a_copy_is_never_freer_than_with_one_of_its_paths_alone(org in file(20), agent in file(20), copied in any_copy()) {
        let set = compiled(&[("org", &org), ("alice", &agent)]);
        let both = copied.tier(&set);
        for name in ["source", "destination"] {
            let mut alone = copied.clone();
            alone.inputs.remove(name);
            prop_assert!(both >= alone.tier(&set), "{name} left out of {copied:?}: {both}");
        }
    }

    #[test]
    fn no_command_makes_the_protections_panic(command in "[ -~\\n]{0,80}", args in prop::collection::vec("\\PC{0,20}", 0..4), directory in "\\PC{0,12}") {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut call = run(&command, &args);
        call.inputs.insert("working_directory".to_owned(), directory.into());
        let set = compiled(&[]);
        prop_assert!(Tier::ALL.contains(&call.tier(&set)));
    }
}
