//! A block's packets into a file, as far as they belong there.

use std::slice;

use nsntrace_capture::{Direction as FrameDirection, Frame, Frames};
use nsntrace_pcapwriter::{Direction, Packet};

use crate::beside::{Beside, Note};
use crate::bounds::{Bounds, Next};
use crate::{AnyWriter, LOOPBACK_IFINDEX};

/// Frames, and what is written beside each: nothing where nothing was found out.
pub struct Noted<'block, 'note> {
    frames: Frames<'block>,
    notes: slice::Iter<'note, Note>,
}

/// The first packet that is not done with, and its note.
pub type Rest<'block, 'note> = Option<(Frame<'block>, &'note Note)>;

impl<'block, 'note> Noted<'block, 'note> {
    /// Frames with their notes, in the same order.
    pub fn new(frames: Frames<'block>, notes: &'note [Note]) -> Self {
        Self { frames, notes: notes.iter() }
    }

    /// Of so many frames a note has not been taken.
    pub fn notes_left(&self) -> usize {
        self.notes.len()
    }

    /// The frames that have not been taken.
    pub fn frames(&self) -> Frames<'block> {
        self.frames.clone()
    }
}

impl<'block, 'note> Iterator for Noted<'block, 'note> {
    type Item = (Frame<'block>, &'note Note);

    #[inline]
    fn next(&mut self) -> Rest<'block, 'note> {
        Some((self.frames.next()?, self.notes.next().unwrap_or(NOTHING)))
    }
}

/// Writes `first`, before which packets were lost, and those of `rest` that belong into the same file. Gives the one that does not.
#[inline(never)]
pub fn fill<'block, 'note>(
    writer: &mut AnyWriter,
    bounds: &mut Bounds,
    beside: &Beside,
    (first, note, dropped_before): (&Frame<'block>, &'note Note, u64),
    rest: &mut Noted<'block, 'note>,
) -> Rest<'block, 'note> {
    let mut batch = writer.batch();
    // What cannot be written is counted, and told at the end.
    let _counted = batch.push(&packet(first, note, dropped_before, beside));
    bounds.count_packet();
    for (frame, note) in rest {
        if bounds.before(frame.timestamp_ns, batch.position()) != Next::Packet {
            return Some((frame, note));
        }
        let _counted = batch.push(&packet(&frame, note, 0, beside));
        bounds.count_packet();
    }
    None
}

/// Passes over a packet, and those of `rest` within the bounds, when there is no file. Gives their number, and the one behind them.
#[inline(never)]
pub fn pass<'block, 'note>(
    bounds: &mut Bounds,
    rest: &mut Noted<'block, 'note>,
) -> (u64, Rest<'block, 'note>) {
    bounds.count_packet();
    let mut passed = 1;
    for (frame, note) in rest {
        if bounds.before(frame.timestamp_ns, 0) != Next::Packet {
            return (passed, Some((frame, note)));
        }
        bounds.count_packet();
        passed += 1;
    }
    (passed, None)
}

/// Where nothing was found out.
pub const NOTHING: &Note = &Note { process: None, comment: None };

#[inline]
fn packet<'packet>(
    frame: &Frame<'packet>,
    note: &'packet Note,
    dropped_before: u64,
    beside: &Beside,
) -> Packet<'packet> {
    Packet {
        interface: usize::from(frame.ifindex == LOOPBACK_IFINDEX),
        timestamp_ns: frame.timestamp_ns,
        original_len: frame.original_len.saturating_add(if frame.vlan.is_some() { 4 } else { 0 }),
        bytes: frame.bytes,
        vlan: frame.vlan,
        direction: match frame.direction {
            FrameDirection::Inbound => Direction::Inbound,
            FrameDirection::Outbound => Direction::Outbound,
        },
        dropped_before,
        process: note.process.and_then(|sender| beside.reference(sender)),
        comment: note.comment.as_deref(),
    }
}
