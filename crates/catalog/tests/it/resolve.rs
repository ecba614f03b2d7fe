//! The names that clients call.

use kruxos_catalog::{Catalog, Status};
use kruxos_types::ErrorType;
use serde_json::json;

#[test]
fn three_spellings_lead_to_an_available_capability() {
    let mut available = 0;
    for definition in Catalog::builtin()
        .all()
        .iter()
        .filter(|d| d.status == Status::Available)
    {
        for spelling in [
            definition.name.to_owned(),
            definition.name.replace('.', "__"),
            definition.name.replace('.', "_"),
        ] {
            assert_eq!(
                Catalog::builtin().resolve(&spelling).unwrap().name,
                definition.name,
                "{spelling}"
            );
        }
        available += 1;
    }
    assert!(available >= 49, "{available}");
}

#[test]
fn planned_capabilities_are_defined_but_not_found() {
    let planned = Catalog::builtin().get("network.http_request").unwrap();
    assert_eq!(planned.status, Status::Planned);
    let error = Catalog::builtin()
        .resolve("network.http_request")
        .unwrap_err();
    assert_eq!(error.error_type(), ErrorType::CapabilityNotFound);
}

#[test]
fn a_wrong_name_gets_three_suggestions_and_a_way_on() {
    for wrong in [
        "filesystem.raed",
        "filesystem__raed",
        "FILESYSTEM.READ",
        "read_file",
    ] {
        let json = Catalog::builtin().resolve(wrong).unwrap_err().to_json();
        assert_eq!(json["error_type"], "CapabilityNotFound");
        assert_eq!(json["context"]["capability"], wrong);
        let suggestions = json["context"]["suggestions"].as_array().unwrap();
        assert_eq!(suggestions.len(), 3);
        assert!(
            suggestions.contains(&json!("filesystem.read")),
            "{wrong}: {suggestions:?}"
        );
        let action = &json["recovery_actions"][0];
        assert_eq!(action["action"], "list_capabilities");
        assert_eq!(action["capability"], "agent.capabilities");
        assert!(
            action["description"]
                .as_str()
                .unwrap()
                .contains("filesystem.read")
        );
    }
    let json = Catalog::builtin()
        .resolve("filesystem.raed")
        .unwrap_err()
        .to_json();
    assert_eq!(
        json["recovery_actions"][0]["inputs"],
        json!({"category": "filesystem"})
    );
}

#[test]
fn strange_names_are_answered_briefly() {
    for strange in [
        "",
        ".",
        "__",
        "\0",
        "filesystem.",
        "💥",
        &"x".repeat(1_000_000),
    ] {
        let error = Catalog::builtin().resolve(strange).unwrap_err();
        assert!(error.to_json().to_string().len() < 4_000);
    }
}
