//! A block's packets into a file, as far as they belong there.

use std::mem;

use nsntrace_capture::{Direction as FrameDirection, Frame, Frames};
use nsntrace_pcapwriter::{Direction, Packet};
use nsntrace_report::FlowNumber;

use crate::beside::{Beside, Comments};
use crate::bounds::{Bounds, Next};
use crate::{AnyWriter, LOOPBACK_IFINDEX};

/// A block's frames, and what is written beside each: nothing where nothing was found out.
pub struct Noted<'block, 'note> {
    frames: Frames<'block>,
    flows: &'block [Option<FlowNumber>],
    comments: &'note [(usize, String)],
    /// How many frames were taken.
    taken: usize,
}

/// What is written beside one packet.
#[derive(Clone, Copy)]
struct Note<'note> {
    /// It tells whose the packet is.
    flow: Option<FlowNumber>,
    comment: Option<&'note str>,
}

impl<'block, 'note> Noted<'block, 'note> {
    /// Frames with their flows, in the same order, and comments on some of them.
    pub fn new(
        frames: Frames<'block>,
        flows: &'block [Option<FlowNumber>],
        comments: &'note Comments,
    ) -> Self {
        Self { frames, flows, comments: &comments.0, taken: 0 }
    }

    /// Frames that were not taken, and their flows.
    pub fn rest(self) -> (Frames<'block>, &'block [Option<FlowNumber>]) {
        (self.frames, self.flows.get(self.taken..).unwrap_or_default())
    }

    #[inline]
    fn next(&mut self) -> Option<(Frame<'block>, Note<'note>)> {
        self.next_if(|_| true)
    }

    /// Takes the next frame, or leaves it.
    #[inline]
    fn next_if(&mut self, belongs: impl FnOnce(&Frame<'_>) -> bool) -> Option<(Frame<'block>, Note<'note>)> {
        let mut frames = self.frames.clone();
        let frame = frames.next().filter(belongs)?;
        self.frames = frames;
        let flow = self.flows.get(self.taken).copied().flatten();
        let comment = self.comments.split_first().filter(|((at, _), _)| *at == self.taken);
        let comment = comment.map(|((_, text), rest)| {
            self.comments = rest;
            text.as_str()
        });
        self.taken += 1;
        Some((frame, Note { flow, comment }))
    }
}

/// Writes the first of `noted`, before which packets were lost, and those behind it that belong into the same file.
#[inline(never)]
pub fn fill(
    writer: &mut AnyWriter,
    bounds: &mut Bounds,
    beside: &Beside,
    mut dropped_before: u64,
    noted: &mut Noted<'_, '_>,
) {
    let mut batch = writer.batch();
    let mut next = noted.next();
    while let Some((frame, note)) = next {
        // What cannot be written is counted, and told at the end.
        let _counted = batch.push(&packet(&frame, note, mem::take(&mut dropped_before), beside));
        bounds.count_packet();
        next = noted.next_if(|frame| bounds.before(frame.timestamp_ns, batch.position()) == Next::Packet);
    }
}

/// Passes over the first of `noted`, and those behind it within the bounds, when there is no file. Gives their number.
#[inline(never)]
pub fn pass(bounds: &mut Bounds, noted: &mut Noted<'_, '_>) -> u64 {
    let mut passed = 0;
    let mut next = noted.next();
    while next.is_some() {
        bounds.count_packet();
        passed += 1;
        next = noted.next_if(|frame| bounds.before(frame.timestamp_ns, 0) == Next::Packet);
    }
    passed
}

#[inline]
fn packet<'packet>(
    frame: &Frame<'packet>,
    note: Note<'packet>,
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
        process: note.flow.and_then(|flow| beside.sender(flow)),
        comment: note.comment,
    }
}
