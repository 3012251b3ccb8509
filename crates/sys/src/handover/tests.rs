//! Both sides of the ring, run in every order that the memory models of C11 and Rust allow.
//!
//! The kernel's side is af_packet.c, cut down to what is shared: two blocks with room for one packet each, three packets, one firing of the
//! retire timer, which may come at any time. `smp_wmb()` and `smp_rmb()` are release and acquire fences, its plain accesses of words that we
//! look at meanwhile are relaxed ones, its locks are locks. What it copies without our looking is in cells whose every
//! unordered pair of accesses loom reports. That links are down is that the receiver was joined: the one edge that a grace period of
//! RCU gives. Our side is the functions that the product runs.
//!
//! Each test that weakens something must fail: that is how we know that the model would see it.

use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, fence};
use loom::sync::{Arc, Mutex, MutexGuard};
use loom::thread;

use super::{TP_STATUS_KERNEL, TP_STATUS_USER, Word, give_back, take};

/// As many as are needed for a block to be used again.
const BLOCKS: usize = 2;
const PACKETS: u32 = 3;
/// How often we look for a ready block while packets arrive. With 2 the tests take eight times as long, and come out the same.
const LOOKS: usize = 1;

/// A word as the product has it.
struct Faithful(AtomicU32);
/// A word that is read without Acquire.
struct ReadRelaxed(AtomicU32);
/// A word that is written without Release.
struct WrittenRelaxed(AtomicU32);

/// A word of the model: what the kernel does with it is always the same.
trait ModelWord: Word + Send + Sync + 'static {
    fn new(value: u32) -> Self;
    fn raw(&self) -> &AtomicU32;
}

macro_rules! model_word {
    ($name:ident, $load:expr, $store:expr) => {
        impl Word for $name {
            fn load(&self, order: Ordering) -> u32 {
                let order_of: fn(Ordering) -> Ordering = $load;
                self.0.load(order_of(order))
            }

            fn store(&self, value: u32, order: Ordering) {
                let order_of: fn(Ordering) -> Ordering = $store;
                self.0.store(value, order_of(order));
            }
        }

        impl ModelWord for $name {
            fn new(value: u32) -> Self {
                Self(AtomicU32::new(value))
            }

            fn raw(&self) -> &AtomicU32 {
                &self.0
            }
        }
    };
}

model_word!(Faithful, |order| order, |order| order);
model_word!(ReadRelaxed, |_| Ordering::Relaxed, |order| order);
model_word!(WrittenRelaxed, |order| order, |_| Ordering::Relaxed);

/// `struct tpacket_block_desc`, and the one packet that the block has room for.
struct Block<W> {
    status: W,
    sequence: AtomicU32,
    num_pkts: W,
    /// Which packet it is.
    packet: UnsafeCell<u32>,
    /// The packet's `tp_next_offset`.
    next_offset: UnsafeCell<u32>,
}

/// `struct tpacket_kbdq_core`: what `sk_receive_queue.lock` guards.
struct Queue {
    active: usize,
    next_sequence: u32,
    is_frozen: bool,
    dropped: u32,
}

struct Ring<W> {
    blocks: [Block<W>; BLOCKS],
    queue: Mutex<Queue>,
    /// `blk_fill_in_prog_lock`; one packet is received at a time, so that readers and writers are the same.
    filling: Mutex<()>,
}

/// The kernel's side: functions of af_packet.c by their names.
impl<W: ModelWord> Ring<W> {
    fn new() -> Self {
        let block = || Block {
            status: W::new(TP_STATUS_KERNEL),
            sequence: AtomicU32::new(0),
            num_pkts: W::new(0),
            packet: UnsafeCell::new(u32::MAX),
            next_offset: UnsafeCell::new(u32::MAX),
        };
        let queue = Queue { active: 0, next_sequence: 1, is_frozen: false, dropped: 0 };
        let ring = Self {
            blocks: std::array::from_fn(|_| block()),
            queue: Mutex::new(queue),
            filling: Mutex::new(()),
        };
        ring.prb_open_block(&mut ring.lock());
        ring
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap()
    }

