//! Whether the way past the page cache is the better one just now.
//!
//! It saves the kernel a copy, and every reader of other files their place in the cache. But what waits for a whole piece is not in
//! the file yet, and a disk that is slower than the packets makes the recorder wait, where the cache may take some seconds of any
//! rate. So it is for packets that come fast and a disk that keeps up; and for one that does not, as long as the cache is slower still.

use std::time::{Duration, Instant};

/// When a file is to be written past the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastCache {
    /// Whenever the file system can.
    Always,
    /// While 4 MB a second or more come, and the disk takes them without falling behind.
    WhenFast,
}

/// What came of late, and how either way took it.
#[derive(Debug)]
pub(super) struct Pace {
    when: PastCache,
    /// Since when bytes are counted, and how many came.
    since: Instant,
    came: u64,
    is_fast: bool,
    /// How long the disk has fallen behind what came.
    behind: Duration,
    /// When the last piece was written past the cache.
    wrote: Option<Instant>,
    past: Cost,
    through: Cost,
    detour: Detour,
}

/// The way through the cache, for a disk that has fallen behind.
#[derive(Debug)]
struct Detour {
    /// How many bytes are still to go this way, before the disk gets another chance.
    left: u64,
    /// How many it will be the next time.
    next: u64,
    /// How many bytes went past the cache since the last one.
    went_well: u64,
}

/// How long writing took of late, and for how many bytes.
#[derive(Debug, Default)]
struct Cost {
    time_us: u64,
    bytes: u64,
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
            past: Cost::default(),
            through: Cost::default(),
            detour: Detour { left: 0, next: FIRST_DETOUR, went_well: 0 },
        }
    }

    /// Bytes have come. Whether they go past the cache.
    ///
    /// What is enough for a whole window is fast before the window ends.
    pub(super) fn come(&mut self, bytes: usize, now: Instant) -> bool {
        self.came += bytes as u64;
        let elapsed = now.saturating_duration_since(self.since);
        let is_enough = self.came >= FAST_PER_US.saturating_mul(micros(elapsed.max(WINDOW)));
        if elapsed < WINDOW {
            self.is_fast |= is_enough;
        } else {
            self.is_fast = is_enough;
            (self.since, self.came) = (now, 0);
        }
        self.goes_past()
    }

    /// Whether what comes goes past the cache.
    pub(super) fn goes_past(&self) -> bool {
        self.when == PastCache::Always || (self.is_fast && self.detour.left == 0)
    }

    /// A piece was written past the cache.
    ///
    /// Behind is who needs longer to write a piece than it took to come. When packets have waited in the ring, they come as
    /// fast as we read them; so it takes several to make a disk slow.
    pub(super) fn wrote_past(&mut self, bytes: usize, start: Instant, end: Instant) {
        let took = end.saturating_duration_since(start);
        let coming = self.wrote.map_or(Duration::ZERO, |last| start.saturating_duration_since(last));
        self.past.add(took, bytes);
        self.behind = (self.behind + took).saturating_sub(coming);
        self.wrote = Some(end);
        self.detour.went_well(bytes);
        if self.behind > PATIENCE && self.through.may_be_less_than(&self.past) {
            self.behind = Duration::ZERO;
            self.wrote = None;
            self.detour.begin();
        }
    }

    /// Bytes were written through the cache. Of few, the time tells more of the call than of the bytes.
    pub(super) fn wrote_through(&mut self, bytes: usize, start: Instant, end: Instant) {
        if bytes >= TELLING {
            self.through.add(end.saturating_duration_since(start), bytes);
        }
        self.detour.go_on(bytes);
        if !self.through.may_be_less_than(&self.past) {
            self.detour.left = 0;
        }
    }
}

impl Detour {
    /// Leaves the disk alone, twice as long as the last time.
    fn begin(&mut self) {
        *self = Self { left: self.next, next: self.next.saturating_mul(2), went_well: 0 };
    }

    fn go_on(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
    }

    /// A disk that has taken as much as the next detour would be long is forgiven.
    fn went_well(&mut self, bytes: usize) {
        self.went_well += bytes as u64;
        if self.went_well >= self.next {
            self.next = FIRST_DETOUR;
        }
    }
}

impl Cost {
    /// Half of what is known is from the last five or so.
    fn add(&mut self, took: Duration, bytes: usize) {
        self.time_us = self.time_us - self.time_us / 8 + micros(took);
        self.bytes = self.bytes - self.bytes / 8 + bytes as u64;
    }

