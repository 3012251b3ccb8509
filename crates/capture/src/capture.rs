//! A ring that is running: opened in the namespace, read from outside of it, drained at the end.
//!
//! # Theory of operation
//! A socket receives nothing before bind: so the ring, for which the kernel needs long, can be made while there is not even a
//! link to receive from. Then the filter is attached and locked, and bind starts reception: no packet slips in early,
//! none is missed once [`IdleRing::start`] has returned. Blocks come in the order of their numbers, each on loan until it is
//! dropped. A block that the kernel has closed while its drop counter was not zero says so; we ask for the counter then, which sets it back,
//! and so know how many packets were lost at that place. At
//! the end nobody waits for the retire timer. The caller takes a link down, counts, and takes another one down, for which the kernel waits until
//! all receivers that were at work have finished. Then exactly what was counted is read, the last of it from the block that the kernel
//! is still filling: frames that come later, from some processor's backlog, are not looked at.
//!
//! # Kernel interface
//! `AF_PACKET`, `TPACKET_V3`, poll(2) on the socket. `CAP_NET_RAW` in the namespace. Linux 3.2.
//!
//! # References
//! packet(7); net/packet/af_packet.c: `prb_open_block`, `prb_close_block`, `prb_fill_curr_block`.

use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nsntrace_sys::{Geometry, Insn, PacketSocket, Ring};

use crate::block::Frames;
use crate::counter::{Counter, Statistics};
use crate::error::CaptureError;
use crate::program::each_packet_once;

/// A packet socket that belongs to the namespace of the thread that opened it, and receives nothing yet.
#[derive(Debug)]
pub struct Tap(PacketSocket);

impl Tap {
    /// Opens the socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`CaptureError::Open`]: `EPERM` without `CAP_NET_RAW`, `EAFNOSUPPORT` without `CONFIG_PACKET`.
    pub fn open() -> Result<Self, CaptureError> {
        PacketSocket::open().map(Self).map_err(CaptureError::Open)
    }

    /// Makes the ring. Waits 8 to 16 ms for the kernel.
    ///
    /// # Errors
    /// [`CaptureError::Ring`]: `ENOMEM`, or `EINVAL` for a geometry that the kernel refuses.
    pub fn make_ring(self, geometry: Geometry) -> Result<IdleRing, CaptureError> {
        let Self(socket) = self;
        let mebibytes = (geometry.block_bytes * geometry.block_count) >> 20;
        let ring = socket.ring(geometry).map_err(|source| CaptureError::Ring { mebibytes, source })?;
        Ok(IdleRing { ring, socket })
    }
}

/// A ring that receives nothing yet.
#[derive(Debug)]
pub struct IdleRing {
    // Before the socket: the mapping goes first.
    ring: Ring,
    socket: PacketSocket,
}

impl IdleRing {
    /// Starts to receive from loopback and from the link `ifindex` of the namespace what `filter` accepts, up to as many bytes
    /// of a packet as it returns. [`everything`](crate::everything) is a filter.
    ///
    /// # Errors
    /// [`CaptureError::Filter`], [`CaptureError::Bind`].
    pub fn start(self, ifindex: u32, filter: &[Insn]) -> Result<Capture, CaptureError> {
        let Self { ring, socket } = self;
        socket.lock_filter(&each_packet_once(ifindex, filter)).map_err(CaptureError::Filter)?;
        socket.bind_all().map_err(CaptureError::Bind)?;
        let block_count = ring.geometry().block_count;
        let counter = Arc::new(Counter::new(socket));
        Ok(Capture { ring, counter, block_count, next: 0, handed: 0, told: 0, end: None })
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A running capture. Its descriptor is readable when a block is ready.
#[derive(Debug)]
pub struct Capture {
    // Before the socket: the mapping goes first.
    ring: Ring,
    counter: Arc<Counter>,
    block_count: usize,
    /// The block that comes next.
    next: usize,
    /// Frames in the blocks so far.
    handed: u64,
    /// Drops that blocks have told of.
    told: u64,
    /// What is the end, if it is near.
    end: Option<Statistics>,
}

impl Capture {
    /// How long a packet waits at most in a block that does not fill.
    pub fn retire_timeout(&self) -> Duration {
        Duration::from_millis(self.ring.geometry().retire_timeout_ms.into())
    }

    /// Counts what is received; from any thread.
    pub fn counter(&self) -> Arc<Counter> {
        Arc::clone(&self.counter)
    }

    /// The next block that is ready, on loan until it is dropped.
    ///
    /// # Errors
    /// [`CaptureError::Statistics`]: packets were lost, and the kernel does not say how many.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, CaptureError> {
        let left = self.left();
        let index = self.next;
        let Some(loan) = self.ring.retired(index).filter(|_| left > 0) else { return Ok(None) };
        let mut dropped_before = 0;
        if loan.is_losing() {
            let statistics = self.end.map_or_else(|| self.counter.count(), Ok)?;
            dropped_before = statistics.dropped - mem::replace(&mut self.told, statistics.dropped);
        }
        self.next = (index + 1) % self.block_count;
        let count = Frames::new(loan.bytes()).remaining().min(left);
        self.handed += count;
        Ok(Some(Block { bytes: Bytes::Loan(loan), count, dropped_before }))
    }

    /// Ends the capture after what was counted: [`next_block`](Self::next_block) gives the rest of it, and then
    /// [`open_block`](Self::open_block).
    ///
    /// To be called when a grace period of RCU has passed since it was counted, as one does when a link is taken down: packets are
    /// counted before they are copied.
    pub fn end_at(&mut self, counted: Statistics) {
        self.end = Some(counted);
    }

    /// What was counted and is in the block that the kernel is still filling. To be called once.
    pub fn open_block(&mut self) -> Option<Block<'static>> {
        let (left, end) = (self.left(), self.end?);
        // With nothing left, this may be a block that the kernel has not started on.
        if left == 0 {
            return None;
        }
        let copy = self.ring.copy_filling(self.next);
        let count = Frames::new(&copy).remaining().min(left);
        let dropped_before = end.dropped - mem::replace(&mut self.told, end.dropped);
        Some(Block { bytes: Bytes::Copy(copy), count, dropped_before })
    }

    /// Frames that are still to come before the end.
    fn left(&self) -> u64 {
        self.end.map_or(u64::MAX, |end| (end.received - end.dropped).saturating_sub(self.handed))
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.counter.as_fd()
    }
}

/// Frames that the kernel gave out together.
#[derive(Debug)]
pub struct Block<'ring> {
    bytes: Bytes<'ring>,
    /// Frames of it that belong to the capture.
    count: u64,
    /// Packets that were lost before the first frame of this block, since those that an earlier block has told of.
    pub dropped_before: u64,
}

#[derive(Debug)]
enum Bytes<'ring> {
    Loan(nsntrace_sys::Block<'ring>),
    Copy(Vec<u8>),
}

impl Block<'_> {
    /// The frames, in the order of their arrival.
    pub fn frames(&self) -> Frames<'_> {
        let bytes = match &self.bytes {
            Bytes::Loan(block) => block.bytes(),
            Bytes::Copy(bytes) => bytes,
        };
        Frames::new(bytes).at_most(self.count)
    }
}
