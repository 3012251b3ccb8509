//! Which protocol a frame carries, by its link header.
//!
//! # References
//! IEEE 802.3 clause 3.2.6 (length or type), IEEE 802.2, RFC 1042 (SNAP), RFC 1661 and the PPP numbers of
//! IANA.

use crate::ast::Comparison;
use crate::error::{ErrorKind, FilterError, Span};
use crate::graph::{Graph, Piece};
use crate::options::{LinkType, Source};
use crate::value::Size;

use super::Lower;
use super::layers::Link;

/// `ETHERTYPE_*` of linux/if_ether.h and net/ethernet.h.
pub(super) mod ethertype {
    pub(crate) const NS: u32 = 0x0600;
    pub(crate) const IP: u32 = 0x0800;
    pub(crate) const ARP: u32 = 0x0806;
    pub(crate) const MOPDL: u32 = 0x6001;
    pub(crate) const MOPRC: u32 = 0x6002;
    pub(crate) const DECNET: u32 = 0x6003;
    pub(crate) const LAT: u32 = 0x6004;
    pub(crate) const SCA: u32 = 0x6007;
    pub(crate) const TEB: u32 = 0x6558;
    pub(crate) const RARP: u32 = 0x8035;
    pub(crate) const ATALK: u32 = 0x809b;
    pub(crate) const AARP: u32 = 0x80f3;
    pub(crate) const VLAN: u32 = 0x8100;
    pub(crate) const IPX: u32 = 0x8137;
    pub(crate) const IP6: u32 = 0x86dd;
    pub(crate) const MPLS: u32 = 0x8847;
    pub(crate) const PPPOED: u32 = 0x8863;
    pub(crate) const PPPOES: u32 = 0x8864;
    pub(crate) const QINQ: u32 = 0x88a8;
    pub(crate) const LOOPBACK: u32 = 0x9000;
    pub(crate) const OLD_QINQ: u32 = 0x9100;
}

/// Service access points of IEEE 802.2.
pub(super) mod sap {
    pub(crate) const IP: u32 = 0x06;
    pub(crate) const STP: u32 = 0x42;
    pub(crate) const IPX: u32 = 0xe0;
    pub(crate) const NETBEUI: u32 = 0xf0;
    pub(crate) const ISO: u32 = 0xfe;
}

