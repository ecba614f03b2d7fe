//! The filters that there are.

use super::calls::{self, Group};
use super::table::{Action, Rule, Table, errno_action};
use super::{Filter, arguments};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// How much a process in the box may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// A worker for typed calls: files and threads; no sockets, no processes, no programs.
    Worker,
    /// Programs: shells, interpreters, compilers, git.
    Default,
    /// [`Profile::Default`] and `memfd_create`, for runtimes that map what they compile from it. It
    /// also lets a program run code that no path names, past what Landlock says of execution.
    Memfd,
    /// One program, which may start threads but no process and no other program.
    ///
    /// The program itself still has to be started under the filter: `execveat` is let through for one
    /// descriptor, [`STRICT_EXEC_FD`](super::STRICT_EXEC_FD), with an empty path and `AT_EMPTY_PATH`.
    /// Whoever starts it opens the program there, close-on-exec, and then sets both limits of
    /// `RLIMIT_NOFILE` to at most that number. The descriptor is gone once the program runs and cannot
    /// come into being again, for the kernel gives out none above the limit. A script with `#!` cannot
    /// be started this way.
    Strict,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Profile; 4] = [
        Profile::Worker,
        Profile::Default,
        Profile::Memfd,
        Profile::Strict,
    ];
}

/// The filter of an agent's zygote: what its programs may do, and what making their boxes takes. Made
/// once; ask for it before you fork.
#[must_use]
pub fn stage1() -> &'static Filter {
    static FILTER: LazyLock<Filter> = LazyLock::new(|| Filter::of(&zygote()));
    &FILTER
}

/// One filter for each profile, in the order of [`Profile::ALL`].
type ForEach = LazyLock<[Filter; 4]>;

/// The filter of a worker or a program, whole: for a process under no other. Made once; ask for it before
/// you fork.
#[must_use]
pub fn stage2(profile: Profile) -> &'static Filter {
    static FILTERS: ForEach =
        LazyLock::new(|| Profile::ALL.map(|profile| Filter::of(&confined(profile))));
    of(&FILTERS, profile)
}

/// What [`stage2`] forbids beyond [`stage1`], for a process that is under that already: the same answers
/// by a shorter program, for each call installs it and the kernel compiles it each time. Made once; ask for it before you fork.
#[must_use]
pub fn stage2_over_stage1(profile: Profile) -> &'static Filter {
    static FILTERS: ForEach = LazyLock::new(|| {
        let below = zygote();
        Profile::ALL.map(|profile| Filter::of(&confined(profile).over(&below)))
    });
    of(&FILTERS, profile)
}

fn of(filters: &'static ForEach, profile: Profile) -> &'static Filter {
    let [worker, default, memfd, strict] = &**filters;
    match profile {
        Profile::Worker => worker,
        Profile::Default => default,
        Profile::Memfd => memfd,
        Profile::Strict => strict,
    }
}

/// What the zygote may do.
pub(super) fn zygote() -> Table {
    let mut table = confined(Profile::Memfd);
    allow(&mut table, calls::SET_UP);
    arguments::zygote(&mut table);
    table
}

/// What a worker or program may do.
pub(super) fn confined(profile: Profile) -> Table {
    let mut table = Table::new(errno_action(libc::EPERM));
    allow(&mut table, calls::BASE);
    allow(&mut table, calls::OLD_BASE);
    arguments::files(&mut table);
    let missing = Rule::Always(errno_action(libc::ENOSYS));
    table.set(libc::SYS_clone3, missing.clone());
    // Who finds this missing goes on without it; `EPERM` would be an error to some.
    table.set(libc::SYS_landlock_create_ruleset, missing);
    match profile {
        Profile::Worker => {
            table.set(libc::SYS_openat2, Rule::Always(Action::Allow));
            arguments::threads_only(&mut table);
        }
        Profile::Default | Profile::Memfd => {
            allow(&mut table, calls::PROGRAM);
            arguments::programs(&mut table);
            allow(&mut table, calls::START);
            table.allow(calls::OLD_START);
            arguments::processes(&mut table);
        }
        Profile::Strict => {
            allow(&mut table, calls::PROGRAM);
            arguments::programs(&mut table);
            arguments::threads_only(&mut table);
            arguments::start_once(&mut table);
        }
    }
    if profile == Profile::Memfd {
        table.allow(&[libc::SYS_memfd_create]);
    }
    table
}

fn allow(table: &mut Table, groups: &[Group]) {
    for group in groups {
        table.allow(group.calls);
    }
}
