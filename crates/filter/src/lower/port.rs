//! `port` and `portrange`.
//!
//! # References
//! RFC 791 (header length, fragment offset), RFC 8200; RFC 9293, RFC 768 and RFC 9260 begin with the ports
//! alike.

use crate::ast::{Comparison, Direction, Operator, Protocol, Qualifier};
use crate::error::{ErrorKind, FilterError, Span};
use crate::graph::{Graph, Piece};
use crate::value::{Size, ValueId};

use super::Lower;
use super::link::ethertype;

/// The ports to look for, first and last, and over which protocols.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    first: u32,
    last: u32,
    protocols: Vec<u32>,
    /// Whether it was written as a range, and is compared as one.
    range: bool,
}

impl Lower<'_> {
    /// `port N`.
    pub(super) fn port_number(
        &mut self,
        port: u32,
        qualifier: &Qualifier,
        span: Span,
    ) -> Result<Piece, FilterError> {
        self.one_port(port, false, qualifier, span)
    }

    fn one_port(
        &mut self,
        port: u32,
        range: bool,
        qualifier: &Qualifier,
        span: Span,
    ) -> Result<Piece, FilterError> {
        let protocols = port_protocols(qualifier)?;
        let port = in_range(port, span)?;
        self.ports(&Ports { first: port, last: port, protocols, range }, qualifier.direction, span)
    }

    /// `port NAME`: of TCP and UDP, whichever know it.
    pub(super) fn port_name(
        &mut self,
        name: &str,
        qualifier: &Qualifier,
        span: Span,
    ) -> Result<Piece, FilterError> {
        let asked = port_protocols(qualifier)?;
        let unknown = || ErrorKind::UnknownName { what: "port name", name: name.to_owned() }.at(span);
        let (port, owner) = self.lookup_port(name).ok_or_else(unknown)?;
        let protocols = owned(asked, owner, name, span)?;
        self.ports(&Ports { first: port, last: port, protocols, range: false }, qualifier.direction, span)
    }

    /// `portrange N`.
    pub(super) fn range_number(
        &mut self,
        port: u32,
        qualifier: &Qualifier,
        span: Span,
    ) -> Result<Piece, FilterError> {
        self.one_port(port, true, qualifier, span)
    }

    /// `portrange A-B`, of numbers, names or both.
    pub(super) fn range_name(
        &mut self,
        name: &str,
        qualifier: &Qualifier,
        span: Span,
    ) -> Result<Piece, FilterError> {
        let asked = port_protocols(qualifier)?;
        let unknown = || ErrorKind::UnknownName { what: "port in range", name: name.to_owned() }.at(span);
        let ((a, b), owner) = match decimal_range(name) {
            Some(range) => (range, None),
            None => self.named_range(name).ok_or_else(unknown)?,
        };
        let protocols = owned(asked, owner, name, span)?;
        let (a, b) = (in_range(a, span)?, in_range(b, span)?);
        let ports = Ports { first: a.min(b), last: a.max(b), protocols, range: true };
        self.ports(&ports, qualifier.direction, span)
    }

    /// A name's port, and the one protocol that it belongs to if it does to one.
    fn lookup_port(&self, name: &str) -> Option<(u32, Option<Protocol>)> {
        if let Ok(port) = name.parse::<u16>() {
            return Some((u32::from(port), None));
        }
        match (self.names.tcp_port(name), self.names.udp_port(name)) {
            (Some(tcp), Some(udp)) if tcp == udp => Some((u32::from(tcp), None)),
            (Some(tcp), _) => Some((u32::from(tcp), Some(Protocol::Tcp))),
            (None, Some(udp)) => Some((u32::from(udp), Some(Protocol::Udp))),
            (None, None) => None,
        }
    }

    /// A range of names, split at the first dash.
    fn named_range(&self, name: &str) -> Option<((u32, u32), Option<Protocol>)> {
        let (a, b) = name.split_once('-')?;
        let ((a, a_owner), (b, b_owner)) = (self.lookup_port(a)?, self.lookup_port(b)?);
        Some(((a, b), if a_owner == b_owner { a_owner } else { None }))
    }

    /// The ports over IPv6, then over IPv4.
    fn ports(&mut self, ports: &Ports, direction: Direction, span: Span) -> Result<Piece, FilterError> {
        if direction == Direction::Wlan {
            return Err(wlan_direction(span));
        }
        let ip6 = self.ports_ip6(ports, direction, span)?;
        let ip = self.ports_ip(ports, direction, span)?;
        Ok(self.graph.or(ip6, ip))
    }

    /// IPv6: no extension header is looked through, and no fragment told apart.
    fn ports_ip6(&mut self, ports: &Ports, direction: Direction, span: Span) -> Result<Piece, FilterError> {
        let ip6 = self.link_type(ethertype::IP6, span)?;
        let network = self.layers.network_header();
        let mut pieces = Vec::new();
        for &protocol in &ports.protocols {
            let next_header = self.equal(network.plus(6), Size::Byte, protocol);
            let matches = self.directed(direction, |lower, side| {
                let port = lower.load(network.plus(40 + side), Size::Half);
                lower.port_atom(port, ports)
            });
            pieces.push(self.graph.and(next_header, matches));
        }
        let any = self.or_all(pieces).expect("ports are asked of a protocol");
        Ok(self.graph.and(ip6, any))
    }

    /// IPv4: unfragmented, or the first fragment.
    fn ports_ip(&mut self, ports: &Ports, direction: Direction, span: Span) -> Result<Piece, FilterError> {
        let ip = self.link_type(ethertype::IP, span)?;
        let mut pieces = Vec::new();
        for &number in &ports.protocols {
            let protocol = self.equal(self.layers.network_header().plus(9), Size::Byte, number);
            let unfragmented = self.is_first_fragment();
            let matches = self.directed(direction, |lower, side| {
                let port = lower.transport_load(side, Size::Half);
                lower.port_atom(port, ports)
            });
            let piece = self.graph.and(protocol, unfragmented);
            pieces.push(self.graph.and(piece, matches));
        }
        let any = self.or_all(pieces).expect("ports are asked of a protocol");
        Ok(self.graph.and(ip, any))
    }

    /// One port field against one port or range.
    fn port_atom(&mut self, field: ValueId, ports: &Ports) -> Piece {
        if !ports.range {
            return self.compare_const(Comparison::Equal, field, ports.first);
        }
        let from = self.compare_const(Comparison::GreaterOrEqual, field, ports.first);
        let beyond = self.compare_const(Comparison::Greater, field, ports.last);
        self.graph.and(from, Graph::not(beyond))
    }

    /// The test at the source (offset 0) and destination (offset 2) as the direction wants.
    fn directed(&mut self, direction: Direction, mut test: impl FnMut(&mut Self, u32) -> Piece) -> Piece {
        match direction {
            Direction::Src => test(self, 0),
            Direction::Dst => test(self, 2),
            Direction::SrcAndDst => {
                let (src, dst) = (test(self, 0), test(self, 2));
                self.graph.and(src, dst)
            }
            Direction::SrcOrDst | Direction::Wlan => {
                let (src, dst) = (test(self, 0), test(self, 2));
                self.graph.or(src, dst)
            }
        }
    }

    /// IPv4: the fragment offset is zero.
    pub(super) fn is_first_fragment(&mut self) -> Piece {
        let field = self.load(self.layers.network_header().plus(6), Size::Half);
        Graph::not(self.compare_const(Comparison::AnyBit, field, 0x1fff))
    }

    /// The length of the IPv4 header, plus the variable part of where it begins.
    pub(super) fn header_length(&mut self) -> ValueId {
        let network = self.layers.network_header();
        let Some(cell) = network.cell else { return self.values.header_length(network.constant) };
        let byte = self.load(network, Size::Byte);
        let words = self.masked(byte, 0xf);
        let bytes = self.operate_const(Operator::Shl, words, 2);
        let cell = self.values.cell(cell);
        self.operate(Operator::Add, bytes, cell)
    }

    /// The bytes at an offset from the end of the IPv4 header.
    fn transport_load(&mut self, offset: u32, size: Size) -> ValueId {
        let base = self.header_length();
        let constant = self.layers.network_header().constant;
        self.values.load(size, Some(base), constant.wrapping_add(offset))
    }
}

