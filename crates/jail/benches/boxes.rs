//! What confinement costs, printed as medians and ratios. Run alone: other load shows at once.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

#[path = "../../sandbox/tests/it/bed.rs"]
mod bed;
#[path = "../../capabilities/tests/it/permits.rs"]
#[allow(dead_code, reason = "the capabilities' own tests need more of it")]
mod permits;
#[path = "../tests/it/setting.rs"]
mod setting;

use bed::{Bed, Mode, host_processes, modes, run, shell};
use kruxos_capabilities::filesystem::{self, Files, FilesOptions};
use kruxos_sandbox::client::{AgentBox, Outcome, Program};
use kruxos_sandbox::spec::ProgramSpec;
use kruxos_types::{Principal, SystemClock};
use serde_json::json;
use setting::{Setting, agent, call};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The launcher of the product.
const LAUNCHER: &str = env!("CARGO_BIN_EXE_kruxos-jail");
const ROUNDS: usize = 400;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    for mode in modes() {
        println!("\n{mode:?}");
        runtime.block_on(async {
            reads(mode).await;
            programs(mode).await;
            cold(mode).await;
            memory(mode).await;
        });
    }
}

/// The middle, and the 99th of a hundred.
fn figures(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn print(what: &str, times: Vec<Duration>) -> Duration {
    let (p50, p99) = figures(times);
    println!("  {what:<44} p50 {p50:>10.1?}  p99 {p99:>10.1?}");
    p50
}

async fn reads(mode: Mode) {
    let setting = Setting::new(mode);
    let text = "A line of text as a note has it, 64 bytes with its end: 0123456\n".repeat(64);
    call(
        &setting.agent,
        "filesystem.write",
        json!({"path": "note.md", "content": text}),
    )
    .await
    .unwrap();
    let own = setting.bed.directory.path().join("own");
    let files = Files::open(
        FilesOptions {
            principal: Principal::agent(permits::TESTER),
            workspace: own.join("workspace"),
            trash: own.join("trash"),
            trash_keep: Duration::from_secs(60),
            max_watches: 1,
        },
        Arc::new(SystemClock),
        Arc::new(|_| {}),
    )
    .unwrap();
    std::fs::write(own.join("workspace/note.md"), &text).unwrap();
    let definition = permits::definition("filesystem.read");
    let inputs = json!({"path": "note.md", "encoding": "utf-8", "limit": 1 << 20});
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS * 10 {
        let permit = permits::permit(definition, inputs.as_object().unwrap().clone());
        let begun = Instant::now();
        filesystem::run(definition, permit, &files).unwrap();
        inside.push(begun.elapsed());
        let permit = permits::permit(definition, inputs.as_object().unwrap().clone());
        let begun = Instant::now();
        let request = filesystem::confined::request(definition, permit, None).unwrap();
        let answer = setting.agent.call(&request, bed::LONG).await.unwrap();
        filesystem::confined::answer(&answer).unwrap();
        outside.push(begun.elapsed());
    }
    let inside = print("read 4 KiB, in process", inside);
    let outside = print("read 4 KiB, warm worker", outside);
    println!(
        "  → adds {:.1?} (bound 100 µs)",
        outside.saturating_sub(inside)
    );
}

/// CPU time of everything the launcher made, where a cpuacct group can be had: programs' own counters
/// leave out those who confine them.
struct Meter(Option<std::path::PathBuf>);

impl Meter {
    fn of(launcher: u32) -> Meter {
        let group = Path::new("/sys/fs/cgroup/cpuacct").join(format!("kruxos-bench-{launcher}"));
        let made = std::fs::create_dir(&group)
            .and_then(|()| std::fs::write(group.join("cgroup.procs"), launcher.to_string()));
        Meter(made.is_ok().then_some(group))
    }

    fn read(&self) -> Option<Duration> {
        let text = std::fs::read_to_string(self.0.as_ref()?.join("cpuacct.usage")).ok()?;
        Some(Duration::from_nanos(text.trim().parse().ok()?))
    }
}

async fn programs(mode: Mode) {
    let bed = Bed::new(mode);
    let meter = Meter::of(bed.launcher.pid());
    let agent = bed.agent("runner");
    run(&agent, shell("true")).await;
    let (mut bare, mut boxed) = (Vec::new(), Vec::new());
    let before = meter.read();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        #[allow(clippy::disallowed_methods, reason = "what is compared with")]
        let status = Command::new("/bin/true").status().unwrap();
        bare.push(begun.elapsed());
        assert!(status.success());
        let begun = Instant::now();
        let running = agent
            .run(Program::new(ProgramSpec::new(["/bin/true"])))
            .await
            .unwrap();
        let ended = running.wait().await;
        boxed.push(begun.elapsed());
        assert_eq!(ended.outcome, Outcome::Exited(0));
    }
    let cpu = before
        .zip(meter.read())
        .map(|(before, after)| after - before);
    let bare = print("/bin/true, bare posix_spawn", bare);
    let boxed = print("/bin/true, all layers", boxed);
    println!(
        "  → {:.2} × (bound 4)",
        boxed.as_secs_f64() / bare.as_secs_f64()
    );
    if let Some(cpu) = cpu {
        println!(
            "  → {:.2?} CPU each in the box (bound 3 ms)",
            cpu / ROUNDS as u32
        );
    }
}

async fn cold(mode: Mode) {
    let bed = Bed::new(mode);
    let mut times = Vec::new();
    for number in 0..40 {
        let agent = agent(&bed, &format!("cold-{number}"));
        let begun = Instant::now();
        call(&agent, "filesystem.list", json!({"path": "."}))
            .await
            .unwrap();
        times.push(begun.elapsed());
    }
    print("first call of a cold agent (bound 30 ms)", times);
}

/// A field of a process's memory, in kilobytes.
fn memory_of(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| {
        line.trim_start_matches(':')
            .trim()
            .split(' ')
            .next()?
            .parse()
            .ok()
    })
    .unwrap_or(0)
}

fn tree(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut at = 0;
    while let Some(pid) = all.get(at).copied() {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        all.extend(
            children
                .unwrap_or_default()
                .split_whitespace()
                .map(|pid| pid.parse::<u32>().unwrap()),
        );
        at += 1;
    }
    all
}

async fn memory(mode: Mode) {
    let bed = Bed::new(mode);
    let mut agents: Vec<AgentBox> = Vec::new();
    for number in 0..100 {
        let agent = agent(&bed, &format!("warm-{number}"));
        for _ in 0..3 {
            call(
                &agent,
                "filesystem.write",
                json!({"path": "a", "content": "x".repeat(4096)}),
            )
            .await
            .unwrap();
            call(&agent, "filesystem.read", json!({"path": "a"}))
                .await
                .unwrap();
        }
        agents.push(agent);
    }
    let all = tree(bed.launcher.pid());
    let private = |pid: u32| memory_of(pid, "Private_Dirty") + memory_of(pid, "Private_Clean");
    let workers: Vec<u64> = all.iter().skip(1).map(|pid| private(*pid)).collect();
    let most = workers.iter().max().copied().unwrap_or(0);
    let shared: u64 = all.iter().map(|pid| memory_of(*pid, "Pss")).sum();
    println!(
        "  private memory of a box's process: at most {most} KiB (bound 3,072); 100 agents, {} processes: {} MiB",
        all.len(),
        shared >> 10
    );
    assert!(!host_processes().is_empty());
}
