//! Counters for the gateway's metrics.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What has happened since the start, over all boxes.
        #[derive(Debug, Default)]
        pub struct Stats { $(pub(super) $name: Count,)* }

        /// [`Stats`] at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct StatsSnapshot { $($(#[$doc])* pub $name: u64,)* }

        impl Stats {
            /// Reads all of them.
            #[must_use]
            pub fn snapshot(&self) -> StatsSnapshot {
                StatsSnapshot { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

stats! {
    /// Boxes made.
    boxes,
    /// Workers started.
    workers,
    /// Calls that workers were asked.
    calls,
    /// Programs started.
    programs,
    /// Boxes, workers and programs that a step of confinement refused.
    refused,
    /// Workers that ended during a call.
    workers_died,
    /// Workers killed because they did not answer in time.
    workers_timed_out,
    /// Workers killed for an answer that is none.
    workers_broken,
    /// Programs ended because their time was up.
    programs_timed_out,
    /// Programs ended by a limit.
    programs_limited,
}

/// One counter.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
