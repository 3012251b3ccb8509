//! An output that fails after each possible byte: what is left is read completely, and `written` is true.

use std::error::Error as _;
use std::io;

use crate::support::{FORMATS, Memory, OwnedPacket, SECTION, STATISTICS, capture, packets, read};
use nsntrace_pcapwriter::{Format, Output, Summary, Writer, WriterError};

#[test]
fn a_file_ends_with_a_whole_record_wherever_it_fails() {
    for format in FORMATS {
        for flush_every in [1, 3, usize::MAX] {
            check_every_offset(format, flush_every);
        }
    }
}

fn check_every_offset(format: Format, flush_every: usize) {
    let packets = packets(3, 12, 120);
    let (whole, _) = capture(format, &packets);
    for room in head_len(format)..whole.len() {
        let (memory, summary) = capture_into(room, true, format, flush_every, &packets);
        let expected: Vec<_> = packets.iter().map(OwnedPacket::captured).collect();
        let written = usize::try_from(summary.written).unwrap();
        assert!(whole.starts_with(&memory.bytes), "room {room}");
        assert_eq!(read(format, &memory.bytes).unwrap(), expected[..written], "room {room}");
        assert_eq!(summary.written + summary.lost, 12, "room {room}");
        assert!(matches!(summary.error, Some(WriterError::Output { .. })), "{:?}", summary.error);
        assert!(
            room - memory.bytes.len() < longest_piece(format),
            "room {room}: whole records were taken back"
        );
    }
    let (memory, summary) = capture_into(whole.len(), true, format, flush_every, &packets);
    assert!(memory.bytes == whole && summary.error.is_none() && summary.written == 12);
}

/// Nobody can take bytes back from a pipe, but the count is as exact, and nothing follows.
#[test]
fn a_stream_gets_nothing_after_its_failure() {
    let packets = packets(5, 12, 120);
    for format in FORMATS {
        let (whole, _) = capture(format, &packets);
        for room in head_len(format)..whole.len() {
            let (memory, summary) = capture_into(room, false, format, 4, &packets);
            assert!(memory.bytes == whole[..room]);
            let (file, in_file) = capture_into(room, true, format, 4, &packets);
            assert_eq!(read(format, &file.bytes).unwrap().len() as u64, summary.written);
            assert_eq!((summary.written, summary.lost), (in_file.written, in_file.lost));
        }
    }
}

#[test]
fn a_head_that_does_not_fit_leaves_nothing() {
    for format in FORMATS {
        for room in 0..head_len(format) {
            let mut memory = Memory::new(room, true);
            let error = Writer::new(&mut memory, format, &SECTION).err().expect("no room");
            assert!(matches!(error, WriterError::Output { .. }), "{error:?}");
            assert!(memory.bytes.is_empty(), "room {room}");
        }
    }
}

#[test]
fn failure_is_known_as_soon_as_it_happens() {
    let mut memory = Memory::new(head_len(Format::Pcap) + 100, true);
    let mut writer = Writer::new(&mut memory, Format::Pcap, &SECTION).unwrap();
    assert!(writer.failure().is_none());
    packets(1, 1, 40)[0].write_to(&mut writer);
    writer.flush();
    assert!(writer.failure().is_none());
    for packet in packets(9, 5, 2000) {
        packet.write_to(&mut writer);
    }
    writer.flush();
    let failure = writer.failure().expect("100 bytes are not enough");
    assert_eq!(failure.to_string(), "cannot write the capture");
    assert_eq!(
        failure.source().unwrap().to_string(),
        io::Error::from(io::ErrorKind::StorageFull).to_string()
    );
}

#[test]
fn an_output_that_takes_nothing_is_a_failure_and_not_a_loop() {
    struct Deaf;
    impl Output for Deaf {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn take_back(&mut self, _: u64) -> io::Result<()> {
            unreachable!("it took nothing")
        }
    }
    let error = Writer::new(Deaf, Format::Pcap, &SECTION).err().expect("it took nothing");
    assert!(matches!(error, WriterError::Output { source } if source.kind() == io::ErrorKind::WriteZero));
}

#[test]
fn a_half_record_that_stays_is_said() {
    struct Sticky(usize);
    impl Output for Sticky {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.0.min(bytes.len());
            self.0 -= taken;
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }
        fn take_back(&mut self, bytes: u64) -> io::Result<()> {
            Err(io::Error::other(format!("{bytes} bytes stick")))
        }
    }
    let error = Writer::new(Sticky(10), Format::Pcap, &SECTION).err().expect("10 bytes are not enough");
    assert!(matches!(error, WriterError::Torn { .. }));
    let expected = "cannot write the capture, nor cut off its last, incomplete record (10 bytes stick)";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_writer_that_is_dropped_writes_what_it_holds() {
    let packets = packets(11, 20, 100);
    let mut memory = Memory::endless();
    let mut writer = Writer::new(&mut memory, Format::Pcap, &SECTION).unwrap();
    for packet in &packets {
        packet.write_to(&mut writer);
    }
    drop(writer);
    assert_eq!(read(Format::Pcap, &memory.bytes).unwrap().len(), 20);
}

fn capture_into(
    room: usize,
    is_regular: bool,
    format: Format,
    flush_every: usize,
    packets: &[OwnedPacket],
) -> (Memory, Summary) {
    let mut memory = Memory::new(room, is_regular);
    let mut writer = Writer::new(&mut memory, format, &SECTION).unwrap();
    for (index, packet) in packets.iter().enumerate() {
        packet.write_to(&mut writer);
        if (index + 1) % flush_every == 0 {
            writer.flush();
        }
    }
    let summary = writer.finish(&STATISTICS);
    (memory, summary)
}

fn head_len(format: Format) -> usize {
    let mut memory = Memory::endless();
    drop(Writer::new(&mut memory, format, &SECTION).unwrap());
    memory.bytes.len()
}

/// Longer than any packet record of these tests, and than the closing statistics.
fn longest_piece(format: Format) -> usize {
    match format {
        Format::Pcap => 16 + 121,
        Format::PcapNg => 320,
    }
}
