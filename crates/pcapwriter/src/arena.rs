//! Records that wait for their write: heads and small packets here, large packets where they are.

use std::io::{self, IoSlice};
use std::mem;

use crate::copy::copy;
use crate::output::Output;

/// The part of records that is copied, and the memory of lists. All of it is kept from one batch to the next: an allocator may ask the kernel for
/// such pieces, page by page, and give them back, each time.
pub(crate) struct Arena {
    /// As much as was ever needed; untouched, it is no memory yet.
    bytes: Vec<u8>,
    /// How many of them the records have.
    filled: usize,
    /// Where each record ends among all bytes of the batch, ascending.
    ends: Vec<usize>,
    /// Empty. Room for a batch's large packets.
    spare_large: Vec<Large<'static>>,
    /// Empty. Room for what is written at once.
    spare_slices: Vec<IoSlice<'static>>,
}

/// A packet that stays where it is until it is written.
#[derive(Clone, Copy)]
struct Large<'p> {
    /// How many bytes of the arena come before it.
    at: usize,
    bytes: &'p [u8],
}

/// Records on their way from packets of lifetime `'p` to an output.
pub(crate) struct Records<'a, 'p> {
    arena: &'a mut Arena,
    large: Vec<Large<'p>>,
    /// Bytes of all in `large`.
    large_len: usize,
}

/// What became of records.
pub(crate) struct Drained {
    /// How many are in the output, whole.
    pub(crate) whole: usize,
    /// How many are not.
    pub(crate) missing: usize,
    /// How many bytes the output took.
    pub(crate) taken: usize,
    /// How many of those are the beginning of the first missing record.
    pub(crate) torn: usize,
    pub(crate) result: io::Result<()>,
}

impl Arena {
    pub(crate) fn new() -> Self {
        let len = ARENA_LEN + MAX_COPIED_LEN;
        Self {
            bytes: vec![0; len],
            filled: 0,
            ends: Vec::with_capacity(len / TYPICAL_RECORD_LEN),
            spare_large: Vec::new(),
            spare_slices: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.filled = 0;
        self.ends.clear();
    }

    /// Room for `len` more bytes.
    #[inline]
    fn room(&mut self, len: usize) -> &mut [u8] {
        let start = self.filled;
        self.filled += len;
        if self.filled > self.bytes.len() {
            self.grow();
        }
        &mut self.bytes[start..self.filled]
    }

    /// Only for what is no packet's, and for a packet with a long comment.
    #[cold]
    fn grow(&mut self) {
        self.bytes.resize(self.filled, 0);
    }
}

impl<'a, 'p> Records<'a, 'p> {
    /// Begins with none. Whatever an earlier one left in the arena is forgotten.
    pub(crate) fn new(arena: &'a mut Arena) -> Self {
        arena.clear();
        let large = emptied(mem::take(&mut arena.spare_large));
        Self { arena, large, large_len: 0 }
    }

    /// Copies bytes into the record that is being made.
    pub(crate) fn copy(&mut self, bytes: &[u8]) {
        copy(self.arena.room(bytes.len()), bytes);
    }

    /// Copies 32-bit words, all of an array at once.
    #[inline]
    pub(crate) fn copy_words<const N: usize>(&mut self, words: &[u32; N]) {
        self.arena.room(size_of::<[u32; N]>()).copy_from_slice(words.map(u32::to_ne_bytes).as_flattened());
    }

    /// Puts a packet's bytes into the record that is being made; many of them stay where they are.
    pub(crate) fn put(&mut self, bytes: &'p [u8]) {
        if bytes.len() < LARGE_LEN {
            self.copy(bytes);
        } else {
            self.large.push(Large { at: self.arena.filled, bytes });
            self.large_len += bytes.len();
        }
    }

    /// Ends the record that is being made.
    pub(crate) fn end_record(&mut self) {
        let end = self.len();
        self.arena.ends.push(end);
    }

