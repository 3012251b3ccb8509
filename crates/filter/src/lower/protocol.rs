//! Protocol words, and `proto` with a number or name.

use crate::ast::{Protocol, Qualifier};
use crate::error::{ErrorKind, FilterError, Span};
use crate::graph::Piece;
use crate::value::Size;

use super::Lower;
use super::link::{ethertype, sap};
use super::primitive::qualifier_error;

impl Lower<'_> {
    /// A protocol word alone.
    pub(super) fn protocol(&mut self, protocol: Protocol, span: Span) -> Result<Piece, FilterError> {
        match kind(protocol) {
            ProtocolKind::Link(number) => self.link_type(number, span),
            ProtocolKind::Ip(number) => self.ip_protocol(number, span),
            ProtocolKind::Ip6(number) => self.ip6_protocol(number, span),
            ProtocolKind::EitherIp(number) => self.either_ip_protocol(number, span),
            ProtocolKind::Iso(number) => self.iso_protocol(number, span),
            ProtocolKind::IsisPdu(numbers) => {
                let pieces: Result<Vec<_>, _> = numbers.iter().map(|pdu| self.isis_pdu(*pdu, span)).collect();
                let any = self.or_all(pieces?);
                Ok(any.expect("every kind of IS-IS packet has a number"))
            }
            ProtocolKind::None => Err(ErrorKind::Protocol(protocol.word()).at(span)),
        }
    }

    /// `proto N` and `ip proto N`, `ether proto N` ...
    pub(super) fn proto(
        &mut self,
        number: u32,
        qualifier: &Qualifier,
        span: Span,
    ) -> Result<Piece, FilterError> {
        match qualifier.protocol {
            None => self.either_ip_protocol(number, span),
            Some(Protocol::Link) => self.link_type(number, span),
            Some(Protocol::Ip) => self.ip_protocol(number, span),
            Some(Protocol::Ip6) => self.ip6_protocol(number, span),
            Some(Protocol::Iso) => self.iso_protocol(number, qualifier.span),
            Some(Protocol::Isis) => self.isis_pdu(number, qualifier.span),
            Some(other) => Err(qualifier_error(other, "'proto'").at(qualifier.span)),
        }
    }

    /// The number behind `proto` that a name stands for.
    pub(super) fn proto_number(
        &self,
        name: &str,
        qualifier: &Qualifier,
        span: Span,
    ) -> Result<u32, FilterError> {
        let unknown = |what| ErrorKind::UnknownName { what, name: name.to_owned() }.at(span);
        let listed =
            |table: &[(&str, u32)]| table.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        match qualifier.protocol {
            None | Some(Protocol::Ip | Protocol::Ip6) => {
                self.names.protocol(name).map(u32::from).ok_or_else(|| unknown("IP protocol"))
            }
            Some(Protocol::Link) => listed(ETHER_PROTOCOLS).ok_or_else(|| unknown("ether protocol")),
            Some(Protocol::Iso) => listed(ISO_PROTOCOLS).ok_or_else(|| unknown("OSI protocol")),
            // Only numbers.
            Some(Protocol::Isis) => Err(unknown("IS-IS protocol")),
            Some(other) => Err(qualifier_error(other, "a protocol name").at(qualifier.span)),
        }
    }

    /// IPv4 with this protocol.
    pub(super) fn ip_protocol(&mut self, number: u32, span: Span) -> Result<Piece, FilterError> {
        let ip = self.link_type(ethertype::IP, span)?;
        let protocol = self.equal(self.layers.network_header().plus(9), Size::Byte, number);
        Ok(self.graph.and(ip, protocol))
    }

    /// IPv6 with this next header, in the fixed header or in a fragment header right behind it.
    pub(super) fn ip6_protocol(&mut self, number: u32, span: Span) -> Result<Piece, FilterError> {
        let ip6 = self.link_type(ethertype::IP6, span)?;
        let network = self.layers.network_header();
        let direct = self.equal(network.plus(6), Size::Byte, number);
        let fragment = self.equal(network.plus(6), Size::Byte, IPPROTO_FRAGMENT);
        let behind = self.equal(network.plus(40), Size::Byte, number);
        let behind = self.graph.and(fragment, behind);
        let either = self.graph.or(direct, behind);
        Ok(self.graph.and(ip6, either))
    }

    /// Either version of IP with this protocol.
    fn either_ip_protocol(&mut self, number: u32, span: Span) -> Result<Piece, FilterError> {
        let ip = self.ip_protocol(number, span)?;
        let ip6 = self.ip6_protocol(number, span)?;
        Ok(self.graph.or(ip, ip6))
    }

    /// ISO 9577: the first byte of an OSI network protocol.
    fn iso_protocol(&mut self, number: u32, span: Span) -> Result<Piece, FilterError> {
        let iso = self.link_type(sap::ISO, span)?;
        let at = self.layers.payload.plus(self.layers.network_behind_llc);
        let nlpid = self.equal(at, Size::Byte, number);
        Ok(self.graph.and(iso, nlpid))
    }

    /// ISO 10589: the kind of an IS-IS packet, the fifth byte, in full as in libpcap up to 1.10.
    fn isis_pdu(&mut self, number: u32, span: Span) -> Result<Piece, FilterError> {
        let isis = self.iso_protocol(NLPID_ISIS, span)?;
        let at = self.layers.payload.plus(self.layers.network_behind_llc + 4);
        let pdu = self.equal(at, Size::Byte, number);
        Ok(self.graph.and(isis, pdu))
    }
}

