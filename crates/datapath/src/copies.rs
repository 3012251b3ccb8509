//! Copies of packets for whoever prints them, made on the ring's thread.
//!
//! # Theory of operation
//! There is room for so many bytes of copies at a time, from the look at a packet until its line is on its way. Where there is none, and where the
//! ring fills, packets are counted and left out: lines are worth less than packets. So what cannot be printed costs the ring's thread nothing but a number.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nsntrace_capture::Frame;
use nsntrace_report::FlowNumber;

/// The beginnings of some packets, in their order.
#[derive(Debug, Default)]
pub struct Copies {
    /// So many were left out before the first of these.
    pub left_out: u64,
    packets: Vec<Copied>,
    bytes: Vec<u8>,
}

/// Where a copy ends, and what is known of the packet.
#[derive(Debug)]
pub struct Copied {
    /// When it passed, in nanoseconds since the epoch.
    pub timestamp_ns: u64,
    /// Whose it is.
    pub flow: Option<FlowNumber>,
    /// Bytes of the frame on the link.
    pub len: u32,
    end: usize,
}

impl Copies {
    /// Whether there is nothing to print.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty() && self.left_out == 0
    }

    /// The packets, and the beginning of each.
    pub fn iter(&self) -> impl Iterator<Item = (&Copied, &[u8])> {
        let mut begin = 0;
        self.packets
            .iter()
            .map(move |packet| (packet, &self.bytes[mem::replace(&mut begin, packet.end)..packet.end]))
    }

    /// How much room it takes.
    fn cost(&self) -> usize {
        self.bytes.len() + self.packets.len() * size_of::<Copied>()
    }
}

/// What copies take up, of all that may be.
#[derive(Clone, Debug, Default)]
pub struct Room(Arc<AtomicUsize>);

impl Room {
    /// Gives back what some copies took.
    pub fn give_back(&self, copies: &Copies) {
        // No memory is handed over by this number: a channel does that.
        self.0.fetch_sub(copies.cost(), Ordering::Relaxed);
    }

    /// There is none any more: nobody prints.
    pub fn close(&self) {
        self.0.store(CLOSED, Ordering::Relaxed);
    }

    /// Too little is none: gaps are to be few.
    fn left(&self) -> usize {
        let left = MAX_BYTES.saturating_sub(self.0.load(Ordering::Relaxed));
        if left >= ENOUGH { left } else { 0 }
    }

    fn take(&self, copies: &Copies) {
        self.0.fetch_add(copies.cost(), Ordering::Relaxed);
    }
}

/// Makes copies of a block's packets.
#[derive(Debug)]
pub struct Copier {
    copies: Copies,
    room: Room,
    /// How many packets of the block will be recorded.
    admitted: u64,
    /// Bytes that copies of the block may still take.
    left: usize,
    /// Packets without a copy, since the last that has one.
    left_out: u64,
}

impl Copier {
    /// Makes copies as long as there is room.
    pub fn new(room: Room) -> Self {
        Self { copies: Copies::default(), room, admitted: 0, left: 0, left_out: 0 }
    }

    /// A new block comes, `admitted` packets of which are recorded.
    pub fn begin_block(&mut self, admitted: u64, is_crowded: bool) {
        self.admitted = admitted;
        self.left = if is_crowded { 0 } else { self.room.left() };
        if self.left > 0 {
            self.copies.left_out = mem::take(&mut self.left_out);
        }
    }

    /// Copies the beginning of a packet, more of it if it `is_read` by others, too.
    pub fn copy(&mut self, frame: &Frame<'_>, flow: Option<FlowNumber>, is_read: bool) {
        if self.admitted == 0 {
            return;
        }
        self.admitted -= 1;
        let len = frame.bytes.len().min(if is_read { LONG } else { SHORT });
        let cost = len + size_of::<Copied>();
        if cost > self.left {
            // Behind a gap nothing of this block, so that gaps are few and each is told where it is.
            self.left = 0;
            self.left_out += 1;
            return;
        }
        self.left -= cost;
        let Copies { packets, bytes, .. } = &mut self.copies;
        bytes.extend_from_slice(&frame.bytes[..len]);
        let Frame { timestamp_ns, original_len, .. } = *frame;
        packets.push(Copied { timestamp_ns, flow, len: original_len, end: bytes.len() });
    }

