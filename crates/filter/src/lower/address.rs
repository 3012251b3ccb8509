//! Ids: addresses, numbers and names, and what their qualifiers make of them.

use std::net::{IpAddr, Ipv6Addr};

use crate::ast::{Direction, Id, Kind, Protocol, Qualifier};
use crate::error::{ErrorKind, FilterError, Span};
use crate::graph::{Graph, Piece};
use crate::value::Size;

use super::Lower;
use super::link::ethertype;
use super::port::wlan_direction;
use super::primitive::qualifier_error;

impl Lower<'_> {
    pub(super) fn id(&mut self, qualifier: &Qualifier, id: &Id, span: Span) -> Result<Piece, FilterError> {
        match id {
            Id::Number(number) => self.number(*number, qualifier, span),
            Id::Name(name) => self.name(name, qualifier, span),
            Id::Dotted(text) => self.dotted(text, qualifier, span),
            Id::DottedPrefix(text, length) => {
                let length = super::limit("mask length", *length, 32, self.behind_slash(span))?;
                self.network(text, prefix_mask(length), qualifier, span)
            }
            Id::DottedMask(text, mask) => {
                let (mask, bits) = ipv4(mask, span)?;
                self.network(text, mask << (32 - bits), qualifier, span)
            }
            Id::Ipv6(address) => self.ipv6(*address, 128, qualifier, span),
            Id::Ipv6Prefix(address, length) => self.ipv6(*address, *length, qualifier, span),
            Id::Mac(mac) => self.mac(*mac, qualifier, span),
            Id::Arcnet => Err(self.not_on_link("ARCnet address", span)),
        }
    }

    /// Of an `ADDRESS/LENGTH` at `span`, the place of the length.
    fn behind_slash(&self, span: Span) -> Span {
        let length = self.text[span.start..span.end].rsplit('/').next().unwrap_or_default();
        Span::new(span.end - length.trim_start().len(), span.end)
    }

    /// A number without dots.
    fn number(&mut self, number: u32, qualifier: &Qualifier, span: Span) -> Result<Piece, FilterError> {
        match qualifier.kind {
            None | Some(Kind::Host) => self.host(number, u32::MAX, qualifier, span),
            Some(Kind::Net) => {
                let (number, mask) = left_justified(number);
                self.host(number, mask, qualifier, span)
            }
            Some(Kind::Port) => self.port_number(number, qualifier, span),
            Some(Kind::Portrange) => self.range_number(number, qualifier, span),
            Some(Kind::Proto) => self.proto(number, qualifier, span),
            Some(Kind::Protochain) => self.protochain(number, qualifier, span),
            Some(Kind::Gateway) => Err(needs_host("gateway", "a number").at(span)),
        }
    }

    fn name(&mut self, name: &str, qualifier: &Qualifier, span: Span) -> Result<Piece, FilterError> {
        match qualifier.kind {
            None | Some(Kind::Host) => self.host_name(name, qualifier, span),
            Some(Kind::Net) => {
                let number = self.names.network(name).filter(|number| *number != 0);
                let number = number.ok_or_else(|| unknown("network", name, span))?;
                let (number, mask) = left_justified(number);
                self.host(number, mask, qualifier, span)
            }
            Some(Kind::Port) => self.port_name(name, qualifier, span),
            Some(Kind::Portrange) => self.range_name(name, qualifier, span),
            Some(Kind::Proto) => {
                let number = self.proto_number(name, qualifier, span)?;
                self.proto(number, qualifier, span)
            }
            Some(Kind::Protochain) => {
                let number = self.proto_number(name, qualifier, span)?;
                self.protochain(number, qualifier, span)
            }
            Some(Kind::Gateway) => self.gateway(name, qualifier, span),
        }
    }

    /// Two to four numbers with dots. Fewer than four are a network, whatever the qualifier says.
    fn dotted(&mut self, text: &str, qualifier: &Qualifier, span: Span) -> Result<Piece, FilterError> {
        address_kind(qualifier, "an IPv4 address", span)?;
        if qualifier.protocol == Some(Protocol::Decnet) {
            self.decnet_allowed(qualifier)?;
            return self.decnet_host(super::decnet::address(text), qualifier.direction, span);
        }
        let (address, bits) = ipv4(text, span)?;
        self.host(address << (32 - bits), prefix_mask(bits), qualifier, span)
    }

    /// Refuses `decnet` behind MPLS, where that word is to blame and no address.
    fn decnet_allowed(&self, qualifier: &Qualifier) -> Result<(), FilterError> {
        if self.layers.labels > 0 { Err(self.not_on_mpls(qualifier.span)) } else { Ok(()) }
    }

    /// `A/len` and `A mask M`.
    fn network(
        &mut self,
        text: &str,
        mask: u32,
        qualifier: &Qualifier,
        span: Span,
    ) -> Result<Piece, FilterError> {
        let (address, bits) = ipv4(text, span)?;
        let address = address << (32 - bits);
        if address & !mask != 0 {
            return Err(ErrorKind::HostBits(text.to_owned()).at(span));
        }
        if qualifier.kind != Some(Kind::Net) {
            return Err(ErrorKind::MaskOnHost.at(span));
        }
        self.host(address, mask, qualifier, span)
    }

    /// An IPv4 address in IPv4, ARP and RARP, or in the one that the qualifier names.
    fn host(
        &mut self,
        address: u32,
        mask: u32,
        qualifier: &Qualifier,
        span: Span,
    ) -> Result<Piece, FilterError> {
        let direction = qualifier.direction;
        match qualifier.protocol {
            None => {
                let ip = self.host_in(IPV4, address, mask, direction, span)?;
                if self.layers.labels > 0 {
                    return Ok(ip);
                }
                let arp = self.host_in(ARP, address, mask, direction, span)?;
                let rarp = self.host_in(RARP, address, mask, direction, span)?;
                let either = self.graph.or(ip, arp);
                Ok(self.graph.or(either, rarp))
            }
            Some(Protocol::Ip) => self.host_in(IPV4, address, mask, direction, span),
            Some(Protocol::Arp) => self.host_in(ARP, address, mask, direction, qualifier.span),
            Some(Protocol::Rarp) => self.host_in(RARP, address, mask, direction, qualifier.span),
            Some(Protocol::Decnet) => {
                self.decnet_allowed(qualifier)?;
                self.decnet_host(address, direction, span)
            }
            Some(other) => Err(qualifier_error(other, "an IPv4 address").at(qualifier.span)),
        }
    }

    /// An IPv4 address in packets of one link protocol.
    fn host_in(
        &mut self,
        header: AddressHeader,
        address: u32,
        mask: u32,
        direction: Direction,
        span: Span,
    ) -> Result<Piece, FilterError> {
        let network = self.layers.network_header();
        self.either_end(direction, span, |lower, end| {
            let proto = lower.link_type(header.link_type, span)?;
            let at = network.plus(if end == End::Src { header.src } else { header.dst });
            let matches = lower.equal_masked(at, Size::Word, address, mask);
            Ok(lower.graph.and(proto, matches))
        })
    }

    fn ipv6(
        &mut self,
        address: Ipv6Addr,
        length: u32,
        qualifier: &Qualifier,
        span: Span,
    ) -> Result<Piece, FilterError> {
        let length = super::limit("mask length", length, 128, self.behind_slash(span))?;
        address_kind(qualifier, "an IPv6 address", span)?;
        if qualifier.kind != Some(Kind::Net) && length != 128 {
            return Err(ErrorKind::MaskOnHost.at(span));
        }
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        if address.to_bits() & !mask != 0 {
            return Err(ErrorKind::HostBits(address.to_string()).at(span));
        }
        match qualifier.protocol {
            None | Some(Protocol::Ip6) => self.host6(address, mask, qualifier.direction, span),
            Some(other) => Err(qualifier_error(other, "an IPv6 address").at(qualifier.span)),
        }
    }

    /// An IPv6 address: the words that the mask covers, from the first.
    fn host6(
        &mut self,
        address: Ipv6Addr,
        mask: u128,
        direction: Direction,
        span: Span,
    ) -> Result<Piece, FilterError> {
        let network = self.layers.network_header();
        let words = words(address.to_bits()).into_iter().zip(words(mask));
        let words: Vec<_> = (0..).step_by(4).zip(words).collect();
        self.either_end(direction, span, |lower, end| {
            let start = network.plus(if end == End::Src { 8 } else { 24 });
            let mut piece = lower.link_type(ethertype::IP6, span)?;
            for (offset, (word, mask)) in &words {
                let matches = lower.equal_masked(start.plus(*offset), Size::Word, *word, *mask);
                piece = lower.graph.and(piece, matches);
            }
            Ok(piece)
        })
    }

    fn mac(&mut self, mac: [u8; 6], qualifier: &Qualifier, span: Span) -> Result<Piece, FilterError> {
        const WHAT: &str = "an ethernet address";
        address_kind(qualifier, WHAT, span)?;
        if qualifier.kind == Some(Kind::Net) {
            return Err(needs_host("net", WHAT).at(span));
        }
        match qualifier.protocol {
            Some(Protocol::Link) => self.ether_host(mac, qualifier.direction, span),
            None => Err(ErrorKind::NeedsEther(self.typed(span)).at(span)),
            Some(other) => Err(qualifier_error(other, WHAT).at(qualifier.span)),
        }
    }

    /// A MAC address, source before destination.
    fn ether_host(&mut self, mac: [u8; 6], direction: Direction, span: Span) -> Result<Piece, FilterError> {
        if !self.layers.is_ethernet() {
            return Err(self.not_on_link("ethernet address", span));
        }
        let header = self.layers.header;
        let inner = self.has_inner_ethernet();
        let matches = self.either_end(direction, span, |lower, end| {
            let at = header.plus(if end == End::Src { 6 } else { 0 });
            Ok(lower.equal_bytes(at, &mac))
        })?;
        Ok(self.and_also(inner, matches))
    }

    /// `host NAME`: all its addresses, of the families that the qualifier leaves.
    fn host_name(&mut self, name: &str, qualifier: &Qualifier, span: Span) -> Result<Piece, FilterError> {
        match qualifier.protocol {
            Some(Protocol::Link) => {
                let mac = self.names.ether(name).ok_or_else(|| unknown("ether host", name, span))?;
                return self.ether_host(mac, qualifier.direction, span);
            }
            Some(Protocol::Decnet) => return Err(unknown("DECnet host", name, span)),
            _ => {}
        }
        let addresses = self.lookup_host(name, span)?;
        self.addresses(name, &addresses, qualifier, span)
    }

    /// The addresses of a host. An address that a backslash made a name of is its own.
    fn lookup_host(&self, name: &str, span: Span) -> Result<Vec<IpAddr>, FilterError> {
        if let Some(address) = numeric_host(name) {
            return Ok(vec![address]);
        }
        let addresses = self.names.host(name);
        if addresses.is_empty() { Err(unknown("host", name, span)) } else { Ok(addresses) }
    }

    /// Any of these addresses.
    fn addresses(
        &mut self,
        name: &str,
        addresses: &[IpAddr],
        qualifier: &Qualifier,
        span: Span,
    ) -> Result<Piece, FilterError> {
        let mut pieces = Vec::new();
        for address in addresses {
            match (address, qualifier.protocol) {
                // Of the other family. libpcap 1.10.6: `arp host NAME` passes over what ARP cannot carry.
                (IpAddr::V4(_), Some(Protocol::Ip6))
                | (IpAddr::V6(_), Some(Protocol::Ip | Protocol::Arp | Protocol::Rarp)) => {}
                (IpAddr::V4(address), _) => {
                    pieces.push(self.host(address.to_bits(), u32::MAX, qualifier, span)?);
                }
                (IpAddr::V6(address), _) => {
                    pieces.push(self.ipv6(*address, 128, &as_host(qualifier), span)?);
                }
            }
        }
        let family = if qualifier.protocol == Some(Protocol::Ip6) { "IPv6" } else { "IPv4" };
        self.or_all(pieces).ok_or_else(|| ErrorKind::NoAddress { name: name.to_owned(), family }.at(span))
    }

    /// `gateway NAME`: the frame goes to or comes from the host, the packet does not. As in libpcap 1.11.
    fn gateway(&mut self, name: &str, qualifier: &Qualifier, span: Span) -> Result<Piece, FilterError> {
        if !matches!(qualifier.protocol, None | Some(Protocol::Ip | Protocol::Arp | Protocol::Rarp)) {
            return Err(needs_host("gateway", "this protocol").at(qualifier.span));
        }
        let mac = self.names.ether(name).ok_or_else(|| unknown("ether host", name, span))?;
        let addresses = self.lookup_host(name, span)?;
        let frame = self.ether_host(mac, Direction::SrcOrDst, span)?;
        let packet = self.addresses(name, &addresses, qualifier, span)?;
        Ok(self.graph.and(frame, Graph::not(packet)))
    }

    /// A test of the source, the destination, either or both.
    pub(super) fn either_end(
        &mut self,
        direction: Direction,
        span: Span,
        mut test: impl FnMut(&mut Self, End) -> Result<Piece, FilterError>,
    ) -> Result<Piece, FilterError> {
        match direction {
            Direction::Src => test(self, End::Src),
            Direction::Dst => test(self, End::Dst),
            Direction::SrcAndDst => {
                let (src, dst) = (test(self, End::Src)?, test(self, End::Dst)?);
                Ok(self.graph.and(src, dst))
            }
            Direction::SrcOrDst => {
                let (src, dst) = (test(self, End::Src)?, test(self, End::Dst)?);
                Ok(self.graph.or(src, dst))
            }
            Direction::Wlan => Err(wlan_direction(span)),
        }
    }
}

