//! Whether the way past the page cache is the better one just now.
//!
//! It saves the kernel a copy, and every reader of other files their place in the cache. But what waits for a whole piece is not in
//! the file yet, and a disk that is slower than the packets makes the recorder wait, where the cache takes some seconds of any
//! rate. So it is for packets that come fast and a disk that is faster.

use std::time::{Duration, Instant};

/// When a file is to be written past the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastCache {
    /// Whenever the file system can.
    Always,
    /// While 4 MB a second or more come, and the disk takes them without falling behind.
    WhenFast,
}

/// What came of late, and how the disk took it.
#[derive(Debug)]
pub(super) struct Pace {
    when: PastCache,
    /// Since when bytes are counted, and how many came.
    since: Instant,
    came: u64,
    is_fast: bool,
    /// How long the disk has fallen behind what came.
    behind: Duration,
    /// When the last piece was written.
    wrote: Option<Instant>,
    /// How many bytes are to go through the cache before the disk gets another chance.
    detour: u64,
    /// How many it will be the next time.
    next_detour: u64,
    /// How many bytes went past the cache since the last one.
    went_well: u64,
}

impl Pace {
    pub(super) fn new(when: PastCache, now: Instant) -> Self {
        Self {
            when,
            since: now,
            came: 0,
            is_fast: false,
            behind: Duration::ZERO,
            wrote: None,
            detour: 0,
            next_detour: FIRST_DETOUR,
            went_well: 0,
        }
    }

    /// Bytes have come. Whether they go past the cache.
    pub(super) fn come(&mut self, bytes: usize, now: Instant) -> bool {
        self.came += bytes as u64;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= WINDOW {
            self.is_fast = u128::from(self.came) * 1000 >= u128::from(FAST_PER_MS) * elapsed.as_micros();
            (self.since, self.came) = (now, 0);
        }
        self.detour = self.detour.saturating_sub(bytes as u64);
        self.when == PastCache::Always || (self.is_fast && self.detour == 0)
    }

    /// A piece was written past the cache.
    ///
    /// Behind is who needs longer to write a piece than it took to come. When packets have waited in the ring, they come as
    /// fast as we read them; so it takes several to make a disk slow.
    pub(super) fn wrote(&mut self, bytes: usize, start: Instant, end: Instant) {
        let coming = self.wrote.map_or(Duration::ZERO, |last| start.saturating_duration_since(last));
        self.behind = (self.behind + end.saturating_duration_since(start)).saturating_sub(coming);
        self.wrote = Some(end);
        self.went_well += bytes as u64;
        if self.behind > PATIENCE {
            self.begin_detour();
        } else if self.went_well >= self.next_detour {
            self.next_detour = FIRST_DETOUR;
        }
    }

    /// Leaves the disk alone, twice as long as the last time.
    fn begin_detour(&mut self) {
        self.detour = self.next_detour;
        self.next_detour = self.next_detour.saturating_mul(2);
        self.went_well = 0;
        self.behind = Duration::ZERO;
        self.wrote = None;
    }
}

/// Long enough that a handful of packets is no rate, short enough that a download is.
const WINDOW: Duration = Duration::from_millis(100);
/// From 4 MB/s on a piece is full after an eighth of a second at most, and the processor time saved is worth having.
const FAST_PER_MS: u64 = 4000;
/// A ring of 16 MiB is full after 16 ms of a gigabyte a second: before that, the disk must have been left alone.
const PATIENCE: Duration = Duration::from_millis(8);
/// Longer than the ring, so that what waits there goes to the cache.
const FIRST_DETOUR: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;
    const MS: Duration = Duration::from_millis(1);

    /// Lets `count` pieces come, one each `coming`, the disk needing `writing` for each. How many went past the cache.
    fn run(pace: &mut Pace, now: &mut Instant, count: usize, coming: Duration, writing: Duration) -> usize {
        let mut past = 0;
        for _ in 0..count {
            *now += coming;
            if pace.come(MIB, *now) {
                past += 1;
                pace.wrote(MIB, *now, *now + writing);
                *now += writing;
            }
        }
        past
    }

    #[test]
    fn slow_packets_stay_in_the_cache_and_fast_ones_pass_it() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PastCache::WhenFast, now);
        assert_eq!(run(&mut pace, &mut now, 20, 300 * MS, MS), 0);
        assert_eq!(run(&mut pace, &mut now, 200, 10 * MS, MS), 200 - 9);
        // The rate of the last tenth of a second is what counts.
        now += Duration::from_secs(1);
        assert!(!pace.come(1000, now));
    }

    #[test]
    fn a_disk_that_falls_behind_is_left_alone_for_twice_as_long_if_it_does_so_again() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PastCache::WhenFast, now);
        run(&mut pace, &mut now, 100, 2 * MS, MS);
        assert_eq!(run(&mut pace, &mut now, 1, 2 * MS, 12 * MS), 1);
        assert_eq!(run(&mut pace, &mut now, 63, 2 * MS, MS), 0);
        assert_eq!(run(&mut pace, &mut now, 100, 2 * MS, MS), 100);
        assert_eq!(run(&mut pace, &mut now, 1, 2 * MS, 12 * MS), 1);
        assert_eq!(run(&mut pace, &mut now, 127, 2 * MS, MS), 0);
        assert_eq!(run(&mut pace, &mut now, 1, 2 * MS, MS), 1);
    }

    #[test]
    fn a_disk_that_stalls_once_in_a_while_is_forgiven() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PastCache::WhenFast, now);
        run(&mut pace, &mut now, 100, 2 * MS, MS);
        for _ in 0..5 {
            assert_eq!(run(&mut pace, &mut now, 1, 2 * MS, 12 * MS), 1);
            assert_eq!(run(&mut pace, &mut now, 300, 2 * MS, MS), 300 - 63);
        }
    }

    #[test]
    fn a_disk_as_fast_as_the_packets_is_used_and_a_slower_one_soon_is_not() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PastCache::WhenFast, now);
        run(&mut pace, &mut now, 60, 2 * MS, MS);
        assert_eq!(run(&mut pace, &mut now, 1000, 2 * MS, 2 * MS), 1000);
        assert!(run(&mut pace, &mut now, 50, 2 * MS, 3 * MS) < 10);
    }

    #[test]
    fn a_ring_that_is_caught_up_with_makes_no_disk_slow() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PastCache::WhenFast, now);
        run(&mut pace, &mut now, 100, 2 * MS, MS);
        assert_eq!(run(&mut pace, &mut now, 8, MS / 5, MS / 2), 8);
        assert_eq!(run(&mut pace, &mut now, 100, 2 * MS, MS), 100);
    }

    #[test]
    fn always_is_always() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PastCache::Always, now);
        assert_eq!(run(&mut pace, &mut now, 50, 2 * MS, 100 * MS), 50);
        assert!(pace.come(1, now + Duration::from_secs(9)));
    }
}
