//! Bad values for a field, derived from its schema.

use kruxos_catalog::{Field, FieldType};
use serde_json::{Value, json};

/// What the answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// `InvalidInput` that names the field.
    Named,
    /// Some structured error: never carried out.
    Refused,
    /// The message is no JSON: a JSON-RPC fault or a structured error.
    Malformed,
    /// Carried out or refused, but never harmful.
    Safe,
}

pub(crate) struct Case {
    pub(crate) title: String,
    /// The field's value as it stands in the message; not always JSON.
    pub(crate) raw: Vec<u8>,
    pub(crate) verdict: Verdict,
}

fn case(title: &str, raw: impl Into<Vec<u8>>, verdict: Verdict) -> Case {
    Case {
        title: title.to_owned(),
        raw: raw.into(),
        verdict,
    }
}

/// One past the largest string of any field (10 MiB).
pub(crate) fn huge() -> Case {
    let raw = format!("\"{}\"", "A".repeat(10 * 1024 * 1024 + 1));
    case("10 MB string", raw, Verdict::Named)
}

/// `[[[…]]]`.
pub(crate) fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// Everything that is tried on a field.
pub(crate) fn of(field: &Field) -> Vec<Case> {
    let mut all = wrong_types(field);
    all.extend(bounds(field));
    all.extend(malformed());
    all.push(case("100,000 levels", nested(100_000), Verdict::Malformed));
    // Beyond what a nested value may have, within what the parser takes.
    all.push(case("100 levels", nested(100), Verdict::Named));
    if is_text(field) {
        all.extend(texts(field));
    }
    if matches!(field.kind, FieldType::FilesystemPath) {
        all.extend(paths());
    }
    all
}

pub(crate) fn is_text(field: &Field) -> bool {
    field.schema["type"] == "string"
        || field.schema["type"]
            .as_array()
            .is_some_and(|all| all.contains(&json!("string")))
}

/// The JSON types that the field's schema takes; every type where it names none.
fn takes(field: &Field, kind: &str) -> bool {
    if kind == "null" && field.nullable {
        return true;
    }
    match &field.schema["type"] {
        Value::String(one) => one == kind || (one == "number" && kind == "integer"),
        Value::Array(all) => all.iter().any(|one| one == kind),
        _ => true,
    }
}

fn wrong_types(field: &Field) -> Vec<Case> {
    let values = [
        ("null", "null"),
        ("boolean", "true"),
        ("integer", "-7"),
        ("number", "0.5"),
        ("string", "\"zz-no-such-value\""),
        ("array", "[null,[],{\"a\":1}]"),
        ("object", "{\"zz\":{\"zz\":[1]}}"),
    ];
    values
        .into_iter()
        .map(|(kind, raw)| {
            let verdict = match takes(field, kind) {
                true => Verdict::Safe,
                false => Verdict::Named,
            };
            case(&format!("a {kind}"), raw, verdict)
        })
        .collect()
}

fn bounds(field: &Field) -> Vec<Case> {
    let mut all = Vec::new();
    let schema = &field.schema;
    if let Some(least) = schema["minimum"].as_i64() {
        all.push(case(
            "below the minimum",
            (least - 1).to_string(),
            Verdict::Named,
        ));
    }
    if let Some(most) = schema["maximum"].as_i64() {
        all.push(case(
            "above the maximum",
            (most + 1).to_string(),
            Verdict::Named,
        ));
    }
    if takes(field, "integer") {
        let any = match schema["type"].is_null() {
            true => Verdict::Safe,
            false => Verdict::Named,
        };
        for raw in ["18446744073709551616", "-9223372036854775809", "1e300"] {
            all.push(case(raw, raw, any));
        }
        all.push(case("1e999", "1e999", Verdict::Malformed));
        all.push(case("the largest", "9223372036854775807", Verdict::Safe));
    }
    if let Some(most) = schema["maxLength"].as_u64().filter(|most| *most < 100_000) {
        let raw = format!("\"{}\"", "é".repeat(most as usize + 1));
        all.push(case("too long", raw, Verdict::Named));
    }
    if schema["minLength"].as_u64().is_some_and(|least| least > 0) {
        all.push(case("empty", "\"\"", Verdict::Named));
    }
    if schema["enum"].is_array() {
        all.push(case("not in the enum", "\"zz\"", Verdict::Named));
    }
    if let Some(most) = schema["maxItems"].as_u64() {
        let items = vec!["\"created\""; most as usize + 1].join(",");
        all.push(case("too many", format!("[{items}]"), Verdict::Named));
    }
    all
}

