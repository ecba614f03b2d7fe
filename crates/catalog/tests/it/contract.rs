//! The definitions against the contract in `fixtures/capabilities.json`.

use kruxos_catalog::{Catalog, Definition, Field, MAX_DESCRIPTION_CHARS, MAX_TOOL_NAME_CHARS};
use serde_json::{Map, Value, json};

const CONTRACT: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../fixtures/capabilities.json"
));

fn input(field: &Field) -> Value {
    let mut input = json!({"type": field.kind.as_str(), "required": field.required});
    if let Some(default) = &field.default {
        input["default"] = default.clone();
    }
    input
}

fn as_contract(definition: &Definition) -> Value {
    let inputs: Map<String, Value> = definition
        .inputs
        .iter()
        .map(|field| (field.name.clone(), input(field)))
        .collect();
    let outputs: Map<String, Value> = definition
        .outputs
        .iter()
        .map(|field| (field.name.clone(), json!(field.kind.as_str())))
        .collect();
    let errors: Map<String, Value> = definition
        .errors
        .iter()
        .map(|declared| {
            let actions: Vec<&str> = declared
                .recovery
                .iter()
                .map(|action| &*action.action)
                .collect();
            (declared.error.code().to_owned(), json!(actions))
        })
        .collect();
    json!({
        "tier": definition.tier, "version": definition.version, "inputs": inputs,
        "outputs": outputs, "errors": errors, "tags": definition.tags,
    })
}

/// The contract gives the default of this one object in prose, which cannot be a default: it would not
/// have the input's own type. The definition says the same as an object.
fn with_prose_default_as_an_object(mut contract: Map<String, Value>) -> Map<String, Value> {
    let default =
        &mut contract["network.credentialed_request"]["inputs"]["credential_placement"]["default"];
    assert_eq!(*default, "header / `Authorization` / `Bearer {secret}");
    *default = json!({"in": "header", "name": "Authorization", "template": "Bearer {secret}"});
    contract
}

#[test]
fn the_definitions_are_exactly_the_contract() {
    let contract = with_prose_default_as_an_object(serde_json::from_str(CONTRACT).unwrap());
    assert_eq!(contract.len(), 92);
    let names: Vec<&str> = Catalog::builtin().all().iter().map(|d| d.name).collect();
    let mut wanted: Vec<&str> = contract.keys().map(String::as_str).collect();
    wanted.sort_unstable();
    assert_eq!(names, wanted);
    for definition in Catalog::builtin().all() {
        assert_eq!(
            as_contract(definition),
            contract[definition.name],
            "{}",
            definition.name
        );
    }
}

#[test]
fn what_clients_are_shown_keeps_their_limits() {
    for definition in Catalog::builtin().all() {
        let name = definition.name;
        assert!(definition.tool_name.len() <= MAX_TOOL_NAME_CHARS, "{name}");
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!(definition.tool_name.chars().all(allowed), "{name}");
        assert!(
            definition.description.chars().count() <= MAX_DESCRIPTION_CHARS,
            "{name}"
        );
        assert!(
            definition
                .description
                .starts_with(definition.purpose.as_str()),
            "{name}"
        );
        for schema in [&definition.input_schema, &definition.output_schema] {
            assert_eq!(schema["type"], "object", "{name}");
            assert_eq!(schema["additionalProperties"], false, "{name}");
            for keyword in ["oneOf", "anyOf", "allOf"] {
                assert!(schema.get(keyword).is_none(), "{name}");
            }
        }
        let required: Vec<&str> = definition
            .inputs
            .iter()
            .filter(|f| f.required)
            .map(|f| f.name.as_str())
            .collect();
        let listed = definition
            .input_schema
            .get("required")
            .cloned()
            .unwrap_or(json!([]));
        assert_eq!(listed, json!(required), "{name}");
    }
}

#[test]
fn ids_are_positions_and_categories_are_first_parts() {
    for (index, definition) in Catalog::builtin().all().iter().enumerate() {
        assert_eq!(definition.id.index(), index);
        assert_eq!(
            Catalog::builtin().by_id(definition.id).name,
            definition.name
        );
        assert_eq!(
            Catalog::builtin().get(definition.name).unwrap().name,
            definition.name
        );
        assert!(
            definition
                .name
                .starts_with(&format!("{}.", definition.category))
        );
        assert!(!definition.category.contains('.'));
    }
}

#[test]
fn every_example_is_admitted() {
    let mut examples = 0;
    for definition in Catalog::builtin().all() {
        for example in &definition.patterns {
            let admitted = definition.admit(Value::Object(example.inputs.clone()));
            assert!(
                admitted.is_ok(),
                "{} «{}»: {admitted:?}",
                definition.name,
                example.title
            );
            examples += 1;
        }
    }
    assert!(examples >= 92, "{examples}");
}

/// Names that say that a field holds what somebody wrote, stored or received. A new field of such a name
/// must be marked, or the audit log would keep it whole.
const CONTENT_NAMES: [&str; 20] = [
    "alerts",
    "body",
    "briefing",
    "changes",
    "commits",
    "content",
    "diff",
    "message",
    "messages",
    "previous_value",
    "replace",
    "stderr",
    "stderr_summary",
    "stdin",
    "stdout",
    "stdout_summary",
    "text",
    "thread_replies",
    "value",
    "versions",
];

#[test]
fn what_holds_content_is_marked_in_every_definition() {
    let mut marked = 0;
    for definition in Catalog::builtin().all() {
        for field in definition.inputs.iter().chain(&definition.outputs) {
            marked += usize::from(field.content);
            let says_so =
                CONTENT_NAMES.contains(&field.name.as_str()) || field_takes_anything(field);
            assert!(
                field.content || !says_so,
                "{}: mark `{}` with `content: true`",
                definition.name,
                field.name
            );
        }
        for field in &definition.inputs {
            assert_eq!(
                definition.is_content_input(&field.name),
                field.content,
                "{}",
                definition.name
            );
        }
    }
    assert!(marked >= 49, "{marked}");
    let edit = Catalog::builtin().get("filesystem.edit").unwrap();
    assert!(edit.is_content_input("pattern") && edit.is_content_output("diff"));
    // What an agent looked for is a fact about the call.
    let search = Catalog::builtin().get("filesystem.search_content").unwrap();
    assert!(!search.is_content_input("pattern") && search.is_content_output("matches"));
    assert!(!edit.is_content_input("path") && !edit.is_content_output("per_file"));
}

/// `any: true`: whatever JSON the caller chose to keep.
fn field_takes_anything(field: &kruxos_catalog::Field) -> bool {
    field.kind == kruxos_catalog::FieldType::Object && field.schema.get("type").is_none()
}