    /// Whether a byte costs less this way than the other, as far as one knows.
    fn may_be_less_than(&self, other: &Self) -> bool {
        self.bytes == 0 || self.time_us.saturating_mul(other.bytes) < other.time_us.saturating_mul(self.bytes)
    }
}

fn micros(time: Duration) -> u64 {
    time.as_secs() * 1_000_000 + u64::from(time.subsec_micros())
}

/// Long enough that what comes in it, 400 kB when it is fast, is no handful of packets; short enough to see the end of a download.
const WINDOW: Duration = Duration::from_millis(100);
/// From 4 MB/s on a block of the ring is full after a quarter of a second at most, and the processor time saved is worth having.
const FAST_PER_US: u64 = 4;
/// A ring of 16 MiB is full after 16 ms of a gigabyte a second: before that, the disk must have been left alone.
const PATIENCE: Duration = Duration::from_millis(8);
/// Longer than the ring, so that what waits there goes to the cache.
const FIRST_DETOUR: u64 = 64 << 20;
/// Copying as many bytes takes some ten times as long as the call itself.
const TELLING: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;
    const MS: Duration = Duration::from_millis(1);
    /// What the cache takes for a MiB.
    const CACHE: Duration = Duration::from_micros(1500);

    /// Lets `count` pieces come, one each `coming`, the disk needing `writing` for each. How many went past the cache.
    fn run(pace: &mut Pace, now: &mut Instant, count: usize, coming: Duration, writing: Duration) -> usize {
        let mut past = 0;
        for _ in 0..count {
            *now += coming;
            if pace.come(MIB, *now) {
                past += 1;
                pace.wrote_past(MIB, *now, *now + writing);
                *now += writing;
            } else {
                pace.wrote_through(MIB, *now, *now + CACHE);
                *now += CACHE;
            }
        }
        past
    }

    #[test]
    fn slow_packets_stay_in_the_cache_and_fast_ones_pass_it() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PastCache::WhenFast, now);
        assert_eq!(run(&mut pace, &mut now, 20, 300 * MS, MS), 0);
        assert_eq!(run(&mut pace, &mut now, 200, 10 * MS, MS), 200);
        // The rate of the last tenth of a second is what counts.
        now += Duration::from_secs(1);
        assert!(!pace.come(1000, now));
    }

    #[test]
    fn what_is_enough_for_a_window_need_not_wait_for_its_end() {
        let begin = Instant::now();
        let mut pace = Pace::new(PastCache::WhenFast, begin);
        assert!(!pace.come(399_999, begin + 50 * MS));
        assert!(pace.come(1, begin + 60 * MS));
        // It is fast until a window says otherwise.
        assert!(pace.come(1, begin + 100 * MS));
        assert!(pace.come(1, begin + 199 * MS));
        assert!(!pace.come(1, begin + 200 * MS));
    }

    #[test]
    fn a_disk_that_falls_behind_is_left_alone_for_twice_as_long_if_it_does_so_again() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PastCache::WhenFast, now);
        run(&mut pace, &mut now, 100, 2 * MS, MS);
        assert_eq!(run(&mut pace, &mut now, 1, 2 * MS, 12 * MS), 1);
        assert_eq!(run(&mut pace, &mut now, 64, 2 * MS, MS), 0);
        assert_eq!(run(&mut pace, &mut now, 100, 2 * MS, MS), 100);
        assert_eq!(run(&mut pace, &mut now, 1, 2 * MS, 12 * MS), 1);
        assert_eq!(run(&mut pace, &mut now, 128, 2 * MS, MS), 0);
        assert_eq!(run(&mut pace, &mut now, 1, 2 * MS, MS), 1);
    }

    #[test]
    fn a_disk_that_stalls_once_in_a_while_is_forgiven() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PastCache::WhenFast, now);
        run(&mut pace, &mut now, 100, 2 * MS, MS);
        for _ in 0..5 {
            assert_eq!(run(&mut pace, &mut now, 1, 2 * MS, 12 * MS), 1);
            assert_eq!(run(&mut pace, &mut now, 300, 2 * MS, MS), 300 - 64);
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

    /// As on a machine that has to ask its hypervisor for every page.
    #[test]
    fn a_slow_disk_is_used_as_long_as_the_cache_is_slower_still() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PastCache::WhenFast, now);
        run(&mut pace, &mut now, 100, MS / 2, MS / 2);
        // What the cache costs is learned from one.
        assert_eq!(run(&mut pace, &mut now, 1000, MS / 5, MS), 1000 - 1);
        assert!(run(&mut pace, &mut now, 1000, MS / 5, 2 * MS) < 50);
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
