//! Whether somebody has set the clock of day, by which packets are stamped.
//!
//! # Kernel interface
//! clock_gettime(2), `CLOCK_REALTIME` and `CLOCK_MONOTONIC`: in the vDSO, without a system call.

use rustix::time::{ClockId, clock_gettime};

/// Watches the clock of day against the one that nobody can set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    ahead_ns: i64,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { ahead_ns: ahead_ns() }
    }

    /// By how many nanoseconds it was set since the last question. A clock that is only led is not set.
    pub(super) fn set_by_ns(&mut self) -> i64 {
        self.step(ahead_ns())
    }

    fn step(&mut self, ahead_ns: i64) -> i64 {
        let set_by_ns = ahead_ns - self.ahead_ns;
        if set_by_ns.unsigned_abs() < STEP_NS {
            return 0;
        }
        self.ahead_ns = ahead_ns;
        set_by_ns
    }
}

fn ahead_ns() -> i64 {
    let ns = |clock| {
        let now = clock_gettime(clock);
        now.tv_sec * 1_000_000_000 + now.tv_nsec
    };
    ns(ClockId::Realtime) - ns(ClockId::Monotonic)
}

/// More than passes between two readings that the scheduler comes between.
const STEP_NS: u64 = 500_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_once_and_a_drift_is_none() {
        let mut clock = Clock { ahead_ns: 0 };
        assert_eq!(clock.step(1_000), 0);
        assert_eq!(clock.step(-3_600_000_000_000), -3_600_000_000_000);
        assert_eq!(clock.step(-3_600_000_000_000), 0);
        assert_eq!(clock.step(0), 3_600_000_000_000);
    }

    #[test]
    fn nobody_sets_it_here() {
        assert_eq!(Clock::start().set_by_ns(), 0);
    }
}
