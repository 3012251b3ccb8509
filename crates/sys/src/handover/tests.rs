//! Both sides of the ring, run in every order that the memory models of C11 and Rust allow.
//!
//! The kernel's side is af_packet.c, cut down to what is shared: two blocks, up to three packets, one firing of the retire timer, which may
//! come at any time. `smp_wmb()` and `smp_rmb()` are release and acquire fences, its plain accesses of words that we look at
//! meanwhile are relaxed ones, its locks are locks. What it copies without our looking is in cells whose every unordered pair of
//! accesses loom reports. A grace period of RCU promises one thing: a reader that did not begin after it did has ended when it ends. So the early
//! receiver is joined, and the late one is started behind the count.
//!
//! Our side is one thread that counts, waits and reads on, and where it matters a second one that reads while the first one counts. The
//! hand-over is the functions that the product runs.
//!
//! Rings and counters are shared by the standard library's `Arc`, of which loom knows nothing: with loom's own every thread's end would be
//! an event to be tried before and after every other.
//!
//! Each test that weakens something must fail: that is how we know that the model would see it.

use std::mem::ManuallyDrop;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicU32, fence};
use loom::thread::{self, JoinHandle};

use super::{TP_STATUS_KERNEL, TP_STATUS_USER, Word, give_back, take};

/// As many as are needed for a block to be used again.
const BLOCKS: usize = 2;
const MAX_ROOM: usize = 2;

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

/// `struct tpacket_block_desc`, and the packets.
struct Block<W> {
    status: W,
    num_pkts: AtomicU32,
    frames: [Frame; MAX_ROOM],
}

/// `struct tpacket3_hdr`, and the packet.
struct Frame {
    /// `tp_next_offset`; here, whether there is a next one.
    has_next: UnsafeCell<bool>,
    /// Which packet it is.
    packet: UnsafeCell<usize>,
}

/// `struct tpacket_kbdq_core` and `struct tpacket_stats`: what `sk_receive_queue.lock` guards.
struct Queue {
    active: usize,
    /// The active block's `num_pkts`, which the kernel alone writes.
    filled: usize,
    is_frozen: bool,
    /// `tp_packets`: those that have got a place, in their order.
    placed: Vec<usize>,
}

struct Ring<W> {
    room: usize,
    blocks: [Block<W>; BLOCKS],
    queue: Mutex<Queue>,
    /// `blk_fill_in_prog_lock`; one packet is received at a time, so that readers and writers are the same.
    filling: Mutex<()>,
}

/// The kernel's side: functions by their names.
impl<W: ModelWord> Ring<W> {
    fn new(room: usize) -> Self {
        let frame = |_| Frame { has_next: UnsafeCell::new(false), packet: UnsafeCell::new(usize::MAX) };
        let block = |_| Block {
            status: W::new(TP_STATUS_KERNEL),
            num_pkts: AtomicU32::new(0),
            frames: std::array::from_fn(frame),
        };
        let queue = Queue { active: 0, filled: 0, is_frozen: false, placed: Vec::new() };
        Self { room, blocks: std::array::from_fn(block), queue: Mutex::new(queue), filling: Mutex::new(()) }
    }

    fn tpacket_rcv(&self, packet: usize) {
        let Some((frame, filling)) = self.with_queue(|queue| {
            if !self.packet_lookup_frame_in_block(queue) {
                return None;
            }
            let frame = self.prb_fill_curr_block(queue);
            queue.placed.push(packet);
            Some((frame, ManuallyDrop::new(self.filling.lock().unwrap())))
        }) else {
            return;
        };
        // Counted first, copied when others have the queue again.
        write(&frame.packet, packet);
        drop(ManuallyDrop::into_inner(filling));
    }

    fn prb_fill_curr_block(&self, queue: &mut Queue) -> &Frame {
        let block = &self.blocks[queue.active];
        let frame = &block.frames[queue.filled];
        write(&frame.has_next, true);
        queue.filled += 1;
        block.num_pkts.store(u32::try_from(queue.filled).unwrap(), Ordering::Relaxed);
        frame
    }

