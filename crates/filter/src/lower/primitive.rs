//! One test of the language, whichever it is, and the small ones in full.

use crate::ast::{ByteOp, Comparison, Placed, Primitive, Protocol};
use crate::error::{ErrorKind, FilterError, Span};
use crate::graph::{Graph, Piece};
use crate::options::{LinkType, Source};
use crate::value::Size;

use super::Lower;
use super::layers::Offset;
use super::link::ethertype;

impl Lower<'_> {
    pub(super) fn primitive(&mut self, primitive: &Primitive, span: Span) -> Result<Piece, FilterError> {
        match primitive {
            Primitive::Id(qualifier, id) => self.id(qualifier, id, span),
            Primitive::Protocol(protocol) => self.protocol(*protocol, span),
            Primitive::Relation { comparison, negated, left, right } => {
                self.relation(*comparison, *negated, left, right, span)
            }
            Primitive::Broadcast(protocol) => self.broadcast(*protocol, span),
            Primitive::Multicast(protocol) => self.multicast(*protocol, span),
            Primitive::Less(length) => Ok(Graph::not(self.length(Comparison::Greater, *length))),
            Primitive::Greater(length) => Ok(self.length(Comparison::GreaterOrEqual, *length)),
            Primitive::Byte { offset, op, value } => Ok(self.byte(*offset, *op, *value)),
            Primitive::Inbound => Ok(Graph::not(self.outbound("inbound", span)?)),
            Primitive::Outbound => self.outbound("outbound", span),
            Primitive::Ifindex(ifindex) => self.ifindex(*ifindex, span),
            Primitive::Vlan(id) => self.vlan(*id, span),
            Primitive::Mpls(label) => self.mpls(*label, span),
            Primitive::Pppoed => self.link_type(ethertype::PPPOED, span),
            Primitive::Pppoes(session) => self.pppoes(*session, span),
            Primitive::Geneve(vni) => self.geneve(*vni, span),
            Primitive::Vxlan(vni) => self.vxlan(*vni, span),
            Primitive::Llc(name) => self.llc(name.as_ref(), span),
        }
    }

    /// The length on the wire against a number.
    fn length(&mut self, comparison: Comparison, length: u32) -> Piece {
        let left = self.values.length();
        self.compare_const(comparison, left, length)
    }

    /// `byte N op V`: a byte of the link header or behind it.
    ///
    /// libpcap 1.10 does not load the byte for `&` and `|`; 1.11 does, and so do we.
    fn byte(&mut self, offset: u32, op: ByteOp, k: u32) -> Piece {
        let byte = self.load(self.layers.header.plus(offset), Size::Byte);
        match op {
            ByteOp::Equal => self.compare_const(Comparison::Equal, byte, k),
            ByteOp::Greater => self.compare_const(Comparison::Greater, byte, k),
            ByteOp::Less => Graph::not(self.compare_const(Comparison::GreaterOrEqual, byte, k)),
            ByteOp::And => self.compare_const(Comparison::AnyBit, byte, k),
            ByteOp::Or => {
                let either = self.operate_const(crate::ast::Operator::Or, byte, k);
                Graph::not(self.compare_const(Comparison::Equal, either, 0))
            }
        }
    }

    /// Whether the host itself sent the packet. It is the outermost header, or the socket, that knows.
    fn outbound(&mut self, word: &'static str, span: Span) -> Result<Piece, FilterError> {
        let (offset, size) = match self.options.link_type {
            LinkType::LinuxSll => (0, Size::Half),
            LinkType::LinuxSll2 => (10, Size::Byte),
            _ if self.options.source == Source::File => return Err(ErrorKind::LiveOnly(word).at(span)),
            _ => (ancillary::PKTTYPE, Size::Half),
        };
        Ok(self.equal(Offset::at(offset), size, PACKET_OUTGOING))
    }

    /// Whether the packet came or went through this interface.
    fn ifindex(&mut self, ifindex: u32, span: Span) -> Result<Piece, FilterError> {
        let offset = match self.options.link_type {
            LinkType::LinuxSll2 => 4,
            _ if self.options.source == Source::File => return Err(ErrorKind::LiveOnly("ifindex").at(span)),
            _ => ancillary::IFINDEX,
        };
        Ok(self.equal(Offset::at(offset), Size::Word, ifindex))
    }

    /// `broadcast`, `ether broadcast`, `ip broadcast`.
    fn broadcast(&mut self, protocol: Option<Protocol>, span: Span) -> Result<Piece, FilterError> {
        match protocol {
            None | Some(Protocol::Link) => {
                if !self.layers.is_ethernet() {
                    return Err(self.not_on_link("broadcast", span));
                }
                let inner = self.has_inner_ethernet();
                let all_ones = self.equal_bytes(self.layers.header, &[0xff; 6]);
                Ok(self.and_also(inner, all_ones))
            }
            Some(Protocol::Ip) => self.ip_broadcast(span),
            Some(other) => Err(qualifier_error(other, "'broadcast'").at(span)),
        }
    }

    /// The host part of the destination is all zeros or all ones.
    fn ip_broadcast(&mut self, span: Span) -> Result<Piece, FilterError> {
        let netmask = self.options.netmask.ok_or_else(|| ErrorKind::NoNetmask.at(span))?;
        let host_mask = !netmask.to_bits();
        let ip = self.link_type(ethertype::IP, span)?;
        let destination = self.layers.network_header().plus(16);
        let zeros = self.equal_masked(destination, Size::Word, 0, host_mask);
        let ones = self.equal_masked(destination, Size::Word, host_mask, host_mask);
        let either = self.graph.or(zeros, ones);
        Ok(self.graph.and(ip, either))
    }

    /// `multicast`, `ether multicast`, `ip multicast`, `ip6 multicast`.
    fn multicast(&mut self, protocol: Option<Protocol>, span: Span) -> Result<Piece, FilterError> {
        match protocol {
            None | Some(Protocol::Link) => {
                if !self.layers.is_ethernet() {
                    return Err(self.not_on_link("multicast", span));
                }
                let inner = self.has_inner_ethernet();
                let first = self.load(self.layers.header, Size::Byte);
                let group = self.compare_const(Comparison::AnyBit, first, 1);
                Ok(self.and_also(inner, group))
            }
            Some(Protocol::Ip) => {
                let ip = self.link_type(ethertype::IP, span)?;
                let first = self.load(self.layers.network_header().plus(16), Size::Byte);
                // 240/4 and 255.255.255.255 too, as in libpcap up to 1.10.5.
                let class_d = self.compare_const(Comparison::GreaterOrEqual, first, 224);
                Ok(self.graph.and(ip, class_d))
            }
            Some(Protocol::Ip6) => {
                let ip6 = self.link_type(ethertype::IP6, span)?;
                let group = self.equal(self.layers.network_header().plus(24), Size::Byte, 0xff);
                Ok(self.graph.and(ip6, group))
            }
            Some(other) => Err(qualifier_error(other, "'multicast'").at(span)),
        }
    }

    /// `llc`, alone or with a kind of frame.
    fn llc(&mut self, name: Option<&Placed<String>>, span: Span) -> Result<Piece, FilterError> {
        if !self.layers.is_ethernet() {
            return Err(self.not_on_link("llc", span));
        }
        let length = self.has_length();
        let raw = self.equal(self.layers.payload, Size::Half, 0xffff);
        let framed = self.graph.and(length, Graph::not(raw));
        let Some(name) = name else { return Ok(framed) };
        let control = self.layers.payload.plus(2);
        let lower = name.value.to_ascii_lowercase();
        let unknown = || ErrorKind::UnknownName { what: "LLC type", name: name.value.clone() }.at(name.span);
        let known = LLC_CONTROL.iter().find(|(kind, ..)| *kind == lower);
        let (_, mask, value) = known.ok_or_else(unknown)?;
        let kind = self.equal_masked(control, Size::Byte, *value, *mask);
        Ok(self.graph.and(framed, kind))
    }
}

