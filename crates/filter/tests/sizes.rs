//! How long the programs for common filters are at most: what libpcap 1.10.3 makes of them.
#![forbid(unsafe_code)]

mod common;

use std::time::{Duration, Instant};

use nsntrace_filter::{LinkType, NoNames, Options, Source, compile};

/// Filter, instructions at most, the same on a live socket.
const SIZES: &[(&str, usize, usize)] = &[
    ("ip", 4, 4),
    ("arp", 4, 4),
    ("tcp", 12, 12),
    ("icmp6", 9, 9),
    ("host 10.0.0.1", 14, 14),
    ("src host 10.0.0.1", 10, 10),
    ("net 192.168.0.0/16", 18, 18),
    ("host 2001:db8::1", 20, 20),
    ("ip6 net 2001:db8::/32", 8, 8),
    ("ether host 00:11:22:33:44:55", 10, 10),
    ("port 53", 24, 24),
    ("tcp port 80", 20, 20),
    ("tcp dst port 443", 16, 16),
    ("udp port 53", 20, 20),
    ("portrange 6000-6008", 27, 27),
    ("tcp port 80 or tcp port 443", 23, 23),
    ("port 80 or port 443", 27, 27),
    ("host 10.0.0.1 and tcp port 80", 17, 17),
    ("src host 10.0.0.1 and dst port 22", 15, 15),
    ("not port 22", 24, 24),
    ("not arp and not broadcast", 8, 8),
    ("tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", 11, 11),
    ("tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn", 12, 12),
    ("icmp[icmptype] == icmp-echo or icmp[icmptype] == icmp-echoreply", 12, 12),
    ("ip[6:2] & 0x1fff != 0", 6, 6),
    ("tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)", 30, 30),
    ("(tcp port 22 or tcp port 23) and not net 10.0.0.0/8", 30, 30),
    ("udp port 67 or udp port 68", 23, 23),
    ("ip multicast or ip6 multicast", 9, 9),
    ("greater 1000 and tcp", 14, 14),
    ("vlan 100 and tcp port 80", 27, 56),
    ("mpls and ip", 10, 10),
    ("pppoes and tcp port 80", 22, 22),
    ("geneve and tcp port 80", 88, 88),
];

#[track_caller]
fn size(text: &str, source: Source) -> usize {
    let options = common::options(LinkType::Ethernet, source);
    compile(text, &options, &NoNames).unwrap_or_else(|error| panic!("{text}: {error}")).insns().len()
}

#[test]
fn common_filters_are_as_short_as_those_of_libpcap() {
    for (text, most, most_live) in SIZES {
        assert!(size(text, Source::Unknown) <= *most, "{text}: {}", size(text, Source::Unknown));
        assert!(size(text, Source::Live) <= *most_live, "{text} live: {}", size(text, Source::Live));
    }
}

#[test]
fn four_hundred_hosts_take_no_time() {
    let hosts: Vec<String> =
        (0..400).map(|host| format!("host 10.{}.0.{}", host / 250, host % 250)).collect();
    let text = hosts.join(" or ");
    let timed = || {
        let start = Instant::now();
        (compile(&text, &Options::default(), &NoNames).unwrap(), start.elapsed())
    };
    // 10 ms when optimised. The rest is for debug builds, and one of them has a processor of its own on busy machines.
    let (program, took) = (0..5).map(|_| timed()).min_by_key(|(_, took)| *took).unwrap();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(program.insns().len() <= 2159, "{}", program.insns().len());
}
