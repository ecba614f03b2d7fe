//! The YAML loader: what it refuses, where it says so, and that nothing makes it panic.

use kruxos_catalog::load::{self, Problem};
use proptest::prelude::*;
use std::fmt::Write;

const GOOD: &str = r#"category: demo
capabilities:
  demo.greet:
    version: "1.0"
    status: available
    tier: autonomous
    executor: in_process
    side_effect: none
    annotations: {read_only: true, destructive: false, idempotent: true, open_world: false}
    purpose: Says hello.
    when_to_use: Use it to greet.
    patterns:
      - title: Greet Ada
        inputs: {name: Ada, times: 2}
    side_effects: None.
    inputs:
      name: {type: String, required: true, min_length: 1, max_length: 20, description: "Whom."}
      times: {type: Integer, required: false, default: 1, minimum: 1, maximum: 9, description: "How often."}
      style: {type: Object, required: false, description: "How.", schema: {additionalProperties: false, properties: {loud: {type: boolean}}}}
    outputs:
      text: {type: String, description: "The greeting."}
    errors:
      InvalidPattern:
        - {action: simplify, description: "Use another name.", capability: demo.greet}
    tags: [demo, safe]
"#;

fn known(code: &str) -> bool {
    code == "InvalidPattern"
}

fn problems(text: &str) -> Vec<Problem> {
    load::file("demo.yaml", text.as_bytes(), &known).expect_err("it is refused")
}

/// The message and the place, after one replacement in the good file.
fn broken(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "{from}");
    let all = problems(&GOOD.replace(from, to));
    all.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_good_file_is_loaded_in_the_order_of_the_file() {
    let loaded = load::file("demo.yaml", GOOD.as_bytes(), &known).unwrap();
    let sources = load::link(loaded).unwrap();
    assert_eq!(sources.len(), 1);
    let names: Vec<&str> = sources[0]
        .inputs
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    assert_eq!(names, ["name", "times", "style"]);
}

#[test]
fn syntax_and_keys_are_refused_with_their_place() {
    for (from, to, wanted) in [
        (
            "purpose: Says hello.",
            "porpoise: Says hello.",
            &["demo.yaml:10:", "porpoise"][..],
        ),
        (
            "tier: autonomous",
            "tier: automatic",
            &["demo.yaml:6:", "automatic"],
        ),
        ("    tags: [demo, safe]", "    tags: 7", &["demo.yaml:25:"]),
        ("read_only: true, ", "", &["demo.yaml:9:", "read_only"]),
        (
            "    status: available\n",
            "    status: available\n    status: planned\n",
            &["demo.yaml:6:", "status"],
        ),
        (
            "{type: String, description: \"The greeting.\"}",
            "{type: Text, description: T}",
            &["demo.yaml:21:", "Text"],
        ),
        ("required: true,", "required: maybe,", &["demo.yaml:17:"]),
        ("category: demo", "category: [demo", &["demo.yaml:"]),
    ] {
        let message = broken(from, to);
        for part in wanted {
            assert!(message.contains(part), "{to}: {message}");
        }
    }
}

#[test]
fn the_same_capability_or_field_twice_is_refused() {
    let (head, body) = GOOD.split_at(GOOD.find("  demo.greet").unwrap());
    let message = problems(&format!("{head}{body}{body}"))[0].to_string();
    assert!(message.contains("demo.greet"), "{message}");
    let message = broken(
        "      text: {",
        "      text: {type: String, description: \"T.\"}\n      text: {",
    );
    assert!(message.contains("text"), "{message}");
    let load = || load::file("demo.yaml", GOOD.as_bytes(), &known).unwrap();
    let twice = load::link(load().into_iter().chain(load()).collect()).unwrap_err();
    assert!(twice[0].to_string().contains("already"), "{}", twice[0]);
}

