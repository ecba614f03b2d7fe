//! The handler of `filesystem.read` alone, on a warm cache: from the spent permit to the answer.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, dead_code)]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use kruxos_capabilities::filesystem::{Files, FilesOptions, run};
use kruxos_types::{Principal, SystemClock};
use serde_json::{Value, json};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

#[path = "../tests/it/permits.rs"]
mod permits;

fn read(c: &mut Criterion) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let options = FilesOptions {
        principal: Principal::agent(permits::TESTER),
        workspace: dir.path().join("ws"),
        trash: dir.path().join("trash"),
        trash_keep: Duration::from_secs(60),
        undo_quota: 1 << 30,
        max_watches: 1,
        mounts: Vec::new(),
    };
    let files = Files::open(options, Arc::new(SystemClock), Arc::new(|_| {})).unwrap();
    std::fs::create_dir_all(dir.path().join("ws/src/deep")).unwrap();
    let line = "A line of text as a program or a note has it, 64 bytes with end.\n";
    let text = line.repeat(1 + (1 << 20) / line.len());
    let definition = permits::definition("filesystem.read");
    let mut group = c.benchmark_group("read");
    for (name, path, size, encoding) in [
        ("4_kib", "notes.md", 4 << 10, "utf-8"),
        (
            "4_kib_deep",
            "/workspace/src/deep/notes.md",
            4 << 10,
            "utf-8",
        ),
        ("4_kib_base64", "notes.md", 4 << 10, "base64"),
        ("empty", "src/empty", 0, "utf-8"),
        ("1_mib", "big.txt", 1 << 20, "utf-8"),
    ] {
        let rel = path.trim_start_matches("/workspace/");
        std::fs::write(dir.path().join("ws").join(rel), &text[..size]).unwrap();
        let Value::Object(inputs) = json!({"path": path, "encoding": encoding, "limit": 10 << 20})
        else {
            unreachable!()
        };
        group.bench_function(name, |b| {
            b.iter_batched(
                || permits::permit(definition, inputs.clone()),
                |permit| black_box(run(definition, permit, &files).unwrap()),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
