//! What the two threads share: pieces that wait, buffers to be used again, and how it went.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between the thread that writes and the one that compresses.
///
/// One condition serves both, since they never wait together: one does for want of room, the other for want of bytes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Chunk>,
    /// Empty ones. They keep their memory.
    idle: Vec<Vec<u8>>,
    /// How many of the bytes taken are in whole members.
    kept: u64,
    is_closed: bool,
    failure: Option<io::Error>,
}

/// Bytes for one member.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    /// When the first of them came.
    since: Instant,
}

/// The bytes of the next member, and whether more than one further member is waiting already.
pub(super) struct Next {
    pub(super) bytes: Vec<u8>,
    pub(super) is_late: bool,
}

impl Queue {
    /// Takes all of `slices`, or fails as the other thread did. Waits for room.
    pub(super) fn put(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let full = |state: &mut State| !state.is_closed && state.failure.is_none() && !state.has_room();
        let mut state = self.changed.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        state.outcome()?;
        if state.is_closed {
            return Err(io::Error::other("the compressed output has been ended"));
        }
        let count = state.append(slices);
        self.changed.notify_one();
        Ok(count)
    }

    /// The next member's bytes, as soon as there are enough or they have waited long enough; none when no more will come.
    pub(super) fn next(&self) -> Option<Next> {
        let mut state = self.lock();
        while let Some(delay) = state.delay() {
            state = self.wait(state, delay);
        }
        let next = state.pop()?;
        self.changed.notify_one();
        Some(next)
    }

    /// A member with these bytes was written.
    pub(super) fn written(&self, mut bytes: Vec<u8>) {
        let mut state = self.lock();
        state.kept += bytes.len() as u64;
        bytes.clear();
        state.idle.push(bytes);
    }

    /// No member will be written any more.
    pub(super) fn fail(&self, failure: io::Error) {
        let mut state = self.lock();
        state.failure.get_or_insert(failure);
        self.changed.notify_one();
    }

    /// Nothing will be put any more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    pub(super) fn kept(&self) -> u64 {
        self.lock().kept
    }

    /// Why no member will be written any more, if so.
    pub(super) fn outcome(&self) -> io::Result<()> {
        self.lock().outcome()
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, delay: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, delay).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Nothing that is done under the lock can leave the state half changed, so a panic there spoils nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the last member is still open to more bytes.
    fn is_open(&self) -> bool {
        self.waiting.back().is_some_and(|chunk| chunk.bytes.len() < ENOUGH)
    }

    fn has_room(&self) -> bool {
        self.is_open() || self.waiting.len() < MAX_WAITING
    }

    fn append(&mut self, slices: &[IoSlice<'_>]) -> usize {
        if !self.is_open() {
            let bytes = self.idle.pop().unwrap_or_default();
            self.waiting.push_back(Chunk { bytes, since: Instant::now() });
        }
        let bytes = &mut self.waiting.back_mut().expect("one was pushed if there was none").bytes;
        let old_len = bytes.len();
        // Not more: the bound on memory is counted in what chunks hold.
        bytes.reserve_exact(slices.iter().map(|slice| slice.len()).sum());
        for slice in slices {
            bytes.extend_from_slice(slice);
        }
        bytes.len() - old_len
    }

    /// How long the first chunk shall wait for more bytes. None: not at all, or no chunk will come.
    fn delay(&self) -> Option<Duration> {
        let Some(first) = self.waiting.front() else {
            return (!self.is_closed).then_some(Duration::MAX);
        };
        let is_complete = self.is_closed || self.waiting.len() > 1 || first.bytes.len() >= ENOUGH;
        let delay =
            if is_complete { Duration::ZERO } else { MAX_DELAY.saturating_sub(first.since.elapsed()) };
        (!delay.is_zero()).then_some(delay)
    }

    fn pop(&mut self) -> Option<Next> {
        let bytes = self.waiting.pop_front()?.bytes;
        Some(Next { bytes, is_late: self.waiting.len() > 1 })
    }

    /// The first caller gets the error itself, later ones its number or text.
    fn outcome(&mut self) -> io::Result<()> {
        let Some(failure) = &mut self.failure else { return Ok(()) };
        let copy = match failure.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::new(failure.kind(), failure.to_string()),
        };
        Err(mem::replace(failure, copy))
    }
}

/// From this length on a chunk gets a member of its own, in bytes: the window of RFC 1951, section 2. Longer members are no smaller
/// (pcapng of bare acknowledgements: to 27 % by 2 KiB, 20.5 % by 32 KiB, 20.3 % by 1 MiB).
const ENOUGH: usize = 32 * 1024;
/// How long a shorter one waits. Twenty packets each second then shrink to a third, where one by one they would
/// grow; and somebody who reads along, or is left with what SIGKILL left, misses no more than that.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// Chunks are up to 1.3 MiB long, a block of the ring with heads. With the one at work, that is 6.5 MiB at most.
const MAX_WAITING: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn put(queue: &Queue, count: usize) {
        assert_eq!(queue.put(&[IoSlice::new(&vec![7; count])]).unwrap(), count);
    }

    #[test]
    fn small_pieces_share_a_member() {
        let queue = Queue::default();
        put(&queue, 100);
        put(&queue, ENOUGH);
        put(&queue, 10);
        put(&queue, 10);
        assert_eq!(queue.next().unwrap().bytes.len(), 100 + ENOUGH);
        queue.close();
        assert_eq!(queue.next().unwrap().bytes.len(), 20);
        assert!(queue.next().is_none());
    }

    #[test]
    fn a_small_piece_alone_waits_for_a_second() {
        let queue = Queue::default();
        put(&queue, 100);
        let before = Instant::now();
        assert_eq!(queue.next().unwrap().bytes.len(), 100);
        assert!(before.elapsed() > MAX_DELAY / 2);
    }

    #[test]
    fn late_is_when_two_more_wait() {
        let queue = Queue::default();
        for _ in 0..4 {
            put(&queue, ENOUGH);
        }
        let late: Vec<_> = (0..4).map(|_| queue.next().unwrap().is_late).collect();
        assert_eq!(late, [true, true, false, false]);
    }

    #[test]
    fn memory_is_used_again() {
        let queue = Queue::default();
        put(&queue, ENOUGH);
        let first = queue.next().unwrap().bytes;
        let address = first.as_ptr();
        queue.written(first);
        put(&queue, ENOUGH);
        assert_eq!(queue.next().unwrap().bytes.as_ptr(), address);
        assert_eq!(queue.kept(), ENOUGH as u64);
    }

    #[test]
    fn a_failure_is_told_each_time() {
        let queue = Queue::default();
        queue.fail(io::ErrorKind::StorageFull.into());
        queue.fail(io::ErrorKind::BrokenPipe.into());
        for _ in 0..3 {
            assert_eq!(queue.outcome().unwrap_err().kind(), io::ErrorKind::StorageFull);
            assert_eq!(queue.put(&[]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
        let queue = Queue::default();
        queue.fail(io::Error::from_raw_os_error(28));
        for _ in 0..3 {
            assert_eq!(queue.outcome().unwrap_err().raw_os_error(), Some(28));
        }
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let queue = Queue::default();
        queue.close();
        let error = queue.put(&[IoSlice::new(b"late")]).unwrap_err();
        assert_eq!(error.to_string(), "the compressed output has been ended");
        assert!(queue.next().is_none());
    }
}
