//! How many packets were received, and how many of them were lost.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

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

/// The counts of one packet socket, which any thread may ask for.
#[derive(Debug)]
pub struct Counter {
    socket: PacketSocket,
    /// What the kernel has told so far: it sets its counters back to zero when they are read.
    total: Mutex<Statistics>,
}

impl Counter {
    pub(crate) fn new(socket: PacketSocket) -> Self {
        Self { socket, total: Mutex::default() }
    }

    /// Packet counts since the start, asked of the kernel now. `received - dropped` packets have a place in the ring; those that came last may
    /// not be copied there yet.
    ///
    /// # Errors
    /// [`CaptureError::Statistics`].
    pub fn count(&self) -> Result<Statistics, CaptureError> {
        // Nothing that is done under the lock can panic halfway.
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        let since_last = self.socket.take_statistics().map_err(CaptureError::Statistics)?;
        total.received += u64::from(since_last.received);
        total.dropped += u64::from(since_last.dropped);
        Ok(*total)
    }
}

impl AsFd for Counter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
