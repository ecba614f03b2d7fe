//! Sliding windows by rule and principal.

use crate::compile::Rate;
use jiff::Timestamp;
use kruxos_types::Principal;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Groups of calls that one window remembers. A limit of at most this many calls is exact; for a
/// greater one, calls within a 64th of the window count until the last of them is old enough.
const GROUPS: u32 = 64;
/// Windows kept at once: every limit of every agent of a large installation. At the bound, a call
/// that would need another window is refused rather than let through uncounted.
const MAX_WINDOWS: usize = 100_000;

/// Sliding windows by (principal, rule). Shared by all decisions; survives restarts through
/// [`RateCounters::snapshot`].
#[derive(Debug, Default)]
pub struct RateCounters {
    windows: Mutex<Windows>,
    /// Of files in shadow mode: kept apart, so that they neither count for nor crowd out what is
    /// enforced. Not stored.
    shadow: Mutex<Windows>,
}

/// A refusal by a rate limit that names no other tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct RateRefusal {
    pub used: u32,
    pub max: u32,
    pub window_seconds: u64,
    pub retry_after_seconds: u64,
}

/// By rule, then by principal: both are looked up by reference, without allocation.
#[derive(Debug, Default)]
struct Windows {
    by_rule: HashMap<Arc<str>, HashMap<Principal, Window>>,
    count: usize,
}

/// The calls of one principal under one rule.
#[derive(Debug, Clone, Default)]
struct Window {
    /// Oldest first: when the last call of a group was made (milliseconds since 1970) and how many
    /// calls it has.
    groups: VecDeque<Group>,
    used: u32,
    /// Milliseconds; what entries are forgotten after.
    length: i64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Group {
    first: i64,
    last: i64,
    calls: u32,
}

/// What a window says about one more call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) admitted: bool,
    pub(crate) used: u32,
    /// Seconds until a call would be admitted.
    pub(crate) retry_after: u64,
}

impl Window {
    /// The time as this window sees it: a clock that was set back stands still until it has caught
    /// up, so that nothing is forgotten early.
    fn time(&self, now: i64) -> i64 {
        self.groups.back().map_or(now, |group| group.last.max(now))
    }

    fn forget(&mut self, now: i64, length: i64) {
        self.length = length;
        let now = self.time(now);
        while let Some(group) = self.groups.front()
            && group.last.saturating_add(length) <= now
        {
            self.used = self.used.saturating_sub(group.calls);
            self.groups.pop_front();
        }
    }

    fn look(&self, rate: &Rate, now: i64) -> Use {
        let admitted = self.used < rate.max;
        let retry_after = match self.groups.front() {
            // Rounded up: a caller that waits this long is admitted.
            Some(oldest) if !admitted => {
                let wait = oldest
                    .last
                    .saturating_add(self.length)
                    .saturating_sub(now)
                    .max(1);
                u64::try_from(wait).unwrap_or(1).div_ceil(1_000)
            }
            _ => 0,
        };
        Use {
            admitted,
            used: self.used,
            retry_after,
        }
    }

    fn add(&mut self, rate: &Rate, now: i64) {
        let now = self.time(now);
        let grain = if rate.max <= GROUPS {
            0
        } else {
            self.length / i64::from(GROUPS)
        };
        self.used = self.used.saturating_add(1);
        match self.groups.back_mut() {
            Some(group) if now == group.last || now.saturating_sub(group.first) < grain => {
                group.last = now;
                group.calls = group.calls.saturating_add(1);
            }
            _ => self.groups.push_back(Group {
                first: now,
                last: now,
                calls: 1,
            }),
        }
    }

    /// Takes the newest call back.
    fn remove(&mut self) {
        if let Some(group) = self.groups.back_mut() {
            group.calls = group.calls.saturating_sub(1);
            self.used = self.used.saturating_sub(1);
            if group.calls == 0 {
                self.groups.pop_back();
            }
        }
    }
}

impl Windows {
    fn get_mut(&mut self, rule: &str, principal: &Principal) -> Option<&mut Window> {
        self.by_rule.get_mut(rule)?.get_mut(principal)
    }

    /// Forgets windows that count nothing any more.
    fn sweep(&mut self, now: i64) {
        self.by_rule.retain(|_, by_principal| {
            by_principal.retain(|_, window| {
                let length = window.length;
                window.forget(now, length);
                window.used > 0
            });
            !by_principal.is_empty()
        });
        self.count = self.by_rule.values().map(HashMap::len).sum();
    }

