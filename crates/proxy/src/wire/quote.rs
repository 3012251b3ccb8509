//! What the program sent, written down again for an ICMP error to quote.
//!
//! A socket gives datagrams without their headers. Who reads an error looks for addresses, ports and identifiers; the
//! rest is filled with what is most common.
//!
//! # References
//! RFC 768; RFC 792.

use std::net::{IpAddr, SocketAddr};

use super::checksum::Sum;
use super::echo::Echo;
use super::icmp::icmp_packet;
use super::ip::{Header, UDP};

/// The packet with a datagram of `len` bytes, of which `payload` is the beginning.
pub(crate) fn quoted_datagram(
    source: SocketAddr,
    destination: SocketAddr,
    len: usize,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let len = 8 + len.max(payload.len());
    let [len_high, len_low] = u16::try_from(len).ok()?.to_be_bytes();
    let [from, to] = [source.port(), destination.port()].map(u16::to_be_bytes);
    let mut datagram = [&[from[0], from[1], to[0], to[1], len_high, len_low, 0, 0], payload].concat();
    if datagram.len() == len {
        let sum = Sum::pseudo_header(source.ip(), destination.ip(), UDP, len).and(&datagram);
        // Zero would say that there is none (RFC 768).
        let checksum = if sum.checksum() == [0, 0] { [0xff, 0xff] } else { sum.checksum() };
        datagram[6..8].copy_from_slice(&checksum);
    }
    let header = Header { protocol: UDP, ttl: TTL, len };
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.v4(source, destination, DONT_FRAGMENT, &datagram)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => header.v6(source, destination, &datagram),
        _ => None,
    }
}

/// The packet with an echo request.
pub(crate) fn quoted_echo(program: IpAddr, destination: IpAddr, ttl: u8, echo: &Echo<'_>) -> Option<Vec<u8>> {
    icmp_packet(program, destination, ttl, echo.request(program.is_ipv4()))
}

/// Identification 0, flag DF, offset 0: what Linux sends of what fits.
const DONT_FRAGMENT: [u8; 4] = [0, 0, 0x40, 0];
const TTL: u8 = 64;
