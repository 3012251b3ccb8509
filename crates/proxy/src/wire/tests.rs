//! Frames read by tshark, which checks checksums and says so; and input of every kind, which must never panic.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use nsntrace_testkit::WorkDir;
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use rustix::io::Errno;

use super::fragment::split;
use super::icmp::icmp_error;
use super::icmp::icmp_packet;
use super::*;

#[test]
fn a_reset_answers_the_syn_and_all_that_it_carries() {
    for (program, peer) in families() {
        for (data, acknowledged) in [(&b""[..], "4294967295"), (&b"fast open"[..], "8")] {
            let reset = read_syn(&syn(program, peer, data)).reset().unwrap();
            let fields =
                ["eth.dst", "tcp.srcport", "tcp.dstport", "tcp.flags.str", "tcp.seq_raw", "tcp.ack_raw"];
            let expected = format!("02:00:00:00:00:02|443|40000|·······A·R··|0|{acknowledged}|");
            check(&[reset], &fields, &[&expected]);
        }
    }
}

#[test]
fn a_syn_again_is_the_same_with_its_checksum() {
    for (program, peer) in families() {
        for data in [&b""[..], b"odd"] {
            let first = syn(program, peer, data);
            let again = read_syn(&first).again();
            let (before, after) = (Packet::read(&first).unwrap(), Packet::read(&again).unwrap());
            assert_eq!((before.source, before.destination), (after.source, after.destination));
            assert_eq!(
                (&before.payload[..16], &before.payload[18..]),
                (&after.payload[..16], &after.payload[18..])
            );
            let fields = ["eth.src", "eth.dst", "tcp.flags.str", "tcp.options.mss_val", "tcp.len"];
            let expected = format!("00:00:00:00:00:00|00:00:00:00:00:00|··········S·|1460|{}|", data.len());
            check(&[again], &fields, &[&expected]);
        }
    }
}

#[test]
#[should_panic(expected = "tshark complains")]
fn the_foreign_eyes_are_open() {
    let (program, peer) = families()[0];
    tshark(&[syn(program, peer, b"")], &[]);
}

#[test]
fn only_a_syn_is_one() {
    let (program, peer) = families()[0];
    let flags_at = 14 + 20 + 13;
    for (flags, is_syn) in
        [(0x02, true), (0xc2, true), (0x12, false), (0x06, false), (0x10, false), (0, false)]
    {
        let mut frame = syn(program, peer, b"");
        frame[flags_at] = flags;
        assert_eq!(Syn::read(Packet::read(&frame).unwrap()).is_some(), is_syn, "{flags:#x}");
    }
    let mut options_beyond_the_end = syn(program, peer, b"");
    options_beyond_the_end[14 + 20 + 12] = 15 << 4;
    assert!(Syn::read(Packet::read(&options_beyond_the_end).unwrap()).is_none());
}

#[test]
fn errors_quote_the_packet_and_say_why() {
    let [(program4, peer4), (program6, peer6)] = families();
    let cases = [
        (program4, peer4, Cause::of(Errno::CONNREFUSED, peer4.ip()), "3|3|||"),
        (program4, peer4, Cause::of(Errno::NETUNREACH, peer4.ip()), "3|0|||"),
        (program4, peer4, Cause::of(Errno::HOSTUNREACH, peer4.ip()), "3|1|||"),
        (program4, peer4, Cause::prohibited(peer4.ip()), "3|13|||"),
        (program4, peer4, Cause::too_big(peer4.ip(), 1400), "3|4|1400||"),
        (program4, peer4, Cause { kind: 11, code: 0, info: 0 }, "11|0|||"),
        (program6, peer6, Cause::of(Errno::CONNREFUSED, peer6.ip()), "1|4||"),
        (program6, peer6, Cause::of(Errno::NETUNREACH, peer6.ip()), "1|0||"),
        (program6, peer6, Cause::of(Errno::HOSTUNREACH, peer6.ip()), "1|3||"),
        (program6, peer6, Cause::prohibited(peer6.ip()), "1|1||"),
        (program6, peer6, Cause::too_big(peer6.ip(), 1280), "2|0|1280|"),
        (program6, peer6, Cause { kind: 3, code: 0, info: 0 }, "3|0||"),
    ];
    for (program, peer, cause, numbers) in cases {
        let quotations = [
            (quoted_datagram(program, peer, 5, b"hello").unwrap(), "40000|443|"),
            (quoted_datagram(program, peer, 60_000, b"").unwrap(), "40000|443|"),
            (quoted_datagram(program, peer, 4000, &[7; 4000]).unwrap(), "40000|443|"),
        ];
        for (quoted, ports) in quotations {
            check_error(program, peer, &quoted, cause, &format!("{numbers}{ports}"));
        }
    }
}

