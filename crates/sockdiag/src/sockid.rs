//! The addresses of a socket, as `sock_diag` lays them out.
//!
//! # References
//! `struct inet_diag_sockid` of `include/uapi/linux/inet_diag.h`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// `linux/in.h`.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// The addresses and the cookie of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SockId {
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) cookie: u64,
}

/// Bytes: two ports, two addresses of 16 bytes, ifindex, cookie.
pub(crate) const SOCKID: usize = 2 + 2 + 16 + 16 + 4 + 8;

/// Bytes that ask for the socket with these addresses, whatever its cookie is.
pub(crate) fn query(src: SocketAddr, dst: SocketAddr) -> [u8; SOCKID] {
    let mut bytes = [0; SOCKID];
    bytes[..2].copy_from_slice(&src.port().to_be_bytes());
    bytes[2..4].copy_from_slice(&dst.port().to_be_bytes());
    bytes[4..20].copy_from_slice(&octets(src.ip()));
    bytes[20..36].copy_from_slice(&octets(dst.ip()));
    // INET_DIAG_NOCOOKIE, twice.
    bytes[40..].fill(0xff);
    bytes
}

/// What the kernel says of a socket of a family. Addresses of IPv4 in IPv6's clothes are IPv4's.
pub(crate) fn parse(family: u8, bytes: &[u8; SOCKID]) -> Option<SockId> {
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let address = |at: usize| -> Option<IpAddr> {
        match family {
            AF_INET => Some(<[u8; 4]>::try_from(&bytes[at..at + 4]).ok()?.into()),
            AF_INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[at..at + 16]).ok()?).to_canonical()),
            _ => None,
        }
    };
    let half = |at: usize| Some(u64::from(u32::from_ne_bytes(bytes[at..at + 4].try_into().ok()?)));
    Some(SockId {
        src: SocketAddr::new(address(4)?, port(0)),
        dst: SocketAddr::new(address(20)?, port(2)),
        cookie: half(40)? | half(44)? << 32,
    })
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The family that speaks of an address.
pub(crate) fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_back() {
        for (family, src, dst) in [
            (AF_INET, "10.0.0.1:40000", "192.0.2.7:443"),
            (AF_INET6, "[2001:db8::1]:40000", "[2001:db8::2]:443"),
        ] {
            let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
            let id = parse(family, &query(src, dst)).unwrap();
            assert_eq!(id, SockId { src, dst, cookie: u64::MAX });
        }
        let mapped = query("[::ffff:10.0.0.1]:1".parse().unwrap(), "[::]:0".parse().unwrap());
        assert_eq!(parse(AF_INET6, &mapped).unwrap().src, "10.0.0.1:1".parse().unwrap());
        assert_eq!(parse(1, &mapped), None);
    }
}
