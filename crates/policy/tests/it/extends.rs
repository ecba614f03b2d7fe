//! Files that take their remaining answers from another file.

use crate::world::{call, compile, read, source, sources};
use kruxos_catalog::Catalog;
use kruxos_policy::{PolicyLayer, PolicySet, Sources, validate_among, validate_as};
use kruxos_types::Tier;
use serde_json::json;

fn with_shared(files: &[(&str, &str)], shared: &[(&str, &str)]) -> Sources {
    let mut sources = sources(files);
    for (name, text) in shared {
        sources
            .shared
            .insert((*name).to_owned(), source(name, text));
    }
    sources
}

fn compiled(sources: &Sources) -> PolicySet {
    compile(sources)
        .unwrap_or_else(|found| panic!("{found:#?}"))
        .0
}

#[track_caller]
fn refusal(sources: &Sources) -> String {
    let found = compile(sources).unwrap_err();
    found.iter().map(|one| format!("{one}\n")).collect()
}

#[test]
fn a_file_extends_another_which_extends_a_template() {
    let own = "extends: base.yaml\ncapabilities: {system.time: {tier: notify}}";
    let base = "extends: enterprise-restrictive\nrules: [{capability: filesystem.read, tier: autonomous, reason: base}]";
    let set = compiled(&with_shared(&[("alice", own)], &[("base.yaml", base)]));
    assert_eq!(call("system.time", json!({})).tier(&set), Tier::Notify);
    assert_eq!(read("a").tier(&set), Tier::Autonomous);
    assert_eq!(
        call("git.push", json!({"path": "."})).tier(&set),
        Tier::Blocked,
        "the template below the base"
    );
    let verdict = read("a").verdict(&set);
    assert_eq!(verdict.winner_place(), Some(("base.yaml", 2)));
    assert_eq!(verdict.winner(), PolicyLayer::Agent);
}

#[test]
fn what_is_extended_has_the_force_of_the_file_that_extends() {
    let base = "rules: [{capability: filesystem.read, tier: blocked}]";
    let free = "rules: [{capability: filesystem.read, tier: autonomous}]";
    let set = compiled(&with_shared(
        &[("org", "extends: base.yaml"), ("alice", free)],
        &[("base.yaml", base)],
    ));
    assert_eq!(read("a").tier(&set), Tier::Blocked);
}

#[test]
fn an_agent_extends_the_file_of_another() {
    let set = compiled(&sources(&[
        ("alice", "extends: policies/agents/bob.yaml"),
        (
            "bob",
            "rules: [{capability: filesystem.read, tier: blocked}]",
        ),
    ]));
    assert_eq!(read("a").tier(&set), Tier::Blocked);
}

#[test]
fn circles_long_chains_and_missing_files_are_refused_with_their_place() {
    let found = refusal(&with_shared(
        &[("alice", "name: x\nextends: a.yaml")],
        &[("a.yaml", "extends: b.yaml"), ("b.yaml", "extends: a.yaml")],
    ));
    assert!(
        found.contains("b.yaml:1:10: files extend each other in a circle"),
        "{found}"
    );

    let names: Vec<String> = (0..20).map(|number| format!("n{number}.yaml")).collect();
    let texts: Vec<String> = (1..21)
        .map(|number| format!("extends: n{number}.yaml"))
        .collect();
    let chain: Vec<(&str, &str)> = names
        .iter()
        .zip(&texts)
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    let found = refusal(&with_shared(&[("alice", "extends: n0.yaml")], &chain));
    assert!(
        found.contains("more than 8 files extend each other"),
        "{found}"
    );

    for name in ["missing.yaml", "../base.yaml", "/etc/base.yaml"] {
        let found = refusal(&with_shared(
            &[("alice", &format!("extends: {name}"))],
            &[("base.yaml", "name: x")],
        ));
        assert!(
            found.contains("policies/agents/alice.yaml:1:10: there is no policy file"),
            "{found}"
        );
    }
}

#[test]
fn a_mistake_in_the_extended_file_is_told_with_its_own_place() {
    let found = refusal(&with_shared(
        &[("alice", "extends: base.yaml")],
        &[(
            "base.yaml",
            "name: x\nrules: [{capability: git.push, tier: never}]",
        )],
    ));
    assert!(found.starts_with("base.yaml:2:"), "{found}");
}

#[test]
fn validation_sees_the_other_files_or_says_that_it_does_not() {
    let own = source(
        "agents/alice.yaml",
        "extends: base.yaml\ndefaults: {tier: notify}",
    );
    let alone = validate_as(&own, PolicyLayer::Agent, Catalog::builtin());
    assert!(alone.iter().all(|found| !found.fatal), "{alone:?}");
    assert!(
        alone
            .iter()
            .any(|found| found.message.contains("base.yaml")),
        "{alone:?}"
    );
    let others = with_shared(&[], &[("base.yaml", "rules: 7")]);
    let among = validate_among(&own, PolicyLayer::Agent, Catalog::builtin(), &others);
    assert!(
        among
            .iter()
            .any(|found| found.fatal && found.file == "base.yaml"),
        "{among:?}"
    );
}
