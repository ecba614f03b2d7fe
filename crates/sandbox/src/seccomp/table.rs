//! What a filter decides, as data: for each system call what happens, and for some only if their
//! arguments are among the allowed ones.

use std::collections::BTreeMap;

/// What the kernel does with a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// The call goes on.
    Allow,
    /// The call is not made and answers this error number.
    Errno(u16),
    /// The whole process dies at once, by a SIGSYS that it cannot catch.
    Kill,
}

impl Action {
    /// The value that the filter returns, from `linux/seccomp.h`.
    pub(super) fn value(self) -> u32 {
        match self {
            Action::Allow => libc::SECCOMP_RET_ALLOW,
            Action::Errno(number) => libc::SECCOMP_RET_ERRNO | u32::from(number),
            Action::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// A demand on one argument: `argument & mask` is one of the values, or none of them. Only the low 32
/// bits count, as for the kernel: every argument that is looked at is an `int` or `unsigned int` there,
/// and a filter that compares more than the kernel reads is by-passed by the upper half.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Condition {
    /// Which argument, 0 to 5.
    pub(super) argument: u8,
    pub(super) mask: u32,
    /// Values after masking; never empty.
    pub(super) values: Vec<u32>,
    /// Whether the demand is that it is none of them.
    pub(super) is_negated: bool,
}

impl Condition {
    /// The argument is one of these.
    pub(crate) fn one_of(argument: u8, values: &[u32]) -> Condition {
        Condition::masked(argument, u32::MAX, values)
    }

    /// The argument, after the mask, is one of these.
    pub(crate) fn masked(argument: u8, mask: u32, values: &[u32]) -> Condition {
        Condition {
            argument,
            mask,
            values: values.to_vec(),
            is_negated: false,
        }
    }

    /// None of these bits is set in the argument.
    pub(crate) fn without(argument: u8, bits: u32) -> Condition {
        Condition::masked(argument, bits, &[0])
    }

    /// The argument is none of these.
    pub(crate) fn none_of(argument: u8, values: &[u32]) -> Condition {
        Condition {
            is_negated: true,
            ..Condition::one_of(argument, values)
        }
    }
}

/// What is decided for one system call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// Whatever its arguments are.
    Always(Action),
    /// Allowed if all conditions of one of the alternatives hold.
    AllowIf {
        alternatives: Vec<Vec<Condition>>,
        otherwise: Action,
    },
}

impl Rule {
    /// Allowed if the condition holds, `EPERM` if not.
    pub(super) fn allow_if(condition: Condition) -> Rule {
        Rule::allow_any(vec![vec![condition]], libc::EPERM)
    }

    /// Allowed if all conditions of one alternative hold, else this error number.
    pub(super) fn allow_any(alternatives: Vec<Vec<Condition>>, errno: i32) -> Rule {
        Rule::AllowIf {
            alternatives,
            otherwise: errno_action(errno),
        }
    }
}

/// `Errno` of a `libc` constant.
pub(super) fn errno_action(errno: i32) -> Action {
    // The kernel's error numbers end at 4095; `EPERM` is what a wrong constant would become.
    Action::Errno(u16::try_from(errno).unwrap_or(1))
}

/// Rules for system call numbers; what has none meets the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(super) rules: BTreeMap<u32, Rule>,
    pub(super) default: Action,
}

impl Table {
    /// No rules yet.
    pub(crate) fn new(default: Action) -> Table {
        Table {
            rules: BTreeMap::new(),
            default,
        }
    }

    /// Sets the rule of one call.
    pub(crate) fn set(&mut self, call: libc::c_long, rule: Rule) {
        // Numbers of system calls are small and positive; one that is not could never be called.
        if let Ok(number) = u32::try_from(call) {
            self.rules.insert(number, rule);
        }
    }

    /// What is left to decide for a process that is under `below` already: a number of which both say
    /// the same is allowed here, for the kernel gives it the strictest answer of all filters. Both
    /// together answer as `below` and the whole of `self` do.
    pub(super) fn over(&self, below: &Table) -> Table {
        let mut rest = Table::new(match self.default == below.default {
            true => Action::Allow,
            false => self.default,
        });
        let rule_of = |table: &Table, number: &u32| match table.rules.get(number) {
            Some(rule) => rule.clone(),
            None => Rule::Always(table.default),
        };
        for number in self.rules.keys().chain(below.rules.keys()) {
            let rule = rule_of(self, number);
            let rule = match rule == rule_of(below, number) {
                true => Rule::Always(Action::Allow),
                false => rule,
            };
            rest.rules.insert(*number, rule);
        }
        rest
    }

    /// Allows these calls whatever their arguments are.
    pub(super) fn allow(&mut self, calls: &[libc::c_long]) {
        for call in calls {
            self.set(*call, Rule::Always(Action::Allow));
        }
    }
}