    fn packet_lookup_frame_in_block(&self, queue: &mut Queue) -> bool {
        if queue.is_frozen {
            if self.is_in_use(queue) {
                return false;
            }
            self.prb_open_block(queue);
        }
        if queue.filled < self.room {
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
        self.blocks[queue.active].num_pkts.store(0, Ordering::Relaxed);
        queue.filled = 0;
        queue.is_frozen = false;
        fence(Ordering::Release); // smp_wmb()
    }

    fn prb_close_block(&self, queue: &mut Queue) {
        let block = &self.blocks[queue.active];
        write(&block.frames[queue.filled - 1].has_next, false);
        fence(Ordering::Release); // smp_wmb()
        block.status.raw().store(TP_STATUS_USER, Ordering::Relaxed);
        queue.active = (queue.active + 1) % BLOCKS;
    }

    fn prb_retire_rx_blk_timer_expired(&self) {
        self.with_queue(|queue| {
            if queue.is_frozen {
                if !self.is_in_use(queue) {
                    self.prb_open_block(queue);
                }
            } else if queue.filled > 0 {
                self.wait_for_copies();
                self.prb_close_block(queue);
                self.prb_dispatch_next_block(queue);
            }
        });
    }

    /// `PACKET_STATISTICS` of packet_getsockopt(), drops taken away.
    fn packet_statistics(&self) -> usize {
        self.placed().len()
    }

    fn placed(&self) -> Vec<usize> {
        self.with_queue(|queue| queue.placed.clone())
    }

    /// Locks and unlocks `sk_receive_queue.lock`. A panic leaves it locked: loom would not survive the unlocking.
    fn with_queue<T>(&self, task: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = ManuallyDrop::new(self.queue.lock().unwrap());
        let result = task(&mut queue);
        drop(ManuallyDrop::into_inner(queue));
        result
    }

    fn wait_for_copies(&self) {
        drop(self.filling.lock().unwrap());
    }

    fn is_in_use(&self, queue: &Queue) -> bool {
        self.blocks[queue.active].status.raw().load(Ordering::Relaxed) & TP_STATUS_USER != 0
    }
}

/// Our side: `Counter` of the crate `capture`.
#[derive(Default)]
struct Counter {
    end: Mutex<Option<usize>>,
}

impl Counter {
    fn end<W: ModelWord>(&self, ring: &Ring<W>) {
        let mut end = self.end.lock().unwrap();
        *end = Some(ring.packet_statistics());
    }

    fn ended(&self) -> Option<usize> {
        *self.end.lock().unwrap()
    }
}

/// Our side: `Capture` of the crate `capture`, and the product's hand-over.
struct Reader {
    next: usize,
    seen: Vec<usize>,
    variant: Variant,
}

impl Reader {
    /// `end` is asked when the block has been taken.
    fn read_block<W: ModelWord>(&mut self, ring: &Ring<W>, end: impl Fn() -> Option<usize>) -> bool {
        let block = &ring.blocks[self.next];
        if take(&block.status).is_none() {
            return false;
        }
        let left = self.left(end());
        self.read_frames(block, left, Walk::AsCounted);
        give_back(&block.status);
        self.next = (self.next + 1) % BLOCKS;
        left > 0
    }

    fn read_open_block<W: ModelWord>(&mut self, ring: &Ring<W>, end: Option<usize>) {
        let left = self.left(end);
        if left > 0 {
            self.read_frames(&ring.blocks[self.next], left, self.variant.walk);
        }
    }

    fn read_frames<W: ModelWord>(&mut self, block: &Block<W>, left: usize, walk: Walk) {
        let num_pkts = block.num_pkts.load(Ordering::Relaxed).try_into().unwrap();
        let count = match walk {
            Walk::AsCounted => left.min(num_pkts),
            Walk::ByNumPkts => num_pkts,
            Walk::ByOffset => MAX_ROOM,
        };
        for (index, frame) in block.frames[..count].iter().enumerate() {
            self.seen.push(read(&frame.packet));
            if (index + 1 < count || walk == Walk::ByOffset) && !read(&frame.has_next) {
                return;
            }
        }
    }

    fn left(&self, end: Option<usize>) -> usize {
        end.map_or(usize::MAX, |end| end.saturating_sub(self.seen.len()))
    }
}

fn read<T: Copy>(cell: &UnsafeCell<T>) -> T {
    // SAFETY: loom ends the test when another thread can write now.
    cell.with(|value| unsafe { *value })
}

fn write<T>(cell: &UnsafeCell<T>, value: T) {
    // SAFETY: loom ends the test when another thread can look now.
    cell.with_mut(|place| unsafe { *place = value });
}

/// How far we read in a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    AsCounted,
    ByNumPkts,
    ByOffset,
}

/// What a run leaves as it is in the product, or does not.
#[derive(Clone, Copy)]
struct Variant {
    walk: Walk,
    waits_for_receivers: bool,
    /// Whether the reader knows the end as soon as it is counted, not only when it is told.
    shares_the_end: bool,
}

const PRODUCT: Variant = Variant { walk: Walk::AsCounted, waits_for_receivers: true, shares_the_end: true };

/// What happens in a run. All of it in one would take days.
#[derive(Clone, Copy)]
struct Scene {
    /// Packets that a block has room for.
    room: usize,
    /// Packets of receivers that the grace period waits for. They come before the count, meanwhile or after.
    early: usize,
    /// Packets of receivers that begin later.
    late: usize,
    looks: Looks,
}

/// When we look for a ready block before we are told of the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Looks {
    Never,
    BeforeTheCount,
    BesideTheCount,
}