    fn insert(&mut self, rule: &Arc<str>, principal: &Principal, window: Window, now: i64) -> bool {
        if self.count >= MAX_WINDOWS {
            self.sweep(now);
        }
        if self.count >= MAX_WINDOWS {
            return false;
        }
        if self
            .by_rule
            .entry(rule.clone())
            .or_default()
            .insert(principal.clone(), window)
            .is_none()
        {
            self.count += 1;
        }
        true
    }
}

impl RateCounters {
    fn lock(&self) -> std::sync::MutexGuard<'_, Windows> {
        // Every update leaves the windows consistent, so a panic elsewhere does not spoil them.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_for(&self, rate: &Rate) -> std::sync::MutexGuard<'_, Windows> {
        match rate.shadow {
            true => self.shadow.lock().unwrap_or_else(PoisonError::into_inner),
            false => self.lock(),
        }
    }

    /// Counts one call if the limit admits it.
    pub(crate) fn take(&self, rate: &Rate, principal: &Principal, now: Timestamp) -> Use {
        let now = now.as_millisecond();
        let mut windows = self.lock_for(rate);
        if let Some(window) = windows.get_mut(&rate.key, principal) {
            window.forget(now, rate.window_ms);
            let found = window.look(rate, now);
            if found.admitted {
                window.add(rate, now);
                return Use {
                    used: found.used + 1,
                    ..found
                };
            }
            return found;
        }
        let mut window = Window {
            length: rate.window_ms,
            ..Window::default()
        };
        window.groups.reserve(rate.max.min(GROUPS + 2) as usize);
        window.add(rate, now);
        match windows.insert(&rate.key, principal, window, now) {
            true => Use {
                admitted: true,
                used: 1,
                retry_after: 0,
            },
            false => Use {
                admitted: false,
                used: rate.max,
                retry_after: 1,
            },
        }
    }

    /// Takes back what [`RateCounters::take`] counted for a call that another rule then refused.
    pub(crate) fn give_back(&self, rate: &Rate, principal: &Principal) {
        if let Some(window) = self.lock_for(rate).get_mut(&rate.key, principal) {
            window.remove();
        }
    }

    /// What [`RateCounters::take`] would say, counting nothing.
    pub(crate) fn peek(&self, rate: &Rate, principal: &Principal, now: Timestamp) -> Use {
        let now = now.as_millisecond();
        match self.lock_for(rate).get_mut(&rate.key, principal) {
            Some(window) => {
                window.forget(now, rate.window_ms);
                window.look(rate, now)
            }
            None => Use {
                admitted: true,
                used: 0,
                retry_after: 0,
            },
        }
    }

    /// All windows that still count, for storage.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> serde_json::Value {
        let mut windows = self.lock();
        windows.sweep(now.as_millisecond());
        let mut stored = Vec::with_capacity(windows.count);
        for (rule, by_principal) in &windows.by_rule {
            for (principal, window) in by_principal {
                stored.push(Stored {
                    rule: rule.to_string(),
                    principal: principal.clone(),
                    length: window.length,
                    groups: window.groups.iter().copied().collect(),
                });
            }
        }
        stored.sort_by(|a, b| (&a.rule, &a.principal).cmp(&(&b.rule, &b.principal)));
        serde_json::to_value(stored).unwrap_or(serde_json::Value::Null)
    }

    /// Restores what [`RateCounters::snapshot`] gave; entries that no longer parse are dropped.
    /// Calls that would lie in the future count as made now.
    #[must_use]
    pub fn restore(snapshot: &serde_json::Value, now: Timestamp) -> RateCounters {
        let now = now.as_millisecond();
        let counters = RateCounters::default();
        {
            let mut windows = counters.lock();
            for entry in snapshot.as_array().into_iter().flatten() {
                if let Ok(stored) = Stored::deserialize(entry) {
                    let window = stored.window(now);
                    windows.insert(&stored.rule.as_str().into(), &stored.principal, window, now);
                }
            }
            windows.sweep(now);
        }
        counters
    }
}

/// A window in storage.
#[derive(Serialize, Deserialize)]
struct Stored {
    rule: String,
    principal: Principal,
    length: i64,
    groups: Vec<Group>,
}

impl Stored {
    fn window(&self, now: i64) -> Window {
        let clamp = |group: &Group| {
            let last = group.last.min(now);
            Group {
                first: group.first.min(last),
                last,
                calls: group.calls,
            }
        };
        let mut groups: Vec<Group> = self.groups.iter().map(clamp).collect();
        groups.sort_by_key(|group| group.last);
        let used = groups
            .iter()
            .fold(0_u32, |sum, group| sum.saturating_add(group.calls));
        Window {
            groups: groups.into(),
            used,
            length: self.length.max(0),
        }
    }
}
