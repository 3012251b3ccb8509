//! The memory of a packet socket's receive ring, shared with the kernel block by block.
//!
//! # Theory of operation
//! The mapping is a row of blocks of equal size. A block belongs to the kernel until it sets `TP_STATUS_USER` in the block's header,
//! because the block is full or `retire_timeout_ms` old; then it is ours until we store `TP_STATUS_KERNEL`. [`Block`] is that loan:
//! taken by [`Ring::retired`], given back on drop, by any thread and in any order, though the kernel waits for them in the order of the ring.
//! Whoever is done with a block's frames may use it as memory until then. The block that the kernel still fills can only be copied
//! ([`Ring::copy_filling`]), and what of the copy is final must be known otherwise.
//!
//! # Kernel interface
//! `PACKET_RX_RING` with `struct tpacket_req3`, mmap(2).
//!
//! # References
//! Documentation/networking/packet_mmap.rst; net/packet/af_packet.c; include/uapi/linux/if_packet.h.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::handover;

/// The size of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// `tp_block_size`: bytes in a block, a multiple of the page size and of `FRAME_BYTES`.
    pub block_bytes: usize,
    /// `tp_block_nr`: blocks in the ring.
    pub block_count: usize,
    /// `tp_retire_blk_tov`: milliseconds after which a block that holds a packet is ours though not full.
    pub retire_timeout_ms: u32,
}

impl Geometry {
    pub(crate) fn request(self) -> io::Result<libc::tpacket_req3> {
        let narrow = |n: usize| u32::try_from(n).map_err(|_wide| io::Error::from_raw_os_error(libc::EINVAL));
        Ok(libc::tpacket_req3 {
            tp_block_size: narrow(self.block_bytes)?,
            tp_block_nr: narrow(self.block_count)?,
            tp_frame_size: narrow(FRAME_BYTES)?,
            tp_frame_nr: narrow(self.block_bytes / FRAME_BYTES * self.block_count)?,
            tp_retire_blk_tov: self.retire_timeout_ms,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        })
    }
}

/// A mapped receive ring. There is one for each mapping: who has it takes the blocks.
#[derive(Debug)]
pub struct Ring {
    memory: Arc<Memory>,
}

/// The mapping, which lasts as long as the ring or a block of it does.
#[derive(Debug)]
struct Memory {
    start: NonNull<u8>,
    geometry: Geometry,
}

// SAFETY: the mapping belongs to the process, not to a thread. Of a block that the kernel has, atomic words are read alone, and the rest of one that
// we have is reached through its only `Block`.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Ring {
    pub(crate) fn map(socket: BorrowedFd<'_>, geometry: Geometry) -> io::Result<Self> {
        let bytes = geometry.block_bytes * geometry.block_count;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: the kernel picks the place, so no existing mapping is replaced; `Ring` alone knows the address.
        let start = unsafe {
            mmap(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, flags, socket, 0)?
        };
        let start = NonNull::new(start.cast()).expect("mmap never places a mapping at address 0 unasked");
        Ok(Self { memory: Arc::new(Memory { start, geometry }) })
    }

    /// The geometry that the ring was made with.
    pub fn geometry(&self) -> Geometry {
        self.memory.geometry
    }

    /// Borrows block `index` from the kernel, if the kernel has given it out and it is not on loan already.
    ///
    /// # Panics
    /// When `index` is not below `block_count`.
    pub fn retired(&mut self, index: usize) -> Option<Block> {
        handover::take(self.memory.status(index))?;
        Some(Block { memory: Arc::clone(&self.memory), index })
    }

    /// Whether the kernel has given out block `index` and has not got it back.
    ///
    /// # Panics
    /// When `index` is not below `block_count`.
    pub fn is_retired(&self, index: usize) -> bool {
        handover::is_out(self.memory.status(index))
    }

    /// Whether there is a [`Block`] of block `index`.
    ///
    /// # Panics
    /// When `index` is not below `block_count`.
    pub fn is_on_loan(&self, index: usize) -> bool {
        handover::is_on_loan(self.memory.status(index))
    }

    /// Copies what the kernel has filled of block `index`, header included, without taking the block. Nothing of one that is on loan.
    ///
    /// Those frames are whole that were counted (`PACKET_STATISTICS`) before a grace period of RCU has passed. Frames behind them may be
    /// half written, and so may be the last frame's `tp_next_offset` (`handover.rs` has the proof).
    ///
    /// # Panics
    /// When `index` is not below `block_count`.
    pub fn copy_filling(&mut self, index: usize) -> Vec<u8> {
        // Whoever has it may be writing to it.
        let is_ours = self.is_on_loan(index);
        let filled = if is_ours { 0 } else { self.memory.word(index, BLK_LEN).load(Ordering::Relaxed) };
        let len = usize::try_from(filled).unwrap_or(usize::MAX).min(self.memory.geometry.block_bytes);
        let mut copy = vec![0_u8; len];
        // Frames are aligned to 8 bytes (`V3_ALIGNMENT`), and so is what is filled: whole words are all there is.
        for (at, bytes) in copy.chunks_exact_mut(WORD).enumerate() {
            bytes.copy_from_slice(&self.memory.word(index, at * WORD).load(Ordering::Relaxed).to_ne_bytes());
        }
        copy
    }
}

