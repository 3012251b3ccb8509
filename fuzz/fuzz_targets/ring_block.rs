//! Any bytes as a block of a ring: the walk through it ends and stays inside, and its frames make files that somebody
//! else's reader reads to their end.
#![no_main]

use std::io::{self, IoSlice};

use libfuzzer_sys::fuzz_target;
use nsntrace_capture::{Frame, Frames};
use nsntrace_pcapwriter::{Direction, Format, Interface, Output, Packet, Section, Statistics, Writer};
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::PcapNgReader;
use pcap_file::pcapng::blocks::Block;

fuzz_target!(|block: &[u8]| {
    let frames: Vec<Frame<'_>> = Frames::new(block).take(MAX_FRAMES).collect();
    for frame in &frames {
        assert!(block.as_ptr_range().contains(&frame.bytes.as_ptr()) || frame.bytes.is_empty());
        assert!(frame.bytes.len() <= block.len());
    }
    for format in [Format::Pcap, Format::PcapNg] {
        let (bytes, written) = file_of(&frames, format);
        assert_eq!(packets_in(&bytes, format), written, "{format:?}");
    }
});

/// The file, and how many packets the writer says are in it.
fn file_of(frames: &[Frame<'_>], format: Format) -> (Vec<u8>, u64) {
    let mut memory = Memory(Vec::new());
    let section = Section {
        os: "",
        application: "fuzz",
        hardware: None,
        comment: None,
        filter: None,
        snaplen: 262_144,
        interfaces: &[Interface { name: "eth0", description: "" }],
    };
    let mut writer = Writer::new(&mut memory, format, &section).expect("memory takes everything");
    let mut batch = writer.batch();
    for frame in frames {
        // Refused where the kernel could not have said it: shorter on the wire than in the ring, or later than 2106.
        let _counted = batch.push(&packet(frame));
    }
    drop(batch);
    let summary = writer.finish(&Statistics::default());
    assert!(summary.error.is_none());
    assert_eq!(summary.written + summary.lost, frames.len() as u64);
    (memory.0, summary.written)
}

fn packet<'a>(frame: &Frame<'a>) -> Packet<'a> {
    Packet {
        interface: 0,
        timestamp_ns: frame.timestamp_ns,
        original_len: frame.original_len,
        bytes: frame.bytes,
        vlan: frame.vlan,
        direction: Direction::Inbound,
        dropped_before: u64::from(frame.ifindex),
        process: None,
        comment: None,
    }
}

fn packets_in(bytes: &[u8], format: Format) -> u64 {
    match format {
        Format::Pcap => {
            let mut reader = PcapReader::new(bytes).expect("a head");
            let mut count = 0;
            while let Some(packet) = reader.next_packet() {
                packet.expect("whole");
                count += 1;
            }
            count
        }
        Format::PcapNg => {
            let mut reader = PcapNgReader::new(bytes).expect("a head");
            let mut count = 0;
            while let Some(block) = reader.next_block() {
                count += u64::from(matches!(block.expect("whole").0, Block::EnhancedPacket(_)));
            }
            count
        }
    }
}

struct Memory(Vec<u8>);

impl Output for Memory {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        slices.iter().for_each(|slice| self.0.extend_from_slice(slice));
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn take_back(&mut self, _: u64) -> io::Result<()> {
        unreachable!("everything is taken")
    }
}

/// A block that lies may tell of one long frame at each of its bytes.
const MAX_FRAMES: usize = 1000;