/// One end of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Src,
    Dst,
}

/// Where a header has IPv4 addresses.
#[derive(Clone, Copy, Debug)]
struct AddressHeader {
    link_type: u32,
    src: u32,
    dst: u32,
}

const IPV4: AddressHeader = AddressHeader { link_type: ethertype::IP, src: 12, dst: 16 };
/// Sender and target address of Ethernet and IPv4, RFC 826.
const ARP: AddressHeader = AddressHeader { link_type: ethertype::ARP, src: 14, dst: 24 };
const RARP: AddressHeader = AddressHeader { link_type: ethertype::RARP, ..ARP };

/// The same words, with a host behind them.
fn as_host(qualifier: &Qualifier) -> Qualifier {
    Qualifier { kind: Some(Kind::Host), ..*qualifier }
}

/// Refuses an address behind `port`, `proto` and the like.
fn address_kind(qualifier: &Qualifier, what: &'static str, span: Span) -> Result<(), FilterError> {
    let word = match qualifier.kind {
        None | Some(Kind::Host | Kind::Net) => return Ok(()),
        Some(Kind::Port) => "port",
        Some(Kind::Portrange) => "portrange",
        Some(Kind::Proto) => "proto",
        Some(Kind::Protochain) => "protochain",
        Some(Kind::Gateway) => "gateway",
    };
    Err(ErrorKind::Qualifier { qualifier: word.to_owned(), with: what }.at(span))
}

