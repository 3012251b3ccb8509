//! IPv4 and IPv6, down to what they carry.
//!
//! # References
//! RFC 791; RFC 8200, section 4; RFC 2675 for packets above 65535 bytes; net/ipv6/ip6_offload.c for those that have no length at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bytes::{u16_at, u32_at};
use crate::frame::Packet;
use crate::transport::{self, Transport};

/// What an IP header says.
pub(crate) struct Header<'a> {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) protocol: u8,
    /// A later fragment: what is behind has no header.
    pub(crate) is_headless: bool,
    /// What is behind it, as far as it was captured.
    pub(crate) body: &'a [u8],
    /// How many bytes that was.
    pub(crate) body_len: u32,
}

pub(crate) fn v4(packet: &[u8]) -> Option<Packet<'_>> {
    Some(whole(&v4_header(packet)?))
}

pub(crate) fn v6(packet: &[u8]) -> Option<Packet<'_>> {
    Some(whole(&v6_header(packet)?))
}

fn whole<'a>(header: &Header<'a>) -> Packet<'a> {
    let (transport, payload, payload_len) = if header.is_headless {
        (Transport::Fragment { protocol: header.protocol }, header.body, header.body_len)
    } else {
        transport::read(header)
    };
    Packet { src: header.src, dst: header.dst, transport, payload, payload_len }
}

pub(crate) fn v4_header(packet: &[u8]) -> Option<Header<'_>> {
    let fixed: &[u8; V4_LEN] = packet.first_chunk()?;
    let header_len = usize::from(fixed[0] & 0xf) * 4;
    if fixed[0] >> 4 != 4 || header_len < V4_LEN {
        return None;
    }
    // 0: the kernel has left it to the device, as for a packet of BIG TCP.
    let total_len = match u16_at(fixed, 2)? {
        0 => packet.len(),
        len => len.into(),
    };
    let (body, body_len) = behind(packet, header_len, total_len)?;
    let address = |at: usize| Some(IpAddr::V4(Ipv4Addr::from(*fixed[at..].first_chunk::<4>()?)));
    Some(Header {
        src: address(12)?,
        dst: address(16)?,
        protocol: fixed[9],
        is_headless: u16_at(fixed, 6)? & V4_OFFSET != 0,
        body,
        body_len,
    })
}

pub(crate) fn v6_header(packet: &[u8]) -> Option<Header<'_>> {
    let fixed: &[u8; V6_LEN] = packet.first_chunk()?;
    if fixed[0] >> 4 != 6 {
        return None;
    }
    // 0: a jumbogram, or left to the device.
    let total_len = match u16_at(fixed, 4)? {
        0 => packet.len(),
        len => V6_LEN + usize::from(len),
    };
    let (mut protocol, mut at, mut is_headless) = (fixed[6], V6_LEN, false);
    for _ in 0..MAX_EXTENSIONS {
        let Some(extension) = extension(protocol, packet.get(at..).unwrap_or_default()) else { break };
        protocol = extension.next;
        at += extension.len;
        is_headless = extension.is_later_fragment;
        if is_headless {
            break; // What is behind is a piece of something, even if its kind is that of a header.
        }
    }
    let (body, body_len) = behind(packet, at, total_len)?;
    let address = |at: usize| Some(IpAddr::V6(Ipv6Addr::from(*fixed[at..].first_chunk::<16>()?)));
    Some(Header { src: address(8)?, dst: address(24)?, protocol, is_headless, body, body_len })
}

/// What is behind a header, and how long it was before it was cut. What comes behind the packet pads the frame.
fn behind(packet: &[u8], header_len: usize, total_len: usize) -> Option<(&[u8], u32)> {
    let body = packet.get(header_len..total_len.min(packet.len()).max(header_len))?;
    let body_len = total_len.saturating_sub(header_len);
    Some((body, u32::try_from(body_len).unwrap_or(u32::MAX)))
}

/// A header between that of IPv6 and what it carries.
struct Extension {
    next: u8,
    len: usize,
    is_later_fragment: bool,
}

