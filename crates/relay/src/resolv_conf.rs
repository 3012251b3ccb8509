//! Which servers resolv.conf names, as glibc reads it.
//!
//! A keyword counts at the very start of a line and with a blank behind it. Lines that begin with `#` or `;` are comments,
//! what follows the address is ignored, and so is an address that is none. IPv4 addresses are read by `inet_aton(3)`, which
//! takes `127.1` and `0x7f.0.0.1` too. The first three servers count.
//!
//! # References
//! resolv.conf(5); glibc resolv/res_init.c, `res_vinit_1()`; inet_aton(3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A server that resolv.conf names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameserver {
    /// Its address.
    pub address: IpAddr,
    /// The device of a link-local address, as in `fe80::1%eth0`.
    pub scope: Option<String>,
}

/// The servers that a resolver asks, in order: the first three of `text`, the content of resolv.conf, or 127.0.0.1 if it
/// names none.
pub fn nameservers(text: &str) -> Vec<Nameserver> {
    // Not `lines()`: a carriage return is part of the word here, and spoils it as it does for glibc.
    let mut servers: Vec<_> = text.split('\n').filter_map(nameserver).take(MAXNS).collect();
    if servers.is_empty() {
        servers.push(Nameserver { address: Ipv4Addr::LOCALHOST.into(), scope: None });
    }
    servers
}

/// The addresses at which a program asks the host itself, each once: where a relay must listen. 0.0.0.0 and `::` are other
/// names for 127.0.0.1 and `::1` (ip(7)), and an IPv4 address may be written as an IPv6 one.
pub fn loopback_nameservers(text: &str) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for server in nameservers(text) {
        let address = match server.address.to_canonical() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            address => address,
        };
        if address.is_loopback() && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// Reads one line.
fn nameserver(line: &str) -> Option<Nameserver> {
    let rest = line.strip_prefix("nameserver")?.strip_prefix(BLANKS)?.trim_start_matches(BLANKS);
    let word = rest.split(BLANKS).next()?;
    if let Some(address) = inet_aton(word) {
        return Some(Nameserver { address: address.into(), scope: None });
    }
    let (address, scope) = match word.split_once('%') {
        Some((address, scope)) => (address, Some(scope.to_owned())),
        None => (word, None),
    };
    Some(Nameserver { address: address.parse::<Ipv6Addr>().ok()?.into(), scope })
}

/// Reads an address of one to four numbers, the last of which fills all the bytes that are left.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let numbers = text.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (&last, bytes) = numbers.split_last()?;
    if bytes.len() > 3 || u64::from(last) >= 1 << (8 * (4 - bytes.len())) {
        return None;
    }
    let mut address = last;
    for (&byte, shift) in bytes.iter().zip([24, 16, 8]) {
        address |= u32::from(u8::try_from(byte).ok()?) << shift;
    }
    Some(address.into())
}

/// Reads a number as `strtoul(3)` does in base 0, but for signs and blanks.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // `from_str_radix` takes a sign.
    digits.starts_with(|c: char| c.is_digit(radix)).then(|| u32::from_str_radix(digits, radix).ok())?
}

const BLANKS: [char; 2] = [' ', '\t'];
/// `MAXNS` of resolv.h.
const MAXNS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let shown = |server: Nameserver| match server.scope {
            Some(scope) => format!("{}%{scope}", server.address),
            None => server.address.to_string(),
        };
        assert_eq!(nameservers(text).into_iter().map(shown).collect::<Vec<_>>(), expected, "{text:?}");
    }

    #[track_caller]
    fn check_loopback(text: &str, expected: &[&str]) {
        let addresses: Vec<_> = loopback_nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(addresses, expected, "{text:?}");
    }

    #[test]
    fn servers_in_order_and_no_more_than_three() {
        check("nameserver 127.0.0.53\noptions edns0\nsearch x\n", &["127.0.0.53"]);
        check(
            "nameserver 1.1.1.1\nnameserver ::1\nnameserver 3.3.3.3\nnameserver 4.4.4.4",
            &["1.1.1.1", "::1", "3.3.3.3"],
        );
        check(
            "nameserver 1.1.1.1\nnameserver x\nnameserver 2.2.2.2\nnameserver 3.3.3.3",
            &["1.1.1.1", "2.2.2.2", "3.3.3.3"],
        );
    }

    #[test]
    fn none_means_this_host() {
        for text in [
            "",
            "\n",
            "# nameserver 1.1.1.1\n",
            ";nameserver 1.1.1.1",
            "domain x",
            "nameserver",
            "nameserver 1.1.1.1\r\n",
        ] {
            check(text, &["127.0.0.1"]);
        }
    }

    #[test]
    fn the_keyword_is_first_and_blanks_follow() {
        check("nameserver\t \t1.1.1.1 trailing words", &["1.1.1.1"]);
        for text in [
            " nameserver 1.1.1.1",
            "nameservers 1.1.1.1",
            "nameserver1.1.1.1",
            "Nameserver 1.1.1.1",
            "nameserver \t",
        ] {
            check(text, &["127.0.0.1"]);
        }
        check("nameserver 1.1.1.1#comment\nnameserver 2.2.2.2 # comment", &["2.2.2.2"]);
    }

    #[test]
    fn addresses_of_four_as_inet_aton_reads_them() {
        check(
            "nameserver 127.1\nnameserver 0x7f.0.0.0x35\nnameserver 0177.0.0.1",
            &["127.0.0.1", "127.0.0.53", "127.0.0.1"],
        );
        check(
            "nameserver 2130706433\nnameserver 127.257\nnameserver 1.2.772",
            &["127.0.0.1", "127.0.1.1", "1.2.3.4"],
        );
        for word in [
            "256.0.0.1",
            "1.2.3.4.5",
            "1..2",
            "1.2.3.",
            "+1",
            "-1",
            "0x",
            "09",
            "1.2.3.256",
            "4294967296",
            "0x+1",
            "1.2.65536",
        ] {
            check(&format!("nameserver {word}"), &["127.0.0.1"]);
        }
    }

    #[test]
    fn addresses_of_six_keep_their_device_apart() {
        check("nameserver fe80::1%eth0\nnameserver 2001:db8::53", &["fe80::1%eth0", "2001:db8::53"]);
        check("nameserver ::g\nnameserver [::1]", &["127.0.0.1"]);
    }

    #[test]
    fn a_relay_listens_where_the_host_itself_is_asked() {
        check_loopback("nameserver 127.0.0.53\nnameserver 8.8.8.8\nnameserver ::1", &["127.0.0.53", "::1"]);
        check_loopback("nameserver 127.0.0.1\nnameserver 127.1\nnameserver 0.0.0.0", &["127.0.0.1"]);
        check_loopback("nameserver ::\nnameserver ::ffff:127.0.0.53", &["::1", "127.0.0.53"]);
        check_loopback("", &["127.0.0.1"]);
        check_loopback("nameserver 10.0.0.1\nnameserver fe80::1%lo", &[]);
    }
}
