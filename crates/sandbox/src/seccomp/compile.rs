//! From a table to the kernel's classic BPF. The numbers are found by a balanced binary search
//! instead of one comparison after another: the kernel runs the program once for every number when
//! it is installed, so a linear list costs its length squared there (`benches/seccomp.rs` measures it).
//!
//! The program is built from its end: a jump of classic BPF only goes forwards, by at most 255
//! instructions, so every target exists, and its distance is known, when the jump is written.

use super::table::{Action, Condition, Rule, Table};
use libc::sock_filter;
use std::collections::BTreeMap;

/// From here on a number is an x32 call on x86_64: another entry into the same kernel functions, with
/// numbers that a filter for the usual ones does not know.
#[cfg(target_arch = "x86_64")]
const FIRST_FOREIGN_NUMBER: Option<u32> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const FIRST_FOREIGN_NUMBER: Option<u32> = None;

/// `AUDIT_ARCH_*` of `linux/audit.h`: machine, 64-bit, little-endian.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;

/// Offsets in `struct seccomp_data`.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const ARGUMENTS_OFFSET: u32 = 16;

// Instructions of `linux/bpf_common.h`.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// The farthest a conditional jump goes.
const FARTHEST: usize = 255;

/// The program of a table.
pub(super) fn compile(table: &Table) -> Vec<sock_filter> {
    let mut writer = Writer::default();
    let segments = segments(table);
    let decide = writer.search(&segments);
    writer.fall_through(decide);
    let by_number = writer.load(NUMBER_OFFSET);
    let kill = writer.give(Action::Kill);
    let checked = writer.branch(JUMP_IF_EQUAL, ARCHITECTURE, by_number, kill);
    writer.fall_through(checked);
    writer.load(ARCHITECTURE_OFFSET);
    writer.finish()
}

/// A run of numbers with the same rule, up to the next run.
struct Segment<'a> {
    first: u32,
    decision: Decision<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Decision<'a> {
    Give(Action),
    Ask(&'a Rule),
}

/// Every number, in order, in as few runs as can be.
fn segments(table: &Table) -> Vec<Segment<'_>> {
    let unknown = Decision::Give(table.default);
    let mut segments = vec![Segment {
        first: 0,
        decision: unknown,
    }];
    for (number, rule) in &table.rules {
        let decision = match rule {
            Rule::Always(action) => Decision::Give(*action),
            Rule::AllowIf { .. } => Decision::Ask(rule),
        };
        // The run of unknown numbers that the rule before it began may have no number in it.
        segments.pop_if(|last| last.first == *number);
        segments.push(Segment {
            first: *number,
            decision,
        });
        if let Some(first) = number.checked_add(1) {
            segments.push(Segment {
                first,
                decision: unknown,
            });
        }
    }
    if let Some(foreign) = FIRST_FOREIGN_NUMBER {
        segments.retain(|segment| segment.first < foreign);
        segments.push(Segment {
            first: foreign,
            decision: Decision::Give(Action::Kill),
        });
    }
    segments.dedup_by(|later, earlier| later.decision == earlier.decision);
    segments
}

/// Where an instruction stands, counted from the end of the program: later in the program is smaller.
type Position = usize;

/// Writes a program from its end to its start.
#[derive(Default)]
struct Writer<'a> {
    /// The last instruction first.
    reversed: Vec<sock_filter>,
    /// The latest place of each answer.
    answers: BTreeMap<Action, Position>,
    /// The latest place of each rule's questions.
    questions: BTreeMap<&'a Rule, Position>,
}

impl<'a> Writer<'a> {
    fn push(&mut self, code: u16, jump: (u8, u8), value: u32) -> Position {
        self.reversed.push(sock_filter {
            code,
            jt: jump.0,
            jf: jump.1,
            k: value,
        });
        self.reversed.len() - 1
    }

