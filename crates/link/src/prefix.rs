//! Addresses and the networks around them, both families alike.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use neli::consts::rtnl::RtAddrFamily;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Bits in an address: 32 or 128.
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// `AF_INET` or `AF_INET6`.
    pub(crate) fn af(self) -> u8 {
        match self {
            Self::V4 => RtAddrFamily::Inet.into(),
            Self::V6 => RtAddrFamily::Inet6.into(),
        }
    }

    /// The family of an `AF_*` number.
    pub(crate) fn from_af(af: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.af() == af)
    }

    /// `0.0.0.0` or `::`.
    pub(crate) fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

/// A network: an address of which only the first `prefix_len` bits matter, and the others are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    prefix_len: u8,
}

impl Prefix {
    /// The network that `address` lies in.
    ///
    /// # Errors
    /// [`PrefixError`] where the family has fewer bits than `prefix_len`.
    pub fn new(address: IpAddr, prefix_len: u8) -> Result<Self, PrefixError> {
        IfAddress::new(address, prefix_len).map(IfAddress::prefix)
    }

    /// Every address: `0.0.0.0/0` or `::/0`.
    pub fn default_of(family: IpFamily) -> Self {
        Self { address: family.unspecified(), prefix_len: 0 }
    }

    /// One address.
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix_len: IpFamily::of(address).bits() }
    }

    /// The lowest address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits matter.
    pub fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// IPv4 or IPv6.
    pub fn family(self) -> IpFamily {
        IpFamily::of(self.address)
    }

    /// Whether it has every address of its family.
    pub fn is_default(self) -> bool {
        self.prefix_len == 0
    }

    /// Whether `address` is one of its addresses.
    pub fn contains(self, address: IpAddr) -> bool {
        Self::new(address, self.prefix_len) == Ok(self)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// An address of a link, and how many of its bits are the network's: `10.1.2.3/31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfAddress {
    address: IpAddr,
    prefix_len: u8,
}

impl IfAddress {
    /// An address and the length of its network's prefix.
    ///
    /// # Errors
    /// [`PrefixError`] where the family has fewer bits than `prefix_len`.
    pub fn new(address: IpAddr, prefix_len: u8) -> Result<Self, PrefixError> {
        if prefix_len > IpFamily::of(address).bits() {
            return Err(PrefixError { address, prefix_len });
        }
        Ok(Self { address, prefix_len })
    }

    /// The address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits are the network's.
    pub fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// The network.
    pub fn prefix(self) -> Prefix {
        let host_bits = u32::from(IpFamily::of(self.address).bits() - self.prefix_len);
        let address = match self.address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
        };
        Prefix { address, prefix_len: self.prefix_len }
    }
}

impl fmt::Display for IfAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// A prefix longer than the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} has fewer than {prefix_len} bits")]
pub struct PrefixError {
    /// The address.
    pub address: IpAddr,
    /// The length that it was given.
    pub prefix_len: u8,
}

/// The bytes of an address as they stand in a packet.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The address that has these bytes: 4 or 16 of them.
pub(crate) fn address_of(octets: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4().or_else(|_| v6()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_has_no_host_bits() {
        let text = |address, len| Prefix::new(ip(address), len).unwrap().to_string();
        assert_eq!(text("10.1.2.3", 31), "10.1.2.2/31");
        assert_eq!(text("10.1.2.3", 32), "10.1.2.3/32");
        assert_eq!(text("10.1.2.3", 0), "0.0.0.0/0");
        assert_eq!(text("2001:db8::ffff", 127), "2001:db8::fffe/127");
        assert_eq!(text("2001:db8::1", 0), "::/0");
    }

    #[test]
    fn a_prefix_is_no_longer_than_its_address() {
        let error = Prefix::new(ip("10.0.0.0"), 33).unwrap_err();
        assert_eq!(error.to_string(), "10.0.0.0 has fewer than 33 bits");
        assert!(Prefix::new(ip("::"), 129).is_err());
    }

    #[test]
    fn a_prefix_contains_its_own_and_no_other_family() {
        let net = Prefix::new(ip("10.1.2.0"), 24).unwrap();
        assert!(net.contains(ip("10.1.2.255")));
        assert!(!net.contains(ip("10.1.3.0")));
        assert!(!net.contains(ip("::ffff:10.1.2.1")));
        assert!(Prefix::default_of(IpFamily::V6).contains(ip("::1")));
        assert!(!Prefix::default_of(IpFamily::V4).contains(ip("::1")));
    }

    #[test]
    fn octets_go_both_ways() {
        for text in ["10.1.2.3", "2001:db8::1"] {
            assert_eq!(address_of(&octets(ip(text))), Some(ip(text)));
        }
        assert_eq!(address_of(&[1, 2, 3]), None);
    }
}