/// The protocols that a port is looked for in.
fn port_protocols(qualifier: &Qualifier) -> Result<Vec<u32>, FilterError> {
    match qualifier.protocol {
        None => Ok(vec![IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP]),
        Some(Protocol::Tcp) => Ok(vec![IPPROTO_TCP]),
        Some(Protocol::Udp) => Ok(vec![IPPROTO_UDP]),
        Some(Protocol::Sctp) => Ok(vec![IPPROTO_SCTP]),
        Some(other) => Err(super::primitive::qualifier_error(other, "'port'").at(qualifier.span)),
    }
}

/// The protocols left when a name belongs to `owner`.
fn owned(asked: Vec<u32>, owner: Option<Protocol>, name: &str, span: Span) -> Result<Vec<u32>, FilterError> {
    let (number, is) = match owner {
        None => return Ok(asked),
        Some(Protocol::Tcp) => (IPPROTO_TCP, "tcp"),
        Some(_) => (IPPROTO_UDP, "udp"),
    };
    if asked.contains(&number) {
        Ok(vec![number])
    } else {
        Err(ErrorKind::PortProtocol { name: name.to_owned(), is }.at(span))
    }
}

/// Two decimal numbers with a dash. What follows them is ignored, as libpcap's sscanf does.
fn decimal_range(text: &str) -> Option<(u32, u32)> {
    let (first, rest) = text.split_once('-')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let is_decimal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let saturating = |digits: &str| digits.parse().unwrap_or(u32::MAX);
    (is_decimal(first) && end > 0).then(|| (saturating(first), saturating(&rest[..end])))
}

fn in_range(port: u32, span: Span) -> Result<u32, FilterError> {
    super::limit("port", port, 65_535, span)
}

/// The error that a direction is for 802.11 only.
pub(super) fn wlan_direction(span: Span) -> FilterError {
    ErrorKind::NotOnLink { what: "802.11 address".to_owned(), link: "this link type" }.at(span)
}

const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_SCTP: u32 = 132;