/// The numbers of the error, its MTU, and what is quoted.
fn check_error(program: SocketAddr, peer: SocketAddr, quoted: &[u8], cause: Cause, expected: &str) {
    let frame = icmp_error(LINK, peer.ip(), quoted, program.ip(), cause).unwrap();
    assert!(frame.len() <= 14 + if program.is_ipv4() { 576 } else { 1280 });
    let v4 = ["icmp.type", "icmp.code", "icmp.mtu", "icmp.pointer", "udp.srcport", "udp.dstport"];
    let v6 = ["icmpv6.type", "icmpv6.code", "icmpv6.mtu", "udp.srcport", "udp.dstport"];
    check(&[frame], if program.is_ipv4() { &v4 } else { &v6 }, &[expected]);
}

#[test]
fn an_echo_reply_has_the_identifier_the_sequence_and_the_payload() {
    for (program, peer) in families() {
        let echo = Echo { identifier: 0x1234, sequence: 7, payload: b"some bytes" };
        let request = LINK.frame(&quoted_echo(program.ip(), peer.ip(), 9, &echo).unwrap());
        let ping = Ping::read(&Packet::read(&request).unwrap()).unwrap();
        let (source, destination) = (program.ip(), peer.ip());
        assert_eq!(ping, Ping { source, destination, ttl: 9, echo });
        let reply = LINK.frame(&echo_reply(destination, source, 55, &ping.echo).unwrap());
        assert_eq!(Ping::read(&Packet::read(&reply).unwrap()), None, "a reply is no request");
        let (fields, expected) = if program.is_ipv4() {
            let fields = ["ip.ttl", "icmp.type", "icmp.ident", "icmp.seq", "data.data"];
            (fields, ["9|8|4660|7|736f6d65206279746573|", "55|0|4660|7|736f6d65206279746573|"])
        } else {
            let [id, seq] = ["icmpv6.echo.identifier", "icmpv6.echo.sequence_number"];
            let fields = ["ipv6.hlim", "icmpv6.type", id, seq, "data.data"];
            (fields, ["9|128|0x1234|7|736f6d65206279746573|", "55|129|0x1234|7|736f6d65206279746573|"])
        };
        check(&[request, reply], &fields, &expected);
    }
}

#[test]
fn parts_are_what_tshark_and_we_put_together() {
    for (program, peer) in families() {
        for len in [1473, 2000, 2952, 40_000, 65_507] {
            let payload: Vec<u8> = (0..251).cycle().take(len - 8 * usize::from(program.is_ipv6())).collect();
            let echo = Echo { identifier: 1, sequence: 2, payload: &payload };
            let packet = quoted_echo(program.ip(), peer.ip(), 64, &echo).unwrap();
            let frames = split(LINK, &packet, 1500, 0xfffe_1234);
            assert!(frames.iter().all(|frame| frame.len() <= 1514) && frames.len() > 1);
            assert_eq!(tshark(&frames, &["data.len"]).last().unwrap(), &format!("{}|", payload.len()));
            assert_eq!(put_together(frames.iter()).unwrap(), payload);
            assert_eq!(put_together(frames.iter().rev()).unwrap(), payload, "in any order");
            let twice = frames.iter().flat_map(|frame| [frame, frame]);
            assert_eq!(put_together(twice).unwrap(), payload, "or twice");
            assert_eq!(put_together(frames.iter().skip(1)), None);
            assert_eq!(put_together(frames.iter().take(frames.len() - 1)), None);
        }
    }
}

/// The payload of the ping that these frames are parts of.
fn put_together<'a>(frames: impl Iterator<Item = &'a Vec<u8>>) -> Option<Vec<u8>> {
    let mut fragments = Fragments::default();
    let now = Instant::now();
    frames.fold(None, |found, frame| {
        let packet = Packet::read(frame).unwrap();
        let whole = fragments.take(&packet, now);
        found.or_else(|| Some(Ping::of_parts(&packet, &whole?)?.echo.payload.to_vec()))
    })
}

#[test]
fn parts_that_overlap_are_no_packet_and_old_ones_are_forgotten() {
    let (program, peer) = families()[0];
    let packet =
        quoted_echo(program.ip(), peer.ip(), 64, &Echo { identifier: 1, sequence: 2, payload: &[7; 3000] });
    let packet = packet.unwrap();
    let parts = split(LINK, &packet, 1500, 5);
    let other = split(LINK, &packet, 1400, 5);
    assert_eq!(put_together([&parts[0], &other[1], &parts[1], &parts[2]].into_iter()), None);
    let mut fragments = Fragments::default();
    let now = Instant::now();
    for frame in &parts[..2] {
        assert!(fragments.take(&Packet::read(frame).unwrap(), now).is_none());
    }
    let later = now + Duration::from_secs(31);
    assert!(fragments.take(&Packet::read(&parts[2]).unwrap(), later).is_none());
}

