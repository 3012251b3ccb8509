//! Our packet records against those of pcap-file, byte for byte, over random packets; and what is refused.

use std::borrow::Cow;

use crate::support::{
    FORMATS, Memory, OwnedPacket, SECTION, START_NS, STATISTICS, capture, packets, read, read_pcapng,
};
use nsntrace_pcapwriter::{Direction, Format, MAX_SNAPLEN, Packet, Section, Writer, WriterError};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::opt_common::{CommonOption, UnknownOption};
use pcap_file::pcapng::{Block, PcapNgBlock, PcapNgWriter};

#[test]
fn pcap_is_what_pcap_file_writes() {
    for seed in 1..40 {
        let packets = packets(seed, 60, max_len(seed));
        let (bytes, summary) = capture(Format::Pcap, &packets);
        assert_eq!((summary.written, summary.lost), (60, 0));
        assert!(bytes == pcap_by_oracle(header(&bytes), &packets), "seed {seed}");
    }
}

#[test]
fn pcapng_is_what_pcap_file_writes() {
    for seed in 1..40 {
        let packets = packets(seed, 60, max_len(seed));
        let (bytes, summary) = capture(Format::PcapNg, &packets);
        assert_eq!((summary.written, summary.lost), (60, 0));
        assert!(bytes == pcapng_by_oracle(&read_pcapng(&bytes).unwrap(), &packets), "seed {seed}");
    }
}

/// Most often lengths that networks have, at times every length there can be.
fn max_len(seed: u64) -> usize {
    if seed.is_multiple_of(8) { MAX_SNAPLEN as usize } else { 9000 }
}

#[test]
fn the_position_is_the_length_of_the_output() {
    for format in FORMATS {
        let mut memory = Memory::endless();
        let mut writer = Writer::new(&mut memory, format, &SECTION).unwrap();
        let head_len = writer.position();
        let mut batch = writer.batch();
        batch.push(&PACKET).unwrap();
        let pushed_len = batch.position();
        drop(batch);
        assert_eq!(writer.position(), pushed_len);
        drop(writer);
        assert_eq!(memory.bytes.len() as u64, pushed_len);
        assert!(head_len > 0 && head_len < pushed_len);
    }
}

/// More than the arena holds, with packets of the greatest length among them.
#[test]
fn a_large_capture_comes_back() {
    for format in FORMATS {
        let packets = packets(7, 40, MAX_SNAPLEN as usize);
        let (bytes, _) = capture(format, &packets);
        let expected: Vec<_> = packets.iter().map(OwnedPacket::captured).collect();
        assert!(read(format, &bytes).unwrap() == expected);
    }
}

#[test]
fn pcap_says_nanoseconds_ethernet_and_snaplen() {
    let (bytes, _) = capture(Format::Pcap, &[]);
    assert_eq!(bytes[..4], 0xa1b2_3c4d_u32.to_ne_bytes());
    assert_eq!(bytes[16..20], 262_144_u32.to_ne_bytes());
    assert_eq!(bytes[20..24], 1_u32.to_ne_bytes());
    assert_eq!(bytes.len(), 24);
}

/// Against bytes of our own: a reader that shares a mistake with its writer would not see it.
#[test]
fn pcapng_closes_with_the_counts_of_each_interface() {
    let mut packets = packets(31, 4, 100);
    for packet in &mut packets {
        packet.interface = 0;
    }
    let (bytes, _) = capture(Format::PcapNg, &packets);
    let ended_ns = STATISTICS.ended_ns;
    let halves = [ended_ns >> 32, ended_ns & 0xffff_ffff].map(|half| u32::try_from(half).unwrap());
    let end_of_capture = halves.map(u32::to_ne_bytes).concat();
    for (code, value) in [(3, end_of_capture), (4, word(1_000_007)), (7, word(7)), (8, word(4))] {
        let option = [&u16::to_ne_bytes(code)[..], &8_u16.to_ne_bytes(), &value].concat();
        let count = bytes.windows(12).filter(|window| *window == option).count();
        assert_eq!(count, if code == 3 { 2 } else { 1 }, "option {code}");
    }
    let comment = b"The kernel counts losses of all interfaces together";
    assert!(bytes.windows(comment.len()).any(|window| window == comment));
}

fn word(value: u64) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

#[test]
fn what_exceeds_the_snaplen_is_cut_off() {
    let bytes = [[1; 12].as_slice(), &[3; 92]].concat();
    let whole = [[1; 12].as_slice(), &[2; 4], &[3; 92]].concat();
    let packet = Packet { original_len: 108, bytes: &bytes, vlan: Some([2; 4]), ..PACKET };
    for (format, snaplen) in FORMATS.into_iter().flat_map(|format| [1, 12, 14, 16, 70].map(|n| (format, n))) {
        let section = Section { snaplen, ..SECTION };
        let mut memory = Memory::endless();
        let mut writer = Writer::new(&mut memory, format, &section).unwrap();
        writer.batch().push(&packet).unwrap();
        assert_eq!(writer.finish(&STATISTICS).written, 1);
        assert_eq!(read(format, &memory.bytes).unwrap(), [&whole[..snaplen as usize]]);
    }
}

