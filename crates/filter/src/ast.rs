//! What the parser makes of a text: a list of tests in text order, joined by `and`, `or` and `not` in postfix
//! form.
//!
//! Postfix, and no tree, for two reasons. The words that change offsets (`vlan`, `mpls`, `pppoes`, `geneve`)
//! act on all that stands to the right of them, whatever the parentheses say, so the code generator walks the
//! text from left to right anyway. And a list can be walked without recursion, so that ten thousand
//! parentheses cost no stack.

use std::net::Ipv6Addr;

use crate::error::Span;

/// A protocol word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    Link,
    Ip,
    Ip6,
    Arp,
    Rarp,
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmp6,
    Igmp,
    Igrp,
    Pim,
    Vrrp,
    Carp,
    Ah,
    Esp,
    Atalk,
    Aarp,
    Decnet,
    Lat,
    Sca,
    Moprc,
    Mopdl,
    Iso,
    Clnp,
    Esis,
    Isis,
    IsisLevel1,
    IsisLevel2,
    IsisHello,
    IsisLsp,
    IsisSnp,
    IsisCsnp,
    IsisPsnp,
    Stp,
    Ipx,
    Netbeui,
    Radio,
}

impl Protocol {
    /// The word itself, for messages.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Link => "ether",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Rarp => "rarp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Icmp => "icmp",
            Self::Icmp6 => "icmp6",
            Self::Igmp => "igmp",
            Self::Igrp => "igrp",
            Self::Pim => "pim",
            Self::Vrrp => "vrrp",
            Self::Carp => "carp",
            Self::Ah => "ah",
            Self::Esp => "esp",
            Self::Atalk => "atalk",
            Self::Aarp => "aarp",
            Self::Decnet => "decnet",
            Self::Lat => "lat",
            Self::Sca => "sca",
            Self::Moprc => "moprc",
            Self::Mopdl => "mopdl",
            Self::Iso => "iso",
            Self::Clnp => "clnp",
            Self::Esis => "esis",
            Self::Isis => "isis",
            Self::IsisLevel1 => "l1",
            Self::IsisLevel2 => "l2",
            Self::IsisHello => "iih",
            Self::IsisLsp => "lsp",
            Self::IsisSnp => "snp",
            Self::IsisCsnp => "csnp",
            Self::IsisPsnp => "psnp",
            Self::Stp => "stp",
            Self::Ipx => "ipx",
            Self::Netbeui => "netbeui",
            Self::Radio => "radio",
        }
    }
}

/// Which end of a conversation an address or port is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Either end: the default.
    SrcOrDst,
    SrcAndDst,
    Src,
    Dst,
    /// One of the addresses of 802.11.
    Wlan,
}

/// What an address, number or name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Host,
    Net,
    Port,
    Portrange,
    Proto,
    Protochain,
    Gateway,
}

/// The words before an address, number or name. They stay in force for the next ones in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Qualifier {
    pub(crate) protocol: Option<Protocol>,
    pub(crate) direction: Direction,
    pub(crate) kind: Option<Kind>,
    /// Where the words stand.
    pub(crate) span: Span,
}

/// An address, number or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    Number(u32),
    Name(String),
    /// Two to four numbers with dots; what they say is read when it is known whether they are an address of
    /// IP or of DECnet.
    Dotted(String),
    /// `ADDRESS/LENGTH`
    DottedPrefix(String, u32),
    /// `ADDRESS mask ADDRESS`
    DottedMask(String, String),
    Ipv6(Ipv6Addr),
    /// `ADDRESS/LENGTH`
    Ipv6Prefix(Ipv6Addr, u32),
    Mac([u8; 6]),
    Arcnet,
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    /// Any bit in common. No operator of the language, but an instruction of the machine.
    AnyBit,
}

/// A binary operator of the language and of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    And,
    Or,
    Xor,
    Shl,
    Shr,
}

/// One step of an arithmetic expression in postfix form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArithStep {
    Number(u32),
    /// The length of the packet on the wire.
    Length,
    /// Takes an offset, gives the bytes there.
    Load {
        protocol: Protocol,
        size: u32,
    },
    Negate,
    Binary(Operator),
}

/// An arithmetic expression in postfix form; each step with its place.
pub(crate) type Arith = Vec<(ArithStep, Span)>;

/// The comparison in `byte N op V`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOp {
    Equal,
    Less,
    Greater,
    And,
    Or,
}

/// What a word is followed by, and where that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Primitive {
    Id(Qualifier, Id),
    Protocol(Protocol),
    Relation { comparison: Comparison, negated: bool, left: Arith, right: Arith },
    Broadcast(Option<Protocol>),
    Multicast(Option<Protocol>),
    Less(u32),
    Greater(u32),
    Byte { offset: u32, op: ByteOp, value: u32 },
    Inbound,
    Outbound,
    Ifindex(u32),
    Vlan(Option<Placed<u32>>),
    Mpls(Option<Placed<u32>>),
    Pppoed,
    Pppoes(Option<Placed<u32>>),
    Geneve(Option<Placed<u32>>),
    Vxlan(Option<Placed<u32>>),
    Llc(Option<Placed<String>>),
}

/// One step of the whole expression in postfix form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Test(Primitive, Span),
    Not,
    And,
    Or,
}
