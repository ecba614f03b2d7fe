//! What confinement costs, printed as medians, 99th percentiles and ratios of one run, each beside the
//! bound it has (issue 3). Run alone, and as root for both modes: other load shows at once. Compares with
//! `bwrap` where `PATH` has it. Arguments name the parts to run: `reads`, `programs`, `cold`, `memory`.
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
#[allow(dead_code, reason = "the tests need more of it")]
mod setting;

use bed::{Bed, Mode, modes, run, shell};
use kruxos_capabilities::filesystem::{self, Files, FilesOptions};
use kruxos_sandbox::client::{AgentBox, Outcome, Program};
use kruxos_sandbox::spec::ProgramSpec;
use kruxos_types::{Principal, SystemClock};
use serde_json::json;
use setting::{Setting, agent, call};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The launcher of the product.
const LAUNCHER: &str = env!("CARGO_BIN_EXE_kruxos-jail");
const ROUNDS: usize = 400;
/// Boxes side by side.
const AGENTS: usize = 100;

/// Whether this part is to run: all, unless the command line names some.
fn asked(part: &str) -> bool {
    let named = std::env::args().skip(1);
    // Cargo adds an option of its own.
    let named: Vec<String> = named.filter(|name| !name.starts_with('-')).collect();
    named.is_empty() || named.iter().any(|name| name == part)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    for mode in modes() {
        println!("\n{mode:?}");
        // As the gateway's calls are: in a task of the runtime's threads.
        let measured = runtime.spawn(async move {
            if asked("reads") {
                reads(mode).await;
            }
            if asked("programs") {
                programs(mode).await;
            }
            if asked("cold") {
                cold(mode).await;
            }
            if asked("memory") {
                memory(mode).await;
            }
        });
        runtime.block_on(measured).unwrap();
    }
}

/// The middle, and the 99th of a hundred.
fn figures(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// What was reached, and the most it may be.
fn bound(what: &str, reached: f64, most: f64, unit: &str) {
    let verdict = if reached <= most { "ok" } else { "MISSED" };
    println!("  → {what:<42} {reached:>10.2} {unit}, bound {most} {unit}: {verdict}");
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
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
            undo_quota: 1 << 30,
            max_watches: 1,
            mounts: Vec::new(),
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
    bound(
        "a warm worker adds",
        micros(outside.saturating_sub(inside)),
        100.0,
        "µs",
    );
}

/// CPU time of everything the launcher made, where a cpuacct group can be had: programs' own counters
/// leave out those who confine them.
struct Meter(Option<PathBuf>);

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

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(group) = &self.0 {
            // The launcher and all in it have ended by now.
            std::fs::remove_dir(group).unwrap();
        }
    }
}

/// `/bin/true` in a fresh bubblewrap of the same shape; `None` where there is none that works.
#[allow(clippy::disallowed_methods, reason = "what is compared with")]
fn bubblewrap(workspace: &Path) -> Option<Command> {
    let mut command = Command::new("bwrap");
    command.args(["--unshare-all", "--die-with-parent", "--new-session"]);
    command.args(["--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc"]);
    for name in ["/bin", "/lib", "/lib64"] {
        if let Ok(to) = std::fs::read_link(name) {
            command
                .arg("--symlink")
                .args([to.as_path(), Path::new(name)]);
        }
    }
    command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
    command
        .arg("--bind")
        .args([workspace, Path::new("/workspace")]);
    command.args(["--chdir", "/workspace", "/bin/true"]);
    let works = command.output().is_ok_and(|output| output.status.success());
    works.then_some(command)
}

async fn programs(mode: Mode) {
    let bed = Bed::new(mode);
    let meter = Meter::of(bed.launcher.pid());
    let agent = bed.agent("runner");
    run(&agent, shell("true")).await;
    let mut wrapped_command = bubblewrap(&bed.make("wrapped"));
    let (mut bare, mut boxed, mut wrapped) = (Vec::new(), Vec::new(), Vec::new());
    let before = meter.read();
    for round in 0..ROUNDS {
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
        // It takes long, and a quarter of the rounds is enough for a median.
        if let Some(command) = wrapped_command.as_mut().filter(|_| round % 4 == 0) {
            let begun = Instant::now();
            assert!(command.status().unwrap().success());
            wrapped.push(begun.elapsed());
        }
    }
    let cpu = before.zip(meter.read());
    let bare = print("/bin/true, bare posix_spawn", bare);
    let boxed = print("/bin/true, all layers", boxed);
    let ratio = |other: Duration| boxed.as_secs_f64() / other.as_secs_f64();
    bound("of a bare posix_spawn", ratio(bare), 4.0, "times");
    if wrapped.is_empty() {
        println!("  without a comparison: no bwrap that works");
    } else {
        let wrapped = print("/bin/true, bwrap --unshare-all", wrapped);
        bound("of bwrap", ratio(wrapped), 0.25, "times");
    }
    match cpu {
        Some((before, after)) => {
            let each = (after - before) / ROUNDS as u32;
            bound(
                "CPU of one run, all it takes",
                micros(each) / 1e3,
                3.0,
                "ms",
            );
        }
        None => println!("  CPU not counted: no cpuacct group"),
    }
    drop(agent);
    drop(bed);
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
    let p50 = print("first call of a cold agent", times);
    bound("a cold agent's first call", micros(p50) / 1e3, 30.0, "ms");
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

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let text = text.unwrap_or_default();
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

async fn memory(mode: Mode) {
    let bed = Bed::new(mode);
    let mut agents: Vec<AgentBox> = Vec::new();
    for number in 0..AGENTS {
        let agent = agent(&bed, &format!("warm-{number}"));
        for _ in 0..3 {
            let inputs = json!({"path": "a", "content": "x".repeat(4096)});
            call(&agent, "filesystem.write", inputs).await.unwrap();
            let inputs = json!({"path": "a"});
            call(&agent, "filesystem.read", inputs).await.unwrap();
        }
        agents.push(agent);
    }
    // The launcher's children are the boxes' first processes, theirs are the workers.
    let launcher = bed.launcher.pid();
    let boxes = children(launcher);
    let workers: Vec<u32> = boxes.iter().flat_map(|pid| children(*pid)).collect();
    assert_eq!((boxes.len(), workers.len()), (AGENTS, AGENTS));
    let private = |pid: &u32| memory_of(*pid, "Private_Dirty") + memory_of(*pid, "Private_Clean");
    let most = |pids: &[u32]| pids.iter().map(private).max().unwrap_or(0) as f64 / 1024.0;
    bound(
        "private memory of a worker, the largest",
        most(&workers),
        3.0,
        "MiB",
    );
    bound(
        "of a box's first process, the largest",
        most(&boxes),
        3.0,
        "MiB",
    );
    let all = boxes.iter().chain(&workers).chain([&launcher]);
    let shared: u64 = all.map(|pid| memory_of(*pid, "Pss")).sum();
    bound(
        "100 agents with warm workers, sum of PSS",
        shared as f64 / 1024.0,
        1024.0,
        "MiB",
    );
    drop(agents);
}
