//! Names of hosts, networks, ports and protocols.
//!
//! The compiler asks a [`Names`] and does no I/O itself. [`Tables`] answers from the texts of /etc/services
//! and its siblings; whoever reads the files hands their text in.
//!
//! # References
//! services(5), protocols(5), networks(5), hosts(5), ethers(5); pcap-filter(7).

use std::collections::HashMap;
use std::net::IpAddr;

/// What knows names. Every method may answer "unknown", and does so unless it is overridden.
pub trait Names {
    /// The port of a service of TCP, in host byte order.
    fn tcp_port(&self, name: &str) -> Option<u16> {
        let _ = name;
        None
    }

    /// The port of a service of UDP, in host byte order.
    fn udp_port(&self, name: &str) -> Option<u16> {
        let _ = name;
        None
    }

    /// The number of a protocol over IP.
    fn protocol(&self, name: &str) -> Option<u8> {
        let _ = name;
        None
    }

    /// Every address of a host, in the order in which they are to be tested.
    fn host(&self, name: &str) -> Vec<IpAddr> {
        let _ = name;
        Vec::new()
    }

    /// The number of a network, as getnetbyname(3) answers: `10.0.0.0` is 10 << 24.
    ///
    /// Zero octets at the front say how much of an address is compared: the number 10 is 10.0.0.0/8, while
    /// 10 << 24 is the one address 10.0.0.0.
    fn network(&self, name: &str) -> Option<u32> {
        let _ = name;
        None
    }

    /// The MAC address of a host.
    fn ether(&self, name: &str) -> Option<[u8; 6]> {
        let _ = name;
        None
    }
}

/// Knows no name at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoNames;

impl Names for NoNames {}

/// Names from the texts of /etc/services, /etc/protocols, /etc/networks, /etc/hosts and /etc/ethers.
///
/// Names of hosts, networks and MAC addresses compare without case. Where a name is listed twice the first
/// line counts, except that a host has the addresses of all its lines. Lines that cannot be read, or whose
/// number is out of range, are skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    tcp: Numbers,
    udp: Numbers,
    protocols: Numbers,
    networks: Numbers,
    hosts: HashMap<String, Vec<IpAddr>>,
    ethers: Numbers,
}

/// The numbers of names, of whatever kind: for all of them the compiler makes the same code.
type Numbers = HashMap<String, u64>;

impl Tables {
    /// Knows no name yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what services(5) describes: `http 80/tcp www`.
    #[must_use]
    pub fn services(mut self, text: &str) -> Self {
        for fields in lines(text) {
            let [name, entry, aliases @ ..] = fields.as_slice() else { continue };
            let Some((port, protocol)) = entry.split_once('/') else { continue };
            let table = match protocol {
                "tcp" => &mut self.tcp,
                "udp" => &mut self.udp,
                _ => continue,
            };
            let Ok(port) = port.parse::<u16>() else { continue };
            add(table, name, aliases, port.into(), str::to_owned);
        }
        self
    }

    /// Adds what protocols(5) describes: `tcp 6 TCP`.
    #[must_use]
    pub fn protocols(mut self, text: &str) -> Self {
        for fields in lines(text) {
            let [name, number, aliases @ ..] = fields.as_slice() else { continue };
            let Ok(number) = number.parse::<u8>() else { continue };
            add(&mut self.protocols, name, aliases, number.into(), str::to_owned);
        }
        self
    }

    /// Adds what networks(5) describes: `loopback 127.0.0.0`.
    ///
    /// A number of fewer than four octets gets zeros behind it, as glibc has it: `10` is 10.0.0.0, and
    /// `net NAME` compares the whole address with that.
    #[must_use]
    pub fn networks(mut self, text: &str) -> Self {
        for fields in lines(text) {
            let [name, number, aliases @ ..] = fields.as_slice() else { continue };
            let Some(number) = network_number(number) else { continue };
            add(&mut self.networks, name, aliases, number.into(), str::to_ascii_lowercase);
        }
        self
    }

