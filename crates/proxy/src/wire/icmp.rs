//! ICMP errors for the program.
//!
//! # References
//! RFC 792, RFC 1122 section 3.2.2, RFC 1191 section 4, RFC 1812 section 4.3.2.3 (how much is quoted); RFC 4443 sections 2.4 and 3;
//! `icmp_err_convert` in net/ipv4/icmp.c and `tab_unreach` in net/ipv6/icmp.c (which errno each one becomes).

use std::net::IpAddr;

use rustix::io::Errno;

use super::checksum::Sum;
use super::ip::{self, ICMP, ICMPV6, Link};

/// What an ICMP error says, in the numbers of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    /// An MTU in bytes, a pointer to a parameter, or nothing (0): `ee_info` of a `sock_extended_err`.
    pub(crate) info: u32,
}

impl Cause {
    /// What a router between would have said, had it met what a socket call of ours met on the way to `destination`.
    pub(crate) fn of(errno: Errno, destination: IpAddr) -> Self {
        match errno {
            Errno::NETUNREACH | Errno::NETDOWN | Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL => {
                Self::net_unreachable(destination)
            }
            Errno::CONNREFUSED => Self::port_unreachable(destination),
            Errno::ACCESS | Errno::PERM => Self::prohibited(destination),
            Errno::NOPROTOOPT if destination.is_ipv4() => Self::protocol_unreachable(),
            _ => Self::host_unreachable(destination),
        }
    }

    /// No route: `ENETUNREACH`.
    pub(crate) fn net_unreachable(destination: IpAddr) -> Self {
        Self::unreachable(destination, 0, 0)
    }

    /// Nobody there: `EHOSTUNREACH`.
    pub(crate) fn host_unreachable(destination: IpAddr) -> Self {
        Self::unreachable(destination, 1, 3)
    }

    /// Nobody listens: `ECONNREFUSED`.
    pub(crate) fn port_unreachable(destination: IpAddr) -> Self {
        Self::unreachable(destination, 3, 4)
    }

    /// The protocol is not known there: `ENOPROTOOPT`. IPv6 has another message for that, which no connection ends by.
    fn protocol_unreachable() -> Self {
        Self { kind: UNREACHABLE, code: 2, info: 0 }
    }

    /// Somebody does not want it: `EHOSTUNREACH` for IPv4, `EACCES` for IPv6.
    pub(crate) fn prohibited(destination: IpAddr) -> Self {
        Self::unreachable(destination, 13, 1)
    }

    /// Longer than the path's MTU, in bytes: `EMSGSIZE`.
    pub(crate) fn too_big(destination: IpAddr, mtu: u32) -> Self {
        match destination {
            IpAddr::V4(_) => Self { kind: UNREACHABLE, code: FRAG_NEEDED, info: mtu },
            IpAddr::V6(_) => Self { kind: TOO_BIG_V6, code: 0, info: mtu },
        }
    }

    fn unreachable(destination: IpAddr, v4: u8, v6: u8) -> Self {
        match destination {
            IpAddr::V4(_) => Self { kind: UNREACHABLE, code: v4, info: 0 },
            IpAddr::V6(_) => Self { kind: UNREACHABLE_V6, code: v6, info: 0 },
        }
    }

    /// The second half of the ICMP header.
    fn rest_of_header(self, is_v4: bool) -> [u8; 4] {
        let [a, b, high, low] = self.info.to_be_bytes();
        match (is_v4, self.kind, self.code) {
            (true, UNREACHABLE, FRAG_NEEDED) => [0, 0, high, low],
            (true, PARAMETER_PROBLEM, _) => [low, 0, 0, 0],
            (false, TOO_BIG_V6 | PARAMETER_PROBLEM_V6, _) => [a, b, high, low],
            _ => [0; 4],
        }
    }
}

/// A frame with an ICMP error about an IP packet of the program, which is quoted as far as the family's rules want.
/// `reporter` is who found it out: a router, or the packet's destination.
pub(crate) fn icmp_error(
    link_back: Link,
    reporter: IpAddr,
    quoted: &[u8],
    program: IpAddr,
    cause: Cause,
) -> Option<Vec<u8>> {
    let is_v4 = program.is_ipv4();
    let room = if is_v4 { MAX_ERROR } else { MAX_ERROR_V6 };
    let quoted = &quoted[..quoted.len().min(room)];
    let head = [cause.kind, cause.code, 0, 0];
    let message = [&head, cause.rest_of_header(is_v4).as_slice(), quoted].concat();
    icmp_frame(link_back, reporter, program, TTL, message)
}

/// A frame with an ICMP message whose checksum is filled in.
pub(super) fn icmp_frame(
    link: Link,
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    message: Vec<u8>,
) -> Option<Vec<u8>> {
    Some(link.frame(&icmp_packet(source, destination, ttl, message)?))
}

/// An IP packet with an ICMP message whose checksum is filled in.
pub(super) fn icmp_packet(
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    mut message: Vec<u8>,
) -> Option<Vec<u8>> {
    let (protocol, start) = match source {
        IpAddr::V4(_) => (ICMP, Sum::default()),
        IpAddr::V6(_) => (ICMPV6, Sum::pseudo_header(source, destination, ICMPV6, message.len())),
    };
    let checksum = start.and(&message).checksum();
    message.get_mut(2..4)?.copy_from_slice(&checksum);
    ip::packet(source, destination, protocol, ttl, &message)
}

/// include/uapi/linux/icmp.h, icmpv6.h.
const UNREACHABLE: u8 = 3;
const FRAG_NEEDED: u8 = 4;
const PARAMETER_PROBLEM: u8 = 12;
const UNREACHABLE_V6: u8 = 1;
const TOO_BIG_V6: u8 = 2;
const PARAMETER_PROBLEM_V6: u8 = 4;
/// Bytes that are quoted so that the error fits 576 bytes, or 1280 for IPv6.
const MAX_ERROR: usize = 576 - 20 - 8;
const MAX_ERROR_V6: usize = 1280 - 40 - 8;
const TTL: u8 = 64;
