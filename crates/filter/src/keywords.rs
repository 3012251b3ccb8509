//! The reserved words and named constants of the language, as tables.
//!
//! # References
//! pcap-filter(7), section "PRIMITIVES".

use crate::ast::{Direction, Kind, Protocol};

/// What a reserved word is to the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    And,
    Or,
    Not,
    Proto(Protocol),
    Direction(Direction),
    Kind(Kind),
    Mask,
    Less,
    Greater,
    Byte,
    Broadcast,
    Multicast,
    Inbound,
    Outbound,
    Ifindex,
    Len,
    Vlan,
    Mpls,
    Pppoed,
    Pppoes,
    Geneve,
    Vxlan,
    Llc,
    /// A word for 802.11, pf, ATM or SS7 captures: reserved, and refused on every link type that we know.
    Foreign,
}

/// The reserved word that `text` is. Case matters.
pub(crate) fn keyword(text: &str) -> Option<Keyword> {
    KEYWORDS.iter().find(|(word, _)| *word == text).map(|(_, keyword)| *keyword)
}

/// The value of the named constant that `text` is.
pub(crate) fn constant(text: &str) -> Option<u32> {
    CONSTANTS.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
}

const KEYWORDS: &[(&str, Keyword)] = &[
    ("and", Keyword::And),
    ("or", Keyword::Or),
    ("not", Keyword::Not),
    ("ether", Keyword::Proto(Protocol::Link)),
    ("link", Keyword::Proto(Protocol::Link)),
    ("ppp", Keyword::Proto(Protocol::Link)),
    ("slip", Keyword::Proto(Protocol::Link)),
    ("fddi", Keyword::Proto(Protocol::Link)),
    ("tr", Keyword::Proto(Protocol::Link)),
    ("wlan", Keyword::Proto(Protocol::Link)),
    ("ip", Keyword::Proto(Protocol::Ip)),
    ("ip6", Keyword::Proto(Protocol::Ip6)),
    ("arp", Keyword::Proto(Protocol::Arp)),
    ("rarp", Keyword::Proto(Protocol::Rarp)),
    ("tcp", Keyword::Proto(Protocol::Tcp)),
    ("udp", Keyword::Proto(Protocol::Udp)),
    ("sctp", Keyword::Proto(Protocol::Sctp)),
    ("icmp", Keyword::Proto(Protocol::Icmp)),
    ("icmp6", Keyword::Proto(Protocol::Icmp6)),
    ("igmp", Keyword::Proto(Protocol::Igmp)),
    ("igrp", Keyword::Proto(Protocol::Igrp)),
    ("pim", Keyword::Proto(Protocol::Pim)),
    ("vrrp", Keyword::Proto(Protocol::Vrrp)),
    ("carp", Keyword::Proto(Protocol::Carp)),
    ("ah", Keyword::Proto(Protocol::Ah)),
    ("esp", Keyword::Proto(Protocol::Esp)),
    ("atalk", Keyword::Proto(Protocol::Atalk)),
    ("aarp", Keyword::Proto(Protocol::Aarp)),
    ("decnet", Keyword::Proto(Protocol::Decnet)),
    ("lat", Keyword::Proto(Protocol::Lat)),
    ("sca", Keyword::Proto(Protocol::Sca)),
    ("moprc", Keyword::Proto(Protocol::Moprc)),
    ("mopdl", Keyword::Proto(Protocol::Mopdl)),
    ("iso", Keyword::Proto(Protocol::Iso)),
    ("clnp", Keyword::Proto(Protocol::Clnp)),
    ("esis", Keyword::Proto(Protocol::Esis)),
    ("es-is", Keyword::Proto(Protocol::Esis)),
    ("isis", Keyword::Proto(Protocol::Isis)),
    ("is-is", Keyword::Proto(Protocol::Isis)),
    ("l1", Keyword::Proto(Protocol::IsisLevel1)),
    ("l2", Keyword::Proto(Protocol::IsisLevel2)),
    ("iih", Keyword::Proto(Protocol::IsisHello)),
    ("lsp", Keyword::Proto(Protocol::IsisLsp)),
    ("snp", Keyword::Proto(Protocol::IsisSnp)),
    ("csnp", Keyword::Proto(Protocol::IsisCsnp)),
    ("psnp", Keyword::Proto(Protocol::IsisPsnp)),
    ("stp", Keyword::Proto(Protocol::Stp)),
    ("ipx", Keyword::Proto(Protocol::Ipx)),
    ("netbeui", Keyword::Proto(Protocol::Netbeui)),
    ("radio", Keyword::Proto(Protocol::Radio)),
    ("src", Keyword::Direction(Direction::Src)),
    ("dst", Keyword::Direction(Direction::Dst)),
    ("addr1", Keyword::Direction(Direction::Wlan)),
    ("addr2", Keyword::Direction(Direction::Wlan)),
    ("addr3", Keyword::Direction(Direction::Wlan)),
    ("addr4", Keyword::Direction(Direction::Wlan)),
    ("address1", Keyword::Direction(Direction::Wlan)),
    ("address2", Keyword::Direction(Direction::Wlan)),
    ("address3", Keyword::Direction(Direction::Wlan)),
    ("address4", Keyword::Direction(Direction::Wlan)),
    ("ra", Keyword::Direction(Direction::Wlan)),
    ("ta", Keyword::Direction(Direction::Wlan)),
    ("host", Keyword::Kind(Kind::Host)),
    ("net", Keyword::Kind(Kind::Net)),
    ("port", Keyword::Kind(Kind::Port)),
    ("portrange", Keyword::Kind(Kind::Portrange)),
    ("proto", Keyword::Kind(Kind::Proto)),
    ("protochain", Keyword::Kind(Kind::Protochain)),
    ("gateway", Keyword::Kind(Kind::Gateway)),
    ("mask", Keyword::Mask),
    ("less", Keyword::Less),
    ("greater", Keyword::Greater),
    ("byte", Keyword::Byte),
    ("broadcast", Keyword::Broadcast),
    ("multicast", Keyword::Multicast),
    ("inbound", Keyword::Inbound),
    ("outbound", Keyword::Outbound),
    ("ifindex", Keyword::Ifindex),
    ("len", Keyword::Len),
    ("length", Keyword::Len),
    ("vlan", Keyword::Vlan),
    ("mpls", Keyword::Mpls),
    ("pppoed", Keyword::Pppoed),
    ("pppoes", Keyword::Pppoes),
    ("geneve", Keyword::Geneve),
    ("vxlan", Keyword::Vxlan),
    ("llc", Keyword::Llc),
    // 802.11
    ("type", Keyword::Foreign),
    ("subtype", Keyword::Foreign),
    ("dir", Keyword::Foreign),
    ("direction", Keyword::Foreign),
    // pf
    ("on", Keyword::Foreign),
    ("ifname", Keyword::Foreign),
    ("rset", Keyword::Foreign),
    ("ruleset", Keyword::Foreign),
    ("rnr", Keyword::Foreign),
    ("rulenum", Keyword::Foreign),
    ("srnr", Keyword::Foreign),
    ("subrulenum", Keyword::Foreign),
    ("reason", Keyword::Foreign),
    ("action", Keyword::Foreign),
    // ATM
    ("lane", Keyword::Foreign),
    ("metac", Keyword::Foreign),
    ("bcc", Keyword::Foreign),
    ("oam", Keyword::Foreign),
    ("oamf4", Keyword::Foreign),
    ("oamf4ec", Keyword::Foreign),
    ("oamf4sc", Keyword::Foreign),
    ("sc", Keyword::Foreign),
    ("ilmic", Keyword::Foreign),
    ("vpi", Keyword::Foreign),
    ("vci", Keyword::Foreign),
    ("connectmsg", Keyword::Foreign),
    ("metaconnect", Keyword::Foreign),
    // SS7
    ("fisu", Keyword::Foreign),
    ("lssu", Keyword::Foreign),
    ("lsu", Keyword::Foreign),
    ("msu", Keyword::Foreign),
    ("hfisu", Keyword::Foreign),
    ("hlssu", Keyword::Foreign),
    ("hmsu", Keyword::Foreign),
    ("sio", Keyword::Foreign),
    ("opc", Keyword::Foreign),
    ("dpc", Keyword::Foreign),
    ("sls", Keyword::Foreign),
    ("hsio", Keyword::Foreign),
    ("hopc", Keyword::Foreign),
    ("hdpc", Keyword::Foreign),
    ("hsls", Keyword::Foreign),
];

