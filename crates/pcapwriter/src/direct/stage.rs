//! Memory as O_DIRECT wants it: bytes that wait until there are enough to write.
//!
//! # Theory of operation
//! The memory is lent: blocks of the ring whose packets have been copied, into the memory lent before. Each is some hundred pages in one piece, which
//! a device takes at once, where it has to be given ordinary pages one by one. One after the other, they are a long buffer, which
//! begins as far behind a page's beginning as the file has to go on there.

use std::io::IoSlice;

use crate::copy::copy;
use crate::output::Memory;

/// A buffer of pages, each of which belongs to a page of the file.
#[derive(Debug, Default)]
pub(super) struct Stage {
    lent: Vec<Box<dyn Memory>>,
    /// Bytes in each of them.
    piece_len: usize,
    /// Where the bytes begin in the buffer: in its first page.
    start: usize,
    /// Where they end.
    end: usize,
}

impl Stage {
    /// Whether there is any memory.
    pub(super) fn has_memory(&self) -> bool {
        !self.lent.is_empty()
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether memory serves: whole pages, and as many as there are in what was lent before.
    pub(super) fn takes(&self, pages: &[u8]) -> bool {
        let is_alike = self.lent.is_empty() || pages.len() == self.piece_len;
        let is_whole = pages.len() >= ALIGNMENT && pages.len().is_multiple_of(ALIGNMENT);
        is_alike && is_whole && pages.as_ptr().addr().is_multiple_of(ALIGNMENT)
    }

    /// Makes the buffer longer by memory that it [takes](Self::takes), if there is not room for as much already.
    pub(super) fn lend(&mut self, memory: Box<dyn Memory>) {
        let len = (*memory).as_ref().len();
        if self.lent.len() * self.piece_len < self.end + len {
            self.piece_len = len;
            self.lent.push(memory);
        }
    }

    /// Forgets all bytes. The next ones go to `offset` of the file.
    pub(super) fn begin(&mut self, offset: u64) {
        self.start = usize::try_from(offset % ALIGNMENT as u64).unwrap_or_default();
        self.end = self.start;
    }

    /// Gives back all memory, with what is in it.
    pub(super) fn give_back(&mut self) {
        *self = Self::default();
    }

    /// Goes on in `memory` alone, which it [takes](Self::takes), for what goes to `offset` of the file, with the bytes from `from` on.
    pub(super) fn move_to(&mut self, memory: Box<dyn Memory>, offset: u64, from: usize) {
        let before = std::mem::take(self);
        self.lend(memory);
        self.begin(offset);
        for slice in before.slices(from, before.len() - from) {
            self.fill(&slice);
        }
    }

    /// Takes what there is room for, and gives back the rest.
    pub(super) fn fill<'b>(&mut self, mut bytes: &'b [u8]) -> &'b [u8] {
        while !bytes.is_empty()
            && let Some(room) = self.piece_mut(self.end)
        {
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            copy(&mut room[..now.len()], now);
            self.end += now.len();
            bytes = later;
        }
        bytes
    }

    /// Replaces bytes that were put in, the first of them `at` bytes behind the beginning. False if there are not so many.
    pub(super) fn replace(&mut self, at: usize, mut bytes: &[u8]) -> bool {
        if bytes.len() > self.len().saturating_sub(at) {
            return false;
        }
        let mut at = self.start + at;
        while !bytes.is_empty()
            && let Some(old) = self.piece_mut(at)
        {
            let (now, later) = bytes.split_at(bytes.len().min(old.len()));
            old[..now.len()].copy_from_slice(now);
            at += now.len();
            bytes = later;
        }
        true
    }

    /// The bytes from `from` on, `len` of them.
    pub(super) fn slices(&self, from: usize, len: usize) -> Vec<IoSlice<'_>> {
        let (mut at, end) = (self.start + from, self.start + from + len);
        let mut slices = Vec::with_capacity(self.lent.len());
        while at < end {
            let piece = &(*self.lent[at / self.piece_len]).as_ref()[at % self.piece_len..];
            let piece = &piece[..piece.len().min(end - at)];
            slices.push(IoSlice::new(piece));
            at += piece.len();
        }
        slices
    }

    /// How many bytes it takes to the next page of the file, but not more than there are.
    pub(super) fn to_page(&self) -> usize {
        ((ALIGNMENT - self.start) % ALIGNMENT).min(self.len())
    }

    /// From `at` of the buffer to the end of that piece of memory.
    fn piece_mut(&mut self, at: usize) -> Option<&mut [u8]> {
        // Without memory, pieces have no length.
        let memory = self.lent.get_mut(at.checked_div(self.piece_len)?)?;
        Some(&mut (**memory).as_mut()[at % self.piece_len..])
    }
}

