//! Frames out of a ring block's bytes.
//!
//! # Theory of operation
//! A block starts with `struct tpacket_block_desc`; `offset_to_first_pkt` leads to the first `struct tpacket3_hdr`, `tp_next_offset` from one to the
//! next. The count of packets ends the walk, not the last `tp_next_offset`, which is 0 in a closed block and stale in an open one.
//!
//! ```text
//! block   0 version  4 offset_to_priv  8 block_status  12 num_pkts  16 offset_to_first_pkt  20 blk_len
//! frame   0 tp_next_offset  4 tp_sec  8 tp_nsec  12 tp_snaplen  16 tp_len  20 tp_status  24 tp_mac (16 bits)
//!         32 tp_vlan_tci  36 tp_vlan_tpid (16 bits)  48 sockaddr_ll: +4 sll_ifindex  +10 sll_pkttype (8 bits)
//! ```
//!
//! # References
//! include/uapi/linux/if_packet.h; Documentation/networking/packet_mmap.rst.

use crate::program::PACKET_OUTGOING;

/// Which way a frame went, seen from the traced namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received by a link of the namespace.
    Inbound,
    /// Sent by a link of the namespace. All of loopback counts as sent.
    Outbound,
}

/// An 802.1Q or 802.1ad tag that the kernel took out of a received frame, as the four bytes that stood behind the addresses.
pub type VlanTag = [u8; 4];

/// One captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'block> {
    /// The link that sent or received it.
    pub ifindex: u32,
    /// When, in nanoseconds since the epoch.
    pub timestamp_ns: u64,
    /// Bytes of the frame on the link, a VLAN tag that the kernel took out not counted.
    pub original_len: u32,
    /// Which way it went.
    pub direction: Direction,
    /// The tag that belongs between the addresses and the type.
    pub vlan: Option<VlanTag>,
    /// The frame from its destination address on, a VLAN tag that the kernel took out missing.
    pub bytes: &'block [u8],
}

/// The frames of one block, in the order of their arrival.
#[derive(Clone, Debug)]
pub struct Frames<'block> {
    block: &'block [u8],
    next: usize,
    left: u32,
}

impl<'block> Frames<'block> {
    /// Walks a block. Whatever the bytes are, the walk ends and stays inside of them.
    pub fn new(block: &'block [u8]) -> Self {
        let next = u32_at(block, OFFSET_TO_FIRST_PKT).map_or(usize::MAX, widen);
        let left = u32_at(block, NUM_PKTS).unwrap_or(0);
        Self { block, next, left }
    }

    /// How many frames are left, as the block says.
    pub(crate) fn remaining(&self) -> u64 {
        self.left.into()
    }

    /// The walk, ended after `count` frames.
    pub(crate) fn at_most(self, count: u64) -> Self {
        Self { left: u32::try_from(count).map_or(self.left, |count| self.left.min(count)), ..self }
    }
}

impl<'block> Iterator for Frames<'block> {
    type Item = Frame<'block>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'block>> {
        if self.left == 0 {
            return None;
        }
        let header = self.block.get(self.next..)?;
        let frame = parse(header)?;
        let step = widen(u32_at(header, TP_NEXT_OFFSET)?);
        // Without a step, whatever the count says, this was the last: no bytes can keep the walk in place.
        self.left = if step == 0 { 0 } else { self.left - 1 };
        self.next = self.next.saturating_add(step);
        Some(frame)
    }
}

#[inline]
fn parse(header: &[u8]) -> Option<Frame<'_>> {
    let mac = usize::from(u16_at(header, TP_MAC)?);
    let captured = widen(u32_at(header, TP_SNAPLEN)?);
    let seconds = u64::from(u32_at(header, TP_SEC)?);
    let nanoseconds = u64::from(u32_at(header, TP_NSEC)?);
    let pkttype = u32::from(*header.get(SLL_PKTTYPE)?);
    Some(Frame {
        ifindex: u32_at(header, SLL_IFINDEX)?,
        timestamp_ns: seconds * 1_000_000_000 + nanoseconds,
        original_len: u32_at(header, TP_LEN)?,
        direction: if pkttype == PACKET_OUTGOING { Direction::Outbound } else { Direction::Inbound },
        vlan: vlan_tag(header),
        bytes: header.get(mac..mac.checked_add(captured)?)?,
    })
}

