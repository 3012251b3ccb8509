//! Ethernet, IPv4 and IPv6 headers.
//!
//! # References
//! RFC 791 section 3.1; RFC 8200 sections 3 and 4; include/uapi/linux/if_ether.h.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;

/// The two addresses of an Ethernet frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) destination: [u8; 6],
    pub(crate) source: [u8; 6],
}

/// An IP packet inside of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    pub(crate) link: Link,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Time to live or hop limit.
    pub(crate) ttl: u8,
    /// The protocol of `payload`: the last one in a chain of IPv6 headers.
    pub(crate) protocol: u8,
    /// From the first byte of the IP header to the last one that it counts; padding of the frame is left out.
    pub(crate) bytes: &'a [u8],
    /// What follows the IP headers: a transport header, or the middle of one in a fragment.
    pub(crate) payload: &'a [u8],
    /// Which part this is, if the packet was sent in parts.
    pub(crate) fragment: Option<Part>,
}

/// A part of a packet that was sent as fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// What all parts of the packet have in common, besides addresses and protocol.
    pub(crate) id: u32,
    /// Where it begins, in bytes from the first one after the IP headers.
    pub(crate) offset: usize,
    /// Whether another one follows it.
    pub(crate) is_followed: bool,
}

impl Link {
    /// The way back.
    pub(crate) fn reversed(self) -> Self {
        Self { destination: self.source, source: self.destination }
    }

    /// A frame with an IP packet in it.
    pub(crate) fn frame(self, packet: &[u8]) -> Vec<u8> {
        let kind = if packet.first().is_some_and(|first| first >> 4 == 6) { ETH_P_IPV6 } else { ETH_P_IP };
        [&self.destination, &self.source, kind.to_be_bytes().as_slice(), packet].concat()
    }
}

impl<'a> Packet<'a> {
    /// Reads a frame, Ethernet header first.
    pub(crate) fn read(frame: &'a [u8]) -> Option<Self> {
        let (&destination, rest) = frame.split_first_chunk()?;
        let (&source, rest) = rest.split_first_chunk()?;
        let (&kind, packet) = rest.split_first_chunk()?;
        let link = Link { destination, source };
        match u16::from_be_bytes(kind) {
            ETH_P_IP => Self::read_v4(link, packet),
            ETH_P_IPV6 => Self::read_v6(link, packet),
            _ => None,
        }
    }

    /// Whether a router may send it in parts, or its sender has.
    pub(crate) fn may_fragment(&self) -> bool {
        match self.source {
            IpAddr::V4(_) => self.bytes.get(6).is_some_and(|flags| flags & 0x40 == 0),
            IpAddr::V6(_) => self.fragment.is_some(),
        }
    }

    fn read_v4(link: Link, rest: &'a [u8]) -> Option<Self> {
        let (header, _) = rest.split_first_chunk::<20>()?;
        let header_len = usize::from(header[0] & 0x0f) * 4;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 || header_len < header.len() {
            return None;
        }
        let bytes = rest.get(..len)?;
        Some(Self {
            link,
            source: IpAddr::from(four(header, 12)),
            destination: IpAddr::from(four(header, 16)),
            ttl: header[8],
            protocol: header[9],
            bytes,
            payload: bytes.get(header_len..)?,
            fragment: part_v4(header),
        })
    }

    fn read_v6(link: Link, rest: &'a [u8]) -> Option<Self> {
        let (header, _) = rest.split_first_chunk::<40>()?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let bytes = rest.get(..header.len() + len)?;
        let chain = Chain::read(header[6], bytes.get(header.len()..)?)?;
        Some(Self {
            link,
            source: IpAddr::from(sixteen(header, 8)),
            destination: IpAddr::from(sixteen(header, 24)),
            ttl: header[7],
            protocol: chain.protocol,
            bytes,
            payload: chain.payload,
            fragment: chain.fragment,
        })
    }
}

/// What is behind the extension headers of IPv6.
struct Chain<'a> {
    protocol: u8,
    payload: &'a [u8],
    fragment: Option<Part>,
}

