//! Latencies in buckets of about 1.6 %: as exact as a percentile needs, of one size for any run.

use std::time::Duration;

/// Buckets of each power of two.
const FINE: u32 = 64;
/// Nanoseconds up to 2^40 (18 minutes) have buckets of their own.
const BUCKETS: usize = 40 * FINE as usize;

/// What was measured.
#[derive(Debug)]
pub(super) struct Figures {
    counts: Vec<u64>,
    calls: u64,
    errors: u64,
    max: Duration,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            calls: 0,
            errors: 0,
            max: Duration::ZERO,
        }
    }
}

impl Figures {
    pub(super) fn count(&mut self, took: Duration, good: bool) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        if let Some(count) = self.counts.get_mut(bucket(nanos).min(BUCKETS - 1)) {
            *count += 1;
        }
        self.calls += 1;
        self.errors += u64::from(!good);
        self.max = self.max.max(took);
    }

    pub(super) fn add(&mut self, other: &Figures) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.calls += other.calls;
        self.errors += other.errors;
        self.max = self.max.max(other.max);
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors
    }

    pub(super) fn max(&self) -> Duration {
        self.max
    }

    /// The latency that this share of the calls stayed within.
    pub(super) fn percentile(&self, share: f64) -> Duration {
        let rank = (self.calls as f64 * share).ceil().max(1.0);
        let mut seen = 0u64;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen as f64 >= rank {
                return Duration::from_nanos(upper(index)).min(self.max);
            }
        }
        self.max
    }
}

/// Power of two and the next six bits.
fn bucket(nanos: u64) -> usize {
    let power = nanos.ilog2();
    let fine = if power >= 6 {
        nanos >> (power - 6)
    } else {
        nanos << (6 - power)
    };
    (power * FINE) as usize + (fine as usize - FINE as usize)
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    let (power, fine) = (
        (index / FINE as usize) as u32,
        (index % FINE as usize) as u64,
    );
    let next = u64::from(FINE) + fine + 1;
    if power >= 6 {
        (next << (power - 6)) - 1
    } else {
        (next >> (6 - power)).max(1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_of_a_known_set() {
        let mut figures = Figures::default();
        for micros in 1..=1000u64 {
            figures.count(Duration::from_micros(micros), micros != 7);
        }
        let close = |share, micros: f64| {
            let found = figures.percentile(share).as_secs_f64() * 1e6;
            assert!(
                (found - micros).abs() / micros < 0.02,
                "{share}: {found} for {micros}"
            );
        };
        close(0.5, 500.0);
        close(0.9, 900.0);
        close(0.99, 990.0);
        assert_eq!(
            (figures.max(), figures.calls(), figures.errors()),
            (Duration::from_millis(1), 1000, 1)
        );
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(nanos in 64u64..1 << 39) {
            let index = bucket(nanos);
            prop_assert!(upper(index) >= nanos);
            prop_assert!(upper(index) - nanos <= nanos / 60);
        }
    }
}
