//! Tables in the manner of libpcap's own tests: filters with their listing, filters with the packets that
//! match, and texts that are refused.
#![forbid(unsafe_code)]

mod common;

use std::net::Ipv4Addr;

use nsntrace_filter::{Ancillary, LinkType, Options, Packet, Program, Source, Tables, compile};

fn names() -> Tables {
    common::names()
        .hosts("10.0.0.1 router\n2001:db8::1 router\n::1 six\n")
        .ethers("00:11:22:33:44:55 router\n")
        .networks("lan 10.1\nten 10\nrouters 012.0.0.0x1\n")
}

#[track_caller]
fn program(text: &str, options: Options) -> Program {
    compile(text, &options, &names())
        .unwrap_or_else(|error| panic!("{text}: {error}\n{}", error.excerpt(text)))
}

/// Link type, live or not, filter, listing without numbers of lines.
#[track_caller]
fn check_listing(link_type: LinkType, source: Source, text: &str, expected: &[&str]) {
    let listing = program(text, common::options(link_type, source)).asm().to_string();
    let lines: Vec<String> =
        listing.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines, expected, "{text}");
}

#[test]
fn accept() {
    let check = |text, expected: &[&str]| check_listing(LinkType::Ethernet, Source::Unknown, text, expected);
    check("", &["ret #262144"]);
    check("ip", &["ldh [12]", "jeq #0x800 jt 2 jf 3", "ret #262144", "ret #0"]);
    check("1 = 1", &["ret #262144"]);
    check("len > 100", &["ld #pktlen", "jgt #0x64 jt 2 jf 3", "ret #262144", "ret #0"]);
    check("100 >= len", &["ld #pktlen", "jgt #0x64 jt 3 jf 2", "ret #262144", "ret #0"]);
    check("less 100", &["ld #pktlen", "jgt #0x64 jt 3 jf 2", "ret #262144", "ret #0"]);
    check(
        "tcp[13] & 2 != 0",
        &[
            "ldh [12]",
            "jeq #0x800 jt 2 jf 10",
            "ldb [23]",
            "jeq #0x6 jt 4 jf 10",
            "ldh [20]",
            "jset #0x1fff jt 10 jf 6",
            "ldxb 4*([14]&0xf)",
            "ldb [x + 27]",
            "jset #0x2 jt 9 jf 10",
            "ret #262144",
            "ret #0",
        ],
    );
    check(
        "ip[2:2] - 14 - 6 > 20",
        &[
            "ldh [12]",
            "jeq #0x800 jt 2 jf 7",
            "ldh [16]",
            "sub #14",
            "sub #6",
            "jgt #0x14 jt 6 jf 7",
            "ret #262144",
            "ret #0",
        ],
    );
    check("ether[-4088:4] = 2", &["ld [ifidx]", "jeq #0x2 jt 2 jf 3", "ret #262144", "ret #0"]);
}

#[test]
fn accept_on_other_link_types() {
    check_listing(
        LinkType::Raw,
        Source::Unknown,
        "ip6",
        &["ldb [0]", "and #0xf0", "jeq #0x60 jt 3 jf 4", "ret #262144", "ret #0"],
    );
    check_listing(
        LinkType::Null,
        Source::Unknown,
        "ip",
        &["ld [0]", "jeq #0x2000000 jt 2 jf 3", "ret #262144", "ret #0"],
    );
    check_listing(
        LinkType::Null,
        Source::File,
        "ip6",
        &[
            "ld [0]",
            "jeq #0x18000000 jt 4 jf 2",
            "jeq #0x1c000000 jt 4 jf 3",
            "jeq #0x1e000000 jt 4 jf 5",
            "ret #262144",
            "ret #0",
        ],
    );
    check_listing(
        LinkType::LinuxSll2,
        Source::File,
        "outbound",
        &["ldb [10]", "jeq #0x4 jt 2 jf 3", "ret #262144", "ret #0"],
    );
    check_listing(
        LinkType::Ethernet,
        Source::Live,
        "inbound",
        &["ldh [type]", "jeq #0x4 jt 3 jf 2", "ret #262144", "ret #0"],
    );
    check_listing(
        LinkType::Ethernet,
        Source::Live,
        "vlan",
        &[
            "ldb [vlanp]",
            "jeq #0x1 jt 6 jf 2",
            "ldh [12]",
            "jeq #0x8100 jt 6 jf 4",
            "jeq #0x88a8 jt 6 jf 5",
            "jeq #0x9100 jt 6 jf 7",
            "ret #262144",
            "ret #0",
        ],
    );
}