fn malformed() -> Vec<Case> {
    [
        ("invalid UTF-8", &b"\"a\xff\xfeb\""[..]),
        ("a byte alone of two", b"\"\xc3\""),
        ("an encoded surrogate", b"\"\xed\xa0\x80\""),
        ("an overlong slash", b"\"..\xc0\xaf..\""),
        ("a lone surrogate", b"\"\\ud800\""),
        ("a raw NUL", b"\"a\0b\""),
        ("NaN", b"NaN"),
        ("an open string", b"\"abc"),
        ("a trailing comma", b"[1,]"),
    ]
    .into_iter()
    .map(|(title, raw)| case(title, raw, Verdict::Malformed))
    .collect()
}

fn texts(field: &Field) -> Vec<Case> {
    // A NUL cannot be in a path; elsewhere it is a character like others.
    let nul = match field.kind {
        FieldType::FilesystemPath | FieldType::GlobPattern => Verdict::Refused,
        _ => Verdict::Safe,
    };
    let mut all = vec![case("an escaped NUL", "\"notes\\u0000/x\"", nul)];
    for raw in [
        "",
        " ",
        "\\n\\r\\n",
        "\\u202e\\u2066",
        "%s%n{}{0}",
        "$(id)`id`;id",
        "(((((((((a*)*)*)*)*)*)*)*)*)*$",
        "{a,b{c,d{e,f}}}**/**/**/**/[",
        "[!",
        "\\\\",
        "A/../../..",
        "\\ud83d\\ude00",
    ] {
        all.push(case(raw, format!("\"{raw}\""), Verdict::Safe));
    }
    all
}

fn paths() -> Vec<Case> {
    let outside = [
        "..",
        "../..",
        "../../../../../../etc/passwd",
        "notes/../../../state.db",
        "notes/../..",
        "./.././x",
        "/etc/passwd",
        "/",
        "//etc/passwd",
        "/proc/self/environ",
        "/proc/self/root/etc/passwd",
        "/proc/self/fd/0",
        "/dev/zero",
        "/workspace/../../etc/passwd",
        "/workspace/leak/secret.txt",
        "leak/secret.txt",
        "leak/new/deeper.txt",
        "leak/..",
        "leak/../data/state.db",
        "/trash/../../etc/passwd",
    ];
    let odd = [
        "leak",
        "leak.txt",
        "leak.txt/",
        "notes/todo.md/x",
        "notes//todo.md/.",
        ".",
        "notes",
        "~",
        "~root/.ssh/id_rsa",
        "file:///etc/passwd",
        "C:\\\\Windows",
        "..\\\\..\\\\etc",
        "..%2f..%2fetc%2fpasswd",
        "\\u2024\\u2024/etc",
    ];
    let mut all: Vec<Case> = outside
        .iter()
        .map(|raw| case(raw, format!("\"{raw}\""), Verdict::Refused))
        .collect();
    all.extend(
        odd.iter()
            .map(|raw| case(raw, format!("\"{raw}\""), Verdict::Safe)),
    );
    let name = "n".repeat(300);
    let deep = "d/".repeat(1500);
    all.push(case("a long name", format!("\"{name}\""), Verdict::Safe));
    all.push(case("a deep path", format!("\"{deep}x\""), Verdict::Safe));
    let long = "p/".repeat(2049);
    all.push(case("a long path", format!("\"{long}\""), Verdict::Named));
    all
}
