//! What the programs decide: against the table itself, against another compiler, and for the lists.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod interpreter;
mod lists;
mod oracle;

use super::table::{Action, Rule, Table};
use super::{Filter, compile};
use interpreter::run;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// What a filter looks at.
#[derive(Debug, Clone, Copy)]
struct Call {
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
}

impl Call {
    fn new(number: libc::c_long, arguments: &[u64]) -> Call {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        Call {
            architecture: compile::ARCHITECTURE,
            number: u32::try_from(number).unwrap(),
            arguments: all,
        }
    }
}

/// The table's meaning, read directly.
fn meaning(table: &Table, call: &Call) -> Action {
    let is_foreign = cfg!(target_arch = "x86_64") && call.number >= 0x4000_0000;
    if call.architecture != compile::ARCHITECTURE || is_foreign {
        return Action::Kill;
    }
    match table.rules.get(&call.number) {
        None => table.default,
        Some(Rule::Always(action)) => *action,
        Some(Rule::AllowIf {
            alternatives,
            otherwise,
        }) => {
            let holds = alternatives.iter().any(|alternative| {
                alternative.iter().all(|condition| {
                    let argument = call.arguments[usize::from(condition.argument)];
                    let masked = argument as u32 & condition.mask;
                    condition.values.contains(&masked) != condition.is_negated
                })
            });
            if holds { Action::Allow } else { *otherwise }
        }
    }
}

/// Arguments near the values that the table compares with, and with something in the upper half.
fn arguments(table: &Table) -> impl Strategy<Value = [u64; 6]> + use<> {
    let mut interesting: Vec<u32> = vec![0, 1, u32::MAX];
    for rule in table.rules.values() {
        if let Rule::AllowIf { alternatives, .. } = rule {
            for condition in alternatives.iter().flatten() {
                interesting.push(condition.mask);
                for value in &condition.values {
                    interesting.extend([*value, value ^ 1, value | 0x8000_0000, value | 0o4000]);
                }
            }
        }
    }
    let low = prop_oneof![
        4 => proptest::sample::select(interesting),
        1 => any::<u32>(),
    ];
    let high = prop_oneof![2 => Just(0_u32), 1 => Just(1), 1 => Just(u32::MAX), 1 => any::<u32>()];
    let one = (low, high).prop_map(|(low, high)| u64::from(high) << 32 | u64::from(low));
    proptest::array::uniform6(one)
}

/// Calls that the table is likely to have an opinion of.
fn calls(table: &Table) -> impl Strategy<Value = Call> + use<> {
    let mut known: Vec<u32> = table.rules.keys().copied().collect();
    known.push(0);
    let around = known
        .iter()
        .flat_map(|number| [number.wrapping_sub(1), number + 1]);
    let around: Vec<u32> = around.collect();
    let number = prop_oneof![
        6 => proptest::sample::select(known),
        2 => proptest::sample::select(around),
        1 => 0_u32..600,
        1 => any::<u32>(),
        1 => (0_u32..600).prop_map(|number| number | 0x4000_0000),
    ];
    let architecture = prop_oneof![
        9 => Just(compile::ARCHITECTURE),
        1 => prop_oneof![Just(0x4000_0003), Just(0x4000_0028), Just(0xc000_003e),
                         Just(0xc000_00b7), any::<u32>()],
    ];
    (architecture, number, arguments(table)).prop_map(|(architecture, number, arguments)| Call {
        architecture,
        number,
        arguments,
    })
}

/// So many calls, the same at each run of the tests.
fn sample(table: &Table, count: usize) -> Vec<Call> {
    let mut runner = TestRunner::deterministic();
    let calls = calls(table);
    let mut call = || calls.new_tree(&mut runner).unwrap().current();
    (0..count).map(|_| call()).collect()
}
