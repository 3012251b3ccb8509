//! One packet as a record: the bytes of a pcap packet record or of a pcapng Enhanced Packet Block.
//!
//! # References
//! draft-ietf-opsawg-pcap section 5 and draft-ietf-opsawg-pcapng sections 4.3 and 3.5; `bsd/net/pktap.h` and libpcap of XNU for 0x8001. Multi-byte fields are in the
//! byte order of this machine, as the head of the file says.

use crate::arena::Records;
use crate::error::WriterError;
use crate::format::{Format, Section};

/// A packet on its way to the file.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'p> {
    /// An index of [`Section::interfaces`].
    pub interface: usize,
    /// When it passed, in nanoseconds since the epoch.
    pub timestamp_ns: u64,
    /// Its length on the wire, in bytes, a VLAN tag included.
    pub original_len: u32,
    /// Its captured bytes, from the destination address on. What exceeds [`Section::snaplen`] is cut off.
    pub bytes: &'p [u8],
    /// A VLAN tag that was taken out behind the addresses, and is put back there.
    pub vlan: Option<[u8; 4]>,
    /// Whether it was sent or received. Kept by pcapng only.
    pub direction: Direction,
    /// Packets that were lost between the one before and this one. Kept by pcapng only.
    pub dropped_before: u64,
    /// Whose it is. Kept by pcapng only.
    pub process: Option<ProcessRef>,
    /// For whoever looks at it; what exceeds 65535 bytes is left out. Kept by pcapng only.
    pub comment: Option<&'p str>,
}

/// The process that a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessRef {
    /// Its number.
    pub pid: u32,
    /// The thread's, 0 if it is not known.
    pub tid: u32,
    /// Its block in this file: what [`Writer::process`](crate::Writer::process) gave.
    pub block: u32,
}

impl<'p> Packet<'p> {
    /// How many bytes come back in front: addresses and tag, if there is one.
    fn front(&self) -> Option<([u8; FRONT_LEN], &'p [u8])> {
        let tag = self.vlan?;
        let (addresses, rest) = self.bytes.split_first_chunk::<ADDRESSES_LEN>()?;
        let mut front = [0; FRONT_LEN];
        front[..ADDRESSES_LEN].copy_from_slice(addresses);
        front[ADDRESSES_LEN..].copy_from_slice(&tag);
        Some((front, rest))
    }

    fn captured_len(&self) -> usize {
        let has_front = self.vlan.is_some() && self.bytes.len() >= ADDRESSES_LEN;
        self.bytes.len() + if has_front { FRONT_LEN - ADDRESSES_LEN } else { 0 }
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
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    format: Format,
    snaplen: u32,
    /// How many packets of each interface came.
    delivered: Vec<u64>,
}

impl Encoder {
    pub(crate) fn new(format: Format, section: &Section<'_>) -> Self {
        Self { format, snaplen: section.snaplen, delivered: vec![0; section.interfaces.len()] }
    }

    /// How many packets of each interface came, those that did not go to the file included.
    pub(crate) fn delivered(&self) -> &[u64] {
        &self.delivered
    }

    /// Appends the record of `packet`; on an error nothing is appended.
    #[inline]
    pub(crate) fn append<'p>(
        &mut self,
        packet: &Packet<'p>,
        records: &mut Records<'_, 'p>,
    ) -> Result<(), WriterError> {
        let interface = self.count(packet)?;
        let captured_len = self.clipped_len(packet)?;
        match self.format {
            Format::Pcap => append_pcap(packet, captured_len, records)?,
            Format::PcapNg => append_pcapng(packet, interface, captured_len, records),
        }
        records.end_record();
        Ok(())
    }

    /// Counts the packet, and gives the number of its interface in the file.
    fn count(&mut self, packet: &Packet<'_>) -> Result<u32, WriterError> {
        let (interface, count) = (packet.interface, self.delivered.len());
        // Errors are made where they are: one that is ready has to be dropped again for each packet.
        let number = u32::try_from(interface).ok();
        let Some((delivered, number)) = self.delivered.get_mut(interface).zip(number) else {
            return Err(WriterError::UnknownInterface { interface, count });
        };
        *delivered += 1;
        Ok(number)
    }

