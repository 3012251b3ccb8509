//! A SYN: read, refused, put on the wire again.
//!
//! # References
//! RFC 9293 sections 3.1 and 3.10.7.1; RFC 7413 (data in a SYN).

use std::net::{IpAddr, SocketAddr};

use super::checksum::Sum;
use super::ip::{self, Link, Packet, TCP};

/// The program's wish to connect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Syn<'a> {
    /// Who wishes.
    pub(crate) source: SocketAddr,
    /// To whom.
    pub(crate) destination: SocketAddr,
    packet: Packet<'a>,
    /// Its sequence number.
    pub(crate) sequence: u32,
    /// What the answer acknowledges: the SYN and what it carries.
    segment_len: u32,
}

impl<'a> Syn<'a> {
    /// Reads a whole packet that is a SYN and nothing more: neither the answer to one (ACK) nor a contradiction (RST).
    pub(crate) fn read(packet: Packet<'a>) -> Option<Self> {
        if packet.protocol != TCP || packet.fragment.is_some() {
            return None;
        }
        let (header, _) = packet.payload.split_first_chunk::<20>()?;
        let header_len = usize::from(header[12] >> 4) * 4;
        if header_len < header.len() || header[13] & (SYN | ACK | RST) != SYN {
            return None;
        }
        let fin = u32::from(header[13] & FIN);
        let data = u32::try_from(packet.payload.get(header_len..)?.len()).ok()?;
        Some(Self {
            source: SocketAddr::new(packet.source, u16::from_be_bytes([header[0], header[1]])),
            destination: SocketAddr::new(packet.destination, u16::from_be_bytes([header[2], header[3]])),
            packet,
            sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            segment_len: 1 + fin + data,
        })
    }

    /// The packet that it came in, for an ICMP error to quote.
    pub(crate) fn packet(&self) -> Packet<'a> {
        self.packet
    }

    /// The frame that refuses it, as of a port where nobody listens.
    pub(crate) fn reset(&self) -> Option<Vec<u8>> {
        let (from, to) = (self.destination, self.source);
        let mut header = [0; 20];
        header[0..2].copy_from_slice(&from.port().to_be_bytes());
        header[2..4].copy_from_slice(&to.port().to_be_bytes());
        // <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>
        header[8..12].copy_from_slice(&self.sequence.wrapping_add(self.segment_len).to_be_bytes());
        header[12] = 5 << 4;
        header[13] = RST | ACK;
        complete(from.ip(), to.ip(), &mut header);
        let packet = ip::packet(from.ip(), to.ip(), TCP, TTL, &header)?;
        Some(self.packet.link.reversed().frame(&packet))
    }

    /// The frame to put on the loopback device, which takes those without link addresses for its own.
    ///
    /// The checksum is computed anew: a veth leaves it to the hardware that it does not have, and a packet socket shows what
    /// the program's kernel left.
    pub(crate) fn again(&self) -> Vec<u8> {
        let mut frame = Link::default().frame(self.packet.bytes);
        let start = frame.len() - self.packet.payload.len();
        if let Some(segment) = frame.get_mut(start..) {
            complete(self.source.ip(), self.destination.ip(), segment);
        }
        frame
    }
}

/// Fills the checksum of a segment in.
fn complete(source: IpAddr, destination: IpAddr, segment: &mut [u8]) {
    if let Some(field) = segment.get_mut(16..18) {
        field.fill(0);
    }
    let sum = Sum::pseudo_header(source, destination, TCP, segment.len()).and(segment);
    if let Some(field) = segment.get_mut(16..18) {
        field.copy_from_slice(&sum.checksum());
    }
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// `net.ipv4.ip_default_ttl`.
const TTL: u8 = 64;