    /// How many instructions lie between the next one to be written and the target.
    fn distance(&self, target: Position) -> usize {
        self.reversed.len() - target - 1
    }

    fn load(&mut self, offset: u32) -> Position {
        self.push(LOAD, (0, 0), offset)
    }

    /// The next instruction to be written will be followed by the target.
    fn fall_through(&mut self, target: Position) {
        if self.distance(target) > 0 {
            self.hop(target);
        }
    }

    /// An unconditional jump, which has no limit to its distance.
    fn hop(&mut self, target: Position) -> Position {
        let distance = self.distance(target);
        // A program holds at most 4,096 instructions: the distance always fits.
        self.push(JUMP, (0, 0), u32::try_from(distance).unwrap_or(u32::MAX))
    }

    /// A place with the target's effect that is near, even after `more` further instructions.
    fn near(&mut self, target: Position, more: usize) -> Position {
        if self.distance(target) + more <= FARTHEST {
            return target;
        }
        match self.reversed.get(target).copied() {
            Some(answer) if answer.code == RETURN => self.push(RETURN, (0, 0), answer.k),
            _ => self.hop(target),
        }
    }

    fn branch(&mut self, code: u16, value: u32, yes: Position, no: Position) -> Position {
        // Bringing `no` near can put one instruction between here and `yes`.
        let yes = self.near(yes, 1);
        let no = self.near(no, 0);
        let offset = |distance: usize| u8::try_from(distance).unwrap_or(u8::MAX);
        let jump = (offset(self.distance(yes)), offset(self.distance(no)));
        self.push(code, jump, value)
    }

    fn give(&mut self, action: Action) -> Position {
        match self.answers.get(&action) {
            Some(position) if self.distance(*position) < FARTHEST => *position,
            _ => {
                let position = self.push(RETURN, (0, 0), action.value());
                self.answers.insert(action, position);
                position
            }
        }
    }

    /// A binary search over the runs.
    fn search(&mut self, segments: &[Segment<'a>]) -> Position {
        match segments {
            [] => self.give(Action::Kill),
            [only] => match only.decision {
                Decision::Give(action) => self.give(action),
                Decision::Ask(rule) => self.ask(rule),
            },
            _ => {
                let (below, above) = segments.split_at(segments.len() / 2);
                let boundary = above.first().map_or(u32::MAX, |segment| segment.first);
                let above = self.search(above);
                let below = self.search(below);
                self.branch(JUMP_IF_GREATER_OR_EQUAL, boundary, above, below)
            }
        }
    }

    fn ask(&mut self, rule: &'a Rule) -> Position {
        let (alternatives, otherwise) = match rule {
            Rule::Always(action) => return self.give(*action),
            Rule::AllowIf {
                alternatives,
                otherwise,
            } => (alternatives, *otherwise),
        };
        if let Some(position) = self.questions.get(rule) {
            return *position;
        }
        let mut refused = self.give(otherwise);
        for alternative in alternatives.iter().rev() {
            let mut holds = self.give(Action::Allow);
            for condition in alternative.iter().rev() {
                holds = self.condition(condition, holds, refused);
            }
            refused = holds;
        }
        self.questions.insert(rule, refused);
        refused
    }

    fn condition(&mut self, condition: &Condition, yes: Position, no: Position) -> Position {
        let (found, missed) = if condition.is_negated {
            (no, yes)
        } else {
            (yes, no)
        };
        let mut next = missed;
        for value in condition.values.iter().rev() {
            next = self.branch(JUMP_IF_EQUAL, *value, found, next);
        }
        self.fall_through(next);
        if condition.mask != u32::MAX {
            self.push(AND, (0, 0), condition.mask);
        }
        // Little-endian: the low half comes first.
        self.load(ARGUMENTS_OFFSET + 8 * u32::from(condition.argument))
    }

    fn finish(mut self) -> Vec<sock_filter> {
        self.reversed.reverse();
        self.reversed
    }
}
