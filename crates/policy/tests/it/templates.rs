use crate::world::definition;
use kruxos_catalog::Catalog;
use kruxos_policy::{
    DEFAULT_TEMPLATE, PolicyLayer, PolicySet, Source, Sources, TEMPLATES, template_text,
    validate_as,
};
use kruxos_types::{Principal, Tier};

fn with_each_template() -> PolicySet {
    let groups = TEMPLATES
        .into_iter()
        .map(|name| (name.to_owned(), name.to_owned()))
        .collect();
    PolicySet::compile(
        &Sources {
            groups,
            ..Sources::default()
        },
        Catalog::builtin(),
        1,
    )
    .unwrap()
    .0
}

#[test]
fn the_shipped_templates_have_neither_errors_nor_warnings() {
    for name in TEMPLATES {
        let source = Source {
            file: name.to_owned(),
            text: template_text(name).unwrap().to_owned(),
        };
        assert_eq!(
            validate_as(&source, PolicyLayer::Template, Catalog::builtin()),
            [],
            "{name}"
        );
    }
    assert!(TEMPLATES.contains(&DEFAULT_TEMPLATE));
    assert_eq!(template_text("none"), None);
}

/// The order the names promise, for every capability.
#[test]
fn each_template_is_at_least_as_restrictive_as_the_one_before() {
    let set = with_each_template();
    for definition in Catalog::builtin().all() {
        let tiers = TEMPLATES.map(|name| {
            set.listed_tier(&Principal::agent(name), definition)
                .unwrap_or(Tier::Blocked)
        });
        assert!(tiers.is_sorted(), "{}: {tiers:?}", definition.name);
    }
}

#[test]
fn what_cannot_be_undone_waits_for_a_person_in_a_team() {
    let set = with_each_template();
    for (name, expected) in [
        ("filesystem.read", Some(Tier::Autonomous)),
        ("filesystem.write", Some(Tier::Notify)),
        ("filesystem.delete", Some(Tier::ApprovalRequired)),
        ("git.push", Some(Tier::ApprovalRequired)),
        ("system.time", Some(Tier::Autonomous)),
    ] {
        assert_eq!(
            set.listed_tier(&Principal::agent("team-moderate"), definition(name)),
            expected,
            "{name}"
        );
    }
    assert_eq!(
        set.listed_tier(
            &Principal::agent("enterprise-restrictive"),
            definition("network.http_request")
        ),
        None
    );
}
