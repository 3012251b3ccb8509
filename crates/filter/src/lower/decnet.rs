//! DECnet addresses.
//!
//! # References
//! DECnet Phase IV Routing Layer Functional Specification, section 7: data packets.

use crate::ast::Direction;
use crate::error::{ErrorKind, FilterError, Span};
use crate::graph::Piece;
use crate::value::Size;

use super::Lower;
use super::address::End;
use super::link::ethertype;

impl Lower<'_> {
    /// A node address, in the four layouts that a data packet can have: short or long, padded or not.
    pub(super) fn decnet_host(
        &mut self,
        address: impl Into<Address>,
        direction: Direction,
        span: Span,
    ) -> Result<Piece, FilterError> {
        let Address(address) = address.into();
        let address = address.map_err(|malformed| malformed.at(span))?;
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

/// A node address, or why the text is none.
pub(super) struct Address(Result<u32, ErrorKind>);

impl From<u32> for Address {
    fn from(number: u32) -> Self {
        Self(Ok(number))
    }
}

/// The number that AREA.NODE is, two decimal numbers. What follows the second is ignored, and of both only
/// the bits count that the address has: so libpcap has it up to 1.10.
pub(super) fn address(text: &str) -> Address {
    let malformed = || ErrorKind::UnknownName { what: "DECnet address", name: text.to_owned() };
    Address(area_and_node(text).ok_or_else(malformed))
}

/// As `sscanf("%d.%d")` reads them: `1.0x2` is 1.0, and there is no `0x1`, for a dot must follow the area.
fn area_and_node(text: &str) -> Option<u32> {
    let (area, rest) = decimal(text)?;
    let (node, _ignored) = decimal(rest.strip_prefix('.')?)?;
    Some((area & AREA_MAX) << NODE_BITS | node & NODE_MAX)
}

/// The last bits of the decimal number that `text` begins with, and what follows it. A number that is too
/// large even for the `long` that it is read into is the largest.
fn decimal(text: &str) -> Option<(u32, &str)> {
    let len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(len);
    let push = |number: u64, digit: u8| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    let number = digits.bytes().fold(0, push).min(LONG_MAX);
    let last = u32::try_from(number & u64::from(u32::MAX)).ok()?;
    (len > 0).then_some((last, rest))
}

/// An address has 6 bits of area and 10 of node.
const NODE_BITS: u32 = 10;
const NODE_MAX: u32 = (1 << NODE_BITS) - 1;
const AREA_MAX: u32 = (1 << 6) - 1;
const LONG_MAX: u64 = u64::MAX >> 1;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_area_and_a_node() {
        assert_eq!(area_and_node("1.2"), Some(0x402));
        assert_eq!(area_and_node("08.2"), Some(0x2002));
        assert_eq!(area_and_node("1.2.3.4"), Some(0x402));
        assert_eq!(area_and_node("1.0x2"), Some(0x400));
    }

    #[test]
    fn an_area_in_hexadecimal_is_malformed() {
        assert_eq!(area_and_node("0x1.2"), None);
        assert_eq!(area_and_node("0X1.2"), None);
        assert_eq!(area_and_node("1"), None);
        assert_eq!(area_and_node("1."), None);
        assert!(address("0x1.2").0.is_err());
    }

    #[test]
    fn only_the_bits_of_an_address_count() {
        assert_eq!(area_and_node("4294967296.1"), Some(1));
        assert_eq!(area_and_node("70000.1"), Some(0xc001));
        assert_eq!(area_and_node("99999999999.1"), Some(0xfc01));
        assert_eq!(area_and_node("2.2000"), Some(0xbd0));
        assert_eq!(area_and_node("1.65537"), Some(0x401));
        assert_eq!(area_and_node("1.99999999999999999999"), Some(0x7ff));
    }
}
