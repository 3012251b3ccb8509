//! Relations between arithmetic expressions.

use crate::ast::{Arith, ArithStep, Comparison, Operator, Protocol};
use crate::error::{ErrorKind, FilterError, Span};
use crate::graph::{Graph, Piece};
use crate::value::{Size, ValueId};

use super::Lower;
use super::layers::Offset;
use super::link::ethertype;
use super::primitive::qualifier_error;
use super::protocol::{ProtocolKind, kind};

/// An expression, and what must hold of the packet for it to have a meaning.
struct Operand {
    value: ValueId,
    requires: Option<Piece>,
}

impl Lower<'_> {
    /// `left comparison right`, or its opposite, where what both require holds.
    pub(super) fn relation(
        &mut self,
        comparison: Comparison,
        negated: bool,
        left: &Arith,
        right: &Arith,
        span: Span,
    ) -> Result<Piece, FilterError> {
        let left = self.arithmetic(left, span)?;
        let right = self.arithmetic(right, span)?;
        self.registers -= 2;
        let outcome = self.values.relate(comparison, left.value, right.value);
        let relation = self.graph.test(outcome);
        let relation = if negated { Graph::not(relation) } else { relation };
        let required = match (left.requires, right.requires) {
            (Some(left), Some(right)) => Some(self.graph.and(left, right)),
            (left, right) => left.or(right),
        };
        Ok(self.and_also(required, relation))
    }

    /// One side. Its value takes a register until the relation is made.
    fn arithmetic(&mut self, steps: &Arith, span: Span) -> Result<Operand, FilterError> {
        let mut stack: Vec<Operand> = Vec::new();
        for (step, at) in steps {
            let operand = match step {
                ArithStep::Number(number) => {
                    self.take_register(*at)?;
                    Operand { value: self.values.constant(*number), requires: None }
                }
                ArithStep::Length => {
                    self.take_register(*at)?;
                    Operand { value: self.values.length(), requires: None }
                }
                ArithStep::Negate => {
                    let operand = stack.pop().expect(OPERANDS);
                    Operand { value: self.values.negate(operand.value), ..operand }
                }
                ArithStep::Load { protocol, size } => {
                    let index = stack.pop().expect(OPERANDS);
                    self.packet_load(*protocol, index, *size, *at)?
                }
                ArithStep::Binary(operator) => {
                    let (right, left) = (stack.pop().expect(OPERANDS), stack.pop().expect(OPERANDS));
                    self.registers -= 1;
                    self.operation(*operator, left, &right, *at)?
                }
            };
            if self.values.depth(operand.value) > MAX_DEPTH {
                return Err(ErrorKind::TooDeep.at(span));
            }
            stack.push(operand);
        }
        Ok(stack.pop().expect(OPERANDS))
    }

    /// What the left operand requires stays, what the right one does is lost. Every version of libpcap does
    /// so, and filters rely on it.
    fn operation(
        &mut self,
        operator: Operator,
        left: Operand,
        right: &Operand,
        span: Span,
    ) -> Result<Operand, FilterError> {
        let value = self.values.binary(operator, left.value, right.value).map_err(|kind| kind.at(span))?;
        Ok(Operand { value, requires: left.requires })
    }

    /// `PROTOCOL[index:size]`.
    fn packet_load(
        &mut self,
        protocol: Protocol,
        index: Operand,
        size: u32,
        span: Span,
    ) -> Result<Operand, FilterError> {
        let size = match size {
            1 => Size::Byte,
            2 => Size::Half,
            _ => Size::Word,
        };
        match (protocol, kind(protocol)) {
            (Protocol::Link, _) => {
                let value = self.indexed(self.layers.header, index.value, size);
                Ok(Operand { value, requires: index.requires })
            }
            _ if !HAS_BYTES.contains(&protocol) => Err(qualifier_error(protocol, "'[ ]'").at(span)),
            (_, ProtocolKind::Link(link_type)) => {
                let required = self.link_type(link_type, span)?;
                let value = self.indexed(self.layers.network_header(), index.value, size);
                Ok(Operand { value, requires: Some(self.and_also(index.requires, required)) })
            }
            (_, ProtocolKind::Ip(_) | ProtocolKind::EitherIp(_)) => {
                self.transport(protocol, index, size, span)
            }
            (_, ProtocolKind::Ip6(number)) => self.transport_ip6(number, index, size, span),
            (_, ProtocolKind::Iso(_) | ProtocolKind::IsisPdu(_) | ProtocolKind::None) => {
                Err(qualifier_error(protocol, "'[ ]'").at(span))
            }
        }
    }

    /// Behind the IPv4 header. For protocols that exist over both versions too: their bytes are read over
    /// IPv4 only.
    fn transport(
        &mut self,
        protocol: Protocol,
        index: Operand,
        size: Size,
        span: Span,
    ) -> Result<Operand, FilterError> {
        let over_ip = self.protocol(protocol, span)?;
        let unfragmented = self.is_first_fragment();
        let required = self.graph.and(over_ip, unfragmented);
        let required = self.and_also(index.requires, required);
        let ip = self.link_type(ethertype::IP, span)?;
        let requires = Some(self.graph.and(ip, required));
        let header = self.header_length();
        let base = self.operate(Operator::Add, index.value, header);
        let value = self.values.load(size, Some(base), self.layers.network_header().constant);
        Ok(Operand { value, requires })
    }

    /// Behind the fixed header of IPv6.
    fn transport_ip6(
        &mut self,
        number: u32,
        index: Operand,
        size: Size,
        span: Span,
    ) -> Result<Operand, FilterError> {
        let network = self.layers.network_header();
        let ip6 = self.link_type(ethertype::IP6, span)?;
        let required = self.and_also(index.requires, ip6);
        let next_header = self.equal(network.plus(6), Size::Byte, number);
        let requires = Some(self.graph.and(required, next_header));
        let value = self.indexed(network.plus(40), index.value, size);
        Ok(Operand { value, requires })
    }

    /// The bytes at an offset plus a computed index.
    fn indexed(&mut self, at: Offset, index: ValueId, size: Size) -> ValueId {
        let base = match at.cell {
            None => index,
            Some(cell) => {
                let cell = self.values.cell(cell);
                self.operate(Operator::Add, index, cell)
            }
        };
        self.values.load(size, Some(base), at.constant)
    }
}

/// The protocols whose bytes can be asked for, beside those of the link.
const HAS_BYTES: &[Protocol] = &[
    Protocol::Ip,
    Protocol::Ip6,
    Protocol::Arp,
    Protocol::Rarp,
    Protocol::Atalk,
    Protocol::Decnet,
    Protocol::Lat,
    Protocol::Sca,
    Protocol::Moprc,
    Protocol::Mopdl,
    Protocol::Tcp,
    Protocol::Udp,
    Protocol::Sctp,
    Protocol::Icmp,
    Protocol::Icmp6,
    Protocol::Igmp,
    Protocol::Igrp,
    Protocol::Pim,
    Protocol::Vrrp,
    Protocol::Carp,
];

/// How deep arithmetic may be nested. Every level costs an instruction, of which the kernel takes 4096.
pub const MAX_DEPTH: u32 = 1000;

/// What the parser promises.
const OPERANDS: &str = "the parser emits an operator behind its operands";
