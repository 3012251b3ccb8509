//! Random numbers that can be had again.

use std::env;
use std::time::{Duration, SystemTime};

/// A sequence of numbers that its seed decides.
#[derive(Debug)]
pub(crate) struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    /// Another sequence each time, or that of `NSNTRACE_SEED`.
    pub(crate) fn new() -> Self {
        let now = || SystemTime::UNIX_EPOCH.elapsed().expect("a clock behind 1970").subsec_nanos();
        let given = env::var("NSNTRACE_SEED").ok().map(|text| text.parse().expect("a number"));
        let seed = given.unwrap_or_else(|| now().into());
        Self { seed, state: seed }
    }

    /// What to set `NSNTRACE_SEED` to.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// A moment before `end`, each as likely as the others.
    pub(crate) fn moment(&mut self, end: Duration) -> Duration {
        let end_us = u64::try_from(end.as_micros()).expect("less than half a million years");
        Duration::from_micros(self.next() % end_us)
    }

    /// splitmix64, of Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
