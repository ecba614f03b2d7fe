//! What the lists themselves promise.

use super::*;
use crate::seccomp::calls::{self, Group};
use crate::seccomp::profile::{Profile, confined, zygote};
use std::collections::BTreeSet;

pub(super) fn tables() -> Vec<Table> {
    let mut tables: Vec<Table> = Profile::ALL.into_iter().map(confined).collect();
    tables.push(zygote());
    tables
}

fn decide(profile: Profile, number: libc::c_long, arguments: &[u64]) -> Action {
    let filter = Filter::of(&confined(profile));
    let (value, _) = run(filter.instructions(), &Call::new(number, arguments));
    [Action::Allow, Action::Kill]
        .into_iter()
        .chain((0..4096).map(Action::Errno))
        .find(|action| action.value() == value)
        .unwrap()
}

/// The answer of two filters, `later` installed last: the stricter one, and of two equally strict ones
/// the later's (`seccomp_run_filters` of the kernel).
fn together(later: Action, earlier: Action) -> Action {
    let strictness = |action| match action {
        Action::Allow => 0,
        Action::Errno(_) => 1,
        Action::Kill => 2,
    };
    match strictness(earlier) > strictness(later) {
        true => earlier,
        false => later,
    }
}

#[test]
fn what_a_call_installs_over_stage_1_answers_as_the_whole_does() {
    let below = zygote();
    for profile in Profile::ALL {
        let whole = confined(profile);
        let rest = whole.over(&below);
        let compiled = Filter::of(&rest);
        let length = |filter: Filter| filter.instructions().len();
        let (short, long) = (compiled.instructions().len(), length(Filter::of(&whole)));
        // A worker may do far less than the zygote; programs nearly the same.
        let is_program = matches!(profile, Profile::Default | Profile::Memfd);
        assert!(
            short * if is_program { 2 } else { 1 } < long,
            "{profile:?}: {short} of {long}"
        );
        let calls = [sample(&whole, 20_000), sample(&below, 20_000)].concat();
        for call in calls {
            let earlier = meaning(&below, &call);
            let expected = together(meaning(&whole, &call), earlier);
            assert_eq!(
                together(meaning(&rest, &call), earlier),
                expected,
                "{call:?}"
            );
            let (value, _) = run(compiled.instructions(), &call);
            assert_eq!(value, meaning(&rest, &call).value(), "{call:?}");
        }
    }
}

#[test]
fn no_call_is_listed_twice() {
    let both = |base: &'static [Group], more: &'static [Group]| base.iter().chain(more);
    let groups = both(calls::BASE, calls::PROGRAM).chain(both(calls::OLD_BASE, calls::START));
    let mut seen = BTreeSet::new();
    for group in groups {
        for call in group.calls {
            assert!(seen.insert(*call), "{call} again: {}", group.reason);
        }
    }
    let mut filtered = Table::new(Action::Kill);
    crate::seccomp::arguments::files(&mut filtered);
    crate::seccomp::arguments::programs(&mut filtered);
    crate::seccomp::arguments::processes(&mut filtered);
    for number in filtered.rules.keys() {
        assert!(
            !seen.contains(&i64::from(*number)),
            "{number} is allowed and filtered"
        );
    }
}

#[test]
fn the_zygote_may_do_all_that_its_children_may() {
    let zygote = zygote();
    for profile in Profile::ALL {
        let child = confined(profile);
        for call in sample(&child, 2_000) {
            if meaning(&child, &call) == Action::Allow {
                assert_eq!(
                    meaning(&zygote, &call),
                    Action::Allow,
                    "{profile:?} {call:?}"
                );
            }
        }
    }
}

#[test]
fn programs_are_small_enough_and_shallow() {
    for table in tables() {
        let filter = Filter::of(&table);
        let length = filter.instructions().len();
        assert!(length < 600, "{length} instructions");
        let deepest = (0..500)
            .map(|number| run(filter.instructions(), &Call::new(number, &[u64::MAX; 6])).1)
            .max();
        // Nine levels for up to 512 runs of numbers, the head, and the longest list of arguments.
        assert!(deepest.unwrap() < 80, "{deepest:?} steps");
    }
}

#[test]
fn the_upper_half_of_an_argument_changes_nothing() {
    let high = 1_u64 << 32;
    let refused = Action::Errno(libc::EAFNOSUPPORT as u16);
    for family in [
        libc::AF_NETLINK,
        libc::AF_PACKET,
        libc::AF_ALG,
        libc::AF_VSOCK,
    ] {
        let arguments = [high | family as u64, libc::SOCK_RAW as u64, 0];
        assert_eq!(
            decide(Profile::Default, libc::SYS_socket, &arguments),
            refused
        );
    }
    let tiocsti = [0, high | libc::TIOCSTI];
    let refused = Action::Errno(libc::EPERM as u16);
    assert_eq!(decide(Profile::Default, libc::SYS_ioctl, &tiocsti), refused);
    let tcgets = [0, high | libc::TCGETS];
    assert_eq!(
        decide(Profile::Default, libc::SYS_ioctl, &tcgets),
        Action::Allow
    );
}

#[test]
fn each_profile_starts_what_it_should() {
    use Action::{Allow, Errno};
    let no = Errno(libc::EPERM as u16);
    let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
    let thread = [thread as u64];
    let fork = [libc::SIGCHLD as u64];
    let user = [(libc::CLONE_NEWUSER | libc::SIGCHLD) as u64];
    let fd = super::super::STRICT_EXEC_FD as u64;
    let once = [fd, 0, 0, 0, libc::AT_EMPTY_PATH as u64];
    let other = [fd - 1, 0, 0, 0, libc::AT_EMPTY_PATH as u64];
    for (profile, starts, forks, once_answer, memfd) in [
        (Profile::Worker, no, no, no, no),
        (Profile::Default, Allow, Allow, no, no),
        (Profile::Memfd, Allow, Allow, no, Allow),
        (Profile::Strict, no, no, Allow, no),
    ] {
        let decide = |number, arguments: &[u64]| decide(profile, number, arguments);
        assert_eq!(decide(libc::SYS_execve, &[]), starts, "{profile:?}");
        assert_eq!(decide(libc::SYS_clone, &fork), forks, "{profile:?}");
        assert_eq!(decide(libc::SYS_clone, &thread), Allow, "{profile:?}");
        assert_eq!(decide(libc::SYS_clone, &user), no, "{profile:?}");
        assert_eq!(
            decide(libc::SYS_execveat, &once),
            once_answer,
            "{profile:?}"
        );
        assert_eq!(decide(libc::SYS_execveat, &other), no, "{profile:?}");
        assert_eq!(decide(libc::SYS_memfd_create, &[]), memfd, "{profile:?}");
    }
}
