//! `protochain`: a protocol behind extension headers.
//!
//! libpcap walks the headers in a loop, which no Linux kernel accepts. Here the walk is written out, for a
//! bounded number of headers; a packet with more of them does not match. And the step over an authentication
//! header is right, which libpcap's is not.
//!
//! # References
//! RFC 8200 section 4 (extension headers), RFC 4302 section 2.2 (the length of an authentication header).

use crate::ast::{Comparison, Operator, Protocol, Qualifier};
use crate::error::{ErrorKind, FilterError, Span};
use crate::graph::Piece;
use crate::value::{Size, ValueId};

use super::Lower;
use super::link::ethertype;
use super::primitive::qualifier_error;

impl Lower<'_> {
    pub(super) fn protochain(
        &mut self,
        number: u32,
        qualifier: &Qualifier,
        span: Span,
    ) -> Result<Piece, FilterError> {
        if self.layers.network_header().cell.is_some() {
            let what = "protochain".to_owned();
            return Err(ErrorKind::NotOnLink { what, link: "headers of variable length" }.at(span));
        }
        self.refuses_contradiction = false;
        match qualifier.protocol {
            None => {
                let ip = self.chain_ip(number, span)?;
                let ip6 = self.chain_ip6(number, span)?;
                Ok(self.graph.or(ip, ip6))
            }
            Some(Protocol::Ip) => self.chain_ip(number, span),
            Some(Protocol::Ip6) => self.chain_ip6(number, span),
            Some(other) => Err(qualifier_error(other, "'protochain'").at(qualifier.span)),
        }
    }

    /// IPv4: only authentication headers are stepped over.
    fn chain_ip(&mut self, number: u32, span: Span) -> Result<Piece, FilterError> {
        let ip = self.link_type(ethertype::IP, span)?;
        let protocol = self.load(self.layers.network_header().plus(9), Size::Byte);
        let at = self.header_length();
        let walk = self.walk(number, Place { protocol, at }, MAX_HEADERS_IP, &[]);
        Ok(self.graph.and(ip, walk))
    }

    /// IPv6: also hop-by-hop and destination options, routing and fragment headers.
    fn chain_ip6(&mut self, number: u32, span: Span) -> Result<Piece, FilterError> {
        let ip6 = self.link_type(ethertype::IP6, span)?;
        let protocol = self.load(self.layers.network_header().plus(6), Size::Byte);
        let at = self.values.constant(40);
        let walk = self.walk(number, Place { protocol, at }, MAX_HEADERS_IP6, &EXTENSIONS);
        Ok(self.graph.and(ip6, walk))
    }

    /// Whether `number` is the protocol here or behind at most `headers` more headers.
    fn walk(&mut self, number: u32, place: Place, headers: u32, extensions: &[u32]) -> Piece {
        let mut places = vec![place];
        let mut steps = Vec::new();
        for _ in 0..headers {
            let from = places[places.len() - 1];
            let (step, to) = self.step(from, extensions);
            steps.push(step);
            places.push(to);
        }
        let last = places.pop().expect("the walk begins somewhere");
        let mut piece = self.compare_const(Comparison::Equal, last.protocol, number);
        for (place, step) in places.into_iter().zip(steps).rev() {
            let here = self.compare_const(Comparison::Equal, place.protocol, number);
            let behind = self.graph.and(step, piece);
            piece = self.graph.or(here, behind);
        }
        piece
    }

    /// A piece that matches if the header here can be stepped over, and then has written what is behind it.
    fn step(&mut self, from: Place, extensions: &[u32]) -> (Piece, Place) {
        let (protocol, at) = (self.new_cell(), self.new_cell());
        let network = self.layers.network_header().constant;
        let next = self.values.load(Size::Byte, Some(from.at), network);
        let length = self.values.load(Size::Byte, Some(from.at), network.wrapping_add(1));

        let authentication = self.compare_const(Comparison::Equal, from.protocol, IPPROTO_AH);
        let behind = self.skip(from.at, length, 2, 4);
        let mut step = self.graph.set_on(authentication, true, at, behind);
        if !extensions.is_empty() {
            let kinds: Vec<_> = extensions
                .iter()
                .map(|kind| self.compare_const(Comparison::Equal, from.protocol, *kind))
                .collect();
            let extension = self.or_all(kinds).expect("the list is not empty");
            let behind = self.skip(from.at, length, 1, 8);
            let extension = self.graph.set_on(extension, true, at, behind);
            step = self.graph.or(extension, step);
        }
        let step = self.graph.set_on(step, true, protocol, next);
        (step, Place { protocol: self.values.cell(protocol), at: self.values.cell(at) })
    }

    /// `at + (length + more) * unit`.
    fn skip(&mut self, at: ValueId, length: ValueId, more: u32, unit: u32) -> ValueId {
        let units = self.operate_const(Operator::Add, length, more);
        let bytes = self.operate_const(Operator::Mul, units, unit);
        self.operate(Operator::Add, bytes, at)
    }
}

/// A header: its protocol number, and where it begins from the network header on.
#[derive(Clone, Copy)]
struct Place {
    protocol: ValueId,
    at: ValueId,
}

/// Hop-by-hop options, destination options, routing, fragment.
const EXTENSIONS: [u32; 4] = [0, 60, 43, 44];
const IPPROTO_AH: u32 = 51;

/// How many authentication headers are stepped over in IPv4.
pub const MAX_HEADERS_IP: u32 = 2;
/// How many extension headers are stepped over in IPv6. RFC 8200 section 4.1 knows of 6 before the upper
/// layer.
pub const MAX_HEADERS_IP6: u32 = 8;
