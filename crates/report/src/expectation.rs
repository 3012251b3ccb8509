//! Whom a program may talk to, and whom not.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// Peers: `example.com`, `*.example.com:443`, `192.0.2.1`, `[2001:db8::1]:443`, `198.51.100.0/24`, `2001:db8::/32`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    host: Host,
    port: Option<u16>,
    typed: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// In lower case.
    Name(String),
    /// All names that end so, the dot in front included.
    NamesUnder(String),
    /// An address is a network of its own.
    Network { address: IpAddr, bits: u8 },
}

/// Why something typed is no peer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpectationError {
    /// Neither a name nor an address nor a network.
    #[error("'{typed}' is neither a name nor an address nor a network")]
    Host {
        /// What was typed.
        typed: String,
    },
    /// Ports are 1 to 65535.
    #[error("'{port}' is not a port")]
    Port {
        /// What was typed.
        port: String,
    },
}

impl Expectation {
    /// Whether a peer is one of these. It may have several names: the one that was asked for, the one that it was greeted by.
    pub fn matches(&self, address: IpAddr, port: u16, names: &[&str]) -> bool {
        let is_host = match &self.host {
            Host::Name(name) => names.iter().any(|other| other.eq_ignore_ascii_case(name)),
            Host::NamesUnder(suffix) => names.iter().any(|name| name.to_ascii_lowercase().ends_with(suffix)),
            Host::Network { address: network, bits } => is_in(address, *network, *bits),
        };
        is_host && self.port.is_none_or(|wanted| wanted == port)
    }
}

impl fmt::Display for Expectation {
    /// As it was typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.typed)
    }
}

impl FromStr for Expectation {
    type Err = ExpectationError;

    fn from_str(typed: &str) -> Result<Self, ExpectationError> {
        let (host, port) = split_port(typed);
        let port = port.map(parse_port).transpose()?;
        let wrong = || ExpectationError::Host { typed: typed.to_owned() };
        Ok(Self { host: parse_host(host).ok_or_else(wrong)?, port, typed: typed.to_owned() })
    }
}

/// Without brackets, an address of IPv6 has no port.
fn split_port(typed: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = typed.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let port = rest.strip_prefix(':');
        return if port.is_some() || rest.is_empty() { (address, port) } else { (typed, None) };
    }
    match typed.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (typed, None),
    }
}

fn parse_port(port: &str) -> Result<u16, ExpectationError> {
    let number = port.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| ExpectationError::Port { port: port.to_owned() })
}

fn parse_host(host: &str) -> Option<Host> {
    if let Some((network, bits)) = host.split_once('/') {
        let (address, bits): (IpAddr, u8) = (network.parse().ok()?, bits.parse().ok()?);
        return (bits <= width(address)).then_some(Host::Network { address, bits });
    }
    if let Ok(address) = host.parse() {
        return Some(Host::Network { address, bits: width(address) });
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    match name.strip_prefix('*') {
        Some(suffix) if suffix.starts_with('.') && is_name(&suffix[1..]) => {
            Some(Host::NamesUnder(suffix.to_owned()))
        }
        Some(_) => None,
        None => is_name(&name).then_some(Host::Name(name)),
    }
}

/// A name is not only digits and dots: that would be an address that is none. DNS and TLS have other letters as `xn--`, so that a name with them would meet nobody.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.split('.').all(is_label) && name.contains(|c: char| !c.is_ascii_digit() && c != '.')
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let number = |address| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let shift = u32::from(width(network) - bits);
    let cut = |address| number(address).checked_shr(shift).unwrap_or(0);
    address.is_ipv4() == network.is_ipv4() && cut(address) == cut(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn matches(typed: &str, address: &str, port: u16, name: &str, expected: bool) {
        let expectation: Expectation = typed.parse().unwrap();
        assert_eq!(
            expectation.matches(address.parse().unwrap(), port, &[name]),
            expected,
            "{typed} {address} {name}"
        );
        assert_eq!(expectation.to_string(), typed);
    }

    #[test]
    fn peers_are_named_by_name_address_or_network() {
        matches("example.com", "192.0.2.1", 80, "Example.COM", true);
        matches("example.com.", "192.0.2.1", 80, "example.com", true);
        matches("example.com", "192.0.2.1", 80, "www.example.com", false);
        matches("*.example.com:80", "192.0.2.1", 80, "www.example.com", true);
        matches("*.example.com", "192.0.2.1", 80, "example.com", false);
        matches("*.example.com", "192.0.2.1", 80, "badexample.com", false);
        matches("192.0.2.1:443", "192.0.2.1", 80, "", false);
        matches("192.0.2.1", "192.0.2.1", 80, "", true);
        matches("198.51.100.0/24", "198.51.100.77", 1, "", true);
        matches("198.51.100.0/24", "198.51.101.77", 1, "", false);
        matches("0.0.0.0/0", "198.51.101.77", 1, "", true);
        matches("0.0.0.0/0", "::1", 1, "", false);
        matches("::/0", "2001:db8::1", 1, "", true);
        matches("2001:db8::/32", "2001:db8::1", 1, "", true);
        matches("[2001:db8::1]:443", "2001:db8::1", 443, "", true);
        matches("2001:db8::1", "2001:db8::1", 443, "", true);
        matches("localhost:8080", "127.0.0.1", 8080, "localhost", true);
    }

    #[test]
    fn what_is_no_peer_is_refused() {
        for typed in [
            "",
            "a b",
            "300.1.2.3",
            "*",
            "*example.com",
            "1.2.3.4/33",
            "a..b",
            "[::1",
            "::1/129",
            "x/8",
            "[::1]443",
            "“example.com”",
            "bücher.example",
        ] {
            assert!(matches!(typed.parse::<Expectation>(), Err(ExpectationError::Host { .. })), "{typed}");
        }
        for typed in ["a:0", "a:65536", "a:http", "a:"] {
            assert!(matches!(typed.parse::<Expectation>(), Err(ExpectationError::Port { .. })), "{typed}");
        }
    }
}