/// Blocks are used again, and the kernel finds none free.
const AGAIN: Scene = Scene { room: 1, early: 3, late: 0, looks: Looks::BeforeTheCount };
/// The same, and what comes late finds room behind our back.
const FROZEN: Scene = Scene { room: 1, early: 2, late: 1, looks: Looks::Never };
/// What was counted shares a block with what comes later.
const SHARED: Scene = Scene { room: 2, early: 2, late: 1, looks: Looks::Never };
/// We take a block while another thread counts.
const BESIDE: Scene = Scene { room: 1, early: 1, late: 0, looks: Looks::BesideTheCount };

/// What was counted is seen, once, whole and in order, and nothing else.
fn check<W: ModelWord>(scene: Scene, variant: Variant) {
    loom::model(move || {
        let ring = Arc::new(Ring::<W>::new(scene.room));
        let counter = Arc::new(Counter::default());
        let early = receive(&ring, 0..scene.early);
        let timer = Arc::clone(&ring);
        // Whoever is not waited for runs on to its end, after ours or before.
        let _timer = thread::spawn(move || timer.prb_retire_rx_blk_timer_expired());
        let mut reader = look(Reader { next: 0, seen: Vec::new(), variant }, scene.looks, &ring, &counter);
        if scene.late > 0 {
            let _late = receive(&ring, scene.early..scene.early + scene.late);
        }
        if variant.waits_for_receivers {
            early.join().unwrap();
        }
        let end = counter.ended();
        while reader.read_block(&ring, || end) {}
        reader.read_open_block(&ring, end);
        let (seen, expected) = (reader.seen, ring.placed()[..end.unwrap()].to_vec());
        assert!(seen == expected, "seen {seen:?}, counted {expected:?}");
    });
}

fn receive<W: ModelWord>(ring: &Arc<Ring<W>>, packets: Range<usize>) -> JoinHandle<()> {
    let ring = Arc::clone(ring);
    thread::spawn(move || { packets }.for_each(|packet| ring.tpacket_rcv(packet)))
}

/// Counts, and looks once for a ready block.
fn look<W: ModelWord>(
    mut reader: Reader,
    looks: Looks,
    ring: &Arc<Ring<W>>,
    counter: &Arc<Counter>,
) -> Reader {
    if looks == Looks::BeforeTheCount {
        reader.read_block(ring, || None);
    }
    if looks != Looks::BesideTheCount {
        counter.end(ring);
        return reader;
    }
    let (at_ring, at_counter) = (Arc::clone(ring), Arc::clone(counter));
    let looking = thread::spawn(move || {
        let is_told = reader.variant.shares_the_end;
        reader.read_block(&at_ring, || if is_told { at_counter.ended() } else { None });
        reader
    });
    counter.end(ring);
    looking.join().unwrap()
}

#[test]
fn what_was_counted_is_seen_from_blocks_that_are_used_again() {
    check::<Faithful>(AGAIN, PRODUCT);
}

#[test]
fn what_was_counted_is_seen_when_late_packets_take_the_blocks() {
    check::<Faithful>(FROZEN, PRODUCT);
}

#[test]
fn what_was_counted_is_seen_from_a_block_that_more_comes_to() {
    check::<Faithful>(SHARED, PRODUCT);
}

#[test]
fn what_was_counted_is_seen_while_it_is_counted() {
    check::<Faithful>(BESIDE, PRODUCT);
}

#[test]
#[should_panic(expected = "seen [1, 0], counted [0, 1]")]
fn a_status_read_without_acquire_is_found_out() {
    check::<ReadRelaxed>(AGAIN, PRODUCT);
}

#[test]
#[should_panic(expected = "Causality violation: Concurrent")]
fn a_status_written_without_release_is_found_out() {
    check::<WrittenRelaxed>(AGAIN, PRODUCT);
}

#[test]
#[should_panic(expected = "Causality violation: Concurrent")]
fn an_open_block_read_without_a_grace_period_is_found_out() {
    check::<Faithful>(SHARED, Variant { waits_for_receivers: false, ..PRODUCT });
}

#[test]
#[should_panic(expected = "seen [0, 1], counted [0]")]
fn an_open_block_read_beyond_what_was_counted_is_found_out() {
    check::<Faithful>(SHARED, Variant { walk: Walk::ByNumPkts, ..PRODUCT });
}

#[test]
#[should_panic(expected = "Causality violation: Concurrent read and write")]
fn an_open_block_walked_by_its_offsets_is_found_out() {
    check::<Faithful>(SHARED, Variant { walk: Walk::ByOffset, ..PRODUCT });
}

#[test]
#[should_panic(expected = "seen [0], counted []")]
fn an_end_that_is_told_too_late_is_found_out() {
    check::<Faithful>(BESIDE, Variant { shares_the_end: false, ..PRODUCT });
}