#[test]
fn a_packet_that_cannot_be_said_is_refused_and_counted() {
    let bad = [
        Packet { interface: 2, ..PACKET },
        Packet { original_len: 59, ..PACKET },
        // 2106-02-07 06:28:16 UTC, the first second past 32 bits.
        Packet { timestamp_ns: 4_294_967_296_000_000_000, ..PACKET },
    ];
    let messages = [
        "packet of interface 2, but the capture has 2",
        "packet of 59 bytes with 60 bytes captured",
        "timestamp 4294967296000000000 ns is after 2106, which classic pcap cannot hold",
    ];
    let mut memory = Memory::endless();
    let mut writer = Writer::new(&mut memory, Format::Pcap, &SECTION).unwrap();
    for (packet, message) in bad.iter().zip(messages) {
        assert_eq!(writer.batch().push(packet).unwrap_err().to_string(), message);
        writer.batch().push(&PACKET).unwrap();
    }
    let summary = writer.finish(&STATISTICS);
    assert_eq!((summary.written, summary.lost), (3, 3));
    assert!(summary.error.is_none());
    assert_eq!(read(Format::Pcap, &memory.bytes).unwrap().len(), 3);
}

#[test]
fn pcapng_holds_times_after_2106() {
    let packet = Packet { timestamp_ns: u64::MAX, ..PACKET };
    let mut memory = Memory::endless();
    let mut writer = Writer::new(&mut memory, Format::PcapNg, &SECTION).unwrap();
    writer.batch().push(&packet).unwrap();
    assert_eq!(writer.finish(&STATISTICS).written, 1);
    let blocks = read_pcapng(&memory.bytes).unwrap();
    let Block::EnhancedPacket(read) = &blocks[3] else { panic!("{:?}", blocks[3]) };
    assert_eq!(read.timestamp.as_nanos(), u128::from(u64::MAX));
}

#[test]
fn a_section_that_cannot_be_said_is_refused_before_anything_is_written() {
    let long = "x".repeat(65_535);
    check_refused(&Section { interfaces: &[], ..SECTION }, "a capture needs at least one interface");
    check_refused(&Section { snaplen: 0, ..SECTION }, "snapshot length 0 is not between 1 and 262144 bytes");
    check_refused(
        &Section { snaplen: 262_145, ..SECTION },
        "snapshot length 262145 is not between 1 and 262144 bytes",
    );
    check_refused(
        &Section { filter: Some(&long), ..SECTION },
        "filter is 65535 bytes long, and a pcapng option holds at most 65535",
    );
}

#[track_caller]
fn check_refused(section: &Section<'_>, message: &str) {
    for format in FORMATS {
        let mut memory = Memory::endless();
        let error = Writer::new(&mut memory, format, section).err().expect("refused");
        assert_eq!(error.to_string(), message);
        assert!(!matches!(error, WriterError::Output { .. }));
        assert!(memory.bytes.is_empty());
    }
}

const PACKET: Packet<'static> = Packet {
    interface: 0,
    timestamp_ns: START_NS,
    original_len: 60,
    bytes: &[0x55; 60],
    vlan: None,
    direction: Direction::Inbound,
    dropped_before: 0,
    process: None,
    comment: None,
};

fn header(bytes: &[u8]) -> PcapHeader {
    PcapReader::new(bytes).unwrap().header()
}

fn pcap_by_oracle(header: PcapHeader, packets: &[OwnedPacket]) -> Vec<u8> {
    let mut oracle = PcapWriter::with_header(Vec::new(), header).unwrap();
    for packet in packets {
        let packet = PcapPacket::new(packet.timestamp(), packet.original_len, packet.captured()).unwrap();
        oracle.write_packet(&packet).unwrap();
    }
    oracle.into_inner()
}

/// The blocks around the packets are ours as pcap-file read them; the packets are made anew from `packets`.
fn pcapng_by_oracle(blocks: &[Block<'_>], packets: &[OwnedPacket]) -> Vec<u8> {
    let Block::SectionHeader(section) = &blocks[0] else { panic!("{:?}", blocks[0]) };
    let mut oracle = PcapNgWriter::with_section_header(Vec::new(), section.clone()).unwrap();
    let (interfaces, rest) = blocks[1..].split_at(2);
    let (_, statistics) = rest.split_at(packets.len());
    let packets = packets.iter().map(|packet| enhanced_packet(packet).into_block());
    for block in interfaces.iter().cloned().chain(packets).chain(statistics.iter().cloned()) {
        oracle.write_block(&block).unwrap();
    }
    oracle.into_inner()
}

fn enhanced_packet(packet: &OwnedPacket) -> EnhancedPacketBlock<'static> {
    let flags = match packet.direction {
        Direction::Inbound => 0b01,
        Direction::Outbound => 0b10,
    };
    let dropped = (packet.dropped_before > 0).then_some(packet.dropped_before);
    let common = EnhancedPacketOption::Common;
    let comment = packet.comment.clone().map(|text| common(CommonOption::Comment(text.into())));
    let unknown = |code, words: &[u32]| {
        let value = words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>().into();
        common(CommonOption::Unknown(UnknownOption { code, value }))
    };
    let process = packet.process.map(|process| unknown(8, &[process.pid, process.tid]));
    let block = packet.process.map(|process| unknown(0x8001, &[process.block]));
    let dropped = dropped.map(EnhancedPacketOption::DropCount);
    let options = [comment, Some(EnhancedPacketOption::Flags(flags)), dropped, process, block];
    EnhancedPacketBlock {
        interface_id: u32::try_from(packet.interface).unwrap(),
        timestamp: packet.timestamp(),
        original_len: packet.original_len,
        data: Cow::Owned(packet.captured()),
        options: options.into_iter().flatten().collect(),
    }
}
