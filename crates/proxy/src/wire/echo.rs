//! Echo requests and replies.
//!
//! # References
//! RFC 792, "Echo or Echo Reply Message"; RFC 4443 section 4.

use std::net::IpAddr;

use super::icmp::icmp_packet;
use super::ip::{ICMP, ICMPV6, Packet};

/// What request and reply have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Echo<'a> {
    pub(crate) identifier: u16,
    pub(crate) sequence: u16,
    pub(crate) payload: &'a [u8],
}

/// A request of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ping<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) ttl: u8,
    pub(crate) echo: Echo<'a>,
}

impl<'a> Ping<'a> {
    /// Reads a whole packet that is an echo request.
    pub(crate) fn read(packet: &Packet<'a>) -> Option<Self> {
        if packet.fragment.is_some() { None } else { Self::of_parts(packet, packet.payload) }
    }

    /// Reads an echo request from the `message` that a packet's parts make, of which `packet` is one.
    pub(crate) fn of_parts(packet: &Packet<'_>, message: &'a [u8]) -> Option<Self> {
        let request = match (packet.protocol, packet.source) {
            (ICMP, IpAddr::V4(_)) => REQUEST,
            (ICMPV6, IpAddr::V6(_)) => REQUEST_V6,
            _ => return None,
        };
        let [kind, code, ..] = *message else { return None };
        if kind != request || code != 0 {
            return None;
        }
        Some(Self {
            source: packet.source,
            destination: packet.destination,
            ttl: packet.ttl,
            echo: Echo::read(message)?,
        })
    }
}

impl<'a> Echo<'a> {
    /// Reads what a ping socket received, if that is a reply.
    pub(crate) fn read_reply(is_v4: bool, message: &'a [u8]) -> Option<Self> {
        let reply = if is_v4 { REPLY } else { REPLY_V6 };
        Self::read(message).filter(|_| message.first() == Some(&reply))
    }

    /// Reads a message of either kind, header first. It may be cut short behind the header.
    pub(crate) fn read(message: &'a [u8]) -> Option<Self> {
        let (&[_, _, _, _, id_high, id_low, seq_high, seq_low], payload) = message.split_first_chunk()?;
        Some(Self {
            identifier: u16::from_be_bytes([id_high, id_low]),
            sequence: u16::from_be_bytes([seq_high, seq_low]),
            payload,
        })
    }

    /// The request as a message, without a checksum: the kernel fills it in for a ping socket.
    pub(crate) fn request(&self, is_v4: bool) -> Vec<u8> {
        self.message(if is_v4 { REQUEST } else { REQUEST_V6 })
    }

    fn message(&self, kind: u8) -> Vec<u8> {
        let [id_high, id_low] = self.identifier.to_be_bytes();
        let [seq_high, seq_low] = self.sequence.to_be_bytes();
        [&[kind, 0, 0, 0, id_high, id_low, seq_high, seq_low], self.payload].concat()
    }
}

/// The IP packet that answers a request of `program`.
pub(crate) fn echo_reply(from: IpAddr, program: IpAddr, ttl: u8, echo: &Echo<'_>) -> Option<Vec<u8>> {
    let kind = if from.is_ipv4() { REPLY } else { REPLY_V6 };
    icmp_packet(from, program, ttl, echo.message(kind))
}

/// include/uapi/linux/icmp.h, icmpv6.h.
const REPLY: u8 = 0;
const REQUEST: u8 = 8;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;
