//! What a filter is compiled for.

use std::net::Ipv4Addr;
use std::str::FromStr;

/// How the frames begin that a filter sees: a `LINKTYPE_` of the capture file format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkType {
    /// Ethernet, `LINKTYPE_ETHERNET`, 1.
    #[default]
    Ethernet,
    /// IPv4 or IPv6 without a link header, `LINKTYPE_RAW`, 101.
    Raw,
    /// BSD loopback, `LINKTYPE_NULL`, 0: the address family in the byte order of the machine that wrote it.
    /// Little-endian is assumed.
    Null,
    /// The header that Linux gives packets of the device "any", `LINKTYPE_LINUX_SLL`, 113.
    LinuxSll,
    /// Its second version, `LINKTYPE_LINUX_SLL2`, 276.
    LinuxSll2,
}

impl LinkType {
    /// The name that tcpdump's `-y` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ethernet => "EN10MB",
            Self::Raw => "RAW",
            Self::Null => "NULL",
            Self::LinuxSll => "LINUX_SLL",
            Self::LinuxSll2 => "LINUX_SLL2",
        }
    }

    /// Every link type that filters can be compiled for.
    pub const ALL: [Self; 5] = [Self::Ethernet, Self::Raw, Self::Null, Self::LinuxSll, Self::LinuxSll2];
}

/// The text names no link type that filters can be compiled for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown link type '{0}': EN10MB, RAW, NULL, LINUX_SLL and LINUX_SLL2 are known")]
pub struct UnknownLinkType(pub String);

impl FromStr for LinkType {
    type Err = UnknownLinkType;

    fn from_str(name: &str) -> Result<Self, UnknownLinkType> {
        let named = |link: &Self| link.name().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(named).ok_or_else(|| UnknownLinkType(name.to_owned()))
    }
}

/// Where the packets come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// A packet socket of Linux: the outer VLAN tag, the interface and the direction of a packet are beside
    /// its bytes, where ancillary loads find them (`SKF_AD_OFF` in linux/filter.h).
    Live,
    /// A capture file: only the bytes are there. `inbound`, `outbound` and `ifindex` are refused on link
    /// types that do not store them.
    File,
    /// Neither is known, as for `tcpdump -y TYPE -d`: VLAN tags are looked for in the bytes, everything else
    /// where a socket has it.
    #[default]
    Unknown,
}

/// What a filter is compiled for, beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How the frames begin.
    pub link_type: LinkType,
    /// Where the packets come from.
    pub source: Source,
    /// What the program returns for a packet that matches: how many bytes of it to keep.
    pub snaplen: u32,
    /// The netmask of the interface, for `ip broadcast`. Without one the word is refused.
    pub netmask: Option<Ipv4Addr>,
    /// Whether to optimise. Without, the program is what the text says, word by word, and one that can match
    /// nothing is no error. It is much longer: a few hundred hosts joined by `or` can exceed the kernel's 4096
    /// instructions, and are refused.
    pub optimise: bool,
}

impl Default for Options {
    /// Ethernet from an unknown source, 262144 bytes, netmask 0.0.0.0, optimised: what `tcpdump -y EN10MB`
    /// takes.
    fn default() -> Self {
        Self {
            link_type: LinkType::default(),
            source: Source::default(),
            snaplen: 262_144,
            netmask: Some(Ipv4Addr::UNSPECIFIED),
            optimise: true,
        }
    }
}
