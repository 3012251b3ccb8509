//! Random filters from the grammar.

use super::Random;

/// A filter of up to a dozen tests.
pub(crate) fn filter(random: &mut Random) -> String {
    chain(random, 0)
}

fn chain(random: &mut Random, depth: u32) -> String {
    let mut text = operand(random, depth);
    for _ in 0..random.below(if depth == 0 { 4 } else { 3 }) {
        text += *random.pick(&[" and ", " or ", " or ", "&&", "||"]);
        text += &operand(random, depth);
    }
    text
}

fn operand(random: &mut Random, depth: u32) -> String {
    let not = if random.chance(25) { *random.pick(&["not ", "!"]) } else { "" };
    let test = match random.below(10) {
        0 | 1 if depth < 3 => format!("({})", chain(random, depth + 1)),
        2..5 => format!("{} {} {}", arithmetic(random, 0), random.pick(RELATIONS), arithmetic(random, 2)),
        _ => primitive(random),
    };
    format!("{not}{test}")
}

fn primitive(random: &mut Random) -> String {
    let direction = *random.pick(&["", "", "src ", "dst ", "src or dst ", "src and dst "]);
    match random.below(8) {
        0 => format!("{}{direction}host {}", random.pick(&["", "ip ", "arp "]), random.pick(HOSTS)),
        1 => format!("{direction}net {}", random.pick(NETS)),
        2 => format!("{}{direction}port {}", random.pick(&["", "tcp ", "udp ", "sctp "]), random.pick(PORTS)),
        3 => format!("{}{direction}portrange {}", random.pick(&["", "tcp "]), random.pick(RANGES)),
        4 => format!("ether {direction}host {}", random.pick(MACS)),
        5 => format!(
            "{} {}",
            random.pick(&["proto", "ip proto", "ip6 proto", "ether proto"]),
            random.pick(NUMBERS)
        ),
        _ => (*random.pick(WORDS)).to_owned(),
    }
}

fn arithmetic(random: &mut Random, depth: u32) -> String {
    if depth > 3 {
        return (*random.pick(NUMBERS)).to_owned();
    }
    match random.below(8) {
        0..3 => {
            let size = *random.pick(&["", ":1", ":2", ":4"]);
            let index = if random.chance(15) {
                arithmetic(random, depth + 2)
            } else {
                (*random.pick(NUMBERS)).to_owned()
            };
            format!("{}[{index}{size}]", random.pick(LOADS))
        }
        3 => "len".to_owned(),
        4 => format!("({})", arithmetic(random, depth + 1)),
        5 => format!("-{}", arithmetic(random, depth + 1)),
        6 => {
            let (left, right) = (arithmetic(random, depth + 1), arithmetic(random, depth + 1));
            format!("{left} {} {right}", random.pick(OPERATORS))
        }
        _ => (*random.pick(NUMBERS)).to_owned(),
    }
}

const RELATIONS: &[&str] = &["=", "!=", "<", "<=", ">", ">="];
const OPERATORS: &[&str] = &["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"];
const NUMBERS: &[&str] =
    &["0", "1", "2", "6", "8", "9", "12", "14", "17", "20", "0x0f", "255", "0x800", "1500"];
const LOADS: &[&str] = &["ip", "ip6", "tcp", "udp", "icmp", "icmp6", "ether", "arp", "sctp"];
const HOSTS: &[&str] = &["10.0.0.1", "192.168.1.1", "10.0", "8.8.8.8", "224.0.0.1"];
const NETS: &[&str] = &[
    "10.0.0.0/8",
    "192.168",
    "10",
    "172.16.0.0/12",
    "2001:db8::/32",
    "fe80::/10",
    "0.0.0.0/0",
    "::1",
    "ff02::1",
];
const PORTS: &[&str] = &["80", "443", "22", "53", "(80 or 443)", "(53 or not 67)"];
const RANGES: &[&str] = &["1-1023", "80-90", "6000-6010", "443"];
const MACS: &[&str] = &["00:11:22:33:44:55", "ff:ff:ff:ff:ff:ff", "0200.0000.0001"];
const WORDS: &[&str] = &[
    "ip",
    "ip6",
    "arp",
    "rarp",
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "icmp6",
    "igmp",
    "pim",
    "vrrp",
    "ah",
    "esp",
    "stp",
    "iso",
    "isis",
    "l1",
    "csnp",
    "ipx",
    "atalk",
    "aarp",
    "netbeui",
    "decnet",
    "broadcast",
    "multicast",
    "ip broadcast",
    "ip multicast",
    "ip6 multicast",
    "less 100",
    "greater 60",
    "vlan",
    "vlan 100",
    "vlan 5",
    "mpls",
    "mpls 100",
    "pppoed",
    "pppoes",
    "pppoes 7",
    "geneve",
    "geneve 5",
    "vxlan",
    "vxlan 10",
    "llc",
    "llc u",
    "llc rr",
    "inbound",
    "ifindex 2",
    "byte 12 = 8",
    "byte 0 & 1",
    "decnet src 1.1",
    "decnet host 2.1",
    "protochain 6",
    "ip6 protochain 17",
];
