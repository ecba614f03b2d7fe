//! The handlers that change files, durably: from the spent permit to the answer. What they cost beside
//! the disk's own syncs is the journal and the earlier content that undo needs.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, dead_code)]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use kruxos_capabilities::filesystem::{Files, FilesOptions, run};
use kruxos_types::{Principal, SystemClock};
use serde_json::{Value, json};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[path = "../tests/it/permits.rs"]
mod permits;

fn files(dir: &Path, trash: &Path) -> Files {
    let options = FilesOptions {
        principal: Principal::agent(permits::TESTER),
        workspace: dir.join("ws"),
        trash: trash.to_path_buf(),
        trash_keep: Duration::from_secs(60),
        undo_quota: 1 << 30,
        max_watches: 1,
        mounts: Vec::new(),
    };
    Files::open(options, Arc::new(SystemClock), Arc::new(|_| {}))
        .unwrap()
        .in_session("ses_bench")
}

fn write(c: &mut Criterion) {
    let text = "A line of text as a program or a note has it, 64 bytes with end.\n".repeat(63);
    let here = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut group = c.benchmark_group("write_4_kib");
    group.sample_size(60);
    for (name, dir, trash) in [
        ("disk", here.path(), here.path().join("trash")),
        // As in a box, where the trash is another mount: content is copied there.
        ("disk_other_mount", here.path(), shm.path().join("trash")),
        ("memory", shm.path(), shm.path().join("trash2")),
    ] {
        let files = files(dir, &trash);
        let definition = permits::definition("filesystem.write");
        let permit = |path: String| {
            let Value::Object(inputs) = json!({"path": path, "content": text}) else {
                unreachable!()
            };
            permits::permit(definition, inputs)
        };
        group.bench_function(format!("{name}/replace"), |b| {
            b.iter_batched(
                || permit("notes.md".to_owned()),
                |permit| black_box(run(definition, permit, &files).unwrap()),
                BatchSize::SmallInput,
            );
        });
        let mut number = 0;
        group.bench_function(format!("{name}/new"), |b| {
            b.iter_batched(
                || {
                    number += 1;
                    let path = format!("{name}-{number}");
                    if number > 1 {
                        let before = format!("ws/{name}-{}", number - 1);
                        let _gone = std::fs::remove_file(dir.join(before));
                    }
                    permit(path)
                },
                |permit| black_box(run(definition, permit, &files).unwrap()),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, write);
criterion_main!(benches);
