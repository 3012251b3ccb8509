//! The writer: packets in, whole records out, and the count of both.
//!
//! # Theory of operation
//! Packets come in batches. A [`Batch`] borrows the memory that its packets are in, a block of a ring, so that large ones need
//! not be copied; all of it is written when the batch ends, and before that whenever 64 KiB were copied. The batch knows
//! where each record ends. So when the output takes only a part of it, the writer knows how many
//! packets are there in full, and how many bytes of the next one have to be taken back. From then on it writes nothing
//! and counts what is lost.

use std::io;
use std::net::IpAddr;

use crate::arena::{Arena, Drained, Records};
use crate::error::WriterError;
use crate::format::{Format, Section, Statistics};
use crate::ledger::Ledger;
use crate::metadata::{self, Blocks};
use crate::output::{Memory, Output};
use crate::record::{Encoder, Packet};

/// Writes one capture to one output.
pub struct Writer<O: Output> {
    arena: Arena,
    state: State<O>,
}

/// Everything but the arena, which a batch borrows beside it.
struct State<O> {
    output: O,
    encoder: Encoder,
    blocks: Blocks,
    /// How many process blocks there are.
    processes: u32,
    /// Where secrets go that come too late.
    room: Room,
    ledger: Ledger,
    summary: Summary,
}

/// Bytes of the output that are to be overwritten.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    /// How far they are behind the beginning.
    at: u64,
    len: usize,
}

/// Packets that go to a [`Writer`] together, from memory that is borrowed for `'p`. Dropped, it is written.
pub struct Batch<'w, 'p, O: Output> {
    records: Records<'w, 'p>,
    state: &'w mut State<O>,
}

/// What became of the packets that were given to a [`Writer`]: `written + lost` is the number of calls to
/// [`Batch::push`].
#[derive(Debug, Default)]
pub struct Summary {
    /// Packets that are in the output, whole.
    pub written: u64,
    /// Packets that are not: the output failed, or [`Batch::push`] refused them.
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
        let (head, blocks) = metadata::head(format, section)?;
        let encoder = Encoder::new(format, section);
        let summary = Summary::default();
        let (room, ledger) = (Room::default(), Ledger::default());
        let state = State { output, encoder, blocks, processes: 0, room, ledger, summary };
        let mut writer = Self { arena: Arena::new(), state };
        writer.write_metadata(&head);
        match writer.state.summary.error.take() {
            Some(error) => Err(error),
            None => Ok(writer),
        }
    }

    /// Begins to take packets from memory that is borrowed for `'p`.
    pub fn batch<'p>(&mut self) -> Batch<'_, 'p, O> {
        Batch { records: Records::new(&mut self.arena), state: &mut self.state }
    }

    /// Lends memory that the next packets may wait in: see [`Output::lend`]. To be called between batches.
    pub fn lend(&mut self, memory: Box<dyn Memory>) {
        if self.state.summary.error.is_none() {
            let result = self.state.output.lend(memory);
            self.state.note(result);
        }
    }

    /// Says that there is a process, and gives the number that packets of it refer to. Nothing in classic pcap.
    pub fn process(&mut self, pid: u32, name: &str) -> u32 {
        let block = self.state.blocks.process(pid, name);
        self.write_block(&block);
        let number = self.state.processes;
        self.state.processes += 1;
        number
    }

    /// Gives away secrets: lines of a TLS key log. Readers need them before the first packet that they open. Nothing in classic pcap.
    pub fn secrets(&mut self, lines: &[u8]) {
        let block = self.state.blocks.secrets(lines);
        self.write_block(&block);
    }

    /// Leaves room of `len` bytes for [late secrets](Self::late_secrets), where the output can be overwritten. Readers find empty lines in it.
    pub fn reserve_secrets(&mut self, len: usize) {
        let block = self.state.blocks.secrets(&vec![b'\n'; len]);
        let at = self.position() + metadata::SECRETS_PLACE;
        if self.state.output.can_overwrite() {
            self.write_block(&block);
            self.state.room = Room { at, len: if block.is_empty() { 0 } else { len } };
        }
    }

    /// Gives away secrets of packets that were written already: puts them into the room that was left for them. False if there is none, or not enough.
    pub fn late_secrets(&mut self, lines: &[u8]) -> bool {
        let State { room, output, summary, .. } = &mut self.state;
        if lines.len() > room.len || summary.error.is_some() || output.overwrite(room.at, lines).is_err() {
            return false;
        }
        *room = Room { at: room.at + lines.len() as u64, len: room.len - lines.len() };
        true
    }

    /// Says which names addresses have. Names above 1024 bytes are left out. Nothing in classic pcap.
    pub fn names(&mut self, names: &[(IpAddr, &str)]) {
        let block = self.state.blocks.names(names);
        self.write_block(&block);
    }

    /// What became of the packets so far. An output that works behind the scenes may still lose some of them.
    pub fn so_far(&self) -> &Summary {
        &self.state.summary
    }

    /// How long the output is, in bytes, before compression.
    pub fn position(&self) -> u64 {
        self.state.ledger.taken()
    }

    /// Whether packets that were written wait in the output for more to come: see [`flush`](Self::flush).
    pub fn holds_back(&self) -> bool {
        self.state.output.holds_back()
    }

    /// Lets a reader of the output see all packets so far. To be called when none have come for a while.
    pub fn flush(&mut self) {
        let result = self.state.output.flush();
        self.state.note(result);
    }

    /// Ends the capture: in pcapng, one statistics block for each interface is written; then the output is ended.
    ///
    /// An output that has failed gets nothing more.
    pub fn finish(mut self, statistics: &Statistics) -> Summary {
        if self.state.summary.error.is_none() {
            let tail = self.state.blocks.tail(statistics, self.state.encoder.delivered());
            self.write_metadata(&tail);
        }
        self.state.end();
        self.state.summary
    }

    /// An output that has failed gets nothing more.
    fn write_block(&mut self, block: &[u8]) {
        if self.state.summary.error.is_none() && !block.is_empty() {
            self.write_metadata(block);
        }
    }

    /// Writes `bytes` wholly or not at all.
    fn write_metadata(&mut self, bytes: &[u8]) {
        let mut records = Records::new(&mut self.arena);
        records.copy(bytes);
        // No packet's record: it counts for nothing when it is there.
        let drained = records.drain_to(&mut self.state.output);
        self.state.settle(drained);
    }
}

