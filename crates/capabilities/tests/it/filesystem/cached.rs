//! The answer that needs no waiting is the answer that may wait, or none.

use super::bed::Bed;
use crate::permits;
use kruxos_capabilities::filesystem::run_cached;
use kruxos_types::CallError;
use serde_json::{Value, json};
use std::os::unix::fs::symlink;

fn at_once(bed: &Bed, inputs: &Value) -> Option<Result<Value, CallError>> {
    let definition = permits::definition("filesystem.read");
    let inputs = inputs.as_object().unwrap().clone();
    run_cached(definition, permits::permit(definition, inputs), &bed.files).ok()
}

#[test]
fn a_small_file_in_memory_is_read_at_once_and_everything_else_waits() {
    let bed = Bed::new();
    bed.put("a/b.txt", "small");
    bed.put("empty", "");
    bed.put("big", &"x".repeat(64 * 1024 + 1));
    bed.put_bytes("binary", b"\xff\xfe");
    symlink("a/b.txt", bed.path("inside")).unwrap();
    symlink(bed.outside("x"), bed.path("out")).unwrap();
    std::fs::write(bed.outside("x"), "secret").unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bed.path("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();

    for inputs in [
        json!({"path": "a/b.txt"}),
        json!({"path": "/workspace/a/../a/b.txt"}),
        json!({"path": "inside"}),
        json!({"path": "a/b.txt", "encoding": "base64"}),
        json!({"path": "binary"}),
    ] {
        let waited = bed.call("read", inputs.clone());
        let cached = at_once(&bed, &inputs).unwrap_or_else(|| panic!("{inputs} should be cached"));
        let told = |answer: Result<Value, CallError>| answer.map_err(|error| error.to_json());
        assert_eq!(told(cached), told(waited), "{inputs}");
    }
    for inputs in [
        json!({"path": "empty"}),
        json!({"path": "big"}),
        json!({"path": "fifo"}),
        json!({"path": "out"}),
        json!({"path": "../outside/x"}),
        json!({"path": "missing"}),
        json!({"path": "a"}),
        json!({"path": "a/b.txt", "offset": 1}),
        json!({"path": "a/b.txt", "limit": 2}),
    ] {
        assert!(at_once(&bed, &inputs).is_none(), "{inputs}");
    }
}
