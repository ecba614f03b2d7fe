//! A sliding window over whole seconds.

use std::collections::VecDeque;

/// At most `max` events in any `window_seconds`.
#[derive(Debug)]
pub(crate) struct SlidingWindow {
    max: u32,
    window_seconds: u64,
    times: VecDeque<i64>,
}

impl SlidingWindow {
    /// An empty window.
    #[must_use]
    pub(crate) fn new(max: u32, window_seconds: u64) -> Self {
        Self {
            max,
            window_seconds,
            times: VecDeque::new(),
        }
    }

    /// Counts one event at `now` (Unix seconds).
    ///
    /// # Errors
    /// The window is full: after how many seconds it has room. A refused event is not counted.
    pub(crate) fn admit(&mut self, now: i64) -> Result<(), u64> {
        let window = i64::try_from(self.window_seconds).unwrap_or(i64::MAX);
        while self
            .times
            .front()
            .is_some_and(|first| now.saturating_sub(*first) >= window)
        {
            self.times.pop_front();
        }
        let room = u32::try_from(self.times.len()).is_ok_and(|used| used < self.max);
        match self.times.front() {
            Some(first) if !room => Err(u64::try_from(
                first.saturating_add(window).saturating_sub(now),
            )
            .unwrap_or(1)
            .max(1)),
            _ => {
                self.times.push_back(now);
                Ok(())
            }
        }
    }
}