#[test]
fn three_forms_of_a_listing() {
    let program = program("ip", Options::default());
    let asm = "(000) ldh      [12]\n(001) jeq      #0x800           jt 2\tjf 3\n(002) ret      #262144\n(003) ret      #0\n";
    assert_eq!(program.asm().to_string(), asm);
    let c = "{ 0x28, 0, 0, 0x0000000c },\n{ 0x15, 0, 1, 0x00000800 },\n{ 0x6, 0, 0, 0x00040000 },\n{ 0x6, 0, 0, 0x00000000 },\n";
    assert_eq!(program.c().to_string(), c);
    assert_eq!(program.dec().to_string(), "4\n40 0 0 12\n21 0 1 2048\n6 0 0 262144\n6 0 0 0\n");
}

/// Frames by name, to be asked for in [`check_packets`].
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let ethernet = |ethertype: &[u8], payload: &[u8]| {
        [
            [0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb].as_slice(),
            &[0, 0x11, 0x22, 0x33, 0x44, 0x55],
            ethertype,
            payload,
            &[0; 30],
        ]
        .concat()
    };
    let ip = |protocol: u8, fragment: u8, payload: &[u8]| {
        [&[0x45, 0, 0, 60, 0, 0, 0, fragment, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], payload].concat()
    };
    let ip6 = |next: u8, payload: &[u8]| {
        let router = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        [[0x60, 0, 0, 0, 0, 40, next, 64].as_slice(), &router, &[0xfe; 16], payload].concat()
    };
    let ports = [0, 80, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0];
    let arp =
        [0, 1, 8, 0, 6, 4, 0, 1, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 9];
    let tcp = ip(6, 0, &ports);
    let fragment_header = [[6, 0, 0, 0, 0, 0, 0, 0].as_slice(), &ports].concat();
    let authenticated =
        [[6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].as_slice(), &ports]
            .concat();
    let udp = |port: [u8; 2]| [[0, 53].as_slice(), &port, &[0, 0, 0, 0]].concat();
    let inner = ethernet(&[8, 0], &tcp);
    let geneve = [udp([0x17, 0xc1]), vec![1, 0, 0x65, 0x58, 0, 0, 5, 0, 0, 0, 0, 0], inner.clone()].concat();
    let vxlan = [udp([0x12, 0xb5]), vec![8, 0, 0, 0, 0, 0, 10, 0], inner].concat();
    vec![
        ("tcp", ethernet(&[8, 0], &tcp)),
        ("fragment", ethernet(&[8, 0], &ip(6, 1, &ports))),
        ("udp", ethernet(&[8, 0], &ip(17, 0, &ports))),
        ("tcp6", ethernet(&[0x86, 0xdd], &ip6(6, &ports))),
        ("fragment6", ethernet(&[0x86, 0xdd], &ip6(44, &fragment_header))),
        ("ah", ethernet(&[8, 0], &ip(51, 0, &authenticated))),
        ("ah6", ethernet(&[0x86, 0xdd], &ip6(51, &authenticated))),
        ("arp", ethernet(&[8, 6], &arp)),
        ("vlan5", ethernet(&[0x81, 0, 0, 5, 8, 0], &tcp)),
        ("mpls", ethernet(&[0x88, 0x47, 0, 6, 0x41, 64], &tcp)),
        ("pppoe", ethernet(&[0x88, 0x64, 0x11, 0, 0, 7, 0, 42, 0, 0x21], &tcp)),
        ("geneve", ethernet(&[8, 0], &ip(17, 0, &geneve))),
        ("vxlan", ethernet(&[8, 0], &ip(17, 0, &vxlan))),
        ("llc", ethernet(&[0, 3], &[0x42, 0x42, 3])),
        ("short", vec![0; 9]),
    ]
}

