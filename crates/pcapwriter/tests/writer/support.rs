//! Random packets, a section, an output that fails where it is told to, and reading back.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::time::Duration;

use nsntrace_pcapwriter::{
    Direction, Format, Interface, Output, Packet, ProcessRef, Section, Statistics, Summary, Writer,
};
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

pub(crate) const FORMATS: [Format; 2] = [Format::Pcap, Format::PcapNg];

pub(crate) const SECTION: Section<'static> = Section {
    os: "Linux 6.1.0",
    application: "nsntrace 0.1.0",
    hardware: Some("x86_64"),
    comment: Some("a test"),
    filter: Some("tcp port 443"),
    snaplen: 262_144,
    interfaces: &[
        Interface { name: "eth0", description: "the uplink" },
        Interface { name: "lo", description: "the loopback" },
    ],
};

pub(crate) const STATISTICS: Statistics = Statistics {
    received: 1_000_007,
    dropped_by_kernel: 7,
    started_ns: START_NS,
    ended_ns: START_NS + 5_000_000_001,
};

/// 2023-11-14 22:13:20 UTC.
pub(crate) const START_NS: u64 = 1_700_000_000_000_000_000;

/// Marsaglia's xorshift64: the same packets on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("it is below a usize")
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

/// A packet that owns its bytes.
#[derive(Clone, Debug)]
pub(crate) struct OwnedPacket {
    pub(crate) interface: usize,
    pub(crate) timestamp_ns: u64,
    pub(crate) original_len: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) vlan: Option<[u8; 4]>,
    pub(crate) direction: Direction,
    pub(crate) dropped_before: u64,
    pub(crate) process: Option<ProcessRef>,
    pub(crate) comment: Option<String>,
}

impl OwnedPacket {
    pub(crate) fn random(random: &mut Random, max_len: usize) -> Self {
        // By turns lengths of every size, and those around the border between copied and not.
        let border = (1020 + random.below(24)).min(max_len);
        let length = [random.below(max_len + 1), border][random.below(2)];
        let vlan = [None, Some([0x81, 0, 0x20, 42])][random.below(2)].filter(|_| length + 4 <= max_len);
        Self {
            interface: random.below(2),
            timestamp_ns: START_NS + random.next() % 1_000_000_000_000,
            original_len: u32::try_from(length + 4 + random.below(2) * random.below(100_000)).expect("small"),
            bytes: random.bytes(length),
            vlan,
            direction: [Direction::Inbound, Direction::Outbound][random.below(2)],
            dropped_before: [0, 0, 1, u64::MAX][random.below(4)],
            process: [None, Some(ProcessRef { pid: 7, tid: u32::MAX, block: 3 })][random.below(2)],
            comment: [0, 1, 2, 3, 4, 30]
                .get(random.below(12))
                .map(|len| "a comment, é ".chars().cycle().take(*len).collect()),
        }
    }

    pub(crate) fn captured(&self) -> Vec<u8> {
        match self.vlan {
            Some(tag) if self.bytes.len() >= 12 => [&self.bytes[..12], &tag, &self.bytes[12..]].concat(),
            _ => self.bytes.clone(),
        }
    }

    pub(crate) fn timestamp(&self) -> Duration {
        Duration::from_nanos(self.timestamp_ns)
    }

    pub(crate) fn as_packet(&self) -> Packet<'_> {
        Packet {
            interface: self.interface,
            timestamp_ns: self.timestamp_ns,
            original_len: self.original_len,
            bytes: &self.bytes,
            vlan: self.vlan,
            direction: self.direction,
            dropped_before: self.dropped_before,
            process: self.process,
            comment: self.comment.as_deref(),
        }
    }
}

/// Writes packets in batches of `batch_len`.
pub(crate) fn write<O: Output>(writer: &mut Writer<O>, packets: &[OwnedPacket], batch_len: usize) {
    for packets in packets.chunks(batch_len) {
        let mut batch = writer.batch();
        for packet in packets {
            batch.push(&packet.as_packet()).unwrap();
        }
    }
}

/// As [`write`], and lends `len` bytes of memory behind each batch, as whoever reads a ring does.
pub(crate) fn write_and_lend<O: Output>(
    writer: &mut Writer<O>,
    packets: &[OwnedPacket],
    batch_len: usize,
    len: usize,
) {
    for packets in packets.chunks(batch_len) {
        write(writer, packets, batch_len);
        writer.lend(Box::new(Pages::new(len)));
    }
}

