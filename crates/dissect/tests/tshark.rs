//! What is read from frames, against what tshark reads from the same. Without tshark the test fails.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nsntrace_dissect::{Icmp, Packet, Transport, dissect, dns, tls};

mod frames;

use frames::Frame;

#[test]
fn headers_are_what_tshark_says() {
    let frames = frames::random(4000, 1);
    let lines = tshark("headers", &frames, &FIELDS);
    let mut compared = [0; 4];
    for (frame, line) in frames.iter().zip(&lines) {
        let theirs: Vec<&str> = line.split('\t').collect();
        if let Some(kind) = compare(frame, &theirs) {
            compared[kind] += 1;
        }
    }
    assert!(compared.iter().all(|count| *count > 300), "TCP, UDP, pings, errors: {compared:?}");
}

#[test]
fn names_are_what_tshark_says() {
    let frames = frames::names(200, 2);
    let fields = ["dns.id", "dns.qry.name", "dns.cname", "dns.a", "tls.handshake.extensions_server_name"];
    let lines = tshark("names", &frames, &fields);
    let ours: Vec<String> = frames.iter().map(|frame| names(&dissect(&frame.bytes).unwrap())).collect();
    assert_eq!(ours, lines);
}

/// As tshark writes them: values of a field with commas between, fields with tabs.
fn names(packet: &Packet<'_>) -> String {
    if let Transport::Tcp(tcp) = packet.transport {
        let tls::Progress::Hello(tls::Hello::Client(hello)) =
            tls::Stream::default().push(tcp.seq, packet.payload)
        else {
            panic!("no hello in {:?}", packet.payload)
        };
        return format!("\t\t\t\t{}", hello.server_name.unwrap());
    }
    let message = dns::message(packet.payload).unwrap();
    let (mut aliases, mut addresses) = (Vec::new(), Vec::new());
    for answer in message.answers {
        match answer.data {
            dns::Data::Alias(name) | dns::Data::Pointer(name) => aliases.push(name),
            dns::Data::Address(address) => addresses.push(address.to_string()),
        }
    }
    let name = &message.questions[0].name;
    format!("{:#06x}\t{name}\t{}\t{}\t", message.id, aliases.join(","), addresses.join(","))
}

const FIELDS: [&str; 14] = [
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.flags",
    "tcp.len",
    "udp.srcport",
    "udp.dstport",
    "udp.length",
    "icmp.ident",
    "icmpv6.echo.identifier",
];

/// Compares what both say, and gives which kind it was: TCP, UDP, a ping, an error.
#[track_caller]
fn compare(frame: &Frame, theirs: &[&str]) -> Option<usize> {
    let Some(packet) = dissect(&frame.bytes) else {
        assert!(frame.is_cut, "{frame:?}");
        return None;
    };
    let addresses = if packet.src.is_ipv4() { &theirs[..2] } else { &theirs[2..4] };
    assert_eq!(addresses, [packet.src.to_string(), packet.dst.to_string()], "{frame:?}");
    match packet.transport {
        Transport::Tcp(tcp) => {
            let flags = u16::from_str_radix(theirs[7].trim_start_matches("0x"), 16).unwrap() & 0xff;
            let ours = [tcp.src_port.into(), tcp.dst_port.into(), tcp.seq, packet.payload_len];
            let ours = ours.map(|number: u32| number.to_string());
            assert_eq!(
                [theirs[4], theirs[5], theirs[6], theirs[8]],
                ours.each_ref().map(String::as_str),
                "{frame:?}"
            );
            assert_eq!(flags, tcp.flags.0.into(), "{frame:?}");
            Some(0)
        }
        Transport::Udp { src_port, dst_port } => {
            let ours =
                [src_port.into(), dst_port.into(), packet.payload_len + 8].map(|number| number.to_string());
            assert_eq!(&theirs[9..12], &ours, "{frame:?}");
            Some(1)
        }
        Transport::Icmp(Icmp::EchoRequest { id } | Icmp::EchoReply { id }) => {
            let theirs = if packet.src.is_ipv4() { theirs[12] } else { theirs[13] };
            assert!(
                [id.to_string(), format!("{id:#06x}")].contains(&theirs.to_owned()),
                "{frame:?}: {theirs}"
            );
            Some(2)
        }
        Transport::Icmp(Icmp::Error { quoted: Some(quoted), .. }) => {
            let (src_port, dst_port) = quoted.ports()?;
            let theirs = if quoted.protocol == 6 { &theirs[4..6] } else { &theirs[9..11] };
            assert_eq!(theirs, [src_port.to_string(), dst_port.to_string()], "{frame:?}");
            Some(3)
        }
        _ => {
            let is_bare = frame.is_later_fragment || frame.is_cut;
            assert!(is_bare, "{packet:?} {frame:?}");
            None
        }
    }
}

/// A line for each frame, the first value of each field.
fn tshark(name: &str, frames: &[Frame], fields: &[&str]) -> Vec<String> {
    let path = file(name, frames);
    let mut tshark = Command::new("tshark");
    tshark.arg("-n").arg("-r").arg(&path).args(["-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"]);
    tshark.args(["-T", "fields", "-E", if name == "names" { "occurrence=a" } else { "occurrence=f" }]);
    let output = tshark.args(fields.iter().flat_map(|field| ["-e", field])).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), frames.len());
    lines
}

/// A pcap file: draft-ietf-opsawg-pcap, sections 4 and 5.
fn file(name: &str, frames: &[Frame]) -> PathBuf {
    let mut bytes: Vec<u8> = [0xa1b2_c3d4_u32, 0x0002_0004, 0, 0, 65_535, 1].map(u32::to_be_bytes).concat();
    for frame in frames {
        let [captured, original] =
            [frame.bytes.len(), frame.original_len].map(|len| u32::try_from(len).unwrap());
        bytes.extend([1, 0, captured, original].map(u32::to_be_bytes).concat());
        bytes.extend(&frame.bytes);
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pcap"));
    fs::write(&path, bytes).unwrap();
    path
}
