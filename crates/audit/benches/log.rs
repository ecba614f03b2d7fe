//! What the log costs: a call's share, the writer's share, group commit against a sync for each entry,
//! and verification. Prints the ratios that spec/audit.md sets as targets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs
)]

use criterion::{Criterion, criterion_group};
use kruxos_audit::{AuditLog, Durability, Finished, Kind, Options, Record, Status, redact, verify};
use kruxos_types::{Interface, Object, Principal, SystemClock};
use serde_json::{Value, json};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const WRITERS: u64 = 64;

fn inputs() -> Value {
    json!({"path": "src/main.rs", "pattern": "fn main", "include_glob": "*.rs", "max_results": 50, "regex": false})
}

fn record() -> Record {
    Record {
        actor: Principal::agent("default-agent"),
        session_id: Some("ses_abcdefghijklmnopqrstuvwxyz".to_owned()),
        interface: Some(Interface::Mcp),
        kind: Kind::Call,
        capability: Some("filesystem.search_content".to_owned()),
        inputs: Some(inputs()),
        output_summary: None,
        status: Status::Success,
        policy_decision: Some(
            json!({"tier": "autonomous", "winner": "system", "generation": 3}).into(),
        ),
        duration_us: None,
        resource_usage: None,
        metadata: Object::new(),
    }
}

fn outcome() -> Finished {
    Finished {
        status: Status::Success,
        output_summary: Some(json!({"matches": 3, "truncated": false})),
        duration_us: 120,
        resource_usage: None,
        metadata: Object::new(),
    }
}

fn open(dir: &Path) -> AuditLog {
    AuditLog::open(dir, Options::default(), Arc::new(SystemClock))
        .unwrap()
        .0
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn on_the_caller(criterion: &mut Criterion) {
    criterion.bench_function("redact (nothing to redact)", |bench| {
        let inputs = inputs();
        bench.iter(|| redact(black_box(&inputs)));
    });
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let runtime = runtime();
    criterion.bench_function("record built by the caller", |bench| {
        bench.iter(|| black_box((record(), outcome())))
    });
    // A sample at a time, so that the queue never fills; building the record is not the log's.
    criterion.bench_function("begin_read + finish on the caller", |bench| {
        bench.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            let mut left = times;
            while left > 0 {
                let now = left.min(2_000);
                let calls: Vec<_> = (0..now).map(|_| (record(), outcome())).collect();
                runtime.block_on(async {
                    let start = Instant::now();
                    for (record, outcome) in calls {
                        log.begin_read(record)
                            .unwrap()
                            .finish(outcome)
                            .await
                            .unwrap();
                    }
                    spent += start.elapsed();
                    log.flush().await.unwrap();
                });
                left -= now;
            }
            spent
        });
    });
}

fn alone(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let runtime = runtime();
    criterion.bench_function("append waited, one writer", |bench| {
        bench.iter(|| {
            runtime
                .block_on(log.append(record(), Durability::Waited))
                .unwrap()
        });
    });
    let file = std::fs::File::create(dir.path().join("plain")).unwrap();
    file.write_all_at(&vec![0; 64 << 20], 0).unwrap();
    file.sync_all().unwrap();
    let mut at = 0;
    criterion.bench_function("write + fdatasync alone", |bench| {
        bench.iter(|| {
            file.write_all_at(&[7; 400], at).unwrap();
            file.sync_data().unwrap();
            at = (at + 400) % (60 << 20);
        });
    });
}

/// Appends by 64 tasks for `length`; entries a second and the median wait.
fn group_commit(dir: &Path, length: Duration) -> (f64, Duration) {
    let log = open(dir);
    let count = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut waits: Vec<Duration> = runtime().block_on(async {
        let tasks: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (log, count) = (log.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    let mut waits = Vec::new();
                    while start.elapsed() < length {
                        let begun = Instant::now();
                        log.append(record(), Durability::Waited).await.unwrap();
                        waits.push(begun.elapsed());
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    waits
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all
    });
    let rate = count.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    waits.sort_unstable();
    (
        rate,
        waits.get(waits.len() / 2).copied().unwrap_or_default(),
    )
}

/// The same by 64 threads that append to one file and sync for each entry.
fn sync_each(dir: &Path, length: Duration) -> f64 {
    let file = Arc::new(std::fs::File::create(dir.join("each")).unwrap());
    file.write_all_at(&vec![0; 64 << 20], 0).unwrap();
    file.sync_all().unwrap();
    let (count, at) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let start = Instant::now();
    let threads: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (file, count, at) = (Arc::clone(&file), Arc::clone(&count), Arc::clone(&at));
            std::thread::spawn(move || {
                while start.elapsed() < length {
                    let place = at.fetch_add(400, Ordering::Relaxed) % (60 << 20);
                    file.write_all_at(&[7; 400], place).unwrap();
                    file.sync_data().unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    count.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
}

fn report() {
    let dir = tempfile::tempdir().unwrap();
    let length = Duration::from_secs(3);
    let each = sync_each(dir.path(), length);
    let (grouped, median) = group_commit(&dir.path().join("audit"), length);
    println!(
        "64 writers: {each:.0}/s with a sync each, {grouped:.0}/s grouped ({median:?} p50): {:.1} times",
        grouped / each
    );

    let dir = dir.path().join("verified");
    let log = open(&dir);
    runtime().block_on(async {
        for _ in 0..150 {
            for _ in 0..2_000 {
                log.begin_read(record())
                    .unwrap()
                    .finish(outcome())
                    .await
                    .unwrap();
            }
            log.flush().await.unwrap();
        }
    });
    let start = Instant::now();
    let rows = log.reindex().unwrap();
    println!(
        "index: {:.0} entries/s",
        rows as f64 / start.elapsed().as_secs_f64()
    );
    drop(log);
    for _ in 0..3 {
        let start = Instant::now();
        let found = verify(&dir).unwrap();
        assert!(found.ok);
        println!(
            "verify: {:.0} entries/s of {}",
            found.entries as f64 / start.elapsed().as_secs_f64(),
            found.entries
        );
    }
    let start = Instant::now();
    let log = open(&dir);
    println!("open: {:?}", start.elapsed());
    drop(log);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = on_the_caller, alone
}

fn main() {
    benches();
    report();
}
