//! One decision at 10 to 10,000 rules in three layers: Criterion for the mean, an own histogram of
//! single decisions for p50 and p99, which Criterion does not give.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use kruxos_catalog::Catalog;
use kruxos_policy::{PolicySet, Query, RateCounters, Source, Sources};
use kruxos_types::{Interface, Object, Principal};
use serde_json::{Value, json};
use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

/// How the rules of a layer are spread.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// Over paths, commands, hosts and plain tiers of all capabilities.
    Realistic,
    /// All for one capability, told apart by path.
    OneCapability,
}

/// Calls per measurement; so many that the 99th percentile rests on thousands.
const SAMPLES: usize = 400_000;

fn layer(name: &str, count: usize, spread: Spread) -> String {
    let mut text = String::from("rules:\n");
    let all: Vec<&str> = Catalog::builtin()
        .all()
        .iter()
        .map(|definition| definition.name)
        .collect();
    for number in 0..count {
        let (capability, condition) = match (spread, number % 5) {
            (Spread::OneCapability, _) | (_, 0) => (
                "filesystem.read",
                format!("path_prefix: /workspace/{name}{}/d{number}", number % 50),
            ),
            (_, 1) => (
                "filesystem.write",
                format!("path_prefix: /data/{name}/d{number}, content_size_lt: 4096"),
            ),
            (_, 2) => ("process.run", format!("command_in: [tool{number}]")),
            (_, 3) => (
                "network.http_request",
                format!("domain_in: [h{number}.example.com]"),
            ),
            _ => (
                *all.get(number % all.len()).unwrap(),
                format!(
                    "weekday_in: [sun], time_of_day: '0{}:00-0{}:30'",
                    number % 9,
                    number % 9
                ),
            ),
        };
        writeln!(
            text,
            "- {{capability: {capability}, conditions: {{{condition}}}, tier: notify}}"
        )
        .unwrap();
    }
    text
}

fn compiled(rules: usize, spread: Spread) -> PolicySet {
    let share = rules.div_ceil(3);
    let source = |file: &str, count| {
        Some(Source {
            file: file.to_owned(),
            text: layer(file, count, spread),
        })
    };
    let mut sources = Sources {
        system: source("system", share),
        organisation: source("org", share),
        ..Sources::default()
    };
    sources
        .agents
        .insert("alice".to_owned(), source("alice", share).unwrap());
    sources.data_dir = Some("/var/lib/kruxos".to_owned());
    PolicySet::compile(&sources, Catalog::builtin(), 1)
        .unwrap()
        .0
}

fn calls(rules: usize, spread: Spread) -> Vec<(&'static str, Object)> {
    let share = rules.div_ceil(3).max(1);
    let object = |value: Value| value.as_object().unwrap().clone();
    (0..1_000_usize)
        .map(|call| {
            let number = call * 7 % share;
            let layer = ["system", "org", "alice"][call % 3];
            let read = json!({"path": format!("{layer}{}/d{number}/src/main.rs", number % 50)});
            match (spread, call % 5) {
                (Spread::OneCapability, _) | (_, 0 | 1) => ("filesystem.read", object(read)),
                (_, 2) => (
                    "filesystem.write",
                    object(
                        json!({"path": format!("src/{number}/lib.rs"), "content": "fn main() {}"}),
                    ),
                ),
                (_, 3) => (
                    "process.run",
                    object(json!({"command": format!("tool{number}"), "args": ["--version"]})),
                ),
                _ => ("system.time", Object::new()),
            }
        })
        .collect()
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn percentile(sorted: &[u64], per_mille: usize) -> u64 {
    *sorted.get(sorted.len() * per_mille / 1_000).unwrap_or(&0)
}

fn decide(criterion: &mut Criterion) {
    let principal = Principal::agent("alice");
    let now: Timestamp = "2026-03-04T12:00:00Z".parse().unwrap();
    let rates = RateCounters::default();
    for spread in [Spread::Realistic, Spread::OneCapability] {
        let mut group = criterion.benchmark_group(format!("decide/{spread:?}"));
        for rules in [10, 100, 1_000, 10_000] {
            let set = compiled(rules, spread);
            let calls = calls(rules, spread);
            let queries: Vec<Query<'_>> = calls
                .iter()
                .map(|(capability, inputs)| Query {
                    principal: &principal,
                    definition: Catalog::builtin().get(capability).unwrap(),
                    inputs,
                    interface: Interface::Mcp,
                    now,
                    workspace: "/srv/kruxos/workspaces/alice",
                    touches: &[],
                })
                .collect();
            let mut reads: Vec<u64> = (0..SAMPLES).map(|_| nanoseconds(Instant::now())).collect();
            reads.sort_unstable();
            let mut nanos: Vec<u64> = Vec::with_capacity(SAMPLES);
            for query in queries.iter().cycle().take(SAMPLES) {
                let start = Instant::now();
                black_box(set.decide(black_box(query), &rates)).unwrap();
                nanos.push(nanoseconds(start));
            }
            nanos.sort_unstable();
            println!(
                "{spread:?} {rules:>6} rules: p50 {} ns, p90 {} ns, p99 {} ns (reading the clock takes {} ns of each)",
                percentile(&nanos, 500),
                percentile(&nanos, 900),
                percentile(&nanos, 990),
                percentile(&reads, 500)
            );
            let mut next = queries.iter().cycle();
            group.bench_with_input(BenchmarkId::from_parameter(rules), &set, |bencher, set| {
                bencher.iter(|| set.decide(black_box(next.next().unwrap()), &rates));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decide);
criterion_main!(benches);
