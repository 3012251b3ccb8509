//! Blocks between packets: processes, secrets, names.

use std::fs;
use std::net::IpAddr;

use crate::foreign::{path_of, run, udp_packets};
use crate::support::{Memory, SECTION, STATISTICS, read, read_pcapng, write};
use nsntrace_pcapwriter::{Format, Packet, ProcessRef, Statistics, Writer};
use pcap_file::pcapng::Block;
use pcap_file::pcapng::blocks::interface_statistics::InterfaceStatisticsOption;
use pcap_file::pcapng::blocks::name_resolution::Record;

const KEYS: &[u8] = b"CLIENT_RANDOM 00 11\n";
const V6: [u16; 8] = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1];

/// Two processes, a secret and two names, each in front of a packet.
fn sample(format: Format) -> Vec<u8> {
    let mut memory = Memory::endless();
    let mut writer = Writer::new(&mut memory, format, &SECTION).unwrap();
    let packets = udp_packets();
    let plain = packets[0].as_packet();
    assert_eq!(writer.process(4321, "curl"), 0);
    let process = Some(ProcessRef { pid: 4321, tid: 4322, block: 0 });
    writer.batch().push(&Packet { process, comment: Some("curl[4321] -> example.com:53"), ..plain }).unwrap();
    assert_eq!(writer.process(77, "a-name-of-15-by"), 1);
    writer.secrets(KEYS);
    writer.batch().push(&plain).unwrap();
    writer.names(&[(IpAddr::from([192, 0, 2, 2]), "ns.example.com"), (IpAddr::from(V6), "six.example.com")]);
    writer.batch().push(&plain).unwrap();
    assert_eq!(writer.so_far().written, 3);
    let position = writer.position();
    let summary = writer.finish(&STATISTICS);
    assert_eq!((summary.written, summary.lost), (3, 0));
    assert!(memory.bytes.len() as u64 >= position);
    memory.bytes
}

#[test]
fn blocks_stand_where_they_were_put() {
    let bytes = sample(Format::PcapNg);
    let blocks = read_pcapng(&bytes).unwrap();
    let kinds: Vec<_> = blocks.iter().map(kind).collect();
    let unknown = |kind: u32| format!("{kind:#x}");
    let expected = [
        "section",
        "interface",
        "interface",
        &unknown(0x8000_0001),
        "packet",
        &unknown(0x8000_0001),
        &unknown(10),
        "packet",
        "names",
        "packet",
        "statistics",
        "statistics",
    ];
    assert_eq!(kinds, expected);
}

fn kind(block: &Block<'_>) -> String {
    match block {
        Block::SectionHeader(_) => "section".into(),
        Block::InterfaceDescription(_) => "interface".into(),
        Block::EnhancedPacket(_) => "packet".into(),
        Block::NameResolution(_) => "names".into(),
        Block::InterfaceStatistics(_) => "statistics".into(),
        Block::Unknown(block) => format!("{:#x}", block.type_),
        other => panic!("{other:?}"),
    }
}

/// Against bytes of our own.
#[test]
fn a_process_is_a_pid_and_a_name_and_secrets_are_as_they_came() {
    let bytes = sample(Format::PcapNg);
    let blocks = read_pcapng(&bytes).unwrap();
    let values: Vec<_> = blocks
        .iter()
        .filter_map(|block| if let Block::Unknown(block) = block { Some(&block.value) } else { None })
        .collect();
    let native = |words: [u16; 2]| words.map(u16::to_ne_bytes).concat();
    let curl = [&4321_u32.to_ne_bytes()[..], &native([2, 4]), b"curl", &[0; 4]].concat();
    let long = [&77_u32.to_ne_bytes()[..], &native([2, 15]), b"a-name-of-15-by\0", &[0; 4]].concat();
    let secrets = [&0x544c_534b_u32.to_ne_bytes()[..], &20_u32.to_ne_bytes(), KEYS].concat();
    assert_eq!(values, [&curl, &long, &secrets]);
    let names: Vec<_> = blocks
        .iter()
        .filter_map(
            |block| if let Block::NameResolution(block) = block { Some(&block.records) } else { None },
        )
        .collect();
    let [records] = names[..] else { panic!("{names:?}") };
    assert!(matches!(&records[0], Record::Ipv4(record) if record.names == ["ns.example.com"]), "{records:?}");
    assert!(matches!(&records[1], Record::Ipv6(record) if record.ip_addr.segments() == V6), "{records:?}");
}

#[test]
fn classic_pcap_has_none_of_it() {
    let bytes = sample(Format::Pcap);
    assert_eq!(bytes.len(), 24 + 3 * (16 + 60));
    assert_eq!(read(Format::Pcap, &bytes).unwrap().len(), 3);
}

