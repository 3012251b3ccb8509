//! A ring that is running: opened in the namespace, read from outside of it, drained at the end.
//!
//! # Theory of operation
//! A socket receives nothing before bind: so the ring, for which the kernel needs long, can be made while there is not even a
//! link to receive from. Then the filter is attached and locked, and bind starts reception: no packet slips in early,
//! none is missed once [`IdleRing::start`] has returned. Blocks come back in the order of their numbers. At
//! the end nobody waits for the retire timer: links are taken down by the caller, which waits for all receivers still at work, and then
//! the block that the kernel was filling is read as it stands.
//!
//! # Kernel interface
//! `AF_PACKET`, `TPACKET_V3`, poll(2) on the socket. `CAP_NET_RAW` in the namespace. Linux 3.2.
//!
//! # References
//! packet(7); net/packet/af_packet.c: `prb_open_block`, `prb_close_block`, `prb_fill_curr_block`.

use std::os::fd::{AsFd, BorrowedFd};

use nsntrace_sys::{Geometry, Insn, PacketSocket, Ring};

use crate::block::{Frame, Frames};
use crate::error::CaptureError;
use crate::program::each_packet_once;

/// 16 blocks of 1 MiB, given out when full or `retire_timeout_ms` old.
///
/// A longer time-out means fewer wake-ups, a shorter one that a reader of a pipe sees packets sooner.
pub fn ring_geometry(retire_timeout_ms: u32) -> Geometry {
    Geometry { block_bytes: 1 << 20, block_count: 16, retire_timeout_ms }
}

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
        Ok(Capture { ring, socket, next: 0, sequence: FIRST_SEQUENCE, statistics: Statistics::default() })
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
    /// The block that comes next.
    next: usize,
    /// The number that the kernel gave or will give to it.
    sequence: u64,
    statistics: Statistics,
}

impl Capture {
    /// Hands every frame of the next ready block to `sink` and gives the block back. False when none is ready.
    pub fn read_block(&mut self, mut sink: impl FnMut(&Frame<'_>)) -> bool {
        let Some(block) = self.ring.retired(self.next) else { return false };
        let frames = Frames::new(block.bytes());
        self.sequence = frames.sequence().unwrap_or(self.sequence).wrapping_add(1);
        frames.for_each(|frame| sink(&frame));
        drop(block);
        self.next = (self.next + 1) % self.ring.geometry().block_count;
        true
    }

    /// Hands every frame that is left to `sink`, those of the block that the kernel was still filling included.
    ///
    /// To be called once, after all links of the namespace were taken down: before that, frames could still be on their
    /// way into the block.
    pub fn drain(&mut self, mut sink: impl FnMut(&Frame<'_>)) {
        while self.read_block(&mut sink) {}
        let copy = self.ring.copy_filling(self.next);
        let frames = Frames::new(&copy);
        // A block with an older number is one that we gave back and that the kernel has not started on again: it
        // stops at such a block after a ring full of drops.
        if frames.sequence() == Some(self.sequence) {
            frames.for_each(|frame| sink(&frame));
        }
    }

    /// Packet counts since the start, asked of the kernel now.
    ///
    /// # Errors
    /// [`CaptureError::Statistics`].
    pub fn statistics(&mut self) -> Result<Statistics, CaptureError> {
        // The kernel sets its counters back to zero when they are read.
        let since_last = self.socket.take_statistics().map_err(CaptureError::Statistics)?;
        self.statistics.received += u64::from(since_last.received);
        self.statistics.dropped += u64::from(since_last.dropped);
        Ok(self.statistics)
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `pkc->knxt_seq_num` starts at 1: `init_prb_bdqc()`, net/packet/af_packet.c.
const FIRST_SEQUENCE: u64 = 1;