const CONSTANTS: &[(&str, u32)] = &[
    ("icmptype", 0),
    ("icmpcode", 1),
    ("icmp6type", 0),
    ("icmp6code", 1),
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-sourcequench", 4),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-routeradvert", 9),
    ("icmp-routersolicit", 10),
    ("icmp-timxceed", 11),
    ("icmp-paramprob", 12),
    ("icmp-tstamp", 13),
    ("icmp-tstampreply", 14),
    ("icmp-ireq", 15),
    ("icmp-ireqreply", 16),
    ("icmp-maskreq", 17),
    ("icmp-maskreply", 18),
    ("icmp6-destinationunreach", 1),
    ("icmp6-packettoobig", 2),
    ("icmp6-timeexceeded", 3),
    ("icmp6-parameterproblem", 4),
    ("icmp6-echo", 128),
    ("icmp6-echoreply", 129),
    ("icmp6-multicastlistenerquery", 130),
    ("icmp6-multicastlistenerreportv1", 131),
    ("icmp6-multicastlistenerdone", 132),
    ("icmp6-routersolicit", 133),
    ("icmp6-routeradvert", 134),
    ("icmp6-neighborsolicit", 135),
    ("icmp6-neighboradvert", 136),
    ("icmp6-redirect", 137),
    ("icmp6-routerrenum", 138),
    ("icmp6-nodeinformationquery", 139),
    ("icmp6-nodeinformationresponse", 140),
    ("icmp6-ineighbordiscoverysolicit", 141),
    ("icmp6-ineighbordiscoveryadvert", 142),
    ("icmp6-multicastlistenerreportv2", 143),
    ("icmp6-homeagentdiscoveryrequest", 144),
    ("icmp6-homeagentdiscoveryreply", 145),
    ("icmp6-mobileprefixsolicit", 146),
    ("icmp6-mobileprefixadvert", 147),
    ("icmp6-certpathsolicit", 148),
    ("icmp6-certpathadvert", 149),
    ("icmp6-multicastrouteradvert", 151),
    ("icmp6-multicastroutersolicit", 152),
    ("icmp6-multicastrouterterm", 153),
    ("tcpflags", 13),
    ("tcp-fin", 1),
    ("tcp-syn", 2),
    ("tcp-rst", 4),
    ("tcp-push", 8),
    ("tcp-ack", 16),
    ("tcp-urg", 32),
    ("tcp-ece", 64),
    ("tcp-cwr", 128),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_listed_twice() {
        let mut words: Vec<_> = KEYWORDS.iter().map(|(word, _)| *word).collect();
        words.extend(CONSTANTS.iter().map(|(name, _)| *name));
        let listed = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), listed);
    }

    #[test]
    fn case_matters() {
        assert_eq!(keyword("tcp"), Some(Keyword::Proto(Protocol::Tcp)));
        assert_eq!(keyword("TCP"), None);
    }
}
