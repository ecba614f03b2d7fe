//! Bad arguments, for every field of every capability, and the rules one by one.

use kruxos_catalog::{Catalog, Definition, Field, FieldType};
use kruxos_types::{CallError, ErrorType, Object};
use proptest::prelude::*;
use serde_json::{Value, json};

fn definition(name: &str) -> &'static Definition {
    Catalog::builtin().get(name).unwrap()
}

/// Arguments that are admitted.
fn good(definition: &Definition) -> Object {
    definition.patterns[0].inputs.clone()
}

fn with(definition: &Definition, name: &str, value: Value) -> Value {
    let mut arguments = good(definition);
    arguments.insert(name.to_owned(), value);
    Value::Object(arguments)
}

fn refused(definition: &Definition, arguments: Value) -> CallError {
    let error = definition.admit(arguments).expect_err(definition.name);
    assert_eq!(
        error.error_type(),
        ErrorType::InvalidInput,
        "{}",
        definition.name
    );
    for key in ["field", "reason", "expected"] {
        let text = error.context()[key].as_str().unwrap();
        assert!(
            !text.is_empty() && text.len() < 2_000,
            "{}: {key} is {text:?}",
            definition.name
        );
    }
    error
}

/// Refused because of this field or something in it.
fn refused_at(definition: &Definition, field: &str, arguments: Value) {
    let error = refused(definition, arguments);
    let named = error.context()["field"].as_str().unwrap();
    let inside = named
        .strip_prefix(field)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    assert!(inside, "{}: {named} instead of {field}", definition.name);
}

fn every_field(mut check: impl FnMut(&Definition, &Field)) {
    let mut fields = 0;
    for definition in Catalog::builtin().all() {
        for field in &definition.inputs {
            check(definition, field);
            fields += 1;
        }
    }
    assert!(fields > 200, "{fields}");
}

fn is_any(field: &Field) -> bool {
    field.schema.get("type").is_none()
}

