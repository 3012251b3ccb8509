//! Gzip, made on a thread of its own.
//!
//! # Theory of operation
//! What one call of [`write`](Output::write) gives, a head or whole records, is copied and handed to the thread
//! "nsntrace-gzip". There, it becomes one gzip member: concatenated members are one stream to every reader, and whatever stops
//! the next member, what is in whole ones can be read. A packet on its own would gain nothing, so pieces of less than 32 KiB
//! wait for others to share a member with, for a second at most; that is how far the file may lag behind.
//!
//! Level 1 and "stored" are the two ways to make a member, and each member has its own. The second is for packets that come faster than they can
//! be compressed: see `pace`. Pieces wait in at most five buffers, so that memory is bounded, and
//! [`write`](Output::write) waits only when the disk (or the whole machine) is slower than the packets.
//!
//! # Kernel interface
//! clone, futex, getpriority and setpriority of the calling thread. No capability.
//!
//! # References
//! RFC 1952, section 2.2: members follow one another. RFC 1951, section 3.2.4: blocks without compression.

mod member;
mod pace;
mod queue;
mod worker;

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::output::Output;
use queue::Queue;
use worker::Worker;

/// Compresses what it is given, and writes that to another [`Output`] on a thread of its own.
///
/// Dropped without [`finish`](Output::finish), it writes what it has taken, and nobody learns of a failure.
#[derive(Debug)]
pub struct Gzip {
    queue: Arc<Queue>,
    /// None when the thread has been waited for.
    thread: Option<JoinHandle<()>>,
}

impl Gzip {
    /// Starts the thread, which inherits network namespace, signal mask and affinity from the calling one, but not its
    /// priority.
    ///
    /// Bytes that `output` has taken must stay there, as with [`OutputFile`](crate::OutputFile): its [`kept`](Output::kept) is not asked.
    ///
    /// # Errors
    /// `EAGAIN`: the limit on threads or processes is reached.
    pub fn new(output: impl Output + Send + 'static) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let theirs = Arc::clone(&queue);
        // The compressor is large, and on the stack for a moment: on that of its own thread.
        let run = move || Worker::new(theirs, output).run();
        let thread = thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(run)?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Waits until all that was taken is written, or cannot be.
    fn join(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // A panic is in the queue as an error, like every other failure.
            let _told_already = thread.join();
        }
    }
}

impl Output for Gzip {
    /// Takes all of `slices`, whole records, or nothing. Waits while four members' worth is waiting.
    ///
    /// # Errors
    /// Why an earlier member was not written, errno included. It, and all that was taken after it, is lost.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.queue.put(slices)
    }

    /// Never needed: nothing is taken in part.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`], always.
    fn take_back(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn kept(&self, taken: u64) -> u64 {
        self.queue.kept().min(taken)
    }

    /// Waits for the thread.
    ///
    /// # Errors
    /// As [`write`](Output::write). A file ends with a whole member, unless the text says that it could not be cut back.
    fn finish(&mut self) -> io::Result<()> {
        self.join();
        self.queue.outcome()
    }
}

impl Drop for Gzip {
    fn drop(&mut self) {
        self.join();
    }
}

/// 15 bytes at most, TASK_COMM_LEN.
const THREAD_NAME: &str = "nsntrace-gzip";