    fn tpacket_rcv(&self, packet: u32) {
        let mut queue = self.lock();
        if !self.packet_lookup_frame_in_block(&mut queue) {
            queue.dropped += 1;
            return;
        }
        // prb_fill_curr_block(): counted first, copied when others have the queue again.
        let block = &self.blocks[queue.active];
        block.num_pkts.raw().store(1, Ordering::Relaxed);
        write(&block.next_offset, 1);
        let filling = self.filling.lock().unwrap();
        drop(queue);
        write(&block.packet, packet);
        drop(filling);
    }

    fn packet_lookup_frame_in_block(&self, queue: &mut Queue) -> bool {
        if queue.is_frozen {
            if self.is_in_use(queue) {
                return false;
            }
            self.prb_open_block(queue);
        }
        if self.num_pkts(queue) == 0 {
            return true;
        }
        self.wait_for_copies();
        self.prb_close_block(queue);
        self.prb_dispatch_next_block(queue)
    }

    fn prb_dispatch_next_block(&self, queue: &mut Queue) -> bool {
        queue.is_frozen = self.is_in_use(queue);
        if !queue.is_frozen {
            self.prb_open_block(queue);
        }
        !queue.is_frozen
    }

    fn prb_open_block(&self, queue: &mut Queue) {
        fence(Ordering::Acquire); // smp_rmb()
        let block = &self.blocks[queue.active];
        block.sequence.store(queue.next_sequence, Ordering::Relaxed);
        block.num_pkts.raw().store(0, Ordering::Relaxed);
        queue.next_sequence += 1;
        queue.is_frozen = false;
        fence(Ordering::Release); // smp_wmb()
    }

    fn prb_close_block(&self, queue: &mut Queue) {
        let block = &self.blocks[queue.active];
        write(&block.next_offset, 0);
        fence(Ordering::Release); // smp_wmb()
        block.status.raw().store(TP_STATUS_USER, Ordering::Relaxed);
        queue.active = (queue.active + 1) % BLOCKS;
    }

    fn prb_retire_rx_blk_timer_expired(&self) {
        let mut queue = self.lock();
        let holds_packets = self.num_pkts(&queue) > 0;
        if holds_packets {
            self.wait_for_copies();
        }
        match queue.is_frozen {
            false if holds_packets => {
                self.prb_close_block(&mut queue);
                self.prb_dispatch_next_block(&mut queue);
            }
            true if !self.is_in_use(&queue) => self.prb_open_block(&mut queue),
            _ => {}
        }
    }

    fn wait_for_copies(&self) {
        drop(self.filling.lock().unwrap());
    }

    fn is_in_use(&self, queue: &Queue) -> bool {
        self.blocks[queue.active].status.raw().load(Ordering::Relaxed) & TP_STATUS_USER != 0
    }

    fn num_pkts(&self, queue: &Queue) -> u32 {
        self.blocks[queue.active].num_pkts.raw().load(Ordering::Relaxed)
    }
}

/// How we end a walk through the open block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    ByCount,
    ByOffset,
}

/// Our side: `Capture` of the crate `capture`, and the product's hand-over.
struct Reader {
    next: usize,
    sequence: u32,
    seen: Vec<u32>,
    variant: Variant,
}

impl Reader {
    fn read_block<W: ModelWord>(&mut self, ring: &Ring<W>) -> bool {
        let block = &ring.blocks[self.next];
        if take(&block.status).is_none() {
            return false;
        }
        self.sequence = block.sequence.load(Ordering::Relaxed) + 1;
        self.read_packets(block);
        if self.variant.takes_the_count_away {
            give_back(&block.status, &block.num_pkts);
        } else {
            block.status.store(TP_STATUS_KERNEL, Ordering::Release);
        }
        self.next = (self.next + 1) % BLOCKS;
        true
    }