    /// Adds what hosts(5) describes: `127.0.0.1 localhost`.
    #[must_use]
    pub fn hosts(mut self, text: &str) -> Self {
        for fields in lines(text) {
            let [address, names @ ..] = fields.as_slice() else { continue };
            let Ok(address) = address.parse() else { continue };
            for name in names {
                let addresses = self.hosts.entry((*name).to_ascii_lowercase()).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        self
    }

    /// Adds what ethers(5) describes: `00:11:22:33:44:55 router`. Words behind the name are ignored.
    #[must_use]
    pub fn ethers(mut self, text: &str) -> Self {
        for fields in lines(text) {
            let [address, name, ..] = fields.as_slice() else { continue };
            let Some(address) = mac(address) else { continue };
            let number = address.into_iter().fold(0, |number, octet| number << 8 | u64::from(octet));
            add(&mut self.ethers, name, &[], number, str::to_ascii_lowercase);
        }
        self
    }
}

impl Names for Tables {
    fn tcp_port(&self, name: &str) -> Option<u16> {
        narrow(*self.tcp.get(name)?)
    }

    fn udp_port(&self, name: &str) -> Option<u16> {
        narrow(*self.udp.get(name)?)
    }

    fn protocol(&self, name: &str) -> Option<u8> {
        narrow(*self.protocols.get(name)?)
    }

    fn host(&self, name: &str) -> Vec<IpAddr> {
        self.hosts.get(&name.to_ascii_lowercase()).cloned().unwrap_or_default()
    }

    fn network(&self, name: &str) -> Option<u32> {
        narrow(*self.networks.get(&name.to_ascii_lowercase())?)
    }

    fn ether(&self, name: &str) -> Option<[u8; 6]> {
        let [_, _, address @ ..] = self.ethers.get(&name.to_ascii_lowercase())?.to_be_bytes();
        Some(address)
    }
}

/// Names a number, unless it is somebody else's name already.
fn add(table: &mut Numbers, name: &str, aliases: &[&str], number: u64, fold: fn(&str) -> String) {
    for name in std::iter::once(&name).chain(aliases) {
        table.entry(fold(name)).or_insert(number);
    }
}

/// A number as it was before it was put into a table.
fn narrow<T: TryFrom<u64>>(number: u64) -> Option<T> {
    T::try_from(number).ok()
}

/// The fields of every line that has any, comments aside.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or("").split_whitespace().collect::<Vec<_>>())
        .filter(|fields| !fields.is_empty())
}

/// A network number: up to four octets, with zeros behind them for those that are missing.
fn network_number(text: &str) -> Option<u32> {
    let octets: Vec<u8> = text.split('.').map(octet).collect::<Option<_>>()?;
    let mut padded = [0; 4];
    padded.get_mut(..octets.len())?.copy_from_slice(&octets);
    Some(u32::from_be_bytes(padded))
}

/// An octet as inet_network(3) reads it: decimal, octal (`012`) or hexadecimal (`0xa`).
fn octet(text: &str) -> Option<u8> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match hex {
        Some(digits) => (digits, 16),
        None if text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // A sign is no digit, though `from_str_radix` takes one.
    if digits.starts_with('+') { None } else { u8::from_str_radix(digits, radix).ok() }
}

/// Six groups of hexadecimal digits with colons.
fn mac(text: &str) -> Option<[u8; 6]> {
    let octets: Vec<u8> =
        text.split(':').map(|digits| u8::from_str_radix(digits, 16)).collect::<Result<_, _>>().ok()?;
    octets.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_aliases_and_two_protocols() {
        let tables =
            Tables::new().services("http 80/tcp www # web\ndomain\t53/tcp\ndomain 53/udp\nbad x/tcp\n");
        assert_eq!((tables.tcp_port("www"), tables.udp_port("www")), (Some(80), None));
        assert_eq!((tables.tcp_port("domain"), tables.udp_port("domain")), (Some(53), Some(53)));
        assert_eq!(tables.tcp_port("bad"), None);
    }

    #[test]
    fn the_first_line_of_a_service_counts() {
        assert_eq!(Tables::new().services("a 1/tcp\na 2/tcp").tcp_port("a"), Some(1));
    }

    #[test]
    fn short_network_numbers_get_zeros_behind_them() {
        let tables =
            Tables::new().networks("loopback 127.0.0.0\nten 10\nlan 192.168.1 home\nfull 10.1.2.3\n");
        assert_eq!(tables.network("loopback"), Some(0x7f00_0000));
        assert_eq!(tables.network("ten"), Some(0x0a00_0000));
        assert_eq!(tables.network("home"), Some(0xc0a8_0100));
        assert_eq!(tables.network("full"), Some(0x0a01_0203));
    }

    #[test]
    fn network_numbers_have_three_radices() {
        let tables = Tables::new().networks("octal 012\nhex 0xa\nlan 0xC0.0250\nzero 0\n");
        assert_eq!(tables.network("octal"), Some(0x0a00_0000));
        assert_eq!(tables.network("hex"), Some(0x0a00_0000));
        assert_eq!(tables.network("lan"), Some(0xc0a8_0000));
        assert_eq!(tables.network("zero"), Some(0));
    }

    #[test]
    fn what_is_no_network_number_is_skipped() {
        let tables = Tables::new().networks("a 256\nb 08\nc 1.2.3.4.5\nd 0x\ne 10.\nf +1\ng 0x+1\n");
        assert_eq!(tables, Tables::new());
    }

    #[test]
    fn networks_and_ethers_compare_without_case() {
        let tables = Tables::new().networks("LAN 10 Home\n").ethers("0:1:2:3:4:5 Router\n");
        assert_eq!((tables.network("lan"), tables.network("HOME")), (Some(10 << 24), Some(10 << 24)));
        assert_eq!(tables.ether("rOUTER"), Some([0, 1, 2, 3, 4, 5]));
    }

    #[test]
    fn services_and_protocols_compare_with_case() {
        let tables = Tables::new().services("Web 80/tcp\n").protocols("Ospf 89\n");
        assert_eq!((tables.tcp_port("web"), tables.tcp_port("Web")), (None, Some(80)));
        assert_eq!((tables.protocol("ospf"), tables.protocol("Ospf")), (None, Some(89)));
    }

    #[test]
    fn numbers_out_of_range_are_skipped() {
        let tables = Tables::new().services("big 70000/tcp\nbig 65536/udp\n").protocols("big 300 BIG\n");
        assert_eq!(tables, Tables::new());
    }

    #[test]
    fn words_behind_the_name_of_an_ether_are_ignored() {
        let tables = Tables::new().ethers("00:11:22:33:44:55 router in the cellar\n");
        assert_eq!(tables.ether("router"), Some([0, 0x11, 0x22, 0x33, 0x44, 0x55]));
        assert_eq!(tables.ether("in"), None);
    }

    #[test]
    fn a_host_has_every_address() {
        let tables =
            Tables::new().hosts("127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.0.1 LOCALHOST");
        assert_eq!(tables.host("LocalHost").len(), 2);
        assert_eq!(tables.host("nobody"), Vec::<IpAddr>::new());
    }

    #[test]
    fn ethers_and_protocols() {
        let tables = Tables::new().ethers("0:11:22:33:44:5a router\n1:2 short").protocols("tcp 6 TCP\n");
        assert_eq!(tables.ether("router"), Some([0, 0x11, 0x22, 0x33, 0x44, 0x5a]));
        assert_eq!(tables.ether("short"), None);
        assert_eq!(tables.protocol("TCP"), Some(6));
    }
}
