//! Frames, and the line that each of them gets.
#![forbid(unsafe_code)]

mod frames;

use frames::{TCP_ACK, ethernet, hello, icmp, tcp, udp, v6_udp};
use nsntrace_live::{Lines, Packet};

/// The line of a frame, without time, process and columns.
fn line(frame: &[u8]) -> String {
    line_of(&mut Lines::new(0, false), frame)
}

fn line_of(lines: &mut Lines, frame: &[u8]) -> String {
    let len = u32::try_from(frame.len()).expect("it is short");
    let mut text = String::new();
    let packet = Packet { timestamp_ns: 0, bytes: frame, len, flow: Some(1), process: None };
    lines.write(&packet, &mut text);
    let line = text.strip_prefix("  0.000000 - ").expect("nobody's, at the start");
    line.strip_suffix('\n').expect("a line").to_owned()
}

#[track_caller]
fn check(frame: &[u8], expected: &str) {
    assert_eq!(line(frame), expected);
}

#[track_caller]
fn says(frame: &[u8], expected: &str) {
    let line = line(frame);
    let (_, said) = line.split_once(" > ").and_then(|(_, rest)| rest.split_once(' ')).expect("two ends");
    assert_eq!(said, expected);
}

#[test]
fn a_packet_has_two_ends_flags_and_a_length() {
    check(&tcp(0x02, b""), "192.0.2.1:1234 > 198.51.100.2:80 TCP  SYN");
    check(&tcp(0x12, b""), "192.0.2.1:1234 > 198.51.100.2:80 TCP  SYN,ACK");
    check(&tcp(0x18, b"data"), "192.0.2.1:1234 > 198.51.100.2:80 TCP  PSH,ACK len 4");
    check(&tcp(0x00, b""), "192.0.2.1:1234 > 198.51.100.2:80 TCP  no flags");
    check(&tcp(0xff, b""), "192.0.2.1:1234 > 198.51.100.2:80 TCP  FIN,SYN,RST,PSH,ACK,URG,ECE,CWR");
    check(&udp(7, b"abc"), "192.0.2.1:1234 > 198.51.100.2:7 UDP  len 3");
    check(&v6_udp(7, b"abc"), "[2001:db8::1]:1234 > [2001:db8::2]:7 UDP  len 3");
    let mut whole = tcp(TCP_ACK, &[7; 1000]);
    whole.truncate(100);
    says(&whole, "TCP  ACK len 1000");
}

#[test]
fn requests_and_responses_are_their_first_lines() {
    for (payload, expected) in [
        (&b"GET /a?b=c HTTP/1.1\r\nHost: example.com\r\n\r\n"[..], "HTTP GET /a?b=c, host example.com"),
        (b"POST / HTTP/1.0\r\n\r\nbody", "HTTP POST /"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "HTTP 404 Not Found"),
        (b"HTTP/1.1 204\r\n\r\n", "HTTP 204"),
        (b"EHLO example.com\r\n", "TCP  ACK len 18"),
    ] {
        says(&tcp(TCP_ACK, payload), expected);
    }
    let mut long = tcp(TCP_ACK, b"GET /a/very/long/path HTTP/1.1\r\n\r\n");
    long.truncate(long.len() - 20);
    says(&long, "HTTP GET /a/very/lo...");
}