fn needs_host(word: &str, with: &'static str) -> ErrorKind {
    ErrorKind::Qualifier { qualifier: word.to_owned(), with }
}

fn unknown(what: &'static str, name: &str, span: Span) -> FilterError {
    ErrorKind::UnknownName { what, name: name.to_owned() }.at(span)
}

/// The numbers of a dotted address, right-justified, and how many bits they are.
fn ipv4(text: &str, span: Span) -> Result<(u32, u32), FilterError> {
    let invalid = || ErrorKind::BadIpv4(text.to_owned()).at(span);
    let mut address = 0;
    let mut bits = 0;
    for octet in text.split('.') {
        let octet: u8 = octet.parse().map_err(|_no_octet| invalid())?;
        address = address << 8 | u32::from(octet);
        bits += 8;
    }
    Ok((address, bits))
}

/// The address that a name spells, in the forms of inet_aton(3) and inet_pton(3).
fn numeric_host(name: &str) -> Option<IpAddr> {
    if let Ok(address) = name.parse() {
        return Some(IpAddr::V6(address));
    }
    let numbers: Vec<u32> = name.split('.').map(c_number).collect::<Option<_>>()?;
    let (last, octets) = numbers.split_last()?;
    let bits = 32_u32.checked_sub(8 * u32::try_from(octets.len()).ok()?).filter(|bits| *bits > 0)?;
    if octets.iter().any(|octet| *octet > 255) || u64::from(*last) >= 1 << bits {
        return None;
    }
    let network = octets.iter().fold(0, |network, octet| network << 8 | octet);
    let address = network.checked_shl(bits).unwrap_or(0) | last;
    Some(IpAddr::V4(address.into()))
}

