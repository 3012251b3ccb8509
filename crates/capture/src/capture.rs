//! A ring that is running: opened in the namespace, read from outside of it, drained at the end.
//!
//! # Theory of operation
//! A socket receives nothing before bind: so the ring, for which the kernel needs long, can be made while there is not even a
//! link to receive from. Then the filter is attached and locked, and bind starts reception: no packet slips in early,
//! none is missed once [`IdleRing::start`] has returned. Blocks come in the order of their numbers, each on loan until it is
//! dropped. A block that the kernel has closed while its drop counter was not zero says so; we ask for the counter then, which sets it back,
//! and so know how many packets were lost at that place. At
//! the end nobody waits for the retire timer: links are taken down by the caller, which waits for all receivers still at work, and then
//! the block that the kernel was filling is read as it stands.
//!
//! # Kernel interface
//! `AF_PACKET`, `TPACKET_V3`, poll(2) on the socket. `CAP_NET_RAW` in the namespace. Linux 3.2.
//!
//! # References
//! packet(7); net/packet/af_packet.c: `prb_open_block`, `prb_close_block`, `prb_fill_curr_block`.

use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nsntrace_sys::{Geometry, Insn, PacketSocket, Ring};

use crate::block::Frames;
use crate::error::CaptureError;
use crate::program::each_packet_once;

/// Packet counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Packets that passed the filter, the dropped ones included.
    pub received: u64,
    /// Packets that the kernel had no room for.
    pub dropped: u64,
}

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
        let statistics = Statistics::default();
        Ok(Capture { ring, socket, block_count, next: 0, sequence: FIRST_SEQUENCE, statistics, told: 0 })
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
    socket: PacketSocket,
    block_count: usize,
    /// The block that comes next.
    next: usize,
    /// The number that the kernel gave or will give to it.
    sequence: u64,
    statistics: Statistics,
    /// Drops that blocks have told of.
    told: u64,
}

impl Capture {
    /// How long a packet waits at most in a block that does not fill.
    pub fn retire_timeout(&self) -> Duration {
        Duration::from_millis(self.ring.geometry().retire_timeout_ms.into())
    }

    /// The next block that is ready, on loan until it is dropped.
    ///
    /// # Errors
    /// [`CaptureError::Statistics`]: packets were lost, and the kernel does not say how many.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, CaptureError> {
        let index = self.next;
        let Some(loan) = self.ring.retired(index) else { return Ok(None) };
        let mut dropped_before = 0;
        if loan.is_losing() {
            self.statistics.add(&self.socket)?;
            dropped_before = untold(&self.statistics, &mut self.told);
        }
        self.next = (index + 1) % self.block_count;
        self.sequence = Frames::new(loan.bytes()).sequence().unwrap_or(self.sequence).wrapping_add(1);
        Ok(Some(Block { bytes: Bytes::Loan(loan), dropped_before }))
    }

    /// What the kernel has put into the block that it is still filling.
    ///
    /// To be called once: when all links of the namespace were taken down, since before that frames could still be on their way into
    /// the block; after [`statistics`](Self::statistics), whose last drops it tells of; and after [`next_block`](Self::next_block) had
    /// no more.
    pub fn open_block(&mut self) -> Option<Block<'static>> {
        let copy = self.ring.copy_filling(self.next);
        // A block with an older number is one that we gave back and that the kernel has not started on again: it
        // stops at such a block after a ring full of drops.
        let is_open = Frames::new(&copy).sequence() == Some(self.sequence);
        let dropped_before = untold(&self.statistics, &mut self.told);
        is_open.then_some(Block { bytes: Bytes::Copy(copy), dropped_before })
    }

    /// Packet counts since the start, asked of the kernel now.
    ///
    /// # Errors
    /// [`CaptureError::Statistics`].
    pub fn statistics(&mut self) -> Result<Statistics, CaptureError> {
        self.statistics.add(&self.socket)?;
        Ok(self.statistics)
    }
}

/// Drops that no block has told of yet: now one does.
fn untold(statistics: &Statistics, told: &mut u64) -> u64 {
    statistics.dropped - mem::replace(told, statistics.dropped)
}

impl Statistics {
    /// Adds what the kernel has counted since it was asked last: reading its counters sets them back to zero.
    fn add(&mut self, socket: &PacketSocket) -> Result<(), CaptureError> {
        let since_last = socket.take_statistics().map_err(CaptureError::Statistics)?;
        self.received += u64::from(since_last.received);
        self.dropped += u64::from(since_last.dropped);
        Ok(())
    }
}

/// Frames that the kernel gave out together.
#[derive(Debug)]
pub struct Block<'ring> {
    bytes: Bytes<'ring>,
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
        match &self.bytes {
            Bytes::Loan(block) => Frames::new(block.bytes()),
            Bytes::Copy(bytes) => Frames::new(bytes),
        }
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `pkc->knxt_seq_num` starts at 1: `init_prb_bdqc()`, net/packet/af_packet.c.
const FIRST_SEQUENCE: u64 = 1;
