//! Where the headers of a packet begin.

use crate::options::LinkType;
use crate::value::Cell;

/// A place in the packet: a constant, and maybe a variable to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    pub(super) cell: Option<Cell>,
    pub(super) constant: u32,
}

impl Offset {
    pub(super) const fn at(constant: u32) -> Self {
        Self { cell: None, constant }
    }

    pub(super) fn plus(self, more: u32) -> Self {
        Self { constant: self.constant.wrapping_add(more), ..self }
    }
}

/// What the link header is, inside whatever encloses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Outer(LinkType),
    /// Behind `pppoes`.
    Ppp,
}

/// The state that encapsulation words change.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    pub(super) link: Link,
    /// The link header.
    pub(super) header: Offset,
    /// Its type field. Not used where there is none, on RAW.
    pub(super) type_field: Offset,
    /// What follows the link header: an LLC header, an MPLS label, or the network header.
    pub(super) payload: Offset,
    /// The network header, from `payload` on: behind MPLS labels.
    pub(super) network: u32,
    /// The same for what has an LLC header but no SNAP header before it.
    pub(super) network_behind_llc: u32,
    /// How many MPLS labels are known.
    pub(super) labels: u32,
    /// Whether a `vlan` has been seen.
    pub(super) tagged: bool,
    /// Whether offsets are those of a packet inside a tunnel, and are variables.
    pub(super) tunnelled: bool,
}

impl Layers {
    pub(super) fn new(link_type: LinkType) -> Self {
        let (type_field, payload, network_behind_llc) = match link_type {
            LinkType::Ethernet => (12, 14, 3),
            LinkType::Raw => (0, 0, 0),
            LinkType::Null => (0, 4, 0),
            LinkType::LinuxSll => (14, 16, 0),
            LinkType::LinuxSll2 => (0, 20, 0),
        };
        Self {
            link: Link::Outer(link_type),
            header: Offset::at(0),
            type_field: Offset::at(type_field),
            payload: Offset::at(payload),
            network: 0,
            network_behind_llc,
            labels: 0,
            tagged: false,
            tunnelled: false,
        }
    }

    /// The network header.
    pub(super) fn network_header(&self) -> Offset {
        self.payload.plus(self.network)
    }

    pub(super) fn is_ethernet(&self) -> bool {
        self.link == Link::Outer(LinkType::Ethernet)
    }

    /// What the link is called in messages.
    pub(super) fn name(&self) -> &'static str {
        match self.link {
            Link::Outer(LinkType::Ethernet) => "Ethernet",
            Link::Outer(LinkType::Raw) => "raw IP",
            Link::Outer(LinkType::Null) => "BSD loopback",
            Link::Outer(LinkType::LinuxSll) => "Linux cooked v1",
            Link::Outer(LinkType::LinuxSll2) => "Linux cooked v2",
            Link::Ppp => "PPP",
        }
    }
}