#[test]
fn a_full_output_gets_whole_blocks_and_no_more() {
    let whole = sample(Format::PcapNg).len();
    for room in 0..whole {
        let mut memory = Memory::new(room, true);
        let Ok(mut writer) = Writer::new(&mut memory, Format::PcapNg, &SECTION) else { continue };
        let packets = udp_packets();
        for packet in &packets {
            let block = writer.process(1, "x");
            let process = Some(ProcessRef { pid: 1, tid: 1, block });
            writer.secrets(KEYS);
            writer.names(&[(IpAddr::from([192, 0, 2, 2]), "ns.example.com")]);
            writer.batch().push(&Packet { process, ..packet.as_packet() }).unwrap();
        }
        let summary = writer.finish(&STATISTICS);
        assert_eq!(summary.written + summary.lost, 4, "{room}");
        let blocks = read_pcapng(&memory.bytes).unwrap_or_else(|error| panic!("{room}: {error}"));
        let packets = blocks.iter().filter(|block| matches!(block, Block::EnhancedPacket(_))).count();
        assert_eq!(packets as u64, summary.written, "{room}");
    }
}

#[test]
fn many_names_are_several_blocks_and_long_ones_are_left_out() {
    let mut memory = Memory::endless();
    let mut writer = Writer::new(&mut memory, Format::PcapNg, &SECTION).unwrap();
    let names: Vec<_> =
        (0..1000_u32).map(|n| (IpAddr::from(n.to_be_bytes()), format!("{n}.example"))).collect();
    let mut names: Vec<_> = names.iter().map(|(address, name)| (*address, name.as_str())).collect();
    let long = "x".repeat(1025);
    names.push((IpAddr::from(V6), &long));
    writer.names(&names);
    writer.names(&[(IpAddr::from(V6), &long)]);
    writer.finish(&STATISTICS);
    let blocks = read_pcapng(&memory.bytes).unwrap();
    let counts = blocks.iter().filter_map(|block| match block {
        Block::NameResolution(block) => Some(block.records.len()),
        _ => None,
    });
    assert_eq!(counts.collect::<Vec<_>>(), [256, 256, 256, 232]);
}

/// By interface: received, dropped, delivered.
fn counts(statistics: &Statistics) -> Vec<[Option<u64>; 3]> {
    let mut memory = Memory::endless();
    let mut writer = Writer::new(&mut memory, Format::PcapNg, &SECTION).unwrap();
    let packets = udp_packets();
    write(&mut writer, &packets[..3], 3);
    let refused = Packet { original_len: 1, ..packets[1].as_packet() };
    assert!(writer.batch().push(&refused).is_err());
    writer.finish(statistics);
    let blocks = read_pcapng(&memory.bytes).unwrap();
    let of_one = |block: &Block<'_>| {
        let Block::InterfaceStatistics(block) = block else { return None };
        let mut counts = [None; 3];
        for option in &block.options {
            match option {
                InterfaceStatisticsOption::IsbIfRecv(count) => counts[0] = Some(*count),
                InterfaceStatisticsOption::IsbOsDrop(count) => counts[1] = Some(*count),
                InterfaceStatisticsOption::IsbUsrDeliv(count) => counts[2] = Some(*count),
                _ => {}
            }
        }
        Some(counts)
    };
    blocks.iter().filter_map(of_one).collect()
}

#[test]
fn each_interface_says_what_came_of_its_packets() {
    let whole = Statistics { received: 4, dropped_by_kernel: 0, ..STATISTICS };
    assert_eq!(counts(&whole), [[Some(2), Some(0), Some(2)], [Some(2), Some(0), Some(2)]]);
    // Whose those were that got lost, nobody knows.
    let lossy = Statistics { received: 11, dropped_by_kernel: 7, ..STATISTICS };
    assert_eq!(counts(&lossy), [[Some(9), Some(7), Some(2)], [Some(2), None, Some(2)]]);
}

#[test]
fn readers_take_it_all_and_see_no_packet_more() {
    let path = path_of(Format::PcapNg, "blocks");
    fs::write(&path, sample(Format::PcapNg)).unwrap();
    let comments = run("tshark", &["-r", &path, "-T", "fields", "-e", "frame.comment"]);
    assert_eq!(comments, "curl[4321] -> example.com:53\n\n\n");
    let named = run("tshark", &["-r", &path, "-N", "n", "-T", "fields", "-e", "ip.dst_host"]);
    assert_eq!(named, "192.0.2.2\n192.0.2.2\nns.example.com\n", "a name holds for what comes after it");
    assert_eq!(run("tcpdump", &["-n", "-r", &path]).lines().count(), 3);
    let infos = run("capinfos", &["-M", &path]);
    assert!(
        infos.contains("Number of packets:   3") && infos.contains("Number of decryption secrets in file: 1"),
        "{infos}"
    );
}
