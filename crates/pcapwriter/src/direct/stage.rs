//! Memory as O_DIRECT wants it: bytes that wait until a whole piece can be written.
//!
//! What a device is given from ordinary pages it gets one by one, in as many requests as it takes; from a huge page, all at once. That takes a
//! third of the processor time, and 2 MiB.

use crate::copy::copy;

/// A buffer whose first byte is aligned.
#[derive(Debug)]
pub(super) struct Stage {
    /// Longer than the buffer, so that an aligned part of it can be the buffer. Untouched, it is no memory yet.
    memory: Vec<u8>,
    /// Where the buffer begins in `memory`.
    start: usize,
    filled: usize,
    capacity: usize,
    /// The capacity where the file is aligned.
    piece_len: usize,
}

impl Stage {
    /// For pieces of 1 MiB.
    pub(super) fn new() -> Self {
        Self::aligned(PIECE_LEN, ALIGNMENT)
    }

    /// For pieces of 2 MiB in a huge page, if there is one.
    pub(super) fn huge() -> Self {
        let mut stage = Self::aligned(HUGE_PAGE_LEN, HUGE_PAGE_LEN);
        // Without one it is ordinary memory, which serves as well.
        let _unknown = nsntrace_sys::prefer_huge_pages(&mut stage.memory[stage.start..][..HUGE_PAGE_LEN]);
        stage
    }

    fn aligned(piece_len: usize, alignment: usize) -> Self {
        let memory = vec![0; piece_len + alignment];
        let start = memory.as_ptr().align_offset(alignment);
        Self { memory, start, filled: 0, capacity: piece_len, piece_len }
    }

    /// Begins a piece that goes to `offset` of the file: so long that the next one is aligned there.
    pub(super) fn begin(&mut self, offset: u64) {
        self.filled = 0;
        self.capacity = self.piece_len - misalignment(offset);
    }

    /// Takes what there is room for, and gives back the rest.
    pub(super) fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let end = self.start + self.filled;
        let (now, later) = bytes.split_at(bytes.len().min(self.capacity - self.filled));
        copy(&mut self.memory[end..end + now.len()], now);
        self.filled += now.len();
        later
    }

    /// Replaces bytes that were put in, the first of them `at` bytes behind the beginning. False if there are not so many.
    pub(super) fn replace(&mut self, at: usize, bytes: &[u8]) -> bool {
        let filled = &mut self.memory[self.start..self.start + self.filled];
        let Some(old) = filled.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) else {
            return bytes.is_empty();
        };
        old.copy_from_slice(bytes);
        true
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.filled]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.filled == self.capacity
    }
}

/// Whether O_DIRECT takes bytes of this length at this offset.
pub(super) fn is_aligned(offset: u64, len: usize) -> bool {
    misalignment(offset) == 0 && len.is_multiple_of(ALIGNMENT)
}

/// How far `offset` is behind where O_DIRECT could write.
fn misalignment(offset: u64) -> usize {
    usize::try_from(offset % ALIGNMENT as u64).unwrap_or_default()
}

/// Large enough that one write(2) at a time keeps the disk busy, small enough for the second-level cache.
const PIECE_LEN: usize = 1 << 20;
/// The size of a page, which is a multiple of the blocks of every device that has them.
const ALIGNMENT: usize = 4096;
/// On the machines that we know best. Elsewhere it is a multiple or a part of one.
const HUGE_PAGE_LEN: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_ends_where_the_next_is_aligned() {
        for (mut stage, len) in [(Stage::new(), PIECE_LEN), (Stage::huge(), HUGE_PAGE_LEN)] {
            for (offset, room) in [(0, len), (4096, len), (24, len - 24), (12_287, len - 4095)] {
                stage.begin(offset);
                assert_eq!(stage.fill(&vec![1; len + 5]).len(), len + 5 - room);
                assert!(stage.is_full() && is_aligned(offset + room as u64, 0), "offset {offset}");
            }
        }
    }

    #[test]
    fn a_piece_is_what_was_put_into_it_at_an_aligned_address() {
        let mut stage = Stage::new();
        stage.begin(0);
        assert!(stage.is_empty() && stage.fill(b"one").is_empty() && stage.fill(b"two").is_empty());
        assert_eq!(stage.bytes(), b"onetwo");
        assert!(stage.replace(2, b"EXT") && !stage.replace(4, b"past") && stage.replace(9, b""));
        assert_eq!(stage.bytes(), b"onEXTo");
        assert!(stage.bytes().as_ptr().addr().is_multiple_of(ALIGNMENT) && !stage.is_full());
    }
}