/// What a protocol word tests.
#[derive(Clone, Copy, Debug)]
pub(super) enum ProtocolKind {
    /// A number of the link header.
    Link(u32),
    /// A protocol of IPv4.
    Ip(u32),
    /// A protocol of IPv6.
    Ip6(u32),
    /// A protocol of both.
    EitherIp(u32),
    /// A network protocol of OSI.
    Iso(u32),
    /// Kinds of IS-IS packets.
    IsisPdu(&'static [u32]),
    /// Nothing by itself.
    None,
}

pub(super) fn kind(protocol: Protocol) -> ProtocolKind {
    match protocol {
        Protocol::Ip => ProtocolKind::Link(ethertype::IP),
        Protocol::Ip6 => ProtocolKind::Link(ethertype::IP6),
        Protocol::Arp => ProtocolKind::Link(ethertype::ARP),
        Protocol::Rarp => ProtocolKind::Link(ethertype::RARP),
        Protocol::Atalk => ProtocolKind::Link(ethertype::ATALK),
        Protocol::Aarp => ProtocolKind::Link(ethertype::AARP),
        Protocol::Decnet => ProtocolKind::Link(ethertype::DECNET),
        Protocol::Lat => ProtocolKind::Link(ethertype::LAT),
        Protocol::Sca => ProtocolKind::Link(ethertype::SCA),
        Protocol::Moprc => ProtocolKind::Link(ethertype::MOPRC),
        Protocol::Mopdl => ProtocolKind::Link(ethertype::MOPDL),
        Protocol::Iso => ProtocolKind::Link(sap::ISO),
        Protocol::Stp => ProtocolKind::Link(sap::STP),
        Protocol::Ipx => ProtocolKind::Link(sap::IPX),
        Protocol::Netbeui => ProtocolKind::Link(sap::NETBEUI),
        Protocol::Tcp => ProtocolKind::EitherIp(6),
        Protocol::Udp => ProtocolKind::EitherIp(17),
        Protocol::Sctp => ProtocolKind::EitherIp(132),
        Protocol::Pim => ProtocolKind::EitherIp(103),
        Protocol::Ah => ProtocolKind::EitherIp(51),
        Protocol::Esp => ProtocolKind::EitherIp(50),
        Protocol::Icmp => ProtocolKind::Ip(1),
        Protocol::Igmp => ProtocolKind::Ip(2),
        Protocol::Igrp => ProtocolKind::Ip(9),
        Protocol::Vrrp | Protocol::Carp => ProtocolKind::Ip(112),
        Protocol::Icmp6 => ProtocolKind::Ip6(58),
        Protocol::Clnp => ProtocolKind::Iso(NLPID_CLNP),
        Protocol::Esis => ProtocolKind::Iso(NLPID_ESIS),
        Protocol::Isis => ProtocolKind::Iso(NLPID_ISIS),
        Protocol::IsisLevel1 => ProtocolKind::IsisPdu(&[26, 24, 18, 15, 17]),
        Protocol::IsisLevel2 => ProtocolKind::IsisPdu(&[27, 25, 20, 16, 17]),
        Protocol::IsisHello => ProtocolKind::IsisPdu(&[17, 15, 16]),
        Protocol::IsisLsp => ProtocolKind::IsisPdu(&[18, 20]),
        Protocol::IsisSnp => ProtocolKind::IsisPdu(&[27, 26, 25, 24]),
        Protocol::IsisCsnp => ProtocolKind::IsisPdu(&[24, 25]),
        Protocol::IsisPsnp => ProtocolKind::IsisPdu(&[26, 27]),
        Protocol::Link | Protocol::Radio => ProtocolKind::None,
    }
}

const NLPID_CLNP: u32 = 0x81;
const NLPID_ESIS: u32 = 0x82;
const NLPID_ISIS: u32 = 0x83;
const IPPROTO_FRAGMENT: u32 = 44;

const ISO_PROTOCOLS: &[(&str, u32)] = &[("clnp", NLPID_CLNP), ("esis", NLPID_ESIS), ("isis", NLPID_ISIS)];

const ETHER_PROTOCOLS: &[(&str, u32)] = &[
    ("aarp", ethertype::AARP),
    ("arp", ethertype::ARP),
    ("atalk", ethertype::ATALK),
    ("decnet", ethertype::DECNET),
    ("ip", ethertype::IP),
    ("ip6", ethertype::IP6),
    ("lat", ethertype::LAT),
    ("loopback", ethertype::LOOPBACK),
    ("mopdl", ethertype::MOPDL),
    ("moprc", ethertype::MOPRC),
    ("rarp", ethertype::RARP),
    ("sca", ethertype::SCA),
    ("iso", sap::ISO),
    ("stp", sap::STP),
    ("ipx", sap::IPX),
    ("netbeui", sap::NETBEUI),
];
