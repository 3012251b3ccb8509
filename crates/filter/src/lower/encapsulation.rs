//! `vlan`, `mpls` and `pppoes`: tests that move what stands to the right of them further into the packet.
//!
//! # Kernel interface
//! The kernel takes the outer VLAN tag out of a received frame before a packet socket sees it;
//! `SKF_AD_VLAN_TAG_PRESENT` and `SKF_AD_VLAN_TAG` of linux/filter.h tell of it. Only from a socket, and only
//! the first `vlan` of a filter, asks for them.
//!
//! # References
//! IEEE 802.1Q, 802.1ad; RFC 3032; RFC 2516.

use crate::ast::{Comparison, Placed};
use crate::error::{FilterError, Span};
use crate::graph::{Graph, Piece};
use crate::options::Source;
use crate::value::Size;

use super::layers::{Link, Offset};
use super::link::ethertype;
use super::primitive::ancillary;
use super::{Lower, optional_limit};

impl Lower<'_> {
    pub(super) fn vlan(&mut self, id: Option<Placed<u32>>, span: Span) -> Result<Piece, FilterError> {
        let id = optional_limit("VLAN tag", id, 4095)?;
        if self.layers.labels > 0 {
            return Err(crate::error::ErrorKind::NotOnLink { what: "vlan".to_owned(), link: "MPLS" }.at(span));
        }
        if !self.layers.is_ethernet() {
            return Err(self.not_on_link("vlan", span));
        }
        let beside = self.options.source == Source::Live && !self.layers.tagged && !self.layers.tunnelled;
        let piece = if beside { self.vlan_beside(id, span)? } else { self.vlan_inside(id) };
        self.layers.tagged = true;
        Ok(piece)
    }

    /// The tag is among the bytes.
    fn vlan_inside(&mut self, id: Option<u32>) -> Piece {
        let mut piece = self.has_tag();
        if let Some(id) = id {
            let matches = self.equal_masked(self.layers.payload, Size::Half, id, TAG_ID);
            piece = self.graph.and(piece, matches);
        }
        self.layers.type_field = self.layers.type_field.plus(TAG_BYTES);
        self.layers.payload = self.layers.payload.plus(TAG_BYTES);
        piece
    }

    /// The tag is beside the bytes, or else among them. Which one moves what follows, so that is kept in a
    /// variable: it is written before the bytes are looked at, and has moved also where no tag was found.
    fn vlan_beside(&mut self, id: Option<u32>, span: Span) -> Result<Piece, FilterError> {
        // libpcap keeps the offsets of type and payload apart.
        self.take_register(span)?;
        self.take_register(span)?;
        let cell = self.new_cell();
        let moved = self.values.constant(TAG_BYTES);
        let beside = self.tag_is_beside();
        let beside = self.graph.set_on(beside, false, cell, moved);
        let inside = self.has_tag();
        let mut piece = self.graph.or(beside, inside);
        if let Some(id) = id {
            let matches = self.tag_beside_or_inside(id);
            piece = self.graph.and(piece, matches);
        }
        self.layers.type_field.cell = Some(cell);
        self.layers.payload.cell = Some(cell);
        Ok(piece)
    }

    /// Whether the tag, wherever it is, has this number.
    fn tag_beside_or_inside(&mut self, id: u32) -> Piece {
        let beside = self.tag_is_beside();
        let tag = self.equal_masked(Offset::at(ancillary::VLAN_TAG), Size::Half, id, TAG_ID);
        let beside = self.graph.and(beside, tag);
        let inside = Graph::not(self.tag_is_beside());
        let tag = self.equal_masked(self.layers.payload, Size::Half, id, TAG_ID);
        let inside = self.graph.and(inside, tag);
        self.graph.or(beside, inside)
    }

    fn tag_is_beside(&mut self) -> Piece {
        self.equal(Offset::at(ancillary::VLAN_TAG_PRESENT), Size::Byte, 1)
    }

    /// Whether the type field announces a tag.
    fn has_tag(&mut self) -> Piece {
        let types = [ethertype::VLAN, ethertype::QINQ, ethertype::OLD_QINQ];
        let pieces = types.map(|ethertype| self.equal(self.layers.type_field, Size::Half, ethertype));
        self.or_all(pieces).expect("there are three types")
    }

    pub(super) fn mpls(&mut self, label: Option<Placed<u32>>, span: Span) -> Result<Piece, FilterError> {
        let label = optional_limit("MPLS label", label, 0xf_ffff)?;
        let mut piece = match self.layers.link {
            // One label follows another where that is not the bottom of the stack.
            _ if self.layers.labels > 0 => self.bottom_of_stack(false),
            Link::Ppp => self.link_type(PPP_MPLS, span)?,
            _ if self.layers.is_ethernet() => self.link_type(ethertype::MPLS, span)?,
            Link::Outer(_) => return Err(self.not_on_link("mpls", span)),
        };
        if let Some(label) = label {
            let matches =
                self.equal_masked(self.layers.network_header(), Size::Word, label << 12, 0xffff_f000);
            piece = self.graph.and(piece, matches);
        }
        self.layers.network += LABEL_BYTES;
        self.layers.network_behind_llc += LABEL_BYTES;
        self.layers.labels += 1;
        Ok(piece)
    }

    pub(super) fn pppoes(&mut self, session: Option<Placed<u32>>, span: Span) -> Result<Piece, FilterError> {
        let session = optional_limit("PPPoE session", session, 65_535)?;
        let mut piece = self.link_type(ethertype::PPPOES, span)?;
        if let Some(session) = session {
            let word = self.load(self.layers.payload, Size::Word);
            let word = self.masked(word, 0xffff);
            let matches = self.compare_const(Comparison::Equal, word, session);
            piece = self.graph.and(piece, matches);
        }
        let header = self.layers.network_header().plus(PPPOE_BYTES);
        self.layers.link = Link::Ppp;
        self.layers.header = header;
        self.layers.type_field = header;
        self.layers.payload = header.plus(2);
        self.layers.network = 0;
        self.layers.network_behind_llc = 0;
        Ok(piece)
    }
}

const TAG_BYTES: u32 = 4;
/// The VLAN identifier, without priority and drop eligibility.
const TAG_ID: u32 = 0xfff;
const LABEL_BYTES: u32 = 4;
const PPPOE_BYTES: u32 = 6;
/// MPLS unicast over PPP, RFC 3032 section 4.
const PPP_MPLS: u32 = 0x0281;