/// A number as C writes it: decimal, octal with a leading 0, hexadecimal with 0x.
fn c_number(text: &str) -> Option<u32> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    match (hex, text.strip_prefix('0')) {
        (Some(digits), _) => u32::from_str_radix(digits, 16).ok(),
        (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, 8).ok(),
        _ => text.parse().ok(),
    }
}

/// A mask of the first `length` bits.
fn prefix_mask(length: u32) -> u32 {
    u32::MAX.checked_shl(32 - length).unwrap_or(0)
}

/// A network number moved up by whole bytes, and the mask that goes with it: 10 is 10.0.0.0/8.
fn left_justified(mut number: u32) -> (u32, u32) {
    let mut mask = u32::MAX;
    while number != 0 && number & 0xff00_0000 == 0 {
        number <<= 8;
        mask <<= 8;
    }
    (number, mask)
}

/// The four words of an IPv6 address.
fn words(bits: u128) -> [u32; 4] {
    [96, 64, 32, 0].map(|shift| u32::try_from(bits >> shift & 0xffff_ffff).expect("masked to 32 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        assert_eq!(numeric_host(name), expected.map(|address| address.parse().unwrap()), "{name}");
    }

    #[test]
    fn an_address_may_be_a_name() {
        check("10.0.0.1", Some("10.0.0.1"));
        check("127.1", Some("127.0.0.1"));
        check("1.2.0x304", Some("1.2.3.4"));
        check("10", Some("0.0.0.10"));
        check("4294967295", Some("255.255.255.255"));
        check("010.0.0.1", Some("8.0.0.1"));
        check("::1", Some("::1"));
        for name in ["1.2.3.256", "256.1", "1.2.3.4.5", "1..2", "", "a", "1.16777216", "4294967296", "08"] {
            check(name, None);
        }
    }
}
