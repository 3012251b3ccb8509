//! One packet as a record: the bytes of a pcap packet record or of a pcapng Enhanced Packet Block.
//!
//! # References
//! draft-ietf-opsawg-pcap section 5 and draft-ietf-opsawg-pcapng sections 4.3 and 3.5. Multi-byte fields are in the
//! byte order of this machine, as the head of the file says.

use crate::error::WriterError;
use crate::format::{Format, Section};

/// A packet on its way to the file.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// An index of [`Section::interfaces`].
    pub interface: usize,
    /// When it passed, in nanoseconds since the epoch.
    pub timestamp_ns: u64,
    /// Its length on the wire, in bytes, with a VLAN tag that the caller puts back.
    pub original_len: u32,
    /// Its captured bytes, one part after the other: a VLAN tag is put back as `[macs, tag, rest]` without a copy.
    /// What exceeds [`Section::snaplen`] is cut off.
    pub parts: &'a [&'a [u8]],
    /// Whether it was sent or received. Kept by pcapng only.
    pub direction: Direction,
}

impl Packet<'_> {
    fn captured_len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

/// Which way a packet went, seen from its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received.
    Inbound,
    /// Sent.
    Outbound,
}

impl Direction {
    /// Bits 0 and 1 of `epb_flags`.
    fn flags(self) -> u32 {
        match self {
            Self::Inbound => 1,
            Self::Outbound => 2,
        }
    }
}

/// Turns packets of one file into records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder {
    format: Format,
    snaplen: u32,
    interface_count: usize,
}

impl Encoder {
    pub(crate) fn new(format: Format, section: &Section<'_>) -> Self {
        Self { format, snaplen: section.snaplen, interface_count: section.interfaces.len() }
    }

    /// Appends the record of `packet` to `out`; on an error nothing is appended.
    pub(crate) fn append(&self, packet: &Packet<'_>, out: &mut Vec<u8>) -> Result<(), WriterError> {
        let interface = self.interface_id(packet)?;
        let captured_len = self.clipped_len(packet)?;
        match self.format {
            Format::Pcap => append_pcap(packet, captured_len, out),
            Format::PcapNg => {
                append_pcapng(packet, interface, captured_len, out);
                Ok(())
            }
        }
    }

    fn interface_id(&self, packet: &Packet<'_>) -> Result<u32, WriterError> {
        let (interface, count) = (packet.interface, self.interface_count);
        let known = u32::try_from(interface).ok().filter(|_| interface < count);
        known.ok_or(WriterError::UnknownInterface { interface, count })
    }

    /// How many bytes of the packet go to the file.
    fn clipped_len(&self, packet: &Packet<'_>) -> Result<u32, WriterError> {
        let captured = packet.captured_len();
        let too_short = WriterError::OriginalTooShort { original: packet.original_len, captured };
        let captured = u32::try_from(captured).ok().filter(|&length| length <= packet.original_len);
        Ok(captured.ok_or(too_short)?.min(self.snaplen))
    }
}

/// ```text
///      0             7 8            15 16            23 24           31
///    0 |                      Timestamp (Seconds)                      |
///    4 |            Timestamp (Microseconds or nanoseconds)            |
///    8 |                    Captured Packet Length                     |
///   12 |                    Original Packet Length                     |
///   16 /                          Packet Data                          /
/// ```
fn append_pcap(packet: &Packet<'_>, captured_len: u32, out: &mut Vec<u8>) -> Result<(), WriterError> {
    let too_late = WriterError::TimestampTooLate { timestamp_ns: packet.timestamp_ns };
    let seconds = u32::try_from(packet.timestamp_ns / NS_PER_S).ok().ok_or(too_late)?;
    let subsec_ns = low_half(packet.timestamp_ns % NS_PER_S);
    append_words(&[seconds, subsec_ns, captured_len, packet.original_len], out);
    append_captured(packet, captured_len, out);
    Ok(())
}

/// ```text
///    0 |                    Block Type = 0x00000006                    |
///    4 |                      Block Total Length                       |
///    8 |                         Interface ID                          |
///   12 |                      Timestamp (Upper)                        |
///   16 |                      Timestamp (Lower)                        |
///   20 |                    Captured Packet Length                     |
///   24 |                    Original Packet Length                     |
///   28 /                 Packet Data, padded to 32 bits                /
///      |       epb_flags = 2           |          length = 4           |
///      |                             flags                             |
///      |        opt_endofopt = 0       |          length = 0           |
///      |                      Block Total Length                       |
/// ```
fn append_pcapng(packet: &Packet<'_>, interface: u32, captured_len: u32, out: &mut Vec<u8>) {
    let padded_len = captured_len.next_multiple_of(4);
    let total_len = EPB_FIXED_LEN + padded_len;
    let (upper, lower) = (low_half(packet.timestamp_ns >> 32), low_half(packet.timestamp_ns));
    let head = [EPB_TYPE, total_len, interface, upper, lower, captured_len, packet.original_len];
    append_words(&head, out);
    append_captured(packet, captured_len, out);
    out.extend_from_slice(&[0; 3][..(padded_len - captured_len) as usize]);
    append_words(&[option_head(EPB_FLAGS, 4), packet.direction.flags(), 0, total_len], out);
}

/// The first `captured_len` bytes of the packet.
fn append_captured(packet: &Packet<'_>, captured_len: u32, out: &mut Vec<u8>) {
    let mut left = captured_len as usize;
    for part in packet.parts {
        let (taken, _) = part.split_at(left.min(part.len()));
        out.extend_from_slice(taken);
        left -= taken.len();
    }
}

/// One `extend` per array: the compiler makes it a few wide stores.
fn append_words<const N: usize>(words: &[u32; N], out: &mut Vec<u8>) {
    out.extend_from_slice(words.map(u32::to_ne_bytes).as_flattened());
}

/// Two 16-bit fields, code and length, as the word that holds both in this machine's byte order.
const fn option_head(code: u16, length: u16) -> u32 {
    let ([a, b], [c, d]) = (code.to_ne_bytes(), length.to_ne_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

#[expect(clippy::cast_possible_truncation, reason = "it is asked for the low half")]
const fn low_half(value: u64) -> u32 {
    value as u32
}

const NS_PER_S: u64 = 1_000_000_000;
const EPB_TYPE: u32 = 6;
const EPB_FLAGS: u16 = 2;
/// Every field of the block but the packet: seven words before it, four behind.
const EPB_FIXED_LEN: u32 = 11 * 4;
/// The longest record that is ever made, in bytes.
pub(crate) const MAX_RECORD_LEN: usize = (crate::format::MAX_SNAPLEN + EPB_FIXED_LEN) as usize;