/// The error that `protocol` does not go with another word.
pub(super) fn qualifier_error(protocol: Protocol, with: &'static str) -> ErrorKind {
    ErrorKind::Qualifier { qualifier: protocol.word().to_owned(), with }
}

/// Offsets of what Linux keeps beside a packet: `SKF_AD_OFF` plus `SKF_AD_*` of linux/filter.h.
pub(super) mod ancillary {
    const SKF_AD_OFF: u32 = 0xffff_f000;
    pub(crate) const PKTTYPE: u32 = SKF_AD_OFF + 4;
    pub(crate) const IFINDEX: u32 = SKF_AD_OFF + 8;
    pub(crate) const VLAN_TAG: u32 = SKF_AD_OFF + 44;
    pub(crate) const VLAN_TAG_PRESENT: u32 = SKF_AD_OFF + 48;
}

/// linux/if_packet.h; the cooked headers have the same numbers.
const PACKET_OUTGOING: u32 = 4;

/// The control byte of LLC frames: name, mask, value. IEEE 802.2 clause 5.4.
const LLC_CONTROL: &[(&str, u32, u32)] = &[
    ("i", 0x01, 0x00),
    ("s", 0x03, 0x01),
    ("u", 0x03, 0x03),
    ("rr", 0x0f, 0x01),
    ("rnr", 0x0f, 0x05),
    ("rej", 0x0f, 0x09),
    ("ui", 0xef, 0x03),
    ("ua", 0xef, 0x63),
    ("disc", 0xef, 0x43),
    ("dm", 0xef, 0x0f),
    ("sabme", 0xef, 0x6f),
    ("test", 0xef, 0xe3),
    ("xid", 0xef, 0xaf),
    ("frmr", 0xef, 0x87),
];