/// Memory that begins with a page, and is full of something else before.
#[derive(Debug)]
pub(crate) struct Pages {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

thread_local!(static LENT: Cell<usize> = const { Cell::new(0) });

impl Pages {
    /// How many of this thread there are.
    pub(crate) fn lent() -> usize {
        LENT.get()
    }

    pub(crate) fn new(len: usize) -> Self {
        LENT.set(LENT.get() + 1);
        let memory = vec![0xee; len + PAGE_LEN];
        let start = memory.as_ptr().align_offset(PAGE_LEN);
        Self { memory, start, len }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        LENT.set(LENT.get() - 1);
    }
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..][..self.len]
    }
}

impl AsMut<[u8]> for Pages {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..self.len]
    }
}

const PAGE_LEN: usize = 4096;

pub(crate) fn packets(seed: u64, count: usize, max_len: usize) -> Vec<OwnedPacket> {
    let mut random = Random(seed);
    (0..count).map(|_| OwnedPacket::random(&mut random, max_len)).collect()
}

/// An output in memory. It takes pieces of random length, interrupts, and fails after `room` bytes.
pub(crate) struct Memory {
    pub(crate) bytes: Vec<u8>,
    room: usize,
    is_regular: bool,
    has_failed: bool,
    random: Random,
}

impl Memory {
    pub(crate) fn new(room: usize, is_regular: bool) -> Self {
        let random = Random(room as u64 ^ 0x9e37_79b9_7f4a_7c15);
        Self { bytes: Vec::new(), room, is_regular, has_failed: false, random }
    }

    pub(crate) fn endless() -> Self {
        Self::new(usize::MAX, true)
    }
}

impl Output for Memory {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        assert!(!self.has_failed, "written to again after a failure");
        if self.random.below(4) == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.bytes.len() == self.room {
            self.has_failed = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let old_len = self.bytes.len();
        let mut left = (self.room - old_len).min(1 + self.random.below(100_000));
        for slice in slices {
            let taken = slice.len().min(left);
            self.bytes.extend_from_slice(&slice[..taken]);
            left -= taken;
        }
        Ok(self.bytes.len() - old_len)
    }

    fn take_back(&mut self, bytes: u64) -> io::Result<()> {
        assert!(self.has_failed && bytes > 0, "taken back without need");
        if self.is_regular {
            let kept = self.bytes.len() - usize::try_from(bytes).expect("it is in memory");
            self.bytes.truncate(kept);
        }
        Ok(())
    }
}

/// A whole capture in memory.
pub(crate) fn capture(format: Format, packets: &[OwnedPacket]) -> (Vec<u8>, Summary) {
    let mut memory = Memory::endless();
    let mut writer = Writer::new(&mut memory, format, &SECTION).unwrap();
    write(&mut writer, packets, 7);
    let summary = writer.finish(&STATISTICS);
    (memory.bytes, summary)
}

/// Reads a file to its end with pcap-file and returns the captured bytes of each packet.
pub(crate) fn read(format: Format, bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    match format {
        Format::Pcap => read_pcap(bytes),
        Format::PcapNg => Ok(read_pcapng(bytes)?.iter().filter_map(captured).collect()),
    }
}

fn read_pcap(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut reader = PcapReader::new(bytes).map_err(|error| error.to_string())?;
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        packets.push(packet.map_err(|error| error.to_string())?.data().to_vec());
    }
    Ok(packets)
}

pub(crate) fn read_pcapng(bytes: &[u8]) -> Result<Vec<Block<'static>>, String> {
    let mut reader = PcapNgReader::new(bytes).map_err(|error| error.to_string())?;
    let mut blocks = vec![Block::SectionHeader(reader.section().clone())];
    while let Some(block) = reader.next_block() {
        let (block, _) = block.map_err(|error| error.to_string())?;
        blocks.push(block.into_owned());
    }
    Ok(blocks)
}

fn captured(block: &Block<'_>) -> Option<Vec<u8>> {
    match block {
        Block::EnhancedPacket(packet) => Some(packet.data.to_vec()),
        _ => None,
    }
}