#[track_caller]
fn check_packets(text: &str, expected: &str) {
    let program = program(text, Options::default());
    let matching: Vec<&str> = frames()
        .iter()
        .filter(|(_, frame)| program.matches(&Packet::whole(frame)))
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(matching.join(" "), expected, "{text}");
}

#[test]
fn apply() {
    check_packets("tcp", "tcp fragment tcp6 fragment6");
    // Ports are looked for in first fragments only, and over IPv6 not behind a fragment header.
    check_packets("tcp port 80", "tcp tcp6");
    check_packets("port 80", "tcp udp tcp6");
    check_packets("tcp port http and not ip6", "tcp");
    check_packets("tcp[13] = 2", "tcp");
    check_packets(
        "not tcp[13] != 2 and not udp",
        "tcp fragment tcp6 fragment6 ah ah6 arp vlan5 mpls pppoe llc",
    );
    check_packets("host 10.0.0.1", "tcp fragment udp ah arp geneve vxlan");
    check_packets("ip host 10", "");
    check_packets("net 10", "tcp fragment udp ah arp geneve vxlan");
    check_packets("host 10.0", "tcp fragment udp ah arp geneve vxlan");
    // The number of a named network gets zeros behind it, and all of it counts.
    check_packets("net ten", "");
    check_packets("net ROUTERS", "tcp fragment udp ah arp geneve vxlan");
    check_packets("host router", "tcp fragment udp tcp6 fragment6 ah ah6 arp geneve vxlan");
    check_packets("ip6 host router", "tcp6 fragment6 ah6");
    check_packets("arp host router", "arp");
    check_packets("ether host router and arp", "arp");
    check_packets("gateway router and ip6 proto 6", "");
    check_packets("vlan 5 and tcp", "vlan5");
    check_packets("vlan or tcp", "vlan5");
    check_packets("tcp or vlan", "tcp fragment tcp6 fragment6 vlan5");
    check_packets("mpls 100 and tcp", "mpls");
    check_packets("pppoes 7 and tcp port 80", "pppoe");
    check_packets("geneve 5 and tcp", "geneve");
    check_packets("geneve 5 and ether src 00:11:22:33:44:55", "geneve");
    check_packets("vxlan 10 and tcp port 80", "vxlan");
    check_packets("vxlan 9", "");
    check_packets("ip protochain 6", "tcp fragment ah");
    check_packets("protochain 6", "tcp fragment tcp6 fragment6 ah ah6");
    check_packets("stp", "llc");
    check_packets("llc ui", "llc");
    check_packets("byte 0 & 0x06 and arp", "arp");
    check_packets("7 % 4 + 1 = 2 and arp", "arp");
    check_packets("1 + 2 * 3 = 7 and arp", "arp");
    // What a right operand requires is lost, and dividing by zero rejects the packet, so ARP does not match
    // either.
    check_packets("10 / ip[6] = 1 or arp", "tcp6");
    // A frame that is too short to tell is rejected, also under `not`.
    check_packets("not tcp and not udp", "ah ah6 arp vlan5 mpls pppoe llc");
}

#[test]
fn what_is_beside_a_packet_counts() {
    let frame = &frames()[0].1;
    let packet = |ancillary| Packet { ancillary, ..Packet::whole(frame) };
    let tagged = Ancillary { vlan_tci: Some(0xa005), ..Ancillary::default() };
    let live = |text| program(text, common::options(LinkType::Ethernet, Source::Live));
    assert!(live("vlan 5 and tcp port 80").matches(&packet(tagged)));
    assert!(!live("vlan 6").matches(&packet(tagged)));
    assert!(!live("vlan").matches(&packet(Ancillary::default())));
    assert!(live("not vlan").matches(&packet(Ancillary::default())));
    let sent = Ancillary { pkttype: 4, ifindex: 3, ..Ancillary::default() };
    assert!(live("outbound and ifindex 3").matches(&packet(sent)));
    assert!(live("inbound").matches(&packet(Ancillary::default())));
}

#[test]
fn the_netmask_makes_a_broadcast() {
    let mut frame = frames()[0].1.clone();
    frame[30..34].copy_from_slice(&[10, 0, 0, 255]);
    let with = |netmask| program("ip broadcast", Options { netmask: Some(netmask), ..Options::default() });
    assert!(with(Ipv4Addr::new(255, 255, 255, 0)).matches(&Packet::whole(&frame)));
    assert!(!with(Ipv4Addr::new(255, 255, 0, 0)).matches(&Packet::whole(&frame)));
}

