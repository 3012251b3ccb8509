//! Times of one command, and their order statistics.

use std::time::Duration;

/// Every time that a command took, sorted, and how often it failed instead.
#[derive(Default)]
pub(super) struct Sample {
    times: Vec<Duration>,
    failures: Vec<String>,
}

impl Sample {
    pub(super) fn push(&mut self, time: Duration) {
        let place = self.times.partition_point(|&other| other <= time);
        self.times.insert(place, time);
    }

    pub(super) fn push_failure(&mut self, reason: String) {
        self.failures.push(reason);
    }

    /// Why each failed run did, in their order.
    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The time that `percent` of all do not exceed (nearest rank); 0 is the shortest.
    ///
    /// # Panics
    /// There is none.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.times.len() * percent).div_ceil(100);
        self.times[rank.saturating_sub(1)]
    }
}

/// A shuffle that needs no library: Fisher and Yates with Marsaglia's xorshift64.
pub(super) struct Shuffle(u64);

impl Shuffle {
    /// `seed` may be anything.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(super) fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<_> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("it is below a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut sample = Sample::default();
        assert!(sample.is_empty());
        for ms in [7, 3, 10, 1, 5, 9, 2, 8, 4, 6] {
            sample.push(Duration::from_millis(ms));
        }
        for (percent, ms) in [(0, 1), (50, 5), (90, 9), (91, 10), (100, 10)] {
            assert_eq!(sample.percentile(percent), Duration::from_millis(ms), "{percent}");
        }
    }

    #[test]
    fn every_order_comes_up_and_each_has_everything() {
        let mut shuffle = Shuffle::new(0);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let order = shuffle.order(3);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2]);
            seen.insert(order);
        }
        assert_eq!(seen.len(), 6);
    }
}