    /// Bytes of all records.
    pub(crate) fn len(&self) -> usize {
        self.arena.filled + self.large_len
    }

    /// Whether the arena has had enough.
    pub(crate) fn is_full(&self) -> bool {
        self.arena.filled >= ARENA_LEN
    }

    /// Writes all records and forgets them, whether the output took them or not.
    pub(crate) fn drain_to(&mut self, output: &mut impl Output) -> Drained {
        let mut slices = emptied(mem::take(&mut self.arena.spare_slices));
        self.list(&mut slices);
        let (taken, result) = write_all(output, &mut slices);
        self.arena.spare_slices = emptied(slices);
        let ends = &self.arena.ends;
        let whole = ends.partition_point(|&end| end <= taken);
        let whole_bytes = whole.checked_sub(1).map_or(0, |last| ends[last]);
        // What is no packet's has no end in `ends`, and is whole with the rest.
        let torn = if result.is_ok() { 0 } else { taken - whole_bytes };
        let drained = Drained { whole, missing: ends.len() - whole, taken, torn, result };
        self.arena.clear();
        self.large.clear();
        self.large_len = 0;
        drained
    }

    /// Everything in its order.
    fn list<'s>(&'s self, slices: &mut Vec<IoSlice<'s>>) {
        let mut copied = 0;
        for large in &self.large {
            slices.push(IoSlice::new(&self.arena.bytes[copied..large.at]));
            slices.push(IoSlice::new(large.bytes));
            copied = large.at;
        }
        slices.push(IoSlice::new(&self.arena.bytes[copied..self.arena.filled]));
    }
}

impl Drop for Records<'_, '_> {
    fn drop(&mut self) {
        self.arena.spare_large = emptied(mem::take(&mut self.large));
    }
}

/// The memory of a list for another one, whose elements are alike but live for another time. The standard library collects in place where it can.
fn emptied<A, B>(mut list: Vec<A>) -> Vec<B> {
    list.clear();
    list.into_iter().map(|_| unreachable!("it is empty")).collect()
}

/// Writes `slices`, in as many pieces as the output likes, and says how many bytes it took.
pub(crate) fn write_all(output: &mut impl Output, mut slices: &mut [IoSlice<'_>]) -> (usize, io::Result<()>) {
    let mut taken = 0;
    // Empty ones are no reason to write.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match output.write(slices) {
            Ok(0) => return (taken, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                taken += count;
                IoSlice::advance_slices(&mut slices, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (taken, Err(error)),
        }
    }
    (taken, Ok(()))
}

/// From this length on, two entries of an iovec cost less than copying the packet.
const LARGE_LEN: usize = 1024;
/// When this many bytes wait, they are written: large enough that write(2) itself costs next to nothing per packet, and
/// small enough to share the second-level cache with the packets.
const ARENA_LEN: usize = 64 * 1024;
/// More than one record ever adds to the arena: its head, a small packet or the addresses of a large one, its tail.
const MAX_COPIED_LEN: usize = LARGE_LEN + 128;
/// A bare TCP acknowledgement in pcapng, in bytes.
const TYPICAL_RECORD_LEN: usize = 110;

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::output::OutputFile;

    #[test]
    fn what_a_batch_needed_is_there_for_the_next() {
        let mut arena = Arena::new();
        let mut output = OutputFile::new(File::create("/dev/null").unwrap()).unwrap();
        let packet = vec![7; LARGE_LEN];
        for count in [100, 1] {
            let mut records = Records::new(&mut arena);
            for _ in 0..count {
                records.put(&packet);
                records.end_record();
            }
            assert_eq!(records.drain_to(&mut output).whole, count);
        }
        let list: Vec<_> = (0..100).collect();
        let capacity = list.capacity();
        let emptied: Vec<i32> = emptied(list);
        assert!(emptied.is_empty() && emptied.capacity() == capacity);
        assert!(arena.spare_large.capacity() >= 100 && arena.spare_slices.capacity() >= 201);
    }
}
