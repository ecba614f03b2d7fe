//! Results against the definition.

use kruxos_catalog::Catalog;
use kruxos_types::ErrorType;
use serde_json::{Value, json};

fn cause(name: &str, output: &Value) -> String {
    let error = Catalog::builtin()
        .get(name)
        .unwrap()
        .check_output(output)
        .unwrap_err();
    assert_eq!(error.error_type(), ErrorType::Internal);
    assert!(
        !error.to_json().to_string().contains("expected"),
        "the cause is not for the caller"
    );
    error.internal_cause().unwrap().to_owned()
}

fn listing() -> Value {
    json!({"path": "/w", "total": 1, "entries": [{
        "name": "a", "type": "file", "size": 1, "modified": "2026-01-31T12:00:00Z", "permissions": "rw-r--r--",
    }]})
}

#[test]
fn a_right_result_passes_and_each_break_is_named() {
    let list = Catalog::builtin().get("filesystem.list").unwrap();
    assert!(list.check_output(&listing()).is_ok());
    for (pointer, value, named) in [
        ("/total", json!("1"), "at total:"),
        ("/entries/0/type", json!("blob"), "at entries[0].type:"),
        ("/entries/0/size", json!(1.5), "at entries[0].size:"),
        ("/entries/0", json!({}), "at entries[0].modified:"),
    ] {
        let mut output = listing();
        *output.pointer_mut(pointer).unwrap() = value;
        let cause = cause("filesystem.list", &output);
        assert!(cause.contains(named), "{cause}");
    }
    let mut extra = listing();
    extra["secret"] = json!(1);
    assert!(cause("filesystem.list", &extra).contains("at secret:"));
    assert!(cause("filesystem.list", &json!({})).contains("it is missing"));
    assert!(cause("filesystem.list", &json!([])).contains("at result:"));
}

#[test]
fn nullable_outputs_may_be_null_and_others_may_not() {
    let mut stat = json!({"exists": false});
    for key in [
        "type",
        "size",
        "modified",
        "created",
        "permissions",
        "owner",
    ] {
        stat[key] = Value::Null;
    }
    assert!(
        Catalog::builtin()
            .get("filesystem.stat")
            .unwrap()
            .check_output(&stat)
            .is_ok()
    );
    stat["exists"] = Value::Null;
    assert!(cause("filesystem.stat", &stat).contains("at exists:"));
}