#[test]
fn extension_headers_are_walked_to_their_end() {
    let (program, peer) = families()[1];
    let (source, destination) = (program.ip(), peer.ip());
    let plain =
        quoted_echo(source, destination, 64, &Echo { identifier: 1, sequence: 2, payload: b"" }).unwrap();
    let message = &plain[40..];
    // Hop-by-hop options, destination options of 16 bytes, a fragment header of the only fragment.
    let chain =
        [&[60, 0, 1, 4, 0, 0, 0, 0][..], &[44, 1, 1, 12], &[0; 12], &[58, 0, 0, 0, 1, 2, 3, 4], message];
    let frame = LINK.frame(&ip::packet(source, destination, 0, 64, &chain.concat()).unwrap());
    let packet = Packet::read(&frame).unwrap();
    assert_eq!((packet.protocol, packet.payload, packet.fragment), (58, message, None));
    assert!(Ping::read(&packet).is_some());
    for len in 0..frame.len() {
        assert_eq!(Packet::read(&frame[..len]), None, "{len}");
    }
}

#[test]
fn options_of_ipv4_and_padding_of_the_frame_are_skipped() {
    let (program, peer) = families()[0];
    let mut frame = syn(program, peer, b"");
    frame.splice(34..34, [1, 1, 1, 1]);
    frame[14] = 0x46;
    let len = u16::try_from(frame.len() - 14).unwrap().to_be_bytes();
    frame[16..18].copy_from_slice(&len);
    let whole = frame.len();
    frame.extend([0xee; 9]);
    let packet = Packet::read(&frame).unwrap();
    assert_eq!(packet.bytes, &frame[14..whole]);
    assert_eq!(Syn::read(packet).unwrap().destination, peer);
}

#[test]
fn errors_are_about_somebody_who_can_have_sent_them() {
    let (program, peer) = families()[0];
    let quoted = quoted_datagram(program, peer, 0, b"").unwrap();
    let reporters = [Some("198.51.100.9"), Some("127.0.0.1"), Some("2001:db8::1"), None];
    let mut outbox = Outbox::new(LINK, 1500);
    for reporter in reporters {
        let reporter = reporter.map(|text| text.parse().unwrap());
        outbox.error(&quoted, program.ip(), peer.ip(), reporter, Cause::host_unreachable(peer.ip()));
    }
    let sources: Vec<_> = outbox.take().iter().map(|frame| Packet::read(frame).unwrap().source).collect();
    let router: IpAddr = "198.51.100.9".parse().unwrap();
    assert_eq!(sources, [router, peer.ip(), peer.ip(), peer.ip()]);
    assert!(outbox.take().is_empty());
}

#[test]
fn nothing_that_can_be_read_makes_a_panic() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let samples = samples();
    let (mut read, mut answered) = (0, 0);
    let mut fragments = Fragments::default();
    for round in 0..200_000_usize {
        let frame = random.damaged(&samples[round % samples.len()]);
        let Some(packet) = Packet::read(&frame) else { continue };
        read += 1;
        answered += usize::from(answer(&packet, &mut fragments));
    }
    // What is damaged a little is often still something: both ways are walked.
    assert!(read > 50_000 && read < 199_000 && answered > 10_000, "{read} {answered}");
}

/// Does with a packet all that can be done. Whether anything came of it.
fn answer(packet: &Packet<'_>, fragments: &mut Fragments) -> bool {
    let cause = Cause::of(Errno::CONNREFUSED, packet.destination);
    assert!(icmp_error(LINK, packet.destination, packet.bytes, packet.source, cause).is_some());
    if let Some(syn) = Syn::read(*packet) {
        assert_eq!(syn.again().len(), 14 + packet.bytes.len());
        return syn.reset().is_some_and(|frame| Packet::read(&frame).is_some());
    }
    let whole = fragments.take(packet, Instant::now());
    let ping = Ping::read(packet).or_else(|| Ping::of_parts(packet, whole.as_deref()?));
    ping.is_some_and(|ping| {
        let reply = echo_reply(ping.destination, ping.source, 64, &ping.echo);
        reply.is_none_or(|reply| {
            split(LINK, &reply, 1280, 3).iter().all(|frame| Packet::read(frame).is_some())
        })
    })
}

