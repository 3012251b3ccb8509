//! Where a recording ends, and where its files do.

use std::time::Duration;

/// What the user wants a file, or the recording, to end at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// The recording, after so many packets.
    pub count: Option<u64>,
    /// The recording, after so long.
    pub duration: Option<Duration>,
    /// A file, with so many bytes.
    pub file_len: Option<u64>,
    /// A file, after so long.
    pub file_time: Option<Duration>,
}

/// What ends a file or the recording. A bound that the user has not set is the largest number.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Packets that may still be recorded.
    packets_left: u64,
    /// Nothing later than this is recorded, in nanoseconds since the epoch.
    end_ns: u64,
    /// No packet is later than this, but those from before the clock was set back.
    now_ns: u64,
    /// A file of so many bytes is full.
    file_len: u64,
    /// How long a file is written to, in nanoseconds.
    file_time_ns: u64,
    /// Until when this one is, in nanoseconds since the epoch.
    file_end_ns: u64,
}

/// What comes before a packet is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: here it is written.
    Packet,
    /// A new file is begun.
    File,
    /// The recording has ended.
    End,
}

impl Bounds {
    /// The bounds of a recording that begins at `started_ns`.
    pub fn new(ends: &Ends, started_ns: u64) -> Self {
        let file_time_ns = ns(ends.file_time);
        Self {
            packets_left: ends.count.unwrap_or(u64::MAX),
            end_ns: started_ns.saturating_add(ns(ends.duration)),
            now_ns: started_ns,
            file_len: ends.file_len.unwrap_or(u64::MAX),
            file_time_ns,
            file_end_ns: started_ns.saturating_add(file_time_ns),
        }
    }

    /// What comes before a packet of that time, when the file has `position` bytes.
    #[inline]
    pub fn before(&self, timestamp_ns: u64, position: u64) -> Next {
        if self.packets_left == 0 || (timestamp_ns > self.end_ns && timestamp_ns <= self.now_ns) {
            Next::End
        } else if position >= self.file_len || timestamp_ns >= self.file_end_ns {
            Next::File
        } else {
            Next::Packet
        }
    }

    /// How many packets of those times are recorded, all being the next. Without limits they are not looked at.
    pub fn room(&self, timestamps_ns: impl Iterator<Item = u64>) -> u64 {
        if self.end_ns == u64::MAX {
            return self.packets_left;
        }
        let is_within = |timestamp_ns: &u64| self.before(*timestamp_ns, 0) != Next::End;
        let within = timestamps_ns.take_while(is_within).count();
        self.packets_left.min(u64::try_from(within).unwrap_or(u64::MAX))
    }

    /// It is `now_ns`, by a clock that was set by so much since the last time: the recording lasts no longer and no shorter for that.
    pub fn follow_clock(&mut self, now_ns: u64, set_by_ns: i64) {
        self.now_ns = now_ns;
        if self.end_ns < u64::MAX {
            self.end_ns = self.end_ns.saturating_add_signed(set_by_ns);
        }
    }

    /// A packet was recorded.
    #[inline]
    pub fn count_packet(&mut self) {
        self.packets_left -= 1;
    }

    /// Whether no more packets are to be recorded.
    pub fn is_count_reached(&self) -> bool {
        self.packets_left == 0
    }

    /// A new file begins with a packet of that time. Files end at multiples of their time, though nothing comes for some of it.
    pub fn begin_file(&mut self, timestamp_ns: u64) {
        if let Some(late_ns) = timestamp_ns.checked_sub(self.file_end_ns) {
            let passed_ns = (late_ns / self.file_time_ns + 1).saturating_mul(self.file_time_ns);
            self.file_end_ns = self.file_end_ns.saturating_add(passed_ns);
        }
    }

    /// Where the recording ends at the latest, if anywhere.
    pub fn end_ns(&self) -> Option<u64> {
        (self.end_ns < u64::MAX).then_some(self.end_ns)
    }
}

fn ns(time: Option<Duration>) -> u64 {
    time.map_or(u64::MAX, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000_000_000;
    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn without_bounds_there_is_no_end() {
        let mut bounds = Bounds::new(&Ends::default(), START);
        bounds.count_packet();
        assert_eq!(bounds.before(u64::MAX - 1, u64::MAX - 1), Next::Packet);
        assert_eq!(bounds.end_ns(), None);
    }

    #[test]
    fn a_count_ends_it() {
        let ends = Ends { count: Some(2), ..Ends::default() };
        let mut bounds = Bounds::new(&ends, START);
        bounds.count_packet();
        assert!(!bounds.is_count_reached());
        assert_eq!(bounds.before(START, 0), Next::Packet);
        bounds.count_packet();
        assert!(bounds.is_count_reached());
        assert_eq!(bounds.before(START, 0), Next::End);
    }

    #[test]
    fn a_time_ends_it() {
        let ends = Ends { duration: Some(Duration::from_secs(3)), ..Ends::default() };
        let mut bounds = Bounds::new(&ends, START);
        bounds.follow_clock(START + 4 * SECOND, 0);
        assert_eq!(bounds.end_ns(), Some(START + 3 * SECOND));
        assert_eq!(bounds.before(START + 3 * SECOND, 0), Next::Packet);
        assert_eq!(bounds.before(START + 3 * SECOND + 1, 0), Next::End);
    }

    #[test]
    fn a_clock_that_is_set_moves_the_end_along() {
        let ends = Ends { duration: Some(Duration::from_secs(3)), ..Ends::default() };
        for hour_ns in [3600 * SECOND.cast_signed(), -3600 * SECOND.cast_signed()] {
            let mut bounds = Bounds::new(&ends, START);
            let set = |time_ns: u64| time_ns.saturating_add_signed(hour_ns);
            bounds.follow_clock(set(START + SECOND), hour_ns);
            for before in [START + SECOND, set(START + SECOND), set(START + 3 * SECOND)] {
                assert_eq!(bounds.before(before, 0), Next::Packet, "{before}");
            }
            bounds.follow_clock(set(START + 4 * SECOND), 0);
            assert_eq!(bounds.before(set(START + 3 * SECOND + 1), 0), Next::End);
        }
    }

    #[test]
    fn files_end_at_their_size_and_at_multiples_of_their_time() {
        let file_time = Some(Duration::from_secs(10));
        let ends = Ends { file_len: Some(1000), file_time, ..Ends::default() };
        let mut bounds = Bounds::new(&ends, START);
        assert_eq!(bounds.before(START + 9 * SECOND, 999), Next::Packet);
        assert_eq!(bounds.before(START + 9 * SECOND, 1000), Next::File);
        bounds.begin_file(START + 9 * SECOND);
        assert_eq!(bounds.before(START + 10 * SECOND, 0), Next::File);
        bounds.begin_file(START + 34 * SECOND);
        assert_eq!(bounds.before(START + 40 * SECOND - 1, 0), Next::Packet);
        assert_eq!(bounds.before(START + 40 * SECOND, 0), Next::File);
    }
}
