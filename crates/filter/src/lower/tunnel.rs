//! `geneve` and `vxlan`: packets inside UDP. Where the inner headers begin is known at run time only.
//!
//! # References
//! RFC 8926 section 3.4, RFC 7348 section 5. `vxlan` is a word of libpcap 1.11.

use crate::ast::{Comparison, Operator, Placed};
use crate::error::{FilterError, Span};
use crate::graph::{Graph, Piece};
use crate::options::LinkType;
use crate::value::{Cell, Size, ValueId};

use super::layers::{Layers, Link, Offset};
use super::link::ethertype;
use super::{Lower, optional_limit};

/// What is asked of a tunnel header, 8 bytes behind the UDP header.
#[derive(Clone, Copy)]
struct Tunnel {
    port: u32,
    /// Bits of the first byte, and what they must be.
    first_byte: (u32, u32),
    /// The network identifier, if one was asked for.
    vni: Option<u32>,
}

impl Lower<'_> {
    pub(super) fn geneve(&mut self, vni: Option<Placed<u32>>, span: Span) -> Result<Piece, FilterError> {
        let vni = optional_limit("Geneve VNI", vni, 0xff_ffff)?;
        let tunnel = Tunnel { port: 6081, first_byte: (0xc0, 0), vni };
        let (piece, start) = self.tunnel(tunnel, span)?;
        for _ in 0..3 {
            self.take_register(span)?;
        }
        Ok(self.geneve_offsets(piece, start))
    }

    pub(super) fn vxlan(&mut self, vni: Option<Placed<u32>>, span: Span) -> Result<Piece, FilterError> {
        let vni = optional_limit("VXLAN VNI", vni, 0xff_ffff)?;
        let tunnel = Tunnel { port: 4789, first_byte: (0x08, 0x08), vni };
        let (piece, start) = self.tunnel(tunnel, span)?;
        self.take_register(span)?;
        let header = Offset { cell: Some(start), constant: 8 };
        self.enter(header, header.plus(12), header.plus(14));
        Ok(piece)
    }

    /// The outer headers over either version of IP, and the variable that holds where the tunnel header
    /// begins.
    fn tunnel(&mut self, tunnel: Tunnel, span: Span) -> Result<(Piece, Cell), FilterError> {
        self.refuses_contradiction = false;
        let start = self.new_cell();
        let ip = self.tunnel_ip(tunnel, start, span)?;
        let ip6 = self.tunnel_ip6(tunnel, start, span)?;
        Ok((self.graph.or(ip, ip6), start))
    }

    fn tunnel_ip(&mut self, tunnel: Tunnel, start: Cell, span: Span) -> Result<Piece, FilterError> {
        let udp = self.ip_protocol(IPPROTO_UDP, span)?;
        let unfragmented = self.is_first_fragment();
        let outer = self.graph.and(udp, unfragmented);
        let header = self.header_length();
        let constant = self.layers.network_header().constant;
        let port = self.values.load(Size::Half, Some(header), constant.wrapping_add(2));
        let first = self.values.load(Size::Byte, Some(header), constant.wrapping_add(UDP_BYTES));
        let vni = self.values.load(Size::Word, Some(header), constant.wrapping_add(UDP_BYTES + 4));
        let piece = self.tunnel_fields(tunnel, outer, port, first, vni);
        let begins = self.operate_const(Operator::Add, header, constant.wrapping_add(UDP_BYTES));
        Ok(self.graph.set_on(piece, true, start, begins))
    }

    fn tunnel_ip6(&mut self, tunnel: Tunnel, start: Cell, span: Span) -> Result<Piece, FilterError> {
        let ip6 = self.link_type(ethertype::IP6, span)?;
        let network = self.layers.network_header();
        let next_header = self.equal(network.plus(6), Size::Byte, IPPROTO_UDP);
        let outer = self.graph.and(ip6, next_header);
        let udp = network.plus(40);
        let port = self.load(udp.plus(2), Size::Half);
        let first = self.load(udp.plus(UDP_BYTES), Size::Byte);
        let vni = self.load(udp.plus(UDP_BYTES + 4), Size::Word);
        let piece = self.tunnel_fields(tunnel, outer, port, first, vni);
        let begins = self.offset_value(udp.plus(UDP_BYTES));
        Ok(self.graph.set_on(piece, true, start, begins))
    }

    fn tunnel_fields(
        &mut self,
        tunnel: Tunnel,
        outer: Piece,
        port: ValueId,
        first: ValueId,
        vni: ValueId,
    ) -> Piece {
        let (mask, expected) = tunnel.first_byte;
        let port = self.compare_const(Comparison::Equal, port, tunnel.port);
        let bits = self.masked(first, mask);
        let bits = self.compare_const(Comparison::Equal, bits, expected);
        let piece = self.graph.and(outer, port);
        let piece = self.graph.and(piece, bits);
        let Some(wanted) = tunnel.vni else { return piece };
        let vni = self.masked(vni, 0xffff_ff00);
        let vni = self.compare_const(Comparison::Equal, vni, wanted << 8);
        self.graph.and(piece, vni)
    }

    /// Behind the options comes a packet of the protocol in the header, or a whole Ethernet frame.
    fn geneve_offsets(&mut self, outer: Piece, start: Cell) -> Piece {
        let (type_field, header, payload) = (self.new_cell(), self.new_cell(), self.new_cell());
        let begins = Offset { cell: Some(start), constant: 0 };
        let first = self.load(begins, Size::Byte);
        let words = self.masked(first, 0x3f);
        let options = self.operate_const(Operator::Mul, words, 4);
        let fixed = self.offset_value(begins.plus(8));
        let behind = self.operate(Operator::Add, options, fixed);
        let piece = self.graph.set_on(outer, true, header, behind);

        let inner = Offset { cell: Some(header), constant: 0 };
        let bridged = self.equal(begins.plus(2), Size::Half, ethertype::TEB);
        let (inner_type, inner_payload) =
            (self.offset_value(inner.plus(12)), self.offset_value(inner.plus(14)));
        let (outer_type, outer_payload) = (self.offset_value(begins.plus(2)), self.offset_value(inner));
        let bridged = self.graph.set_on(bridged, true, type_field, inner_type);
        let bridged = self.graph.set_on(bridged, true, payload, inner_payload);
        let bridged = self.graph.set_on(bridged, false, type_field, outer_type);
        let either = self.graph.set_on(bridged, false, payload, outer_payload);
        let either = Graph::always(either);

        self.enter(
            inner,
            Offset { cell: Some(type_field), constant: 0 },
            Offset { cell: Some(payload), constant: 0 },
        );
        self.graph.and(piece, either)
    }

    /// An offset as a value.
    fn offset_value(&mut self, at: Offset) -> ValueId {
        let constant = self.values.constant(at.constant);
        match at.cell {
            None => constant,
            Some(cell) => {
                let cell = self.values.cell(cell);
                self.operate(Operator::Add, cell, constant)
            }
        }
    }

    /// What follows is of the inner packet.
    fn enter(&mut self, header: Offset, type_field: Offset, payload: Offset) {
        let outer = Layers { link: Link::Outer(LinkType::Ethernet), ..Layers::new(LinkType::Ethernet) };
        self.layers = Layers { header, type_field, payload, tunnelled: true, ..outer };
    }

    /// Whether what is inside a tunnel is a whole Ethernet frame; none where it always is.
    pub(super) fn has_inner_ethernet(&mut self) -> Option<Piece> {
        let (header, payload) = (self.layers.header.cell?, self.layers.payload.cell?);
        if header == payload {
            return None;
        }
        let (header, payload) = (self.values.cell(header), self.values.cell(payload));
        Some(Graph::not(self.compare(Comparison::Equal, header, payload)))
    }
}

const IPPROTO_UDP: u32 = 17;
const UDP_BYTES: u32 = 8;
