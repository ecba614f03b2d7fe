//! Control groups, their stand-in and the probe, with real processes. Without libtest, whose threads a
//! fork would not take along. `make test-vm` runs the same program in a guest that has cgroup v2:
//! `--require=<primitive>,…` makes what is missing a failure instead of a skipped test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

mod delegation;
mod limits;
mod probe;
mod process;
mod standin;

use kruxos_sandbox::probe::Primitive;

/// What the command line asks for.
struct Options {
    parts: Vec<String>,
    required: Vec<Primitive>,
}

type Test = (&'static str, fn());

const ANYWHERE: &[Test] = &[
    (
        "a_threaded_process_is_not_probed",
        probe::threads_are_refused,
    ),
    ("under_a_filter_the_probe_says_why", probe::under_a_filter),
    ("the_stand_in_counts_a_tree", standin::counts_a_tree),
    ("the_stand_in_kills_for_memory", standin::kills_for_memory),
    (
        "the_stand_in_kills_for_processes",
        standin::kills_for_processes,
    ),
    ("the_stand_in_kills_for_time", standin::kills_for_time),
    ("shared_memory_counts_once", standin::shared_counts_once),
    ("what_stays_below_lives", standin::what_stays_below_lives),
    ("the_device_of_a_directory_is_a_disk", limits::device),
];

const WITH_CONTROLLERS: &[Test] = &[
    ("memory_kills_the_whole_call", limits::memory),
    ("processes_are_bounded_and_zombies_count", limits::processes),
    ("the_processor_is_shared_out", limits::processor),
    (
        "an_agents_limit_holds_for_its_calls",
        limits::agent_over_calls,
    ),
    ("writing_is_slowed_down", limits::disk),
    ("kill_leaves_nothing", limits::kill_leaves_nothing),
    ("a_killed_group_stays_deadly", limits::killed_group),
    ("only_the_owner_clones_into_a_group", delegation::owner),
    ("limits_stay_the_roots", delegation::limits_stay),
    ("leftovers_are_swept", delegation::sweep),
    ("names_are_checked", delegation::names),
];

fn main() {
    let options = options();
    let diagnosis = probe::diagnosis();
    for primitive in &options.required {
        let finding = diagnosis.of(*primitive);
        assert!(finding.is_active(), "{}: {finding:?}", primitive.name());
    }
    let mut count = run(&options, ANYWHERE);
    let groups = diagnosis.of(Primitive::CgroupV2);
    if groups.is_active() {
        count += run(&options, WITH_CONTROLLERS);
    } else {
        println!("control groups: skipped, {:?}", groups.status);
    }
    println!("test result: ok. {count} passed");
}

fn run(options: &Options, tests: &[Test]) -> usize {
    let is_wanted = |name: &str| {
        let parts = &options.parts;
        parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()))
    };
    let wanted = tests.iter().filter(|(name, _)| is_wanted(name));
    let run = |(name, test): &Test| {
        print!("test {name} ... ");
        test();
        println!("ok");
    };
    wanted.map(run).count()
}

fn options() -> Options {
    let mut options = Options {
        parts: Vec::new(),
        required: Vec::new(),
    };
    for argument in std::env::args().skip(1) {
        if let Some(names) = argument.strip_prefix("--require=") {
            let named = |name| Primitive::named(name).unwrap();
            options.required.extend(names.split(',').map(named));
        } else if !argument.starts_with('-') {
            options.parts.push(argument);
        }
    }
    options
}
