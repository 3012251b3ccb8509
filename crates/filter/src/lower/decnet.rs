//! DECnet addresses.
//!
//! # References
//! DECnet Phase IV Routing Layer Functional Specification, section 7: data packets.

use crate::ast::Direction;
use crate::error::{FilterError, Span};
use crate::graph::Piece;
use crate::value::Size;

use super::Lower;
use super::address::End;
use super::link::ethertype;

impl Lower<'_> {
    /// A node address, in the four layouts that a data packet can have: short or long, padded or not.
    pub(super) fn decnet_host(
        &mut self,
        address: u32,
        direction: Direction,
        span: Span,
    ) -> Result<Piece, FilterError> {
        // The packet has it in little-endian order.
        let node = (address & 0xff) << 8 | (address >> 8 & 0xff);
        self.either_end(direction, span, |lower, end| {
            let decnet = lower.link_type(ethertype::DECNET, span)?;
            let pieces: Vec<_> =
                LAYOUTS.iter().map(|layout| lower.decnet_layout(layout, end, node)).collect();
            let any = lower.or_all(pieces).expect("there are four layouts");
            Ok(lower.graph.and(decnet, any))
        })
    }

    fn decnet_layout(&mut self, layout: &Layout, end: End, node: u32) -> Piece {
        // The flags follow the length of the packet.
        let flags = self.layers.network_header().plus(2);
        let shape = self.equal_masked(flags, layout.size, layout.flags, layout.mask);
        let at = flags.plus(if end == End::Src { layout.src } else { layout.dst });
        let matches = self.equal(at, Size::Half, node);
        self.graph.and(shape, matches)
    }
}

/// The number that AREA.NODE is. What follows the second number is ignored, and neither is checked for its
/// size: so libpcap has it up to 1.10.
pub(super) fn address(text: &str) -> u32 {
    let mut parts = text.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let (area, node) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    area.wrapping_shl(10) | node
}

/// One layout of a data packet: how its first bytes are told, and where the addresses are from the flags on.
struct Layout {
    size: Size,
    mask: u32,
    flags: u32,
    src: u32,
    dst: u32,
}

const LAYOUTS: [Layout; 4] = [
    Layout { size: Size::Byte, mask: 0x07, flags: 0x02, src: 3, dst: 1 },
    Layout { size: Size::Half, mask: 0xff07, flags: 0x8102, src: 4, dst: 2 },
    Layout { size: Size::Byte, mask: 0x07, flags: 0x06, src: 15, dst: 7 },
    Layout { size: Size::Half, mask: 0xff07, flags: 0x8106, src: 16, dst: 8 },
];
