//! Frames that carry neither IPv4 nor IPv6.
//!
//! # References
//! RFC 826 (ARP); include/uapi/linux/if_ether.h.

use std::net::Ipv4Addr;

use crate::bytes::Reader;
use crate::frame::contents;

/// What such a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Somebody looks for the owner of an address.
    ArpRequest {
        /// Who asks.
        sender: Ipv4Addr,
        /// Whom it looks for.
        target: Ipv4Addr,
    },
    /// The owner answers.
    ArpReply {
        /// Whose address it is.
        sender: Ipv4Addr,
        /// The number of the owner's link.
        address: [u8; 6],
    },
    /// Anything else.
    Other {
        /// IEEE's number of what it carries, or, below 0x600, how long that is.
        ethertype: u16,
    },
}

/// Reads a frame that [`dissect`](crate::dissect) knows nothing about. `None` where it ends within its own header.
pub fn link(frame: &[u8]) -> Option<Link> {
    let (ethertype, packet) = contents(frame)?;
    let arp = if ethertype == ETH_P_ARP { arp(packet) } else { None };
    Some(arp.unwrap_or(Link::Other { ethertype }))
}

/// Of IPv4 over Ethernet.
fn arp(packet: &[u8]) -> Option<Link> {
    let mut reader = Reader(packet);
    if reader.take(6)? != ETHERNET_AND_IPV4 {
        return None;
    }
    let operation = reader.u16()?;
    let (address, sender) = (reader.array()?, reader.array::<4>()?.into());
    let (_unknown, target) = (reader.take(6)?, reader.array::<4>()?.into());
    match operation {
        1 => Some(Link::ArpRequest { sender, target }),
        2 => Some(Link::ArpReply { sender, address }),
        _ => None,
    }
}

const ETH_P_ARP: u16 = 0x0806;
/// Hardware and protocol, and how long their addresses are.
const ETHERNET_AND_IPV4: &[u8] = b"\0\x01\x08\0\x06\x04";

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ethertype: [u8; 2], packet: &[u8]) -> Vec<u8> {
        [&[0; 12][..], &ethertype, packet].concat()
    }

    #[test]
    fn who_looks_for_whom_is_read() {
        let packet = |operation: u8| {
            [ETHERNET_AND_IPV4, &[0, operation], &[2; 6], &[10, 0, 0, 1], &[3; 6], &[10, 0, 0, 2]].concat()
        };
        let (sender, target) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(link(&frame([8, 6], &packet(1))), Some(Link::ArpRequest { sender, target }));
        assert_eq!(link(&frame([8, 6], &packet(2))), Some(Link::ArpReply { sender, address: [2; 6] }));
        let other = Some(Link::Other { ethertype: 0x0806 });
        assert_eq!(link(&frame([8, 6], &packet(9))), other);
        for len in 0..packet(1).len() {
            assert_eq!(link(&frame([8, 6], &packet(1)[..len])), other, "{len}");
        }
    }

    #[test]
    fn others_have_a_number() {
        assert_eq!(link(&frame([0x88, 0xcc], b"")), Some(Link::Other { ethertype: 0x88cc }));
        assert_eq!(link(&[0; 13]), None);
    }
}