    /// How many bytes of the packet go to the file.
    fn clipped_len(&self, packet: &Packet<'_>) -> Result<u32, WriterError> {
        let captured = packet.captured_len();
        match u32::try_from(captured) {
            Ok(length) if length <= packet.original_len => Ok(length.min(self.snaplen)),
            _ => Err(WriterError::OriginalTooShort { original: packet.original_len, captured }),
        }
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
#[inline]
fn append_pcap<'p>(
    packet: &Packet<'p>,
    captured_len: u32,
    records: &mut Records<'_, 'p>,
) -> Result<(), WriterError> {
    let Ok(seconds) = u32::try_from(packet.timestamp_ns / NS_PER_S) else {
        return Err(WriterError::TimestampTooLate { timestamp_ns: packet.timestamp_ns });
    };
    let subsec_ns = low_half(packet.timestamp_ns % NS_PER_S);
    records.copy_words(&[seconds, subsec_ns, captured_len, packet.original_len]);
    append_captured(packet, captured_len, records);
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
///      |       opt_comment = 1         |          length               |   only
///      /                 text, padded to 32 bits                       /   with a comment
///      |       epb_flags = 2           |          length = 4           |
///      |                             flags                             |
///      |     epb_dropcount = 4         |          length = 8           |   only
///      |                       packets lost (64 bits)                  |   behind a loss
///      | epb_processid_threadid = 8    |          length = 8           |
///      |                              pid                              |
///      |                              tid                              |   only where the
///      | 0x8001, Apple's               |          length = 4           |   process is known
///      |               number of the process block                     |
///      |        opt_endofopt = 0       |          length = 0           |
///      |                      Block Total Length                       |
/// ```
#[inline]
fn append_pcapng<'p>(packet: &Packet<'p>, interface: u32, captured_len: u32, records: &mut Records<'_, 'p>) {
    let padded_len = captured_len.next_multiple_of(4);
    let dropcount_len = if packet.dropped_before > 0 { EPB_DROPCOUNT_LEN } else { 0 };
    let process_len = if packet.process.is_some() { EPB_PROCESS_LEN } else { 0 };
    let comment = packet.comment.map(Comment::of);
    let comment_len = comment.as_ref().map_or(0, Comment::option_len);
    let total_len = EPB_FIXED_LEN + padded_len + comment_len + dropcount_len + process_len;
    let (upper, lower) = halves(packet.timestamp_ns);
    records.copy_words(&[EPB_TYPE, total_len, interface, upper, lower, captured_len, packet.original_len]);
    append_captured(packet, captured_len, records);
    records.copy(&[0; 3][..(padded_len - captured_len) as usize]);
    if let Some(comment) = comment {
        comment.append_to(records);
    }
    records.copy_words(&[option_head(EPB_FLAGS, 4), packet.direction.flags()]);
    if packet.dropped_before > 0 {
        records.copy_words(&[option_head(EPB_DROPCOUNT, 8)]);
        records.copy(&packet.dropped_before.to_ne_bytes());
    }
    if let Some(ProcessRef { pid, tid, block }) = packet.process {
        let [head, block_head] = [option_head(EPB_PROCESSID_THREADID, 8), option_head(EPB_PROCESS_BLOCK, 4)];
        records.copy_words(&[head, pid, tid, block_head, block]);
    }
    records.copy_words(&[OPT_ENDOFOPT, total_len]);
}

/// A text that one option holds.
struct Comment<'a> {
    text: &'a str,
    len: u16,
}

impl<'a> Comment<'a> {
    fn of(text: &'a str) -> Self {
        let text = &text[..text.floor_char_boundary(u16::MAX.into())];
        Self { text, len: u16::try_from(text.len()).unwrap_or(u16::MAX) }
    }

    fn option_len(&self) -> u32 {
        4 + u32::from(self.len).next_multiple_of(4)
    }

    fn append_to(&self, records: &mut Records<'_, '_>) {
        records.copy_words(&[option_head(OPT_COMMENT, self.len)]);
        records.copy(self.text.as_bytes());
        records.copy(&[0; 3][..usize::from(self.len).next_multiple_of(4) - usize::from(self.len)]);
    }
}

/// The first `captured_len` bytes of the packet, its VLAN tag where it belongs.
#[inline]
fn append_captured<'p>(packet: &Packet<'p>, captured_len: u32, records: &mut Records<'_, 'p>) {
    let len = captured_len as usize;
    match packet.front() {
        None => records.put(&packet.bytes[..len]),
        Some((front, rest)) => {
            let in_front = len.min(FRONT_LEN);
            records.copy(&front[..in_front]);
            records.put(&rest[..len - in_front]);
        }
    }
}

/// Two 16-bit fields, code and length, as the word that holds both in this machine's byte order.
const fn option_head(code: u16, length: u16) -> u32 {
    let ([a, b], [c, d]) = (code.to_ne_bytes(), length.to_ne_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

/// Upper and lower half.
const fn halves(value: u64) -> (u32, u32) {
    (low_half(value >> 32), low_half(value))
}

#[expect(clippy::cast_possible_truncation, reason = "it is asked for the low half")]
const fn low_half(value: u64) -> u32 {
    value as u32
}

const NS_PER_S: u64 = 1_000_000_000;
/// Destination and source address, `2 * ETH_ALEN`.
const ADDRESSES_LEN: usize = 12;
/// Addresses and a VLAN tag.
const FRONT_LEN: usize = 16;
const EPB_TYPE: u32 = 6;
const OPT_COMMENT: u16 = 1;
const EPB_FLAGS: u16 = 2;
const EPB_DROPCOUNT: u16 = 4;
const EPB_PROCESSID_THREADID: u16 = 8;
/// Apple's: which process block, counted from 0 in the order of the file. Wireshark 4.6 reads it.
const EPB_PROCESS_BLOCK: u16 = 0x8001;
const OPT_ENDOFOPT: u32 = 0;
/// Every field of the block but the packet and a drop count: seven words before the packet, four behind.
const EPB_FIXED_LEN: u32 = 11 * 4;
/// Its head and 64 bits.
const EPB_DROPCOUNT_LEN: u32 = 3 * 4;
/// Two heads and three words.
const EPB_PROCESS_LEN: u32 = 5 * 4;
