//! Names of numbers.

use nsntrace_dissect::TcpFlags;
use nsntrace_dissect::dns::{NXDOMAIN, REFUSED, SERVFAIL};

/// `SYN,ACK`, lowest bit first, as Wireshark has it.
pub(crate) fn flags(flags: TcpFlags) -> String {
    let set = FLAGS.iter().enumerate().filter(|(bit, _)| flags.0 & 1 << bit != 0);
    let names: Vec<_> = set.map(|(_, name)| *name).collect();
    if names.is_empty() { "no flags".to_owned() } else { names.join(",") }
}

/// What became of a question, RFC 1035, section 4.1.1.
pub(crate) fn rcode(rcode: u8) -> String {
    match rcode {
        1 => "FORMERR".to_owned(),
        SERVFAIL => "SERVFAIL".to_owned(),
        NXDOMAIN => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        REFUSED => "REFUSED".to_owned(),
        other => format!("rcode {other}"),
    }
}

/// A message of ICMP or, if `is_v6`, `ICMPv6`, by its type: IANA's.
pub(crate) fn icmp(kind: u8, is_v6: bool) -> String {
    let name = match (is_v6, kind) {
        (false, 5) | (true, 137) => "redirect",
        (false, 9) | (true, 134) => "router advertisement",
        (false, 10) | (true, 133) => "router solicitation",
        (true, 130) => "multicast listener query",
        (true, 131 | 143) => "multicast listener report",
        (true, 132) => "multicast listener done",
        (true, 135) => "neighbour solicitation",
        (true, 136) => "neighbour advertisement",
        _ => return format!("type {kind}"),
    };
    name.to_owned()
}

/// `UDP`, else `IP 47`.
pub(crate) fn protocol(number: u8) -> String {
    match number {
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        58 => "ICMPv6".to_owned(),
        other => format!("IP {other}"),
    }
}

const FLAGS: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