#[test]
fn snaplen_is_what_a_match_returns() {
    let program = program("arp or not arp", Options { snaplen: 96, ..Options::default() });
    assert_eq!(program.run(&Packet::whole(&frames()[0].1)), 96);
}

/// The message, and what of the text it is about.
#[track_caller]
fn check_refused_with(options: Options, text: &str, message: &str, place: &str) {
    let Err(error) = compile(text, &options, &names()) else { panic!("{text} is taken") };
    assert_eq!(error.to_string(), message, "{text}");
    assert_eq!(&text[error.span.start..error.span.end], place, "{text}");
}

#[track_caller]
fn check_refused(text: &str, message: &str, place: &str) {
    check_refused_with(Options::default(), text, message, place);
}

#[test]
fn reject() {
    check_refused("tcp port htp or icmp", "unknown port name 'htp'", "htp");
    check_refused("tcp udp", "syntax error at 'udp'", "udp");
    check_refused("tcp and", "syntax error at the end of the filter: something is missing here", "");
    check_refused("(tcp", "syntax error at the end of the filter: something is missing here", "");
    check_refused("tcp)", "syntax error at ')'", ")");
    check_refused("port ((22 or 23) and 25)", "syntax error at '('", "(");
    let unqualified = |id| {
        format!("nothing says what '{id}' is: write 'host', 'net', 'port' or another such word before it")
    };
    check_refused("10.0.0.1", &unqualified("10.0.0.1"), "10.0.0.1");
    check_refused("tcp or 80", &unqualified("80"), "80");
    check_refused("(port 80) or 443", &unqualified("443"), "443");
    check_refused("len - 14 = 60 or 70", &unqualified("70"), "70");
    check_refused("port 65536", "port 65536 is greater than 65535", "65536");
    check_refused("vlan 4096", "VLAN tag 4096 is greater than 4095", "4096");
    check_refused("net 10.0.0.0/33", "mask length 33 is greater than 32", "33");
    check_refused("net 10.1.0.0/8", "'10.1.0.0' has bits set beyond its mask", "10.1.0.0/8");
    check_refused("host 10.0.0.0/8", "only 'net' takes a mask or prefix length", "10.0.0.0/8");
    check_refused("host 10.0.0.256", "invalid IPv4 address '10.0.0.256'", "10.0.0.256");
    check_refused("tcp[0:3] = 1", "a load has 1, 2 or 4 bytes, not 3", "3");
    check_refused("ip[0] / (2 - 2) = 1", "division by zero", "/");
    check_refused("ip[0] << 32 = 1", "shift by 32 bits: at most 31 have a meaning", "<<");
    check_refused("tcp host 10.0.0.1", "'tcp' does not go with an IPv4 address", "tcp host");
    check_refused("port ::1", "'port' does not go with an IPv6 address", "::1");
    check_refused("ether", "'ether' cannot be used here", "ether");
    check_refused("stp[0] = 1", "'stp' does not go with '[ ]'", "stp[0]");
    check_refused("tcp port bootps", "port 'bootps' is udp", "bootps");
    check_refused("ip host six", "host 'six' has no IPv4 address", "six");
    check_refused("host nobody", "unknown host 'nobody'", "nobody");
    check_refused("net nowhere", "unknown network 'nowhere'", "nowhere");
    check_refused("decnet host 0x1.2", "unknown DECnet address '0x1.2'", "0x1.2");
    check_refused("ether proto nosuch", "unknown ether protocol 'nosuch'", "nosuch");
    check_refused("llc foo", "unknown LLC type 'foo'", "foo");
    check_refused("mpls and vlan", "'vlan' is not supported on MPLS", "vlan");
    check_refused("pppoes and broadcast", "'broadcast' is not supported on PPP", "broadcast");
    check_refused("type data", "'type' is not supported on this link type", "type");
    check_refused("ip and arp ", "expression rejects all packets", "ip and arp");
    check_refused("not (tcp or not tcp)", "expression rejects all packets", "not (tcp or not tcp)");
    let nested = format!("{}5{} = 1", "1 + (".repeat(20), ")".repeat(20));
    check_refused(&nested, "too many registers needed to evaluate this", "1");
}

