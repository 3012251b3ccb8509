//! The headers that nearly every packet has, at the places where they nearly always are: what one look is enough for.
//!
//! # Theory of operation
//! Ethernet without a tag, IPv4 without options or IPv6 without extensions, neither a fragment nor of unknown length, TCP or UDP. Anything else gets
//! nothing here, and a whole [`dissect`](crate::dissect). What is said here, that says too.

use crate::bytes::{u16_at, u32_at};
use crate::transport::{Tcp, TcpFlags};

/// A packet of TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// From where to where.
    pub way: Way,
    /// Of TCP.
    pub tcp: Option<Tcp>,
    /// How many bytes are behind the headers, before they were cut.
    pub payload_len: u32,
}

/// Both ends of a packet, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The sender's address; of IPv4 in the low bits.
    pub src: u128,
    /// The receiver's.
    pub dst: u128,
    /// Protocol and family above the sender's port above the receiver's.
    pub rest: u64,
}

impl Way {
    /// From the parts of `rest`.
    #[inline]
    pub fn new((src, src_port): (u128, u16), (dst, dst_port): (u128, u16), kind: u64) -> Self {
        Self { src, dst, rest: kind << 32 | u64::from(src_port) << 16 | u64::from(dst_port) }
    }

    /// The way back.
    #[must_use]
    pub fn back(&self) -> Self {
        let (src_port, dst_port) = (self.rest >> 16 & 0xffff, self.rest & 0xffff);
        let rest = self.rest >> 32 << 32 | dst_port << 16 | src_port;
        Self { src: self.dst, dst: self.src, rest }
    }

    /// Protocol and family in one number.
    #[inline]
    pub fn kind(protocol: u16, is_ipv6: bool) -> u64 {
        u64::from(protocol) << 1 | u64::from(is_ipv6)
    }
}

/// Looks at a frame.
#[inline]
pub fn glance(frame: &[u8]) -> Option<Glance> {
    match u16_at(frame, 12)? {
        0x0800 => v4(frame.get(14..)?),
        0x86dd => v6(frame.get(14..)?),
        _ => None,
    }
}

#[inline]
fn v4(packet: &[u8]) -> Option<Glance> {
    let (fixed, behind) = packet.split_first_chunk::<20>()?;
    let total_len = u32::from(u16_at(fixed, 2)?);
    // More fragments, or an offset: a later one has no header, and the first is no reason to hurry.
    let is_fragment = u16_at(fixed, 6)? & 0x3fff != 0;
    if fixed[0] != 0x45 || is_fragment || total_len < 20 {
        return None;
    }
    let address = |at| Some(u128::from(u32_at(fixed, at)?));
    transport((address(12)?, address(16)?), fixed[9], false, behind, total_len - 20)
}

#[inline]
fn v6(packet: &[u8]) -> Option<Glance> {
    let (fixed, behind) = packet.split_first_chunk::<40>()?;
    let body_len = u32::from(u16_at(fixed, 4)?);
    if fixed[0] >> 4 != 6 || body_len == 0 {
        return None;
    }
    let address = |at: usize| Some(u128::from_be_bytes(*fixed.get(at..)?.first_chunk()?));
    transport((address(8)?, address(24)?), fixed[6], true, behind, body_len)
}

#[inline]
fn transport(
    (src, dst): (u128, u128),
    protocol: u8,
    is_ipv6: bool,
    body: &[u8],
    body_len: u32,
) -> Option<Glance> {
    let (ports, header_len, tcp) = match protocol {
        TCP => {
            let fixed: &[u8; 20] = body.first_chunk()?;
            let tcp = Tcp {
                src_port: u16_at(fixed, 0)?,
                dst_port: u16_at(fixed, 2)?,
                seq: u32_at(fixed, 4)?,
                ack: u32_at(fixed, 8)?,
                window: u16_at(fixed, 14)?,
                flags: TcpFlags(fixed[13]),
            };
            ((tcp.src_port, tcp.dst_port), u32::from(fixed[12] >> 4) * 4, Some(tcp))
        }
        UDP => {
            let fixed: &[u8; 8] = body.first_chunk()?;
            ((u16_at(fixed, 0)?, u16_at(fixed, 2)?), 8, None)
        }
        _ => return None,
    };
    let is_whole = header_len >= if protocol == TCP { 20 } else { 8 };
    let payload_len = body_len.checked_sub(header_len).filter(|_| is_whole)?;
    let kind = Way::kind(protocol.into(), is_ipv6);
    Some(Glance { way: Way::new((src, ports.0), (dst, ports.1), kind), tcp, payload_len })
}

// IANA's protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
