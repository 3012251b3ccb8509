//! An output that fails after each possible byte: what is left is read completely, and `written` is true.

use std::error::Error as _;
use std::io::{self, IoSlice};

use crate::support::{FORMATS, Memory, OwnedPacket, SECTION, STATISTICS, capture, packets, read, write};
use nsntrace_pcapwriter::{Format, Output, Summary, Writer, WriterError};

#[test]
fn a_file_ends_with_a_whole_record_wherever_it_fails() {
    for format in FORMATS {
        for (batch_len, max_len) in [(1, 120), (3, 120), (12, 120), (5, 1300)] {
            check_every_offset(format, batch_len, max_len);
        }
    }
}

fn check_every_offset(format: Format, batch_len: usize, max_len: usize) {
    let packets = packets(3, 12, max_len);
    let (whole, _) = capture(format, &packets);
    for room in head_len(format)..whole.len() {
        let (memory, summary) = capture_into(room, true, format, batch_len, &packets);
        let expected: Vec<_> = packets.iter().map(OwnedPacket::captured).collect();
        let written = usize::try_from(summary.written).unwrap();
        assert!(whole.starts_with(&memory.bytes), "room {room}");
        assert_eq!(read(format, &memory.bytes).unwrap(), expected[..written], "room {room}");
        assert_eq!(summary.written + summary.lost, 12, "room {room}");
        assert!(matches!(summary.error, Some(WriterError::Output { .. })), "{:?}", summary.error);
        assert!(
            room - memory.bytes.len() < longest_piece(format, max_len),
            "room {room}: whole records were taken back"
        );
    }
    let (memory, summary) = capture_into(whole.len(), true, format, batch_len, &packets);
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
    assert!(writer.so_far().error.is_none());
    write(&mut writer, &packets(1, 1, 40), 1);
    assert_eq!((writer.so_far().written, writer.so_far().lost), (1, 0));
    assert!(writer.batch().position() > 0);
    write(&mut writer, &packets(9, 5, 2000), 5);
    assert_eq!((writer.so_far().written, writer.so_far().lost), (1, 5));
    assert_eq!(writer.batch().position(), 0, "there is room for all in one that has failed");
    let failure = writer.so_far().error.as_ref().expect("100 bytes are not enough");
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
        fn write(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
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
        fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let taken = self.0.min(slices[0].len());
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
fn a_panic_loses_no_packet_that_was_pushed() {
    let packets = packets(11, 20, 3000);
    let mut memory = Memory::endless();
    let mut writer = Writer::new(&mut memory, Format::Pcap, &SECTION).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut batch = writer.batch();
        for packet in &packets {
            batch.push(&packet.as_packet()).unwrap();
        }
        panic!("elsewhere");
    }));
    assert!(panicked.is_err());
    drop(writer);
    assert_eq!(read(Format::Pcap, &memory.bytes).unwrap().len(), 20);
}

fn capture_into(
    room: usize,
    is_regular: bool,
    format: Format,
    batch_len: usize,
    packets: &[OwnedPacket],
) -> (Memory, Summary) {
    let mut memory = Memory::new(room, is_regular);
    let mut writer = Writer::new(&mut memory, format, &SECTION).unwrap();
    write(&mut writer, packets, batch_len);
    let summary = writer.finish(&STATISTICS);
    (memory, summary)
}

fn head_len(format: Format) -> usize {
    let mut memory = Memory::endless();
    drop(Writer::new(&mut memory, format, &SECTION).unwrap());
    memory.bytes.len()
}

/// Longer than any packet record of these tests, and than the closing statistics.
fn longest_piece(format: Format, max_len: usize) -> usize {
    match format {
        Format::Pcap => 16 + max_len + 1,
        Format::PcapNg => 200 + max_len,
    }
}
