//! What the approver sees.

use super::bed::{Bed, data};
use serde_json::json;

#[test]
fn a_write_shows_the_difference_to_the_file_as_it_is() {
    let bed = Bed::new();
    bed.put("t", "one\ntwo\n");
    let preview = bed.preview("write", json!({"path": "t", "content": "one\n2\n"}));
    assert_eq!(preview["kind"], "write");
    assert!(preview["diff"].as_str().unwrap().contains("-two\n+2\n"));
    assert_eq!(
        preview["target_state"]["sha256"],
        data::sha256(b"one\ntwo\n")
    );
    assert_eq!(bed.get("t"), "one\ntwo\n");
    let preview = bed.preview("write", json!({"path": "new", "content": "x\n"}));
    assert_eq!(preview["target_state"]["exists"], false);
    assert!(preview["summary"].as_str().unwrap().starts_with("create"));
    let preview = bed.preview("append", json!({"path": "t", "content": "three\n"}));
    assert!(preview["diff"].as_str().unwrap().contains("\n+three\n"));
    let preview = bed.preview(
        "edit",
        json!({"path": "t", "pattern": "two", "replace": "zwei"}),
    );
    assert!(preview["diff"].as_str().unwrap().contains("+zwei"));
    assert_eq!(bed.get("t"), "one\ntwo\n");
}

#[test]
fn hidden_characters_are_made_visible_and_bytes_marked() {
    let bed = Bed::new();
    let preview = bed.preview(
        "write",
        json!({"path": "t", "content": "safe\u{202e}\u{1b}[2J\n"}),
    );
    let diff = preview["diff"].as_str().unwrap();
    assert!(
        diff.contains("safe\\u{202e}\\u{1b}[2J") && !diff.contains('\u{1b}'),
        "{diff}"
    );
    let preview = bed.preview(
        "write",
        json!({"path": "t", "content": "AAH/", "encoding": "base64"}),
    );
    assert_eq!(preview["notes"], json!(["cannot be inspected"]));
    assert!(preview.get("diff").is_none());
}

#[test]
fn deletes_and_moves_show_paths_and_sizes() {
    let bed = Bed::new();
    bed.put("a", "12345");
    let preview = bed.preview("delete", json!({"path": "a"}));
    assert_eq!(
        (
            preview["restorable"].as_bool(),
            preview["paths"][0]["size"].as_u64()
        ),
        (Some(true), Some(5))
    );
    let preview = bed.preview("move", json!({"source": "a", "destination": "b"}));
    assert_eq!(
        preview["paths"][1],
        json!({"role": "destination", "path": "/workspace/b", "type": null, "size": null})
    );
    let preview = bed.preview("delete", json!({"path": "/etc/passwd"}));
    assert!(preview["summary"].as_str().unwrap().contains("would fail"));
}

#[test]
fn a_preview_is_bounded() {
    let bed = Bed::new();
    let text: String = (0..100_000)
        .map(|line| format!("\u{202e}line {line}\n"))
        .collect();
    bed.put("t", &text);
    let preview = bed.preview("write", json!({"path": "t", "content": "short"}));
    assert!(preview.to_string().len() <= 64 << 10);
    let preview = bed.preview(
        "edit",
        json!({"path": "t", "pattern": "line", "replace": "row", "replace_all": true}),
    );
    assert!(preview.to_string().len() <= 64 << 10);
}