/// One frame of each kind.
fn samples() -> Vec<Vec<u8>> {
    families()
        .into_iter()
        .flat_map(|(program, peer)| {
            let payload = [0x5a; 3000];
            let [short, long] = [&payload[..9], &payload].map(|payload| {
                let echo = Echo { identifier: 1, sequence: 2, payload };
                quoted_echo(program.ip(), peer.ip(), 64, &echo).unwrap()
            });
            let options =
                ip::packet(program.ip(), peer.ip(), 60, 64, &[58, 0, 1, 4, 0, 0, 0, 0, 128, 0, 0, 0]);
            let error = icmp_packet(peer.ip(), program.ip(), 64, vec![3; 40]).unwrap();
            let mut frames = split(LINK, &long, 1280, 77);
            frames.extend([syn(program, peer, b"data"), LINK.frame(&short), LINK.frame(&error)]);
            frames.extend(options.map(|packet| LINK.frame(&packet)));
            frames
        })
        .collect()
}

/// Numbers that look random and are the same in every run: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % end
    }

    /// A frame with some bytes changed, mostly of its headers, and perhaps cut or lengthened.
    fn damaged(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut bytes = frame.to_vec();
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len().min(80));
            bytes[at] = u8::try_from(self.below(256)).unwrap();
        }
        match self.below(6) {
            0 => bytes.truncate(self.below(bytes.len())),
            1 => bytes.resize(bytes.len() + self.below(60), 0xa5),
            _ => {}
        }
        bytes
    }
}

const LINK: Link = Link { destination: [2, 0, 0, 0, 0, 1], source: [2, 0, 0, 0, 0, 2] };

/// Program and destination, in both families.
fn families() -> [(SocketAddr, SocketAddr); 2] {
    [("10.9.8.2:40000", "192.0.2.7:443"), ("[fd00::2]:40000", "[2001:db8::7]:443")]
        .map(|(program, peer)| (program.parse().unwrap(), peer.parse().unwrap()))
}

/// A SYN with options, data and a sequence number of 2^32 - 2. Its checksum is wrong, as a veth leaves it.
fn syn(source: SocketAddr, destination: SocketAddr, data: &[u8]) -> Vec<u8> {
    let [from, to] = [source.port(), destination.port()].map(u16::to_be_bytes);
    let (sequence, flags) = ([0xff, 0xff, 0xff, 0xfe], [7 << 4, 2, 0xfa, 0xf0, 0x12, 0x34, 0, 0]);
    let options = [2, 4, 5, 0xb4, 1, 3, 3, 7];
    let segment = [&from[..], &to, &sequence, &[0; 4], &flags, &options, data].concat();
    LINK.frame(&ip::packet(source.ip(), destination.ip(), ip::TCP, 64, &segment).unwrap())
}

fn read_syn(frame: &[u8]) -> Syn<'_> {
    Syn::read(Packet::read(frame).unwrap()).unwrap()
}

/// Whether tshark finds these fields in the frames, one line each.
#[track_caller]
fn check(frames: &[Vec<u8>], fields: &[&str], expected: &[&str]) {
    assert_eq!(tshark(frames, fields), expected);
}

/// The fields that tshark finds, the first of each name; what is malformed or has a bad checksum is a failure.
#[track_caller]
fn tshark(frames: &[Vec<u8>], fields: &[&str]) -> Vec<String> {
    let dir = WorkDir::new();
    let path = dir.join("frames.pcap");
    let header = PcapHeader { datalink: DataLink::ETHERNET, ..PcapHeader::default() };
    let mut writer = PcapWriter::with_header(File::create(&path).unwrap(), header).unwrap();
    for frame in frames {
        let len = u32::try_from(frame.len()).unwrap();
        writer.write_packet(&PcapPacket::new(Duration::ZERO, len, frame).unwrap()).unwrap();
    }
    let run = |options: &[&str]| {
        let mut tshark = Command::new("tshark");
        for protocol in ["ip", "tcp", "udp"] {
            tshark.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
        }
        let output =
            tshark.arg("-n").args(options).arg("-r").arg(&path).output().expect("tshark is installed");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let complaints = run(&["-Y", "_ws.malformed || _ws.expert.group == \"Checksum\""]);
    assert!(complaints.is_empty(), "tshark complains: {complaints}");
    let mut options = vec!["-T", "fields", "-E", "separator=|", "-E", "occurrence=f"];
    options.extend(fields.iter().flat_map(|field| ["-e", field]));
    run(&options).lines().map(|line| format!("{line}|")).collect()
}
