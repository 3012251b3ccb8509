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
//! Contents are written by several processors. Each holds `blk_fill_in_prog_lock` for reading while it copies a packet, and who closes the
//! block, be it a packet that finds no room or the retire timer, takes and releases it for writing first: all copies come before the
//! barrier in `prb_close_block()`.
//!
//! # The open block
//! The block that the kernel still fills is the kernel's, and is read all the same, once, at the end. No status says when: a packet is
//! counted before it is copied. Instead, taking a link down waits for a grace period of RCU (`synchronize_net()` in
//! `dev_deactivate_many()`), and packets are received inside of RCU readers (`dev_queue_xmit_nit()`, `process_backlog()`).
//! The end of the grace period comes after everything that those did, and before the request's return: a full barrier on both sides. What
//! the retire timer may do then is none of a reader's business if he follows three rules:
//!
//! - It may close the block: it stores the status, the time of the last packet, and 0 in the last packet's `tp_next_offset`. So walk by count.
//! - It may open the next block, which we do not look at.
//! - Where the kernel had stopped for want of a free block, it may open the very block that we look at, for no packet. So a sequence number
//!   that is not the one that comes next means an old block, and [`give_back`] takes the count away while the block is ours: however little of
//!   the opening is seen, an old block never looks like a new one with packets in it.
//!
//! What the program sent has been through `dev_queue_xmit_nit()` before its system call returned: it is in the ring, and final. What it was
//! sent may still wait in a processor's backlog (`softnet_data.input_pkt_queue`), where it is in no reader yet. A link that is down does
//! not empty that; only one that is removed does (`flush_all_backlogs()`). Under a flood that keeps ksoftirqd busy such
//! packets come when the request has returned, and one of them can be half copied while we read. Who wants to shut
//! that out replaces the filter by one that accepts nothing before the grace period begins: a receiver has run the filter, old or new,
//! inside of its reader.
//!
//! The tests model both sides, and check every order in which a weakly ordered machine can run them.
//!
//! # References
//! net/packet/af_packet.c; Documentation/memory-barriers.txt; tools/memory-model; `synchronize_rcu()` in kernel/rcu/tree.c;
//! net/sched/sch_generic.c.

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

/// Takes a block whose `block_status` is `status`, if the kernel has given it out. Returns the status, which has more bits than whose it is.
pub(crate) fn take(status: &impl Word) -> Option<u32> {
    // Pairs with smp_wmb() in prb_close_block(): whoever sees the status sees the contents.
    Some(status.load(Ordering::Acquire)).filter(|status| status & TP_STATUS_USER != 0)
}

/// Gives a block that we had taken back to the kernel. `num_pkts` is its count of packets.
pub(crate) fn give_back(status: &impl Word, num_pkts: &impl Word) {
    // The block is ours still, and the kernel sets the count itself when it opens the block.
    num_pkts.store(0, Ordering::Relaxed);
    // Pairs with smp_rmb() in prb_open_block(): all our accesses come before the kernel's next ones.
    status.store(TP_STATUS_KERNEL, Ordering::Release);
}

const TP_STATUS_KERNEL: u32 = 0;
const TP_STATUS_USER: u32 = 1;

#[cfg(test)]
mod tests;
