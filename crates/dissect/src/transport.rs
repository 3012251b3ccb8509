//! TCP, UDP and ICMP.
//!
//! # References
//! RFC 9293, section 3.1; RFC 768; RFC 792; RFC 4443.

use std::net::IpAddr;
use std::ops::BitOr;

use crate::bytes::{u16_at, u32_at};
use crate::ip::{self, Header};

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport<'a> {
    /// A segment of TCP.
    Tcp(Tcp),
    /// A datagram.
    Udp {
        /// The sender's port.
        src_port: u16,
        /// The receiver's.
        dst_port: u16,
    },
    /// A message of ICMP or `ICMPv6`.
    Icmp(Icmp<'a>),
    /// A part of something whose header is in another packet.
    Fragment {
        /// IANA's protocol number.
        protocol: u8,
    },
    /// Anything else, or one of these without a whole header.
    Other {
        /// IANA's protocol number.
        protocol: u8,
    },
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's.
    pub dst_port: u16,
    /// The sequence number of the first byte of the payload, or of SYN.
    pub seq: u32,
    /// The acknowledgement number, meaningless without ACK.
    pub ack: u32,
    /// The window, not scaled.
    pub window: u16,
    /// What else is said.
    pub flags: TcpFlags,
}

/// Flags of TCP, the low byte: FIN is 1, CWR 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// The sequence number is the first of all.
    pub const SYN: Self = Self(0x02);
    /// The connection is no more.
    pub const RST: Self = Self(0x04);
    /// To be handed to the program at once.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);

    /// Whether all flags of `flags` are set.
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A message of ICMP or `ICMPv6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp<'a> {
    /// A ping.
    EchoRequest {
        /// Whose: a ping socket's is its port.
        id: u16,
    },
    /// Its answer.
    EchoReply {
        /// As in the request.
        id: u16,
    },
    /// A packet could not be delivered.
    Error {
        /// Why.
        error: IcmpError,
        /// The packet, as far as it is quoted.
        quoted: Option<Quoted<'a>>,
    },
    /// Anything else: neighbours, routers, groups.
    Other {
        /// The message's type.
        kind: u8,
    },
}

/// Why a packet could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// Nobody listens on that port.
    PortUnreachable,
    /// No way to that host or network.
    Unreachable,
    /// Somebody does not want it to pass.
    Prohibited,
    /// Longer than the next link takes.
    TooBig,
    /// On the way for too long.
    TimeExceeded,
}

/// A packet within a message about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted<'a> {
    /// Who had sent it.
    pub src: IpAddr,
    /// To whom.
    pub dst: IpAddr,
    /// IANA's protocol number.
    pub protocol: u8,
    /// What is behind the IP header: at least 8 bytes, if the sender keeps to the rules.
    pub body: &'a [u8],
}

impl Quoted<'_> {
    /// The ports, sender's and receiver's, of a quoted segment or datagram.
    pub fn ports(&self) -> Option<(u16, u16)> {
        let has_ports = matches!(self.protocol, TCP | UDP);
        has_ports.then(|| Some((u16_at(self.body, 0)?, u16_at(self.body, 2)?))).flatten()
    }

    /// The id of a quoted ping.
    pub fn echo_id(&self) -> Option<u16> {
        let is_echo = match self.protocol {
            ICMP => self.body.first() == Some(&8),
            ICMPV6 => self.body.first() == Some(&128),
            _ => false,
        };
        is_echo.then(|| u16_at(self.body, 4)).flatten()
    }
}

/// Reads what is behind an IP header: the transport header, the payload, the payload's length before it was cut.
pub(crate) fn read<'a>(header: &Header<'a>) -> (Transport<'a>, &'a [u8], u32) {
    let read = match header.protocol {
        TCP => tcp(header.body),
        UDP => udp(header.body),
        ICMP => icmp(header.body).map(|message| (Transport::Icmp(message), ICMP_LEN)),
        ICMPV6 => icmpv6(header.body).map(|message| (Transport::Icmp(message), ICMP_LEN)),
        _ => None,
    };
    let (transport, len) = read.unwrap_or((Transport::Other { protocol: header.protocol }, 0));
    let payload = header.body.get(len..).unwrap_or_default();
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    (transport, payload, header.body_len.saturating_sub(len))
}

fn tcp<'a>(body: &[u8]) -> Option<(Transport<'a>, usize)> {
    let fixed: &[u8; TCP_LEN] = body.first_chunk()?;
    let len = usize::from(fixed[12] >> 4) * 4;
    let tcp = Tcp {
        src_port: u16_at(fixed, 0)?,
        dst_port: u16_at(fixed, 2)?,
        seq: u32_at(fixed, 4)?,
        ack: u32_at(fixed, 8)?,
        window: u16_at(fixed, 14)?,
        flags: TcpFlags(fixed[13]),
    };
    Some((Transport::Tcp(tcp), len.max(TCP_LEN)))
}

fn udp<'a>(body: &[u8]) -> Option<(Transport<'a>, usize)> {
    let fixed: &[u8; UDP_LEN] = body.first_chunk()?;
    Some((Transport::Udp { src_port: u16_at(fixed, 0)?, dst_port: u16_at(fixed, 2)? }, UDP_LEN))
}

fn icmp(body: &[u8]) -> Option<Icmp<'_>> {
    let [kind, code, ..] = *body.first_chunk::<4>()?;
    Some(match (kind, code) {
        (0, _) => Icmp::EchoReply { id: u16_at(body, 4)? },
        (8, _) => Icmp::EchoRequest { id: u16_at(body, 4)? },
        (3, 3) => quoting(IcmpError::PortUnreachable, body, ip::v4_header),
        (3, 4) => quoting(IcmpError::TooBig, body, ip::v4_header),
        (3, 9 | 10 | 13) => quoting(IcmpError::Prohibited, body, ip::v4_header),
        (3, _) => quoting(IcmpError::Unreachable, body, ip::v4_header),
        (11, _) => quoting(IcmpError::TimeExceeded, body, ip::v4_header),
        _ => Icmp::Other { kind },
    })
}

fn icmpv6(body: &[u8]) -> Option<Icmp<'_>> {
    let [kind, code, ..] = *body.first_chunk::<4>()?;
    Some(match (kind, code) {
        (128, _) => Icmp::EchoRequest { id: u16_at(body, 4)? },
        (129, _) => Icmp::EchoReply { id: u16_at(body, 4)? },
        (1, 4) => quoting(IcmpError::PortUnreachable, body, ip::v6_header),
        (1, 1 | 5 | 6) => quoting(IcmpError::Prohibited, body, ip::v6_header),
        (1, _) => quoting(IcmpError::Unreachable, body, ip::v6_header),
        (2, _) => quoting(IcmpError::TooBig, body, ip::v6_header),
        (3, _) => quoting(IcmpError::TimeExceeded, body, ip::v6_header),
        _ => Icmp::Other { kind },
    })
}

fn quoting<'a>(error: IcmpError, body: &'a [u8], header: fn(&'a [u8]) -> Option<Header<'a>>) -> Icmp<'a> {
    let quoted = body.get(ICMP_LEN..).and_then(header).filter(|header| !header.is_headless);
    let quoted = quoted.map(|header| Quoted {
        src: header.src,
        dst: header.dst,
        protocol: header.protocol,
        body: header.body,
    });
    Icmp::Error { error, quoted }
}

const TCP_LEN: usize = 20;
const UDP_LEN: usize = 8;
const ICMP_LEN: usize = 8;
// IANA's protocol numbers.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_quotes_the_packet_that_it_is_about() {
        let inner = b"\x45\0\0\x1c\0\0\0\0\x40\x11\0\0\xc0\0\x02\x01\xc6\x33\x64\x02\x04\xd2\0\x35\0\x08\0\0";
        let body = [b"\x03\x03\0\0\0\0\0\0", &inner[..]].concat();
        let Some(Icmp::Error { error: IcmpError::PortUnreachable, quoted: Some(quoted) }) = icmp(&body)
        else {
            panic!("{:?}", icmp(&body));
        };
        assert_eq!(
            (quoted.src.to_string(), quoted.dst.to_string()),
            ("192.0.2.1".into(), "198.51.100.2".into())
        );
        assert_eq!((quoted.ports(), quoted.echo_id()), (Some((1234, 53)), None));
        for len in 0..body.len() {
            // Cut anywhere it is still a message, or none.
            let _ = icmp(&body[..len]);
        }
    }

    #[test]
    fn pings_have_an_id_and_their_errors_too() {
        assert_eq!(icmp(b"\x08\0\0\0\x12\x34\0\x01"), Some(Icmp::EchoRequest { id: 0x1234 }));
        assert_eq!(icmpv6(b"\x81\0\0\0\x12\x34\0\x01"), Some(Icmp::EchoReply { id: 0x1234 }));
        let quoted = Quoted {
            src: IpAddr::from([192, 0, 2, 1]),
            dst: IpAddr::from([192, 0, 2, 2]),
            protocol: 1,
            body: b"\x08\0\0\0\x12\x34\0\x01",
        };
        assert_eq!((quoted.ports(), quoted.echo_id()), (None, Some(0x1234)));
    }
}
