//! How many packets are in which bytes of the output, for as long as the output may still lose them.

use std::collections::VecDeque;

/// Bytes that an output has taken, and the packets in those of them that it may still lose.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    taken: u64,
    open: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Where these packets end in the output.
    end: u64,
    packets: u64,
}

impl Ledger {
    /// Bytes taken so far, the beginning of a torn record not counted.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// The output has taken `bytes` more, with `packets` in them.
    pub(crate) fn add(&mut self, bytes: u64, packets: u64) {
        self.taken += bytes;
        self.open.push_back(Entry { end: self.taken, packets });
    }

    /// The first `kept` bytes cannot be lost any more.
    pub(crate) fn settle(&mut self, kept: u64) {
        while self.open.pop_front_if(|entry| entry.end <= kept).is_some() {}
    }

    /// How many packets are lost when no more than the first `kept` bytes are there.
    pub(crate) fn unkept(&mut self, kept: u64) -> u64 {
        self.settle(kept);
        self.open.iter().map(|entry| entry.packets).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_lost_with_the_bytes_that_they_end_in() {
        let mut ledger = Ledger::default();
        ledger.add(24, 0);
        ledger.add(100, 2);
        ledger.add(50, 1);
        ledger.settle(24);
        assert_eq!(ledger.taken(), 174);
        assert_eq!(ledger.unkept(100), 3);
        assert_eq!(ledger.unkept(124), 1);
        assert_eq!(ledger.unkept(173), 1);
        assert_eq!(ledger.unkept(174), 0);
    }
}