    fn read_open_block<W: ModelWord>(&mut self, ring: &Ring<W>) {
        let block = &ring.blocks[self.next];
        if block.sequence.load(Ordering::Relaxed) == self.sequence {
            self.read_packets(block);
            if self.variant.walk == Walk::ByOffset {
                read(&block.next_offset);
            }
        }
    }

    fn read_packets<W: ModelWord>(&mut self, block: &Block<W>) {
        if block.num_pkts.raw().load(Ordering::Relaxed) > 0 {
            self.seen.push(read(&block.packet));
        }
    }
}

fn read(cell: &UnsafeCell<u32>) -> u32 {
    // SAFETY: loom ends the test when another thread can write now.
    cell.with(|value| unsafe { *value })
}

fn write(cell: &UnsafeCell<u32>, value: u32) {
    // SAFETY: loom ends the test when another thread can look now.
    cell.with_mut(|place| unsafe { *place = value });
}

/// What a run leaves as it is in the product, or does not.
#[derive(Clone, Copy)]
struct Variant {
    waits_for_receivers: bool,
    walk: Walk,
    takes_the_count_away: bool,
}

const PRODUCT: Variant =
    Variant { waits_for_receivers: true, walk: Walk::ByCount, takes_the_count_away: true };

/// Every packet is seen once, in order, or was dropped.
fn check<W: ModelWord>(variant: Variant) {
    loom::model(move || {
        let ring = Arc::new(Ring::<W>::new());
        let (to_receiver, to_timer) = (Arc::clone(&ring), Arc::clone(&ring));
        let receiver = thread::spawn(move || (0..PACKETS).for_each(|packet| to_receiver.tpacket_rcv(packet)));
        // Whoever is not waited for runs on to its end, after ours or before.
        let _timer = thread::spawn(move || to_timer.prb_retire_rx_blk_timer_expired());
        let mut reader = Reader { next: 0, sequence: 1, seen: Vec::new(), variant };
        for _ in 0..LOOKS {
            reader.read_block(&ring);
        }
        if variant.waits_for_receivers {
            receiver.join().unwrap();
        }
        while reader.read_block(&ring) {}
        reader.read_open_block(&ring);
        let seen = &reader.seen;
        assert!(seen.is_sorted_by(|one, next| one < next), "not once each, in order: {seen:?}");
        // What comes after the end is not missed.
        if variant.waits_for_receivers {
            let count = u32::try_from(seen.len()).unwrap() + ring.lock().dropped;
            assert!(count == PACKETS, "neither seen nor dropped: {seen:?}");
        }
    });
}

#[test]
fn every_packet_is_seen_once_whole_and_in_order() {
    check::<Faithful>(PRODUCT);
}

#[test]
#[should_panic(expected = "neither seen nor dropped")]
fn a_status_read_without_acquire_is_found_out() {
    check::<ReadRelaxed>(PRODUCT);
}

#[test]
#[should_panic(expected = "Causality violation: Concurrent read and write")]
fn a_status_written_without_release_is_found_out() {
    check::<WrittenRelaxed>(PRODUCT);
}

#[test]
#[should_panic(expected = "Causality violation: Concurrent read and write")]
fn an_open_block_read_before_links_are_down_is_found_out() {
    check::<Faithful>(Variant { waits_for_receivers: false, ..PRODUCT });
}

#[test]
#[should_panic(expected = "Causality violation: Concurrent read and write")]
fn an_open_block_walked_by_its_offsets_is_found_out() {
    check::<Faithful>(Variant { walk: Walk::ByOffset, ..PRODUCT });
}

#[test]
#[should_panic(expected = "not once each, in order: [0, 1, 0]")]
fn an_old_block_that_the_timer_opens_is_found_out() {
    check::<Faithful>(Variant { takes_the_count_away: false, ..PRODUCT });
}
