//! How many packets were received, and how many of them were lost.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nsntrace_sys::PacketSocket;

use crate::error::CaptureError;

/// Packet counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Packets that passed the filter, the dropped ones included.
    pub received: u64,
    /// Packets that the kernel had no room for.
    pub dropped: u64,
}

impl Statistics {
    /// Packets that have a place in the ring.
    pub(crate) fn kept(self) -> u64 {
        self.received - self.dropped
    }
}

/// The counts of one packet socket, which any thread may ask for, and end.
#[derive(Debug)]
pub struct Counter {
    socket: PacketSocket,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the kernel has told so far: it sets its counters back to zero when they are read.
    total: Statistics,
    is_ended: bool,
}

impl Counter {
    pub(crate) fn new(socket: PacketSocket) -> Self {
        Self { socket, state: Mutex::default() }
    }

    /// Packet counts since the start, asked of the kernel now; after the end, those of the end. The packets that came last may not be copied
    /// to their place in the ring yet.
    ///
    /// # Errors
    /// [`CaptureError::Statistics`].
    pub fn count(&self) -> Result<Statistics, CaptureError> {
        self.counted(&mut self.state())
    }

    /// Counts, and ends the capture there: what comes later is not part of it.
    ///
    /// # Errors
    /// [`CaptureError::Statistics`]: it goes on.
    pub fn end(&self) -> Result<Statistics, CaptureError> {
        let mut state = self.state();
        let total = self.counted(&mut state)?;
        state.is_ended = true;
        Ok(total)
    }

    /// The counts of the end, if there was one.
    pub(crate) fn ended(&self) -> Option<Statistics> {
        let state = self.state();
        state.is_ended.then_some(state.total)
    }

    fn counted(&self, state: &mut State) -> Result<Statistics, CaptureError> {
        if !state.is_ended {
            let since_last = self.socket.take_statistics().map_err(CaptureError::Statistics)?;
            state.total.received += u64::from(since_last.received);
            state.total.dropped += u64::from(since_last.dropped);
        }
        Ok(state.total)
    }

    /// Nothing that is done under the lock can panic halfway.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Counter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