/// The part of `len` bytes that is whole pages.
pub(super) fn whole_pages(len: usize) -> usize {
    len - len % ALIGNMENT
}

/// The size of a page, which is a multiple of the blocks of every device that has them.
const ALIGNMENT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of a vector.
    #[derive(Debug)]
    struct Pages(Vec<u8>, usize);

    impl Pages {
        fn new(count: usize) -> Self {
            let memory = vec![0xee; (count + 1) * ALIGNMENT];
            let start = memory.as_ptr().align_offset(ALIGNMENT);
            Self(memory, start)
        }
    }

    impl AsRef<[u8]> for Pages {
        fn as_ref(&self) -> &[u8] {
            &self.0[self.1..self.0.len() - ALIGNMENT + self.1]
        }
    }

    impl AsMut<[u8]> for Pages {
        fn as_mut(&mut self) -> &mut [u8] {
            let end = self.0.len() - ALIGNMENT + self.1;
            &mut self.0[self.1..end]
        }
    }

    fn stage(offset: u64, pages: &[usize]) -> Stage {
        let mut stage = Stage::default();
        for &count in pages {
            // It takes no more than it needs.
            stage.lent.push(Box::new(Pages::new(count)));
            stage.piece_len = count * ALIGNMENT;
        }
        stage.begin(offset);
        stage
    }

    fn bytes(stage: &Stage, from: usize, len: usize) -> Vec<u8> {
        stage.slices(from, len).iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn what_is_put_in_is_at_the_same_place_of_a_page_as_in_the_file() {
        let text: Vec<u8> = (0..=255).cycle().take(5 * ALIGNMENT).collect();
        for offset in [0, 1, 24, 4095, 4096, 12_287] {
            let mut stage = stage(offset, &[2, 2]);
            let lead = usize::try_from(offset).unwrap() % ALIGNMENT;
            let room = 4 * ALIGNMENT - lead;
            assert_eq!((stage.len(), stage.to_page()), (0, 0));
            assert_eq!(stage.fill(&text[..100]), b"");
            assert_eq!(stage.fill(&text[100..]), &text[room..], "offset {offset}");
            assert_eq!((stage.len(), bytes(&stage, 0, room)), (room, text[..room].to_vec()));
            assert_eq!(stage.to_page(), (ALIGNMENT - lead) % ALIGNMENT);
            let slices = stage.slices(stage.to_page(), whole_pages(room - stage.to_page()));
            assert!(slices.iter().all(|slice| slice.as_ptr().addr().is_multiple_of(ALIGNMENT)));
            assert!(slices.iter().all(|slice| slice.len().is_multiple_of(ALIGNMENT)));
        }
    }

    #[test]
    fn what_was_put_in_can_be_replaced_across_pieces() {
        let mut stage = stage(4090, &[1, 1]);
        assert_eq!(stage.fill(b"onetwothree"), b"");
        assert!(stage.replace(3, b"TWOTHR") && !stage.replace(9, b"EEE") && !stage.replace(99, b"E"));
        assert_eq!(bytes(&stage, 0, 11), b"oneTWOTHRee");
        assert_eq!(bytes(&stage, 5, 2), b"OT");
    }

    #[test]
    fn without_memory_there_is_no_room() {
        let mut stage = stage(7, &[]);
        assert_eq!((stage.fill(b"one"), stage.has_memory()), (&b"one"[..], false));
        assert!(!stage.takes(&[0; 100]) && !stage.takes(&[]), "it is no page");
    }

    #[test]
    fn no_more_memory_is_kept_than_it_takes() {
        let mut stage = stage(0, &[2]);
        stage.lend(Box::new(Pages::new(2)));
        assert_eq!((stage.lent.len(), stage.fill(b"one")), (1, &b""[..]));
        assert!(!stage.takes(Pages::new(1).as_ref()), "it is shorter");
        assert!(stage.takes(Pages::new(2).as_ref()) && !stage.takes(&Pages::new(3).as_ref()[1..]));
        stage.lend(Box::new(Pages::new(2)));
        stage.lend(Box::new(Pages::new(2)));
        assert_eq!((stage.lent.len(), bytes(&stage, 0, 3)), (2, b"one".to_vec()));
    }

    #[test]
    fn what_is_left_goes_on_in_other_memory() {
        let mut stage = stage(0, &[1, 1]);
        let text: Vec<u8> = (0..=255).cycle().take(ALIGNMENT + 100).collect();
        assert_eq!(stage.fill(&text), b"");
        stage.move_to(Box::new(Pages::new(3)), ALIGNMENT as u64, ALIGNMENT);
        assert_eq!((stage.lent.len(), stage.len()), (1, 100));
        assert_eq!(bytes(&stage, 0, 100), text[ALIGNMENT..]);
    }
}