/// `None` when the frame had no tag, or has it still.
#[inline]
fn vlan_tag(header: &[u8]) -> Option<VlanTag> {
    let status = u32_at(header, TP_STATUS)?;
    if status & TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let [_, _, tci_high, tci_low] = u32_at(header, TP_VLAN_TCI)?.to_be_bytes();
    let tpid =
        if status & TP_STATUS_VLAN_TPID_VALID == 0 { ETH_P_8021Q } else { u16_at(header, TP_VLAN_TPID)? };
    let [tpid_high, tpid_low] = tpid.to_be_bytes();
    Some([tpid_high, tpid_low, tci_high, tci_low])
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn widen(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

// struct tpacket_block_desc.
const NUM_PKTS: usize = 12;
const OFFSET_TO_FIRST_PKT: usize = 16;
// struct tpacket3_hdr, and the struct sockaddr_ll that follows it, aligned to 16 bytes.
const TP_NEXT_OFFSET: usize = 0;
const TP_SEC: usize = 4;
const TP_NSEC: usize = 8;
const TP_SNAPLEN: usize = 12;
const TP_LEN: usize = 16;
const TP_STATUS: usize = 20;
const TP_MAC: usize = 24;
const TP_VLAN_TCI: usize = 32;
const TP_VLAN_TPID: usize = 36;
const SLL_IFINDEX: usize = 52;
const SLL_PKTTYPE: usize = 58;

const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID: u32 = 1 << 6;
/// include/uapi/linux/if_ether.h.
const ETH_P_8021Q: u16 = 0x8100;

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of frames as the kernel lays them out, each given as (status, tci, tpid, pkttype, bytes).
    fn block(frames: &[(u32, u32, u16, u8, &[u8])]) -> Vec<u8> {
        let mut block = vec![0_u8; 48];
        let put = |at: usize, bytes: &[u8], to: &mut Vec<u8>| to[at..at + bytes.len()].copy_from_slice(bytes);
        put(NUM_PKTS, &u32::try_from(frames.len()).unwrap().to_ne_bytes(), &mut block);
        put(OFFSET_TO_FIRST_PKT, &48_u32.to_ne_bytes(), &mut block);
        for (i, (status, tci, tpid, pkttype, bytes)) in frames.iter().enumerate() {
            let mut frame = vec![0_u8; 82];
            let len = u32::try_from(bytes.len()).unwrap();
            let next = if i + 1 == frames.len() { 0 } else { (82 + len).next_multiple_of(8) };
            put(TP_NEXT_OFFSET, &next.to_ne_bytes(), &mut frame);
            put(TP_SEC, &3_u32.to_ne_bytes(), &mut frame);
            put(TP_NSEC, &5_u32.to_ne_bytes(), &mut frame);
            put(TP_SNAPLEN, &len.to_ne_bytes(), &mut frame);
            put(TP_LEN, &(len + 100).to_ne_bytes(), &mut frame);
            put(TP_STATUS, &status.to_ne_bytes(), &mut frame);
            put(TP_MAC, &82_u16.to_ne_bytes(), &mut frame);
            put(TP_VLAN_TCI, &tci.to_ne_bytes(), &mut frame);
            put(TP_VLAN_TPID, &tpid.to_ne_bytes(), &mut frame);
            put(SLL_IFINDEX, &2_u32.to_ne_bytes(), &mut frame);
            frame[SLL_PKTTYPE] = *pkttype;
            frame.extend_from_slice(bytes);
            frame.resize(frame.len().next_multiple_of(8), 0);
            block.append(&mut frame);
        }
        block
    }

    #[test]
    fn frames_come_in_order_with_stamp_length_and_direction() {
        let bytes = block(&[(1, 0, 0, 4, b"first frame"), (1, 0, 0, 0, b"second")]);
        let frames: Vec<_> = Frames::new(&bytes).collect();
        assert_eq!(Frames::new(&bytes).at_most(1).count(), 1);
        assert_eq!(Frames::new(&bytes).at_most(u64::MAX).count(), 2);
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0].bytes, b"first frame");
        assert_eq!(frames[0].direction, Direction::Outbound);
        assert_eq!(frames[0].timestamp_ns, 3_000_000_005);
        assert_eq!((frames[0].ifindex, frames[0].original_len), (2, 111));
        assert_eq!(frames[1].bytes, b"second");
        assert_eq!(frames[1].direction, Direction::Inbound);
    }

    #[test]
    fn a_tag_that_the_kernel_took_out_is_given_as_it_stood() {
        let addresses_and_rest = b"ddddddssssssTTpayload";
        let bytes = block(&[(
            TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID,
            0x2064,
            0x88a8,
            0,
            addresses_and_rest,
        )]);
        let frame = Frames::new(&bytes).next().unwrap();
        assert_eq!((frame.vlan, frame.bytes), (Some(*b"\x88\xa8\x20\x64"), &addresses_and_rest[..]));
    }

    #[test]
    fn a_tag_without_a_type_is_802_1q() {
        let bytes = block(&[(TP_STATUS_VLAN_VALID, 100, 0, 0, b"ddddddssssssTT")]);
        assert_eq!(Frames::new(&bytes).next().unwrap().vlan, Some([0x81, 0, 0, 100]));
    }

    /// tests/README.md says where it comes from.
    #[test]
    fn a_block_of_the_kernels_is_read() {
        let block = include_bytes!("../tests/data/open_block.bin");
        let frames: Vec<_> = Frames::new(block).collect();
        assert_eq!(Frames::new(block).remaining(), 4);
        let lengths: Vec<_> = frames.iter().map(|frame| (frame.bytes.len(), frame.original_len)).collect();
        assert_eq!(lengths, [(47, 47), (75, 75), (56, 56), (56, 56)]);
        let directions = frames.iter().map(|frame| frame.direction);
        let (inbound, outbound) = (Direction::Inbound, Direction::Outbound);
        assert!(directions.eq([outbound, outbound, outbound, inbound]));
        assert_eq!((frames[0].ifindex, frames[2].ifindex, frames[3].ifindex), (1, 2, 2));
        assert!(frames.is_sorted_by_key(|frame| frame.timestamp_ns));
        assert!(frames[0].bytes.ends_with(b"hello") && frames[3].bytes.ends_with(b"to the outside"));
    }

    #[test]
    fn a_block_cut_anywhere_ends_the_walk() {
        let whole = block(&[(1, 0, 0, 4, b"first frame"), (0x51, 1, 1, 0, b"second, tagged by the kernel")]);
        for len in 0..whole.len() {
            let frames = Frames::new(&whole[..len]).count();
            assert!(frames <= 2, "cut at {len}");
        }
    }

    #[test]
    fn lengths_that_lie_end_the_walk() {
        for at in (0..130).step_by(2) {
            for lie in [0xffff_u16, 0x8000, 1, 0] {
                let mut bytes = block(&[(1, 0, 0, 4, b"first frame"), (1, 0, 0, 0, b"second")]);
                bytes[at..at + 2].copy_from_slice(&lie.to_ne_bytes());
                assert!(Frames::new(&bytes).all(|frame| frame.bytes.len() <= bytes.len()));
                assert!(Frames::new(&bytes).count() <= bytes.len());
            }
        }
    }
}
