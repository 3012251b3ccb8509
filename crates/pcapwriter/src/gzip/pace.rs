//! Whether the next member is compressed or stored.
//!
//! Members that wait mean that packets come faster than we write them. If it is the compressor that cannot follow, storing is faster. If
//! it is the disk, storing makes it worse: compressed bytes are fewer. So we store when members wait, and the time that
//! compressing took of late is more than the disk would have taken for the bytes that it saved.

use std::time::Duration;

/// What compressing costs, and what writing does, both of late.
#[derive(Debug, Default)]
pub(super) struct Pace {
    compressing: Cost,
    writing: Cost,
    /// How many members were stored since one was compressed.
    stored: u32,
}

/// How long something took, and for how many bytes: bytes saved, or bytes written.
#[derive(Debug, Default)]
struct Cost {
    time_ns: u128,
    bytes: u128,
}

/// How a member is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Level 1.
    Compress,
    /// As it is.
    Store,
}

impl Pace {
    /// How to make the next member, given whether others wait behind it.
    pub(super) fn choose(&mut self, is_late: bool) -> Method {
        // Now and then one is compressed all the same: traffic changes, and so does what compressing it saves.
        if is_late && self.storing_is_faster() && self.stored < MAX_STORED {
            self.stored += 1;
            Method::Store
        } else {
            self.stored = 0;
            Method::Compress
        }
    }

    /// Compressing a member took `time`, and made it `saved` bytes shorter.
    pub(super) fn compressed(&mut self, time: Duration, saved: usize) {
        self.compressing.add(time, saved);
    }

    /// The output took `bytes`, and needed `time` for that.
    pub(super) fn wrote(&mut self, time: Duration, bytes: usize) {
        self.writing.add(time, bytes);
    }

    /// Compares the time for each byte saved with that for each byte written, both multiplied by both counts.
    fn storing_is_faster(&self) -> bool {
        self.compressing.time_ns * self.writing.bytes > self.writing.time_ns * self.compressing.bytes
    }
}

impl Cost {
    /// Half of what is known is from the last five or so.
    fn add(&mut self, time: Duration, bytes: usize) {
        self.time_ns = self.time_ns - self.time_ns / 8 + time.as_nanos();
        self.bytes = self.bytes - self.bytes / 8 + bytes as u128;
    }
}

/// With fifteen in sixteen stored, compressing is a small part of the time again.
const MAX_STORED: u32 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    /// A pace after ten members of a MiB each, compressed to `len` bytes in 3 ms and written at `rate` MiB each second.
    fn pace(len: usize, rate: u32) -> Pace {
        let mut pace = Pace::default();
        for _ in 0..10 {
            pace.compressed(Duration::from_millis(3), MIB - len);
            pace.wrote(Duration::from_secs(1) / rate * u32::try_from(len / 1024).unwrap() / 1024, len);
        }
        pace
    }

    #[test]
    fn who_is_not_late_compresses() {
        assert_eq!(pace(MIB, 3000).choose(false), Method::Compress);
        assert_eq!(Pace::default().choose(false), Method::Compress);
        assert_eq!(Pace::default().choose(true), Method::Compress);
    }

    #[test]
    fn who_is_late_with_a_fast_disk_stores() {
        assert_eq!(pace(MIB / 4, 3000).choose(true), Method::Store);
        assert_eq!(pace(MIB, 3000).choose(true), Method::Store);
    }

    #[test]
    fn a_slow_disk_is_no_reason_to_give_it_more() {
        assert_eq!(pace(MIB / 4, 100).choose(true), Method::Compress);
        // There is nothing to be saved.
        assert_eq!(pace(MIB, 100).choose(true), Method::Store);
    }

    #[test]
    fn a_disk_that_becomes_slow_is_noticed() {
        let mut pace = pace(MIB / 4, 3000);
        assert_eq!(pace.choose(true), Method::Store);
        pace.wrote(Duration::from_millis(50), MIB);
        pace.wrote(Duration::from_millis(50), MIB);
        assert_eq!(pace.choose(true), Method::Compress);
    }

    #[test]
    fn what_was_is_forgotten() {
        let mut pace = pace(MIB / 4, 1);
        for _ in 0..100 {
            pace.wrote(Duration::from_micros(300), MIB);
        }
        assert_eq!(pace.choose(true), Method::Store);
    }

    #[test]
    fn one_in_sixteen_is_compressed_to_learn() {
        let mut pace = pace(MIB, 3000);
        let methods: Vec<_> = (0..32).map(|_| pace.choose(true)).collect();
        assert_eq!(methods.iter().filter(|&&method| method == Method::Compress).count(), 2);
    }
}