#[test]
fn questions_have_answers_or_not() {
    let message = |flags: &[u8], answers: u8, rest: &[u8]| {
        let head = [b"\x12\x34", flags, &[0, 1, 0, answers, 0, 0, 0, 0]].concat();
        [&head[..], b"\x07example\x03com\0\0\x01\0\x01", rest].concat()
    };
    let question = message(b"\x01\0", 0, b"");
    let address = |last| [b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02", &[last][..]].concat();
    let alias = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x14";
    for (bytes, expected) in [
        (question.clone(), "DNS  A? example.com"),
        (message(b"\x81\x80", 1, &address(7)), "DNS  A example.com: 192.0.2.7"),
        (
            message(b"\x81\x80", 6, &[&alias[..], &(1..6).flat_map(address).collect::<Vec<_>>()].concat()),
            "DNS  A example.com: 192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4 and 1 more",
        ),
        (message(b"\x81\x80", 1, alias), "DNS  A example.com: com"),
        (message(b"\x81\x80", 0, b""), "DNS  A example.com: no address"),
        (message(b"\x81\x83", 0, b""), "DNS  A example.com: NXDOMAIN"),
        (message(b"\x81\x82", 0, b""), "DNS  A example.com: SERVFAIL"),
        (message(b"\x81\x8f", 0, b""), "DNS  A example.com: rcode 15"),
        (b"nonsense".to_vec(), "UDP  len 8"),
    ] {
        says(&udp(53, &bytes), expected);
    }
    let framed = [&[0, u8::try_from(question.len()).expect("it is short")][..], &question].concat();
    says(&frames::tcp_to(53, TCP_ACK, 1, &framed), "DNS  A? example.com");
}

#[test]
fn a_hello_names_whom_it_is_for_though_it_comes_in_two() {
    let hello = hello();
    says(&tcp(TCP_ACK, &hello), "TLS  client hello for example.com, offers h2");
    let (first, second) = hello.split_at(40);
    let mut lines = Lines::new(0, false);
    let one = line_of(&mut lines, &frames::tcp_to(443, TCP_ACK, 1, first));
    assert!(one.ends_with("TLS  part of a hello, len 40"), "{one}");
    let two = line_of(&mut lines, &frames::tcp_to(443, TCP_ACK, 41, second));
    assert!(two.ends_with("TLS  client hello for example.com, offers h2"), "{two}");
    let three = line_of(&mut lines, &frames::tcp_to(443, TCP_ACK, 900, b"\x17\x03\x03\0\x02hi"));
    assert!(three.ends_with("TCP  ACK len 7"), "{three}");
}

#[test]
fn what_networks_say_to_each_other_is_told() {
    says(&icmp(b"\x08\0\0\0\x12\x34\0\x01"), "ICMP echo request, id 4660");
    says(&icmp(b"\0\0\0\0\x12\x34\0\x01"), "ICMP echo reply, id 4660");
    says(&icmp(b"\x0d\0\0\0\0\0\0\0"), "ICMP type 13");
    let quoted = &udp(53, b"")[14..];
    says(&icmp(&[b"\x03\x03\0\0\0\0\0\0", quoted].concat()), "ICMP port unreachable: UDP to 198.51.100.2:53");
    says(&icmp(b"\x03\x0d\0\0\0\0\0\0"), "ICMP prohibited");
    let arp = |operation| {
        [b"\0\x01\x08\0\x06\x04\0", &[operation][..], &[2; 6], &[10, 0, 0, 1], &[3; 6], &[10, 0, 0, 2]]
            .concat()
    };
    check(&ethernet(0x0806, &arp(1)), "- ARP  who has 10.0.0.2? asks 10.0.0.1");
    check(&ethernet(0x0806, &arp(2)), "- ARP  10.0.0.1 is at 02:02:02:02:02:02");
    check(&ethernet(0x88cc, b"x"), "- 0x88cc frame of 15 bytes");
    check(b"short", "- ?    frame of 5 bytes");
}

#[test]
fn nothing_that_a_packet_or_a_program_says_commands_a_terminal() {
    let evil = "GET /\x1b]0;owned\x07\u{9b}2J\u{202e} HTTP/1.1\r\nHost: a\x08b\r\n\r\n";
    says(&tcp(TCP_ACK, evil.as_bytes()), r"HTTP GET /\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}, host a\u{8}b");
    let mut text = String::new();
    let frame = tcp(0x02, b"");
    let process = Some(("a\x1b[2J\n\u{430}", 7));
    Lines::new(0, false)
        .write(&Packet { timestamp_ns: 0, bytes: &frame, len: 54, flow: None, process }, &mut text);
    assert!(text.contains(r"a\u{1b}[2J\u{a}\u{430}[7] 192.0.2.1:1234"), "{text}");
    let long = [b"GET /", &[b'a'; 1000][..], b" HTTP/1.1\r\n\r\n"].concat();
    let line = line(&tcp(TCP_ACK, &long));
    assert!(line.len() < 300 && line.ends_with("aaa..."), "{line}");
}

#[test]
fn columns_grow_and_time_is_since_the_start() {
    let (short, long) = (udp(7, b""), v6_udp(40_000, b""));
    let mut lines = Lines::new(1_000_000_000, false);
    let mut text = String::new();
    for (frame, timestamp_ns, process) in [
        (&short, 999_999_999, Some(("nc", 7))),
        (&long, 1_000_021_999, Some(("python3", 4321))),
        (&short, 101_500_000_000, None),
    ] {
        lines.write(&Packet { timestamp_ns, bytes: frame, len: 42, flow: None, process }, &mut text);
    }
    lines.write_left_out(12, &mut text);
    assert_eq!(
        text,
        "  0.000000 nc[7] 192.0.2.1:1234 > 198.51.100.2:7 UDP  len 0
  0.000021 python3[4321] [2001:db8::1]:1234 > [2001:db8::2]:40000 UDP  len 0
100.500000 -             192.0.2.1:1234 > 198.51.100.2:7          UDP  len 0
           12 packets left out: they came faster than their lines could go
"
    );
}

#[test]
fn colours_are_for_who_wants_them() {
    let mut lines = Lines::new(0, true);
    let mut text = String::new();
    let frame = tcp(0x04, b"");
    lines.write(&Packet { timestamp_ns: 0, bytes: &frame, len: 54, flow: None, process: None }, &mut text);
    assert_eq!(text, "\x1b[2m  0.000000\x1b[0m - 192.0.2.1:1234 > 198.51.100.2:80 \x1b[31mTCP  RST\x1b[0m\n");
}
