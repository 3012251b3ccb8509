//! How a block of the receive ring changes hands between the kernel and us, and why no byte of it is read too early or too late.
//!
//! # Theory of operation
//! One word of the block's header, `block_status`, says whose the block is. Whoever has it stores the other's value as the last thing he does
//! with it, and the other looks at nothing else of the block before he has seen that value. The order of these accesses is all there is
//! to it:
//!
//! | the kernel | we | therefore |
//! |---|---|---|
//! | `prb_close_block()`: contents, `smp_wmb()`, status = `TP_STATUS_USER` | [`take`]: status with Acquire, contents | we see all contents |
//! | `prb_dispatch_next_block()`: status, `smp_rmb()` in `prb_open_block()`, contents | [`give_back`]: contents, `TP_STATUS_KERNEL` with Release | what we read is not overwritten yet |
//!
//! On x86_64 loads are not reordered with loads, stores not with stores, nor an earlier load with a later store: both barriers of the kernel
//! and both of ours keep the compiler in order, and are no instructions. On arm64 all of these may be reordered. There `smp_wmb()` is
//! `dmb ishst`: nobody sees the status before the contents. Our load of the status is a load-acquire: we do not look at the contents
//! before it. Our store of it is a store-release: nobody sees it before our reads are done. And `smp_rmb()` is `dmb ishld`, which keeps not
//! only later loads behind the kernel's load of the status but later stores as well, as the name does not say: it does not write before
//! it has seen ours.
//!
//! A block may be kept while others are taken. Then the word says so by a bit of our own, which whoever takes blocks sees: no block is taken twice.
//!
//! Contents are written by several processors. Each holds `blk_fill_in_prog_lock` for reading while it copies a packet, and who closes the
//! block, be it a packet that finds no room or the retire timer, takes and releases it for writing first: all copies come before the
//! barrier in `prb_close_block()`.
//!
//! # The end
//! The block that the kernel still fills is the kernel's, and is read all the same, once, at the end. No status says what of it is there.
//! This does:
//!
//! 1. The packets are counted (`PACKET_STATISTICS`). A packet gets its place and is counted under one lock, `sk_receive_queue.lock`, which
//!    the counting takes as well: it is counted if and only if its place comes before those of all that are not.
//! 2. A grace period of RCU passes. Packets are received inside of RCU readers (`dev_queue_xmit_nit()`, `process_backlog()`), so whoever was
//!    counted has been copied when it ends, and every later access sees that. Taking a link down waits for one (`synchronize_net()` in
//!    `dev_deactivate_many()`).
//! 3. Exactly what was counted is read: of ready blocks, and the rest of the open one.
//!
//! Packets go on coming meanwhile: what waits in a processor's backlog (`softnet_data.input_pkt_queue`) is in no reader yet, and a link that
//! is down does not empty that. They write behind what was counted, close blocks and open others, as the retire timer does. None of it is
//! any business of a reader who follows three rules:
//!
//! - He who takes a block asks for the end after that, and the end is set under the lock that it is counted under. A block that was taken before
//!   the count holds nothing later; of one that was taken after it, he knows how much to read.
//! - He looks at the open block only if some of what was counted is left. Then it is there, in a block that he has not given back, and
//!   that the kernel therefore can close but not open again.
//! - He walks by the count. Closing a block stores 0 in the last packet's `tp_next_offset`, which of those that were counted only the last one can
//!   be; `num_pkts` and `blk_len` grow, and are at least what they were when it was counted.
//!
//! Bytes behind those that were counted may change while they are copied, and nobody looks at the copy of them. The copy is made of whole words with
//! atomic loads, so that a race with the kernel is not one in the sense of the language.
//!
//! The tests model both sides, and check every order in which a weakly ordered machine can run them.
//!
//! # References
//! net/packet/af_packet.c: `tpacket_rcv()`, `packet_getsockopt()`; Documentation/memory-barriers.txt; tools/memory-model; `synchronize_rcu()` in
//! kernel/rcu/tree.c; net/sched/sch_generic.c.

use std::sync::atomic::{AtomicU32, Ordering};

/// A word of a block's header that the kernel and we both access as a whole.
pub(crate) trait Word {
    /// Reads the word.
    fn load(&self, order: Ordering) -> u32;
    /// Writes the word.
    fn store(&self, value: u32, order: Ordering);
}

impl Word for AtomicU32 {
    fn load(&self, order: Ordering) -> u32 {
        self.load(order)
    }

    fn store(&self, value: u32, order: Ordering) {
        self.store(value, order);
    }
}

/// Takes a block whose `block_status` is `status`, if the kernel has given it out and it has not been taken. Returns the status, which has
/// more bits than whose it is. To be called by one thread at a time.
pub(crate) fn take(status: &impl Word) -> Option<u32> {
    // Pairs with smp_wmb() in prb_close_block(): whoever sees the status sees the contents.
    let found = status.load(Ordering::Acquire);
    let is_to_be_had = found & (TP_STATUS_USER | ON_LOAN) == TP_STATUS_USER;
    is_to_be_had.then(|| {
        // The kernel writes this word of its own blocks only, and to it every other value means that the block is ours.
        status.store(found | ON_LOAN, Ordering::Relaxed);
        found
    })
}

/// Whether the kernel has given the block out and has not got it back.
pub(crate) fn is_out(status: &impl Word) -> bool {
    status.load(Ordering::Relaxed) != TP_STATUS_KERNEL
}

/// Whether the block has been taken and not been given back.
pub(crate) fn is_on_loan(status: &impl Word) -> bool {
    status.load(Ordering::Relaxed) & ON_LOAN != 0
}

/// Gives a block that we had taken back to the kernel.
pub(crate) fn give_back(status: &impl Word) {
    // Pairs with smp_rmb() in prb_open_block(): all our accesses come before the kernel's next ones.
    status.store(TP_STATUS_KERNEL, Ordering::Release);
}

const TP_STATUS_KERNEL: u32 = 0;
const TP_STATUS_USER: u32 = 1;
/// Ours: a bit that the kernel sets in no status of a block.
const ON_LOAN: u32 = 1 << 16;

#[cfg(test)]
mod tests;