fn is_text(field: &Field) -> bool {
    field.schema["type"] == "string"
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn wrong_types_are_refused_and_named() {
    let samples = [
        json!(null),
        json!(true),
        json!("text"),
        json!(1),
        json!(1.5),
        json!([[[]]]),
        json!({"zz": {}}),
    ];
    let kind_of = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    every_field(|definition, field| {
        if is_any(field) {
            return;
        }
        let kind = field.schema["type"].as_str().unwrap();
        let fits = |sample: &&Value| {
            kind_of(sample) != kind && !(kind == "number" && kind_of(sample) == "integer")
        };
        for sample in samples.iter().filter(fits) {
            refused_at(
                definition,
                &field.name,
                with(definition, &field.name, sample.clone()),
            );
        }
    });
}

#[test]
fn missing_fields_are_refused_and_named() {
    every_field(|definition, field| {
        let mut arguments = good(definition);
        arguments.remove(&field.name);
        match field.required {
            true => refused_at(definition, &field.name, Value::Object(arguments)),
            false => {
                let admitted = definition.admit(Value::Object(arguments)).unwrap();
                assert_eq!(
                    admitted.get(&field.name),
                    field.default.as_ref(),
                    "{}",
                    definition.name
                );
            }
        }
    });
}

#[test]
fn too_long_texts_are_refused_and_named() {
    every_field(|definition, field| {
        if !is_text(field) {
            return;
        }
        let stated = field.schema.get("maxLength").and_then(Value::as_u64);
        let bound = match field.kind {
            FieldType::FilesystemPath => stated.unwrap_or(4_096),
            FieldType::GlobPattern => stated.unwrap_or(1_024),
            _ => stated.unwrap_or(10_485_760),
        };
        let text = "a".repeat(usize::try_from(bound).unwrap() + 1);
        refused_at(
            definition,
            &field.name,
            with(definition, &field.name, json!(text)),
        );
    });
}

#[test]
fn unknown_fields_are_refused_named_and_the_near_one_is_suggested() {
    for definition in Catalog::builtin().all() {
        refused_at(
            definition,
            "zzzzzz_extra",
            with(definition, "zzzzzz_extra", json!(1)),
        );
    }
    every_field(|definition, field| {
        let misspelt = field.name.to_uppercase();
        let error = refused(definition, with(definition, &misspelt, json!(1)));
        assert_eq!(error.context()["field"], json!(misspelt));
        let expected = error.context()["expected"].as_str().unwrap();
        assert!(
            expected.contains(&field.name),
            "{}: {expected}",
            definition.name
        );
    });
}

#[test]
fn a_long_made_up_name_is_not_repeated_whole() {
    let error = refused(definition("system.time"), json!({"é".repeat(100_000): 1}));
    assert!(error.to_json().to_string().len() < 2_000);
}

#[test]
fn nul_in_paths_and_globs_is_refused_and_named() {
    let mut paths = 0;
    every_field(|definition, field| {
        if matches!(
            field.kind,
            FieldType::FilesystemPath | FieldType::GlobPattern
        ) {
            for text in ["\0", "a\0b", "a\0"] {
                refused_at(
                    definition,
                    &field.name,
                    with(definition, &field.name, json!(text)),
                );
            }
            refused_at(
                definition,
                &field.name,
                with(definition, &field.name, json!("")),
            );
            paths += 1;
        }
    });
    assert!(paths > 20, "{paths}");
}

#[test]
fn deep_json_is_refused_and_named() {
    every_field(|definition, field| {
        refused_at(
            definition,
            &field.name,
            with(definition, &field.name, nested(100)),
        );
    });
    let set = definition("state.session.set");
    // The arguments are the first level.
    assert!(set.admit(json!({"key": "k", "value": nested(63)})).is_ok());
    refused_at(set, "value", json!({"key": "k", "value": nested(64)}));
}

#[test]
fn no_arguments_are_no_arguments() {
    let whoami = definition("agent.whoami");
    assert_eq!(whoami.admit(Value::Null).unwrap(), Object::new());
    assert_eq!(whoami.admit(json!({})).unwrap(), Object::new());
    for other in [json!([]), json!("{}"), json!(0), json!(false)] {
        assert_eq!(refused(whoami, other).context()["field"], "arguments");
    }
}

#[test]
fn an_integer_may_be_written_as_an_integral_float_and_nothing_else() {
    let list = definition("alerts.list");
    assert_eq!(
        list.admit(json!({"limit": 3.0})).unwrap()["limit"],
        json!(3)
    );
    for wrong in [
        json!(3.5),
        json!(1e300),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!("3"),
    ] {
        refused_at(list, "limit", json!({"limit": wrong}));
    }
}

#[test]
fn nested_places_are_named_as_a_caller_writes_them() {
    let search = definition("filesystem.search");
    let arguments = |aggregate: Value| json!({"path": ".", "pattern": "*", "aggregate": aggregate});
    let field = |aggregate| refused(search, arguments(aggregate)).context()["field"].clone();
    assert_eq!(field(json!({"by": 7})), "aggregate.by");
    assert_eq!(
        field(json!({"by": "extension", "metrics": ["count", 5]})),
        "aggregate.metrics[1]"
    );
    let error = refused(search, arguments(json!({"by": "extension", "Top": 3})));
    assert_eq!(error.context()["field"], "aggregate.Top");
    assert!(
        error.context()["expected"]
            .as_str()
            .unwrap()
            .contains("top")
    );
}

#[test]
fn enums_patterns_and_formats_bind() {
    let read = definition("filesystem.read");
    let error = refused(read, json!({"path": "a", "encoding": "utf8"}));
    assert_eq!(error.context()["field"], "encoding");
    assert_eq!(error.context()["expected"], "one of utf-8, base64");
    refused_at(
        definition("system.metrics"),
        "window",
        json!({"window": "5 m"}),
    );
    refused_at(
        definition("process.kill"),
        "signal",
        with(definition("process.kill"), "signal", json!("KILL")),
    );
    refused_at(
        definition("git.log"),
        "since",
        with(definition("git.log"), "since", json!("yesterday")),
    );
    let clone = definition("git.clone");
    refused_at(clone, "url", with(clone, "url", json!("not a url")));
    let send = definition("comms.send");
    refused_at(send, "to", with(send, "to", json!("Not An Agent")));
    let cron = definition("scheduler.cron_create");
    refused_at(cron, "schedule", with(cron, "schedule", json!("every day")));
    let download = definition("network.download");
    refused_at(
        download,
        "expected_checksum",
        with(download, "expected_checksum", json!("g".repeat(64))),
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_definition() -> impl Strategy<Value = &'static Definition> {
    (0..Catalog::builtin().all().len()).prop_map(|index| &Catalog::builtin().all()[index])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever is sent, the answer is the arguments or `InvalidInput`.
    #[test]
    fn any_json_is_admitted_or_refused(definition in any_definition(), arguments in any_json()) {
        if let Err(error) = definition.admit(arguments) {
            prop_assert_eq!(error.error_type(), ErrorType::InvalidInput);
        }
    }

    /// One field replaced by anything: what is admitted stays as it is when admitted again.
    #[test]
    fn admission_is_idempotent(definition in any_definition(), which in any::<usize>(), value in any_json()) {
        let mut arguments = good(definition);
        if !definition.inputs.is_empty() {
            let field = &definition.inputs[which % definition.inputs.len()];
            arguments.insert(field.name.clone(), value);
        }
        if let Ok(once) = definition.admit(Value::Object(arguments)) {
            let twice = definition.admit(Value::Object(once.clone()));
            prop_assert_eq!(twice.ok(), Some(once));
        }
    }

    /// Results are accepted or refused as `Internal`, whatever a handler makes.
    #[test]
    fn any_result_is_checked(definition in any_definition(), output in any_json()) {
        if let Err(error) = definition.check_output(&output) {
            prop_assert_eq!(error.error_type(), ErrorType::Internal);
            prop_assert!(error.internal_cause().unwrap().contains(definition.name));
        }
    }
}
