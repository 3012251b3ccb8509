//! Ethernet, and the whole of a packet.
//!
//! # References
//! IEEE 802.3 and 802.1Q; include/uapi/linux/if_ether.h.

use std::net::IpAddr;

use crate::bytes::u16_at;
use crate::ip;
use crate::transport::Transport;

/// A packet of IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Who sent it.
    pub src: IpAddr,
    /// To whom.
    pub dst: IpAddr,
    /// What is behind the IP header.
    pub transport: Transport<'a>,
    /// What is behind the header of TCP or UDP, as far as it was captured.
    pub payload: &'a [u8],
    /// How many bytes that was before it was cut.
    pub payload_len: u32,
}

/// Reads the headers of a frame that begins with the addresses of Ethernet, as those of `lo` do.
///
/// `None` where it is neither IPv4 nor IPv6 or ends within their headers. What ends within those behind them is
/// [`Transport::Other`].
pub fn dissect(frame: &[u8]) -> Option<Packet<'_>> {
    let (ethertype, packet) = contents(frame)?;
    match ethertype {
        ETH_P_IP => ip::v4(packet),
        ETH_P_IPV6 => ip::v6(packet),
        _ => None,
    }
}

/// What a frame carries, by its number, and that. Tags are passed by.
pub(crate) fn contents(frame: &[u8]) -> Option<(u16, &[u8])> {
    let mut at = ETHERTYPE_AT;
    let mut ethertype = u16_at(frame, at)?;
    for _ in 0..MAX_TAGS {
        if !matches!(ethertype, ETH_P_8021Q | ETH_P_8021AD) {
            break;
        }
        at += TAG_LEN;
        ethertype = u16_at(frame, at)?;
    }
    Some((ethertype, frame.get(at + 2..)?))
}

/// Behind two addresses.
const ETHERTYPE_AT: usize = 12;
const TAG_LEN: usize = 4;
/// Two are in use, one for the provider and one for the customer.
const MAX_TAGS: usize = 2;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_IPV6: u16 = 0x86dd;
const ETH_P_8021AD: u16 = 0x88a8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{Tcp, TcpFlags};

    /// IPv4, total length 44, TCP 1234 to 80 with four bytes.
    const TCP: &[u8] = b"\x45\0\0\x2c\0\x01\0\0\x40\x06\0\0\xc0\0\x02\x01\xc6\x33\x64\x02\
        \x04\xd2\0\x50\0\0\0\x07\0\0\0\x09\x50\x18\x01\0\0\0\0\0data";

    fn frame(ethertype: &[u8], packet: &[u8]) -> Vec<u8> {
        [&[0; 12], ethertype, packet].concat()
    }

    #[test]
    fn a_segment_of_tcp_is_read_behind_tags_and_before_padding() {
        let padded = [TCP, &[0; 20]].concat();
        for tags in [&b""[..], b"\x81\0\0\x01", b"\x88\xa8\0\x02\x81\0\0\x01"] {
            let bytes = frame(&[tags, b"\x08\0"].concat(), &padded);
            let packet = dissect(&bytes).unwrap();
            assert_eq!(
                (packet.src.to_string(), packet.dst.to_string()),
                ("192.0.2.1".into(), "198.51.100.2".into())
            );
            let tcp = Tcp {
                src_port: 1234,
                dst_port: 80,
                seq: 7,
                ack: 9,
                window: 256,
                flags: TcpFlags::PSH | TcpFlags::ACK,
            };
            assert_eq!(packet.transport, Transport::Tcp(tcp));
            assert_eq!((packet.payload, packet.payload_len), (&b"data"[..], 4));
        }
    }

    #[test]
    fn other_frames_are_nothing() {
        assert_eq!(dissect(&frame(b"\x08\x06", &[0; 28])), None);
        assert_eq!(dissect(b"short"), None);
        assert_eq!(dissect(&frame(b"\x08\0", b"\x45\0")), None);
        assert_eq!(dissect(&frame(b"\x08\0", &[&b"\x65"[..], &TCP[1..]].concat())), None, "version 6");
    }

    #[test]
    fn a_frame_cut_anywhere_is_read_as_far_as_it_goes() {
        let whole = frame(b"\x08\0", TCP);
        for len in 0..whole.len() {
            let packet = dissect(&whole[..len]);
            assert_eq!(packet.is_some(), len >= 34, "{len}");
            let Some(packet) = packet else { continue };
            assert_eq!(matches!(packet.transport, Transport::Tcp(_)), len >= 54, "{len}");
            if len >= 54 {
                assert_eq!((packet.payload.len(), packet.payload_len), (len - 54, 4));
            }
        }
    }
}
