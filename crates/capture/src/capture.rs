//! A ring that is running: opened in the namespace, read from outside of it, drained at the end.
//!
//! # Theory of operation
//! A socket receives nothing before bind: so the ring, for which the kernel needs long, can be made while there is not even a
//! link to receive from. Then the filter is attached and locked, and bind starts reception: no packet slips in early,
//! none is missed once [`IdleRing::start`] has returned. Blocks come in the order of their numbers, each on loan until it is
//! dropped; some may be kept as memory for a while ([`Block::into_memory`]). When the ring was full, we ask how many packets were lost in that
//! time, and the block that the kernel goes on with tells of them. At
//! the end nobody waits for the retire timer. The caller takes a link down, counts, and takes another one down, for which the kernel waits until
//! all receivers that were at work have finished. Exactly what was counted is read, the last of it from the block that the kernel
//! is still filling: frames that come later, from some processor's backlog, are not looked at, also not while the kernel is waited for.
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
use crate::counter::Counter;
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
        Ok(Capture::new(ring, socket))
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
    /// The block that comes next.
    next: usize,
    /// How many before it had not been given back when we last looked.
    on_loan: usize,
    /// Frames in the blocks so far.
    handed: u64,
    /// Of those, at the last count.
    handed_at_count: u64,
    /// For each block, how many packets were lost before its first frame.
    gaps: Vec<u64>,
    /// Drops that are in `gaps` or have been.
    told: u64,
}

impl Capture {
    fn new(ring: Ring, socket: PacketSocket) -> Self {
        let gaps = vec![0; ring.geometry().block_count];
        let counter = Arc::new(Counter::new(socket));
        Self { ring, counter, next: 0, on_loan: 0, handed: 0, handed_at_count: 0, gaps, told: 0 }
    }

    /// How long a packet waits at most in a block that does not fill.
    pub fn retire_timeout(&self) -> Duration {
        Duration::from_millis(self.ring.geometry().retire_timeout_ms.into())
    }

    /// How many blocks may be kept as [memory](Block::into_memory) at a time: a quarter of the ring, but not more than it takes to make
    /// writing them cheap.
    pub fn max_kept(&self) -> usize {
        (self.gaps.len() / 4).min(MAX_KEPT)
    }

    /// Counts what is received, and ends it; from any thread.
    pub fn counter(&self) -> &Arc<Counter> {
        &self.counter
    }

    /// The next block that is ready, on loan until it is dropped. None after the last one that was counted when the capture was ended.
    ///
    /// # Errors
    /// [`CaptureError::Statistics`]: packets were lost, and the kernel does not say how many.
    pub fn next_block(&mut self) -> Result<Option<Block>, CaptureError> {
        self.measure_gap()?;
        let (index, quarter) = (self.next, (self.gaps.len() / 4).max(1));
        let Some(loan) = self.ring.retired(index) else { return Ok(None) };
        self.next = (index + 1) % self.gaps.len();
        self.on_loan += 1;
        // Asked after the block was seen to be ready: all its frames were counted before that.
        let left = left(&self.counter, self.handed);
        if left == 0 {
            return Ok(None);
        }
        let count = Frames::new(loan.bytes()).remaining().min(left);
        self.handed += count;
        let dropped_before = mem::take(&mut self.gaps[index]);
        Ok(Some(Block { bytes: Bytes::Loan(loan), count, quarter, dropped_before }))
    }

    /// What was counted and is in the block that the kernel is still filling.
    ///
    /// To be called once: after [`next_block`](Self::next_block) had no more, and when a grace period of RCU has passed since the
    /// [end](Counter::end), as one does when a link is taken down. Packets are counted before they are copied.
    pub fn open_block(&mut self) -> Option<Block> {
        let end = self.counter.ended()?;
        let left = end.kept().saturating_sub(self.handed);
        // With nothing left, this may be a block that the kernel has not started on.
        if left == 0 {
            return None;
        }
        let copy = self.ring.copy_filling(self.next);
        let count = Frames::new(&copy).remaining().min(left);
        let dropped_before = self.gaps[self.next] + end.dropped.saturating_sub(self.told);
        Some(Block { bytes: Bytes::Copy(copy), count, quarter: 0, dropped_before })
    }

    /// Finds out whether packets were lost while blocks were on loan that have been given back since.
    ///
    /// The kernel drops when it wants to begin a block that we have not given back, and goes on with that very block when we have: so what was
    /// dropped meanwhile is missing before the first frame that the block will have then. It cannot have wanted to while the block
    /// before it was still to be filled.
    fn measure_gap(&mut self) -> Result<(), CaptureError> {
        let count = self.gaps.len();
        let oldest = (self.next + count - self.on_loan) % count;
        let were_on_loan = self.on_loan;
        while self.on_loan > 0 && !self.ring.is_on_loan((self.next + count - self.on_loan) % count) {
            self.on_loan -= 1;
        }
        let was_full = self.on_loan < were_on_loan && self.ring.is_retired((oldest + count - 1) % count);
        // The kernel counts in 32 bits.
        if was_full || self.handed - self.handed_at_count > COUNT_AT_LEAST_EVERY {
            let dropped = self.counter.count()?.dropped;
            self.gaps[oldest] += dropped.saturating_sub(self.told);
            self.told = dropped;
            self.handed_at_count = self.handed;
        }
        Ok(())
    }
}

/// Frames that are still to come before the end.
fn left(counter: &Counter, handed: u64) -> u64 {
    counter.ended().map_or(u64::MAX, |end| end.kept().saturating_sub(handed))
}

/// Blocks of a mebibyte.
const MAX_KEPT: usize = 4;
/// Packets.
const COUNT_AT_LEAST_EVERY: u64 = 1 << 30;

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.counter.as_fd()
    }
}

/// Frames that the kernel gave out together.
#[derive(Debug)]
pub struct Block {
    bytes: Bytes,
    /// Frames of it that belong to the capture.
    count: u64,
    /// Blocks in a quarter of the ring.
    quarter: usize,
    /// Packets that were lost before the first frame of this block, since those that an earlier block has told of.
    pub dropped_before: u64,
}

#[derive(Debug)]
enum Bytes {
    Loan(nsntrace_sys::Block),
    Copy(Vec<u8>),
}

impl Block {
    /// The frames, in the order of their arrival.
    pub fn frames(&self) -> Frames<'_> {
        let bytes = match &self.bytes {
            Bytes::Loan(block) => block.bytes(),
            Bytes::Copy(bytes) => bytes,
        };
        Frames::new(bytes).at_most(self.count)
    }

    /// Whether a quarter of the ring waits behind this block: no time to keep it for longer than it takes.
    pub fn is_crowded(&self) -> bool {
        match &self.bytes {
            Bytes::Loan(block) => block.is_followed(self.quarter),
            Bytes::Copy(_) => false,
        }
    }

    /// The block as memory, which the kernel gets back when it is dropped. None of one that is not the kernel's.
    pub fn into_memory(self) -> Option<Memory> {
        match self.bytes {
            Bytes::Loan(block) => Some(Memory(block)),
            Bytes::Copy(_) => None,
        }
    }
}

/// A block whose frames nobody needs any more: whole pages that a device can be given in one piece.
#[derive(Debug)]
pub struct Memory(nsntrace_sys::Block);

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        self.0.spare()
    }
}

impl AsMut<[u8]> for Memory {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0.spare_mut()
    }
}