#[test]
fn reject_a_value_where_it_stands() {
    check_refused("tcp or vlan 5000", "VLAN tag 5000 is greater than 4095", "5000");
    check_refused("vlan (5000)", "VLAN tag 5000 is greater than 4095", "(5000)");
    check_refused("mpls 1048576", "MPLS label 1048576 is greater than 1048575", "1048576");
    check_refused("pppoes 65536", "PPPoE session 65536 is greater than 65535", "65536");
    check_refused("geneve 16777216", "Geneve VNI 16777216 is greater than 16777215", "16777216");
    check_refused("vxlan 16777216", "VXLAN VNI 16777216 is greater than 16777215", "16777216");
    check_refused("net ::1/129", "mask length 129 is greater than 128", "129");
    check_refused("net ::1 / 129 or tcp", "mask length 129 is greater than 128", "129");
    check_refused("net 10.0.0.1\n/33", "mask length 33 is greater than 32", "33");
    check_refused("isis proto foo", "unknown IS-IS protocol 'foo'", "foo");
}

#[test]
fn reject_ethernet_addresses_without_ether() {
    let needs = "an ethernet address needs 'ether' before it, as in 'ether host 00:11:22:33:44:55'";
    for head in ["host", "src", "dst host"] {
        check_refused(&format!("{head} 00:11:22:33:44:55"), needs, "00:11:22:33:44:55");
    }
    let refused = |text, word, place| {
        check_refused(text, &format!("'{word}' does not go with an ethernet address"), place);
    };
    refused("ip host 00:11:22:33:44:55", "ip", "ip host");
    refused("port 00:11:22:33:44:55", "port", "00:11:22:33:44:55");
    refused("ether net 00:11:22:33:44:55", "net", "00:11:22:33:44:55");
}

#[test]
fn reject_behind_mpls_what_was_typed() {
    let refused = |term: &str, word: &str| {
        check_refused(&format!("mpls and {term}"), &format!("'{word}' is not supported on MPLS"), word);
    };
    for word in ["arp", "stp", "clnp", "pppoed", "pppoes 5", "l1"] {
        refused(word, word);
    }
    refused("arp host 10.0.0.1", "arp host");
    refused("decnet src 1.2", "decnet src");
    refused("arp[0] = 1", "arp[0]");
    refused("ether proto 0x806", "0x806");
    refused("ether proto \\arp", "\\arp");
    refused("isis proto 5", "isis proto");
}

#[test]
fn a_message_is_short_and_obeyed_by_no_terminal() {
    check_refused("host \\\u{1b}[31mred", "unknown host '?[31mred'", "\\\u{1b}[31mred");
    let name = "a".repeat(60_000);
    check_refused(&format!("host {name}"), &format!("unknown host '{}...'", &name[..64]), &name);
}

#[test]
fn what_rejects_everything_is_shown_whole() {
    let excerpt = |text| compile(text, &Options::default(), &names()).unwrap_err().excerpt(text).to_string();
    assert_eq!(excerpt(" ip and ip6 "), "   ip and ip6\n   ^^^^^^^^^^");
    assert_eq!(excerpt("ip and\nip6"), "  ip and\n  ^^^^^^");
}

#[test]
fn reject_by_link_type_and_source() {
    let refused = |link_type, source, text, message, place| {
        check_refused_with(common::options(link_type, source), text, message, place);
    };
    refused(LinkType::Raw, Source::Unknown, "vlan", "'vlan' is not supported on raw IP", "vlan");
    refused(LinkType::Raw, Source::Unknown, "arp", "expression rejects all packets", "arp");
    refused(
        LinkType::Ethernet,
        Source::File,
        "tcp and inbound",
        "'inbound' is known of live packets only, not of a capture file",
        "inbound",
    );
    let variable = "'protochain' is not supported on headers of variable length";
    refused(LinkType::Ethernet, Source::Live, "vlan and protochain 6", variable, "6");
    let no_netmask = Options { netmask: None, ..Options::default() };
    check_refused_with(no_netmask, "ip broadcast", "'ip broadcast' needs a netmask", "ip broadcast");
}