    /// Hands over the copies of the block.
    pub fn take(&mut self) -> Copies {
        let copies = mem::take(&mut self.copies);
        self.room.take(&copies);
        copies
    }

    /// Nobody took them.
    pub fn take_back(&mut self, copies: &Copies) {
        self.room.give_back(copies);
        self.left_out += copies.left_out + copies.packets.len() as u64;
    }

    /// What is left to be said at the end.
    pub fn last(&self) -> Copies {
        Copies { left_out: self.left_out, ..Copies::default() }
    }
}

/// Of a packet with a message, as many as are read of it for the report; names may be long.
const LONG: usize = 4096;
/// Headers, and enough of a request to know it.
const SHORT: usize = 256;
/// Twenty thousand small packets: what a fast program sends while a terminal scrolls.
const MAX_BYTES: usize = 4 << 20;
const ENOUGH: usize = MAX_BYTES / 4;
/// More than is ever given back.
const CLOSED: usize = usize::MAX / 2;

#[cfg(test)]
mod tests {
    use super::*;
    use nsntrace_capture::Direction;

    fn frame(bytes: &[u8], timestamp_ns: u64) -> Frame<'_> {
        let (direction, vlan) = (Direction::Outbound, None);
        Frame { ifindex: 1, timestamp_ns, original_len: 9000, direction, vlan, bytes }
    }

    fn block(copier: &mut Copier, count: u64, len: usize) -> Copies {
        copier.begin_block(u64::MAX, false);
        (0..count).for_each(|number| copier.copy(&frame(&vec![7; len], number), None, true));
        copier.take()
    }

    #[test]
    fn beginnings_are_copied_in_order() {
        let mut copier = Copier::new(Room::default());
        copier.begin_block(3, false);
        copier.copy(&frame(&[1; 10], 1), Some(FlowNumber(5)), false);
        copier.copy(&frame(&[2; 9000], 2), None, false);
        copier.copy(&frame(&[3; 9000], 3), None, true);
        copier.copy(&frame(b"beyond the limit", 4), None, true);
        let copies = copier.take();
        let seen: Vec<_> = copies
            .iter()
            .map(|(packet, bytes)| (packet.timestamp_ns, packet.flow, packet.len, bytes[0], bytes.len()))
            .collect();
        let flow = Some(FlowNumber(5));
        assert_eq!(seen, [(1, flow, 9000, 1, 10), (2, None, 9000, 2, SHORT), (3, None, 9000, 3, LONG)]);
        assert_eq!((copies.left_out, copier.last().left_out), (0, 0));
    }

    #[test]
    fn every_packet_has_a_copy_or_is_counted_and_room_comes_back() {
        let room = Room::default();
        let mut copier = Copier::new(room.clone());
        let first = block(&mut copier, 2000, LONG);
        let fitted = first.iter().count() as u64;
        assert!((500..2000).contains(&fitted), "{fitted}");
        let second = block(&mut copier, 10, LONG);
        assert!(second.is_empty());
        assert_eq!(copier.last().left_out, 2010 - fitted);
        room.give_back(&first);
        let third = block(&mut copier, 1, 60);
        assert_eq!((third.iter().count(), third.left_out), (1, 2010 - fitted));
        copier.take_back(&third);
        assert_eq!(copier.last().left_out, 2011 - fitted);
        assert_eq!(room.left(), MAX_BYTES);
    }

    #[test]
    fn a_ring_that_fills_and_a_reader_that_is_gone_leave_no_room() {
        let room = Room::default();
        let mut copier = Copier::new(room.clone());
        copier.begin_block(u64::MAX, true);
        copier.copy(&frame(&[1; 10], 1), None, false);
        assert!(copier.take().is_empty());
        let copies = block(&mut copier, 1, 60);
        room.close();
        room.give_back(&copies);
        assert!(block(&mut copier, 1, 60).is_empty());
    }
}
