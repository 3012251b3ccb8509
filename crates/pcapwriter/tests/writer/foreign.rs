//! Our files seen by tcpdump, tshark and capinfos. A missing tool fails the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support;
use crate::support::{Memory, OwnedPacket, SECTION, START_NS, STATISTICS};
use nsntrace_pcapwriter::{Direction, Format, Writer};

#[test]
fn tcpdump_reads_both_formats() {
    for format in support::FORMATS {
        let path = sample(format, "tcpdump", &udp_packets());
        let output = run("tcpdump", &["-n", "-tt", "--nano", "-r", &path]);
        let lines: Vec<_> = output.lines().collect();
        assert_eq!(lines.len(), 4, "{output}");
        assert!(lines[0].starts_with("1700000000.000000000 IP 192.0.2.1.4660 > 192.0.2.2.53: "), "{output}");
        assert!(lines[3].starts_with("1700000000.000000003 IP "), "{output}");
    }
}

#[test]
fn tcpdump_sees_the_tag_that_was_put_back() {
    let mut packet = udp_packets().remove(0);
    packet.vlan = Some([0x81, 0, 0, 42]);
    packet.original_len += 4;
    for format in support::FORMATS {
        let path = sample(format, "vlan", std::slice::from_ref(&packet));
        let output = run("tcpdump", &["-n", "-e", "-r", &path]);
        assert!(output.contains("vlan 42, p 0, ethertype IPv4"), "{output}");
    }
}

#[test]
fn tshark_sees_interfaces_directions_and_nanoseconds() {
    let path = sample(Format::PcapNg, "tshark", &udp_packets());
    let fields = ["frame.interface_name", "frame.interface_description", "frame.packet_flags_direction"];
    let arguments: Vec<_> =
        fields.iter().chain(&["frame.time_epoch"]).flat_map(|field| ["-e", field]).collect();
    let output = run("tshark", &[&["-r", &path, "-T", "fields"], &arguments[..]].concat());
    let expected = "eth0\tthe uplink\t0x00000001\t1700000000.000000000\n\
                    lo\tthe loopback\t0x00000002\t1700000000.000000001\n\
                    eth0\tthe uplink\t0x00000001\t1700000000.000000002\n\
                    lo\tthe loopback\t0x00000002\t1700000000.000000003\n";
    assert_eq!(output, expected);
}

#[test]
fn tshark_reads_pcap() {
    let path = sample(Format::Pcap, "tshark", &udp_packets());
    let output = run("tshark", &["-r", &path, "-T", "fields", "-e", "udp.srcport", "-e", "frame.time_epoch"]);
    assert!(output.starts_with("4660\t1700000000.000000000\n4660\t1700000000.000000001\n"), "{output}");
}

#[test]
fn capinfos_sees_the_section_and_the_counts() {
    let path = sample(Format::PcapNg, "capinfos", &udp_packets());
    let output = run("capinfos", &["-M", &path]);
    check_lines(
        &output,
        &[
            "File type:           pcapng",
            "File encapsulation:  ether",
            "Number of packets:   4",
            "Strict time order:   True",
            "Capture hardware:    x86_64",
            "Capture oper-sys:    Linux 6.1.0",
            "Capture application: nsntrace 0.1.0",
            "Capture comment:     a test",
            "Number of interfaces in file: 2",
            "Name = eth0",
            "Description = the uplink",
            "Name = lo",
            "Capture length = 262144",
            "Time precision = nanoseconds (9)",
            "Filter string = tcp port 443",
            "Number of stat entries = 1",
            "Number of packets = 2",
        ],
    );
}

#[test]
fn capinfos_reads_pcap() {
    let path = sample(Format::Pcap, "capinfos", &udp_packets());
    let output = run("capinfos", &["-M", &path]);
    check_lines(
        &output,
        &[
            "File type:           nsecpcap",
            "File encapsulation:  ether",
            "File timestamp precision:  nanoseconds (9)",
            "Packet size limit:   file hdr: 262144 bytes",
            "Number of packets:   4",
        ],
    );
}

/// The longest packet that a reader accepts, in the middle of others.
#[test]
fn packets_of_the_greatest_length_are_read() {
    let mut packets = udp_packets();
    packets[1].bytes.resize(262_144, 0);
    packets[1].original_len = 400_000;
    for format in support::FORMATS {
        let path = sample(format, "long", &packets);
        let output = run("tshark", &["-r", &path, "-T", "fields", "-e", "frame.cap_len", "-e", "frame.len"]);
        assert_eq!(output, "60\t60\n262144\t400000\n60\t60\n60\t60\n");
        assert_eq!(run("tcpdump", &["-n", "-r", &path]).lines().count(), 4);
    }
}

/// Cut by a failure in the middle, a file is a file.
#[test]
fn foreign_readers_accept_what_a_full_disk_left() {
    for format in support::FORMATS {
        let whole = support::capture(format, &udp_packets()).0;
        let room = whole.len() - if format == Format::Pcap { 20 } else { 300 };
        let mut memory = Memory::new(room, true);
        let mut writer = Writer::new(&mut memory, format, &SECTION).unwrap();
        support::write(&mut writer, &udp_packets(), 4);
        let written = writer.finish(&STATISTICS).written;
        assert!((1..4).contains(&written), "{written}");
        let path = path_of(format, "cut");
        fs::write(&path, &memory.bytes).unwrap();
        assert!(run("capinfos", &["-M", &path]).contains(&format!("Number of packets:   {written}\n")));
        assert_eq!(run("tcpdump", &["-n", "-r", &path]).lines().count() as u64, written);
    }
}

fn sample(format: Format, name: &str, packets: &[OwnedPacket]) -> String {
    let path = path_of(format, name);
    let mut memory = Memory::endless();
    let mut writer = Writer::new(&mut memory, format, &SECTION).unwrap();
    support::write(&mut writer, packets, 3);
    assert!(writer.finish(&STATISTICS).error.is_none());
    fs::write(&path, &memory.bytes).unwrap();
    path
}

pub(crate) fn path_of(format: Format, name: &str) -> String {
    let file: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pcapwriter-{name}-{format:?}"));
    file.into_os_string().into_string().expect("cargo's folder has a name in UTF-8")
}

/// Four DNS questions' worth of UDP, a nanosecond apart, by turns on both interfaces.
pub(crate) fn udp_packets() -> Vec<OwnedPacket> {
    let frame = udp_frame();
    (0..4)
        .map(|index: usize| OwnedPacket {
            interface: index % 2,
            timestamp_ns: START_NS + index as u64,
            original_len: 60,
            bytes: frame.clone(),
            vlan: None,
            direction: [Direction::Inbound, Direction::Outbound][index % 2],
            dropped_before: 0,
            process: None,
            comment: None,
        })
        .collect()
}

fn udp_frame() -> Vec<u8> {
    let ethernet = [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1][..], &[8, 0]].concat();
    let ip = [0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    let udp = [0x12, 0x34, 0, 53, 0, 26, 0, 0];
    [&ethernet[..], &ip, &udp, &[0; 18]].concat()
}

/// The standard output of a tool that must exist, succeed, and complain of nothing.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|error| panic!("{tool} is needed: {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {words}");
    for complaint in ["cut short", "truncated", "damaged", "invalid"] {
        assert!(!words.contains(complaint), "{tool} {arguments:?}: {words}");
    }
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[track_caller]
pub(crate) fn check_lines(output: &str, expected: &[&str]) {
    let lines: Vec<_> = output.lines().map(str::trim).collect();
    for line in expected {
        assert!(lines.contains(line), "no line `{line}` in\n{output}");
    }
}