impl<'a> Chain<'a> {
    /// Walks the headers. Each is 8 bytes or more, so the slice is the bound.
    fn read(first: u8, bytes: &'a [u8]) -> Option<Self> {
        let mut chain = Self { protocol: first, payload: bytes, fragment: None };
        while matches!(chain.protocol, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT) {
            let (header, _) = chain.payload.split_first_chunk::<8>()?;
            let is_fragment = chain.protocol == FRAGMENT;
            if is_fragment {
                chain.fragment = part_v6(*header);
            }
            // The fragment header has no length: it is 8 bytes.
            let len = if is_fragment { 8 } else { 8 + usize::from(header[1]) * 8 };
            chain.protocol = header[0];
            chain.payload = chain.payload.get(len..)?;
            if chain.fragment.is_some_and(|part| part.offset > 0) {
                break; // What follows is the middle of something.
            }
        }
        Some(chain)
    }
}

/// An IP packet without options around a transport message.
pub(super) fn packet(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ttl: u8,
    message: &[u8],
) -> Option<Vec<u8>> {
    let header = Header { protocol, ttl, len: message.len() };
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => header.v4(source, destination, [0; 4], message),
        (IpAddr::V6(source), IpAddr::V6(destination)) => header.v6(source, destination, message),
        _ => None,
    }
}

/// What the headers of both families say.
pub(super) struct Header {
    pub(super) protocol: u8,
    pub(super) ttl: u8,
    /// Bytes that the header counts as following it. Where the packet is a quotation there are fewer.
    pub(super) len: usize,
}

impl Header {
    /// A packet; `fragmentation` is identification, flags and offset as they stand in the header.
    pub(super) fn v4(
        &self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        fragmentation: [u8; 4],
        payload: &[u8],
    ) -> Option<Vec<u8>> {
        let [len_high, len_low] = u16::try_from(20 + self.len).ok()?.to_be_bytes();
        let [id_high, id_low, flags, offset] = fragmentation;
        let mut header =
            [0x45, 0, len_high, len_low, id_high, id_low, flags, offset, self.ttl, self.protocol, 0, 0]
                .into_iter()
                .chain(source.octets())
                .chain(destination.octets())
                .collect::<Vec<u8>>();
        let checksum = Sum::default().and(&header).checksum();
        header[10..12].copy_from_slice(&checksum);
        header.extend_from_slice(payload);
        Some(header)
    }

    /// A packet whose payload begins with a header of the kind `protocol`.
    pub(super) fn v6(&self, source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Option<Vec<u8>> {
        let [len_high, len_low] = u16::try_from(self.len).ok()?.to_be_bytes();
        let header = [0x60, 0, 0, 0, len_high, len_low, self.protocol, self.ttl];
        Some([&header, source.octets().as_slice(), &destination.octets(), payload].concat())
    }
}

fn part_v4(header: &[u8; 20]) -> Option<Part> {
    let field = u16::from_be_bytes([header[6], header[7]]);
    let (offset, is_followed) = (usize::from(field & 0x1fff) * 8, field & 0x2000 != 0);
    let id = u32::from(u16::from_be_bytes([header[4], header[5]]));
    (offset > 0 || is_followed).then_some(Part { id, offset, is_followed })
}

fn part_v6(header: [u8; 8]) -> Option<Part> {
    let field = u16::from_be_bytes([header[2], header[3]]);
    let (offset, is_followed) = (usize::from(field & 0xfff8), field & 1 != 0);
    let id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    // One that is first and last is no part (RFC 6946).
    (offset > 0 || is_followed).then_some(Part { id, offset, is_followed })
}

fn four(header: &[u8; 20], at: usize) -> [u8; 4] {
    std::array::from_fn(|index| header[at + index])
}

fn sixteen(header: &[u8; 40], at: usize) -> [u8; 16] {
    std::array::from_fn(|index| header[at + index])
}

/// include/uapi/linux/if_ether.h.
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// include/uapi/linux/in.h, in6.h.
pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;
pub(super) const FRAGMENT: u8 = 44;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;
