//! The filters in real processes: each attack answers as it should, each benign twin works, and the
//! programs that agents use run. Without libtest, whose threads a fork would not take along.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

mod attacks;
mod benign;
mod child;
mod programs;
mod strict;

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let tests: &[(&str, fn())] = &[
        ("attacks_are_refused", attacks::are_refused),
        (
            "the_refusals_are_the_filters",
            attacks::refusals_are_the_filters,
        ),
        (
            "foreign_entries_kill_the_process",
            attacks::foreign_entries_kill,
        ),
        (
            "a_filter_needs_no_new_privs",
            attacks::a_filter_needs_no_new_privs,
        ),
        ("benign_twins_work", benign::twins_work),
        ("workers_read_and_write_only", benign::workers_work),
        ("the_zygote_makes_boxes", benign::zygote_works),
        ("programs_run", programs::run),
        ("strict_starts_one_program", strict::one_program_starts),
        (
            "strict_descriptor_does_not_come_back",
            strict::descriptor_does_not_come_back,
        ),
    ];
    let mut count = 0;
    for (name, test) in tests {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
            print!("test {name} ... ");
            test();
            println!("ok");
            count += 1;
        }
    }
    println!("test result: ok. {count} passed");
}
