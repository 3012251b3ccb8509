//! The writer: packets in, whole records out, and the count of both.
//!
//! # Theory of operation
//! Records are collected in an arena of 256 KiB and written together, when it is full or when [`Writer::flush`] is
//! called. The arena knows where each record ends. So when the output takes only a part of it, the writer knows how many
//! packets are there in full, and how many bytes of the next one have to be taken back. From then on it writes nothing
//! and counts what is lost.

use std::mem;

use crate::arena::{Arena, Drained};
use crate::error::WriterError;
use crate::format::{Format, Section, Statistics};
use crate::metadata::{self, Tail};
use crate::output::Output;
use crate::record::{Encoder, MAX_RECORD_LEN, Packet};

/// Writes one capture to one output.
pub struct Writer<O: Output> {
    output: O,
    encoder: Encoder,
    arena: Arena,
    tail: Tail,
    summary: Summary,
}

/// What became of the packets that were given to a [`Writer`]: `written + lost` is the number of calls to
/// [`Writer::write`].
#[derive(Debug, Default)]
pub struct Summary {
    /// Packets that are in the output, whole.
    pub written: u64,
    /// Packets that are not: the output failed, or [`Writer::write`] refused them.
    pub lost: u64,
    /// Why the output ended early, if it did: [`WriterError::Output`] or [`WriterError::Torn`].
    pub error: Option<WriterError>,
}

impl<O: Output> Writer<O> {
    /// Begins a capture: the head of the file is written at once, so that a reader of a pipe can start.
    ///
    /// # Errors
    /// [`WriterError::NoInterface`], [`WriterError::Snaplen`], [`WriterError::TextTooLong`]: `section` cannot be said in
    /// a file; nothing was written. [`WriterError::Output`], [`WriterError::Torn`]: the output did not take the head.
    pub fn new(output: O, format: Format, section: &Section<'_>) -> Result<Self, WriterError> {
        let (head, tail) = metadata::head(format, section)?;
        let mut writer = Self {
            output,
            encoder: Encoder::new(format, section),
            arena: Arena::with_capacity(ARENA_LEN + MAX_RECORD_LEN),
            tail,
            summary: Summary::default(),
        };
        writer.write_metadata(&head);
        match writer.summary.error.take() {
            Some(error) => Err(error),
            None => Ok(writer),
        }
    }

    /// Takes a packet. It is in the output after the next [`flush`](Self::flush) at the latest.
    ///
    /// After a failure of the output, packets are counted as lost and this succeeds: see [`failure`](Self::failure).
    ///
    /// # Errors
    /// [`WriterError::UnknownInterface`], [`WriterError::TimestampTooLate`], [`WriterError::OriginalTooShort`]: the packet
    /// cannot be said in this file. It is counted as lost; others can follow.
    pub fn write(&mut self, packet: &Packet<'_>) -> Result<(), WriterError> {
        if self.summary.error.is_some() {
            self.summary.lost += 1;
            return Ok(());
        }
        let pushed = self.arena.push(|bytes| self.encoder.append(packet, bytes));
        self.summary.lost += u64::from(pushed.is_err());
        if self.arena.len() >= ARENA_LEN {
            self.flush();
        }
        pushed
    }

    /// Writes what was collected. To be called before each wait, so that readers of a pipe see packets at once.
    ///
    /// Blocks as long as the output does.
    pub fn flush(&mut self) {
        let drained = self.arena.drain_to(&mut self.output);
        self.summary.written += drained.whole as u64;
        self.summary.lost += drained.missing as u64;
        self.settle(drained);
    }

    /// Why packets are being lost, if they are.
    pub fn failure(&self) -> Option<&WriterError> {
        self.summary.error.as_ref()
    }

    /// Ends the capture: what was collected is written, then, in pcapng, one statistics block for each interface.
    ///
    /// An output that has failed gets nothing more.
    pub fn finish(mut self, statistics: &Statistics) -> Summary {
        self.flush();
        if self.summary.error.is_none() {
            let tail = self.tail.bytes(statistics, self.summary.written);
            self.write_metadata(&tail);
        }
        mem::take(&mut self.summary)
    }

    /// Writes `bytes` wholly or not at all. The arena must be empty.
    fn write_metadata(&mut self, bytes: &[u8]) {
        let Ok(()) = self.arena.push(|arena| {
            arena.extend_from_slice(bytes);
            Ok::<_, std::convert::Infallible>(())
        });
        let drained = self.arena.drain_to(&mut self.output);
        self.settle(drained);
    }

    /// Leaves a whole record at the end of the output, and remembers a failure.
    fn settle(&mut self, drained: Drained) {
        let Err(source) = drained.result else { return };
        let cut = match drained.torn_bytes as u64 {
            0 => Ok(()),
            torn_bytes => self.output.take_back(torn_bytes),
        };
        self.summary.error = Some(match cut {
            Ok(()) => WriterError::Output { source },
            Err(cut) => WriterError::Torn { source, cut },
        });
    }
}

impl<O: Output> Drop for Writer<O> {
    /// Writes what was collected, so that a panic elsewhere loses no packet. Nothing waits after `finish`.
    fn drop(&mut self) {
        self.flush();
    }
}

/// When this many bytes wait, they are written: large enough that write(2) itself costs next to nothing per packet, and
/// small enough for the second-level cache.
const ARENA_LEN: usize = 256 * 1024;