impl Memory {
    fn status(&self, index: usize) -> &AtomicU32 {
        self.word(index, BLOCK_STATUS)
    }

    /// The word at `offset`, a multiple of `WORD`, of a block.
    fn word(&self, index: usize, offset: usize) -> &AtomicU32 {
        // SAFETY: `offset` is inside of a block of the live mapping, which `self` is borrowed from, and aligned as blocks are. We write `block_status`
        // alone, which nobody reads but through here.
        unsafe { AtomicU32::from_ptr(self.block(index).add(offset).as_ptr().cast()) }
    }

    fn block(&self, index: usize) -> NonNull<u8> {
        assert!(index < self.geometry.block_count, "a block of the ring");
        // SAFETY: the offset stays inside the mapping, which is `block_count * block_bytes` long.
        unsafe { self.start.add(index * self.geometry.block_bytes) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let bytes = self.geometry.block_bytes * self.geometry.block_count;
        // SAFETY: exactly what was mapped, and every `Block` has a part in this, so none is left. A failure would leave the
        // mapping until the process ends, which is harmless.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), bytes) };
    }
}

/// A block on loan from the kernel until it is dropped. No other is the same.
#[derive(Debug)]
pub struct Block {
    memory: Arc<Memory>,
    index: usize,
}

impl Block {
    /// The whole block, `struct tpacket_block_desc` first.
    pub fn bytes(&self) -> &[u8] {
        let start = self.memory.block(self.index);
        // SAFETY: `Ring::retired` loaded TP_STATUS_USER of this block of the live mapping with Acquire. Until `drop` stores
        // TP_STATUS_KERNEL the kernel does not write to it, nor does anybody else: `spare_mut` has `self` for itself.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.memory.geometry.block_bytes) }
    }

    /// All but the first page of the block, to be used as memory.
    pub fn spare(&self) -> &[u8] {
        &self.bytes()[PAGE_BYTES..]
    }

    /// As [`spare`](Self::spare), to be written.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let start = self.memory.block(self.index);
        let len = self.memory.geometry.block_bytes - PAGE_BYTES;
        // SAFETY: the block is ours, as in `bytes`, and `self` is borrowed mutably. The words that others look at meanwhile are in the first page.
        unsafe { std::slice::from_raw_parts_mut(start.add(PAGE_BYTES).as_ptr(), len) }
    }

    /// Whether the kernel has given out the block that is `distance` blocks behind this one, which it has then with all between.
    pub fn is_followed(&self, distance: usize) -> bool {
        let index = (self.index + distance) % self.memory.geometry.block_count;
        handover::is_out(self.memory.status(index))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        handover::give_back(self.memory.status(self.index));
    }
}

/// `tp_frame_size`: a formality of `TPACKET_V3`, whose frames have the length that they need.
const FRAME_BYTES: usize = 2048;
/// Bytes of a word.
const WORD: usize = size_of::<AtomicU32>();
/// The smallest page that Linux has. Blocks are larger.
const PAGE_BYTES: usize = 4096;
/// Offset of `hdr.bh1.block_status` in `struct tpacket_block_desc`.
const BLOCK_STATUS: usize = 8;
/// Offset of `hdr.bh1.blk_len`.
const BLK_LEN: usize = 20;
