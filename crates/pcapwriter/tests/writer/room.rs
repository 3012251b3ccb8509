//! Secrets that come too late: into the room that was left for them, wherever the file's beginning is by then.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use crate::files::fresh_directory;
use crate::support::{FORMATS, Memory, OwnedPacket, SECTION, STATISTICS, packets, write, write_and_lend};
use nsntrace_pcapwriter::{DirectFile, Format, Output, OutputFile, PastCache, Writer};

const EARLY: &[u8] = b"CLIENT_RANDOM 00 11\n";
const LATE: &[u8] = b"CLIENT_RANDOM 22 33\n";
const ROOM: usize = 4096;

/// Packets, a late secret after the first few, and another one after all.
fn write_to<O: Output>(output: O, format: Format, packets: &[OwnedPacket]) -> [bool; 3] {
    let mut writer = Writer::new(output, format, &SECTION).unwrap();
    writer.reserve_secrets(ROOM);
    let (few, rest) = packets.split_at(packets.len() / 100);
    write_and_lend(&mut writer, few, 10, 1 << 20);
    let first = writer.late_secrets(EARLY);
    write_and_lend(&mut writer, rest, 40, 1 << 20);
    let second = writer.late_secrets(LATE);
    let too_many = writer.late_secrets(&[b'#'; ROOM]);
    let summary = writer.finish(&STATISTICS);
    assert!(summary.error.is_none() && summary.written == packets.len() as u64, "{summary:?}");
    [first, second, too_many]
}

/// The same with the secrets known from the start.
fn expected(packets: &[OwnedPacket]) -> Vec<u8> {
    let mut memory = Memory::endless();
    let mut writer = Writer::new(&mut memory, Format::PcapNg, &SECTION).unwrap();
    let mut room = [EARLY, LATE].concat();
    room.resize(ROOM, b'\n');
    writer.secrets(&room);
    write(&mut writer, packets, 40);
    writer.finish(&STATISTICS);
    memory.bytes
}

#[track_caller]
fn filled<O: Output>(output: O, path: &Path, packets: &[OwnedPacket]) {
    assert_eq!(write_to(output, Format::PcapNg, packets), [true, true, false]);
    let bytes = fs::read(path).unwrap();
    assert!(bytes.ends_with(&expected(packets)), "{}", path.display());
}

#[test]
fn room_is_filled_in_memory_and_in_the_file() {
    let directory = fresh_directory("room");
    for (seed, count) in [(1, 100), (2, 4000)] {
        let packets = packets(seed, count, 3000);
        for past_cache in [PastCache::Always, PastCache::WhenFast] {
            let path = directory.join(format!("{seed}-{past_cache:?}"));
            let output = DirectFile::new(File::create(&path).unwrap(), past_cache, 4).unwrap();
            filled(output, &path, &packets);
        }
        let path = directory.join(format!("{seed}-behind-others"));
        let mut file = File::create(&path).unwrap();
        file.write_all(b"somebody else's").unwrap();
        filled(OutputFile::new(file).unwrap(), &path, &packets);
    }
}

#[test]
fn no_room_where_nothing_can_be_overwritten() {
    let packets = packets(3, 100, 200);
    let path = fresh_directory("room-append").join("capture");
    let appending = File::options().append(true).create(true).open(&path).unwrap();
    let filled = write_to(OutputFile::new(appending).unwrap(), Format::PcapNg, &packets);
    assert_eq!(filled, [false; 3]);
    let mut plain = Memory::endless();
    for format in FORMATS {
        assert_eq!(write_to(&mut plain, format, &packets), [false; 3]);
    }
    assert!(plain.bytes.ends_with(&fs::read(&path).unwrap()), "no room is left in vain");
    let classic = File::create(path.with_extension("pcap")).unwrap();
    assert_eq!(write_to(OutputFile::new(classic).unwrap(), Format::Pcap, &packets), [false; 3]);
}