fn extension(protocol: u8, bytes: &[u8]) -> Option<Extension> {
    let [next, length] = *bytes.first_chunk()?;
    let len = match protocol {
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (usize::from(length) + 1) * 8,
        FRAGMENT => 8,
        AUTHENTICATION => (usize::from(length) + 2) * 4,
        _ => return None,
    };
    let is_later_fragment = protocol == FRAGMENT && u32_at(bytes, 0)? & V6_OFFSET != 0;
    (bytes.len() >= len).then_some(Extension { next, len, is_later_fragment })
}

const V4_LEN: usize = 20;
const V6_LEN: usize = 40;
/// Of the field with the flags: 8-byte units from the packet's beginning.
const V4_OFFSET: u16 = 0x1fff;
/// The same in the low half of the fragment header's first word.
const V6_OFFSET: u32 = 0xfff8;
/// More than anybody sends; a bound on the work for a packet.
const MAX_EXTENSIONS: usize = 8;
// IANA's protocol numbers.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv6 header that claims `len` bytes behind it.
    fn v6_fixed(next: u8, len: u16) -> Vec<u8> {
        let [high, low] = len.to_be_bytes();
        let mut bytes = vec![0x60, 0, 0, 0, high, low, next, 64];
        bytes.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        bytes
    }

    const UDP: &[u8] = b"\x04\xd2\0\x35\0\x0a\0\0hi";

    #[test]
    fn extension_headers_are_passed_by() {
        let chain = [&[43, 0, 0, 0, 0, 0, 0, 0][..], &[17, 0, 0, 0, 0, 0, 0, 0], UDP].concat();
        let packet = [v6_fixed(0, 26), chain].concat();
        let packet = v6(&packet).unwrap();
        assert_eq!(packet.dst.to_string(), "2001:db8::2");
        assert_eq!(packet.transport, Transport::Udp { src_port: 1234, dst_port: 53 });
        assert_eq!(packet.payload, b"hi");
    }

    #[test]
    fn a_first_fragment_has_ports_and_a_later_one_has_none() {
        for (offset, has_ports) in [(1_u8, true), (9, false)] {
            let packet = [v6_fixed(44, 18), [&[17, 0, 0, offset, 0, 0, 0, 1][..], UDP].concat()].concat();
            let transport = v6(&packet).unwrap().transport;
            assert_eq!(matches!(transport, Transport::Udp { .. }), has_ports, "{transport:?}");
            let mut packet = b"\x45\0\0\x1e\0\0\x20\0\x40\x11\0\0\xc0\0\x02\x01\xc6\x33\x64\x02".to_vec();
            packet[7] = offset - 1;
            packet.extend(UDP);
            assert_eq!(matches!(v4(&packet).unwrap().transport, Transport::Udp { .. }), has_ports);
        }
    }

    #[test]
    fn a_piece_of_a_header_is_not_read_as_one() {
        let packet = [v6_fixed(44, 16), vec![60, 0, 0, 8, 0, 0, 0, 1, 17, 0, 1, 2, 3, 4, 5, 6]].concat();
        let packet = v6(&packet).unwrap();
        assert_eq!((packet.transport, packet.payload.len()), (Transport::Fragment { protocol: 60 }, 8));
    }

    #[test]
    fn a_packet_without_a_length_is_as_long_as_the_frame() {
        let long = [UDP, &vec![7; 70_000]].concat();
        let packet = [v6_fixed(17, 0), long.clone()].concat();
        assert_eq!(v6(&packet).unwrap().payload_len, 70_002);
        let v4_fixed = b"\x45\0\0\0\0\0\0\0\x40\x11\0\0\xc0\0\x02\x01\xc6\x33\x64\x02".to_vec();
        assert_eq!(v4(&[v4_fixed, long].concat()).unwrap().payload_len, 70_002);
    }

    #[test]
    fn a_chain_that_does_not_end_is_left() {
        let endless: Vec<u8> = [0, 0, 0, 0, 0, 0, 0, 0].repeat(100);
        let packet = [v6_fixed(0, 800), endless].concat();
        assert_eq!(v6(&packet).unwrap().transport, Transport::Other { protocol: 0 });
    }
}