impl<'p, O: Output> Batch<'_, 'p, O> {
    /// Takes a packet.
    ///
    /// After a failure of the output, packets are counted as lost and this succeeds: see [`Writer::so_far`].
    ///
    /// # Errors
    /// [`WriterError::UnknownInterface`], [`WriterError::TimestampTooLate`], [`WriterError::OriginalTooShort`]: the packet
    /// cannot be said in this file. It is counted as lost; others can follow.
    #[inline]
    pub fn push(&mut self, packet: &Packet<'p>) -> Result<(), WriterError> {
        let summary = &mut self.state.summary;
        if summary.error.is_some() {
            summary.lost += 1;
            return Ok(());
        }
        let pushed = self.state.encoder.append(packet, &mut self.records);
        summary.lost += u64::from(pushed.is_err());
        if self.records.is_full() {
            self.flush();
        }
        pushed
    }

    /// How long the output will be, in bytes, when what was pushed is in it. One that has failed has room for all: nothing more is written.
    pub fn position(&self) -> u64 {
        if self.state.summary.error.is_some() {
            return 0;
        }
        self.state.ledger.taken() + self.records.len() as u64
    }

    /// Blocks as long as the output does.
    fn flush(&mut self) {
        if self.records.len() > 0 {
            let drained = self.records.drain_to(&mut self.state.output);
            self.state.settle(drained);
        }
    }
}

impl<O: Output> Drop for Batch<'_, '_, O> {
    /// Writes what was pushed, also when a panic elsewhere ends the batch.
    fn drop(&mut self) {
        self.flush();
    }
}

impl<O: Output> State<O> {
    /// Counts, leaves a whole record at the end of the output, and remembers a failure.
    fn settle(&mut self, drained: Drained) {
        self.summary.written += drained.whole as u64;
        self.summary.lost += drained.missing as u64;
        self.ledger.add((drained.taken - drained.torn) as u64, drained.whole as u64);
        self.ledger.settle(self.output.kept(self.ledger.taken()));
        let Err(source) = drained.result else { return };
        let cut = match drained.torn as u64 {
            0 => Ok(()),
            torn => self.output.take_back(torn),
        };
        self.summary.error = Some(match cut {
            Ok(()) => WriterError::Output { source },
            Err(cut) => WriterError::Torn { source, cut },
        });
    }

    /// Remembers a failure, if it is the first.
    fn note(&mut self, result: io::Result<()>) {
        if let Err(source) = result {
            self.summary.error.get_or_insert(WriterError::Output { source });
        }
    }

    /// Ends the output, and takes from the count what it has lost since it took it.
    fn end(&mut self) {
        let result = self.output.finish();
        self.note(result);
        let unkept = self.ledger.unkept(self.output.kept(self.ledger.taken()));
        self.summary.written -= unkept;
        self.summary.lost += unkept;
    }
}