#[test]
fn rules_are_enforced_with_their_place() {
    for (from, to, wanted) in [
        (
            "  demo.greet:\n",
            "  other.greet:\n",
            "demo.yaml:3:3: 'other.greet' does not belong",
        ),
        (
            "  demo.greet:\n",
            "  demo.Greet:\n",
            "not a capability's name",
        ),
        (
            "  demo.greet:\n",
            "  demo.a_very_long_name_that_no_client_takes_at_all:\n",
            "at most 40",
        ),
        ("tier: autonomous", "tier: blocked", "demo.yaml:6:11:"),
        (
            "purpose: Says hello.",
            "purpose: \" \"",
            "'purpose' is empty",
        ),
        ("version: \"1.0\"", "version: latest", "not a version"),
        (
            "destructive: false",
            "destructive: true",
            "what is read-only is not destructive",
        ),
        ("side_effect: none", "side_effect: local", "not read-only"),
        (
            "inputs: {name: Ada, times: 2}",
            "inputs: {name: Ada, times: 20}",
            "demo.yaml:13:9: the pattern is not admitted: times",
        ),
        (
            "inputs: {name: Ada, times: 2}",
            "inputs: {nane: Ada}",
            "the pattern is not admitted",
        ),
        (
            "default: 1, minimum: 1",
            "default: 0, minimum: 1",
            "the default is not admitted",
        ),
        (
            "minimum: 1, maximum: 9",
            "minimum: 9, maximum: 1",
            "demo.yaml:18:7: times:",
        ),
        (
            "min_length: 1,",
            "minimum: 1,",
            "'minimum' does not go with String",
        ),
        (
            "min_length: 1,",
            "pattern: \"(\",",
            "not a regular expression",
        ),
        ("min_length: 1,", "enum: [],", "'enum' is empty"),
        ("required: true,", "", "says whether it is required"),
        (
            "{loud: {type: boolean}}",
            "{loud: {type: boolean, oneOf: []}}",
            "'oneOf' does not go with type boolean",
        ),
        (
            "{loud: {type: boolean}}",
            "{loud: {$ref: other}}",
            "'$ref' does not go",
        ),
        (
            "properties: {loud",
            "format: uri, properties: {loud",
            "'format' does not go with type object",
        ),
        (
            "additionalProperties: false,",
            "required: [quiet],",
            "'required' names quiet",
        ),
        (
            "InvalidPattern:",
            "NoSuchError:",
            "demo.yaml:23:7: 'NoSuchError' is not an error",
        ),
        (
            "        - {action: simplify, description: \"Use another name.\", capability: demo.greet}\n",
            "        []\n",
            "has no recovery action",
        ),
        (
            "{type: String, description: \"The greeting.\"}",
            "{type: String, default: x, description: T}",
            "are for inputs",
        ),
        ("tags: [demo, safe]", "tags: [demo, demo]", "there twice"),
    ] {
        let message = broken(from, to);
        assert!(message.contains(wanted), "{to}:\n{message}");
    }
}

#[test]
fn a_description_that_clients_would_cut_is_refused() {
    let message = broken("Use it to greet.", &"long ".repeat(1_000));
    assert!(message.contains("at most 4095"), "{message}");
}

#[test]
fn a_recovery_action_must_name_a_capability_that_exists() {
    let text = GOOD.replace("capability: demo.greet}", "capability: demo.gone}");
    let loaded = load::file("demo.yaml", text.as_bytes(), &known).unwrap();
    let message = load::link(loaded).unwrap_err()[0].to_string();
    assert!(
        message.contains("demo.yaml:24:11: no capability is named 'demo.gone'"),
        "{message}"
    );
}

#[test]
fn bombs_are_refused_before_they_cost() {
    let mut aliases = String::from("category: demo\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let uses = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(aliases, "a{level}: &a{level} [{uses}]");
    }
    let deep = format!("category: {}x{}", "[".repeat(10_000), "]".repeat(10_000));
    let long = format!("category: {}", "x".repeat(load::MAX_FILE_BYTES));
    let many = format!("category: demo\ncapabilities: [{}]", "a,".repeat(200_000));
    let inputs = GOOD.replace(
        "inputs: {name: Ada, times: 2}",
        &format!("inputs: {}1{}", "{a: ".repeat(500), "}".repeat(500)),
    );
    for text in [aliases, deep, long, many, inputs] {
        assert_eq!(problems(&text).len(), 1);
    }
    let refused = load::file("demo.yaml", b"category: demo\n\xff\xfe", &known).unwrap_err();
    assert_eq!(
        refused[0].to_string(),
        "demo.yaml:2:1: the file is not UTF-8"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = load::file("demo.yaml", &bytes, &known);
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(text in "([-a-z:{}\\[\\]&*!|>'\"#%@,? \n\t0-9]|capabilities|category|inputs){0,80}") {
        let _ = load::file("demo.yaml", text.as_bytes(), &known);
    }

    /// A good file with a piece replaced, doubled or cut out: it is loaded, or refused with places.
    #[test]
    fn no_mutation_makes_it_panic(at in 0..GOOD.len(), cut in 0..40_usize, put in ".{0,8}", twice in any::<bool>()) {
        let mut bytes = GOOD.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        let piece = if twice { bytes[at..end].repeat(2) } else { put.into_bytes() };
        bytes.splice(at..end, piece);
        if let Err(problems) = load::file("demo.yaml", &bytes, &known) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!(problem.line >= 1 && problem.column >= 1 && !problem.message.is_empty());
            }
        }
    }
}