impl Lower<'_> {
    /// Whether the frame carries `proto`: an Ethernet type, or below 1501 an LLC service access point.
    pub(super) fn link_type(&mut self, proto: u32, span: Span) -> Result<Piece, FilterError> {
        if self.layers.labels > 0 {
            return self.mpls_link_type(proto, span);
        }
        Ok(match self.layers.link {
            Link::Outer(LinkType::Ethernet) => self.ethernet_type(proto),
            Link::Outer(LinkType::LinuxSll) => self.cooked_type(proto),
            Link::Outer(LinkType::LinuxSll2) => self.equal(self.layers.type_field, Size::Half, proto),
            Link::Outer(LinkType::Raw) => self.raw_type(proto),
            Link::Outer(LinkType::Null) => self.null_type(proto),
            Link::Ppp => self.equal(self.layers.type_field, Size::Half, ppp_type(proto)),
        })
    }

    /// The two protocols that an MPLS label can be the last before: they are told apart by their version.
    fn mpls_link_type(&mut self, proto: u32, span: Span) -> Result<Piece, FilterError> {
        let version = match proto {
            ethertype::IP => 0x40,
            ethertype::IP6 => 0x60,
            _ => return Err(self.not_on_mpls(span)),
        };
        let bottom = self.bottom_of_stack(true);
        let version = self.equal_masked(self.layers.network_header(), Size::Byte, version, 0xf0);
        Ok(self.graph.and(bottom, version))
    }

    /// The error that what stands at `span` is not told apart behind a label.
    pub(super) fn not_on_mpls(&self, span: Span) -> FilterError {
        ErrorKind::NotOnLink { what: self.typed(span), link: "MPLS" }.at(span)
    }

    /// Whether the innermost known label is the bottom of its stack, or is not.
    pub(super) fn bottom_of_stack(&mut self, expected: bool) -> Piece {
        // RFC 3032: the last bit of the third byte of the four.
        let at = self.layers.network_header().plus(2_u32.wrapping_neg());
        self.equal_masked(at, Size::Byte, u32::from(expected), 1)
    }

    /// Ethernet: a type, or a length and LLC behind it.
    fn ethernet_type(&mut self, proto: u32) -> Piece {
        let type_field = self.layers.type_field;
        match proto {
            sap::ISO | sap::IP | sap::NETBEUI => {
                let length = self.has_length();
                let saps = self.equal(self.layers.payload, Size::Half, proto << 8 | proto);
                self.graph.and(length, saps)
            }
            sap::IPX => {
                let typed = self.equal(type_field, Size::Half, ethertype::IPX);
                let length = self.has_length();
                let snap = self.snap(0, ethertype::IPX);
                let saps = self.equal(self.layers.payload, Size::Byte, sap::IPX);
                let raw = self.equal(self.layers.payload, Size::Half, 0xffff);
                let headed = self.graph.or(snap, saps);
                let headed = self.graph.or(headed, raw);
                let framed = self.graph.and(length, headed);
                self.graph.or(typed, framed)
            }
            ethertype::ATALK | ethertype::AARP => {
                let typed = self.equal(type_field, Size::Half, proto);
                let length = self.has_length();
                let snap = self.snap(apple_oui(proto), proto);
                let framed = self.graph.and(length, snap);
                self.graph.or(typed, framed)
            }
            _ if proto <= MAX_LENGTH => {
                let length = self.has_length();
                let dsap = self.equal(type_field.plus(2), Size::Byte, proto);
                self.graph.and(length, dsap)
            }
            _ => self.equal(type_field, Size::Half, proto),
        }
    }

    /// Whether the type field of Ethernet is a length, so that LLC follows.
    pub(super) fn has_length(&mut self) -> Piece {
        let field = self.load(self.layers.type_field, Size::Half);
        let typed = self.compare_const(Comparison::Greater, field, MAX_LENGTH);
        Graph::not(typed)
    }

    /// Whether LLC and SNAP with this organisation and type are the payload.
    fn snap(&mut self, oui: u32, proto: u32) -> Piece {
        let [_, oui_0, oui_1, oui_2] = oui.to_be_bytes();
        let [.., proto_0, proto_1] = proto.to_be_bytes();
        self.equal_bytes(self.layers.payload, &[0xaa, 0xaa, 0x03, oui_0, oui_1, oui_2, proto_0, proto_1])
    }

    /// Linux cooked v1: a type, 1 for raw 802.3, 4 for 802.2 (linux/if_ether.h).
    fn cooked_type(&mut self, proto: u32) -> Piece {
        let type_field = self.layers.type_field;
        let payload = self.layers.payload;
        match proto {
            sap::ISO | sap::IP | sap::NETBEUI => {
                let llc = self.equal(type_field, Size::Half, ETH_P_802_2);
                let saps = self.equal(payload, Size::Half, proto << 8 | proto);
                self.graph.and(llc, saps)
            }
            sap::IPX => {
                let typed = self.equal(type_field, Size::Half, ethertype::IPX);
                let raw = self.equal(type_field, Size::Half, ETH_P_802_3);
                let llc = self.equal(type_field, Size::Half, ETH_P_802_2);
                let dsap = self.equal(payload, Size::Byte, sap::IPX);
                let snap = self.snap(0, ethertype::IPX);
                let headed = self.graph.or(dsap, snap);
                let framed = self.graph.and(llc, headed);
                let framed = self.graph.or(raw, framed);
                self.graph.or(typed, framed)
            }
            ethertype::ATALK | ethertype::AARP => {
                let typed = self.equal(type_field, Size::Half, proto);
                let llc = self.equal(type_field, Size::Half, ETH_P_802_2);
                let snap = self.snap(apple_oui(proto), proto);
                let framed = self.graph.and(llc, snap);
                self.graph.or(typed, framed)
            }
            _ if proto <= MAX_LENGTH => {
                let llc = self.equal(type_field, Size::Half, ETH_P_802_2);
                let dsap = self.equal(payload, Size::Byte, proto);
                self.graph.and(llc, dsap)
            }
            _ => self.equal(type_field, Size::Half, proto),
        }
    }

    /// No link header: the version of IP tells.
    fn raw_type(&mut self, proto: u32) -> Piece {
        match proto {
            ethertype::IP => self.equal_masked(self.layers.header, Size::Byte, 0x40, 0xf0),
            ethertype::IP6 => self.equal_masked(self.layers.header, Size::Byte, 0x60, 0xf0),
            _ => self.never(),
        }
    }

    /// BSD loopback: an address family, written by a little-endian machine.
    fn null_type(&mut self, proto: u32) -> Piece {
        let families: &[u32] = match (proto, self.options.source) {
            (ethertype::IP, _) => &[AF_INET],
            // In a file it is the one of whatever BSD wrote it.
            (ethertype::IP6, Source::File) => &AF_INET6_BSD,
            (ethertype::IP6, _) => &[AF_INET6],
            _ => &[],
        };
        let family = self.layers.type_field;
        let pieces: Vec<_> =
            families.iter().map(|af| self.equal(family, Size::Word, af.swap_bytes())).collect();
        match self.or_all(pieces) {
            Some(piece) => piece,
            None => self.never(),
        }
    }
}

/// The number that PPP has for a protocol of Ethernet.
fn ppp_type(proto: u32) -> u32 {
    match proto {
        ethertype::IP => 0x0021,
        ethertype::IP6 => 0x0057,
        ethertype::DECNET => 0x0027,
        ethertype::ATALK => 0x0029,
        ethertype::NS => 0x0025,
        sap::ISO => 0x0023,
        sap::STP => 0x0031,
        sap::IPX => 0x002b,
        _ => proto,
    }
}

/// The organisation in the SNAP header of AppleTalk; its address resolution has none.
fn apple_oui(proto: u32) -> u32 {
    if proto == ethertype::ATALK { 0x08_0007 } else { 0 }
}

/// The greatest value of the type field that is a length.
pub(super) const MAX_LENGTH: u32 = 1500;
/// Raw 802.3 (Novell IPX), linux/if_ether.h.
const ETH_P_802_3: u32 = 0x0001;
/// 802.2, linux/if_ether.h.
const ETH_P_802_2: u32 = 0x0004;
const AF_INET: u32 = 2;
/// Of Linux.
const AF_INET6: u32 = 10;
/// Of NetBSD, OpenBSD and BSD/OS; of FreeBSD and `DragonFly` BSD; of macOS.
const AF_INET6_BSD: [u32; 3] = [24, 28, 30];
