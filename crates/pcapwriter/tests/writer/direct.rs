//! Files written past the page cache: the same bytes, whole records whatever happens, and exact counts.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::files::{LIMITED, fresh_directory, run_limited};
use crate::support::{FORMATS, Pages, SECTION, STATISTICS, capture, packets, read, write_and_lend};
use nsntrace_pcapwriter::{DirectFile, Format, Output, PastCache, Summary, Writer, WriterError};

#[test]
fn a_file_is_the_same_bytes() {
    let directory = fresh_directory("direct-same");
    for (seed, count, max_len) in [(1, 0, 1), (2, 50, 200), (3, 3000, 3000), (4, 30, 262_144)] {
        for format in FORMATS {
            let packets = packets(seed, count, max_len);
            let path = directory.join(format!("{seed}-{format:?}"));
            // What is lent is enough, or too little, once or for ever.
            for (max_lent, lent) in [(4, 1 << 20), (1, 1 << 17), (3, 4096), (1000, 1 << 16)] {
                let output = DirectFile::new(File::create(&path).unwrap(), PastCache::Always, max_lent)
                    .expect("the target folder is on a disk");
                let mut writer = Writer::new(output, format, &SECTION).unwrap();
                write_and_lend(&mut writer, &packets, 40, lent);
                let summary = writer.finish(&STATISTICS);
                assert!(summary.error.is_none() && summary.written == count as u64, "{summary:?}");
                let is_same = fs::read(&path).unwrap() == capture(format, &packets).0;
                assert!(is_same, "seed {seed}, {max_lent} times {lent} bytes");
            }
        }
    }
}

/// Few packets, then many, silence, many again, and few: every change between the two ways.
#[test]
fn a_file_of_changing_pace_is_the_same_bytes() {
    // A disk that is busy with others is left alone.
    assert!((0..10).any(|_| write_at_changing_pace() > 20), "it was never held back");
}

/// Checks what was written, and counts how often some of it was held back for a whole piece.
fn write_at_changing_pace() -> u32 {
    let path = fresh_directory("direct-pace").join("capture");
    let packets = packets(6, 6000, 3000);
    let file = File::create(&path).unwrap();
    let output = DirectFile::new(file, PastCache::WhenFast, 4).expect("the target folder is on a disk");
    let mut writer = Writer::new(output, Format::Pcap, &SECTION).unwrap();
    let (slow, fast) = packets.split_at(500);
    let (mut was_held_back, mut written) = (0, 0);
    for part in [slow, fast, slow, fast, slow] {
        for some in part.chunks(100) {
            // 1.5 MB a second, and at most 50.
            sleep(Duration::from_millis(if part.len() == slow.len() { 100 } else { 3 }));
            write_and_lend(&mut writer, some, 40, 1 << 17);
            was_held_back += u32::from(writer.holds_back());
        }
        written += part.len();
        writer.flush();
        assert!(!writer.holds_back() && writer.so_far().written == written as u64);
        assert_eq!(fs::metadata(&path).unwrap().len(), writer.position());
    }
    assert!(writer.finish(&STATISTICS).error.is_none());
    let all: Vec<_> = [slow, fast, slow, fast, slow].concat();
    assert!(fs::read(&path).unwrap() == capture(Format::Pcap, &all).0);
    was_held_back
}

#[test]
fn what_is_no_empty_file_is_given_back() {
    let path = fresh_directory("direct-refused").join("capture");
    fs::write(&path, "older").unwrap();
    assert!(
        DirectFile::new(File::options().append(true).open(&path).unwrap(), PastCache::Always, 4).is_err()
    );
    let (_reader, pipe) = io::pipe().unwrap();
    assert!(DirectFile::new(File::from(std::os::fd::OwnedFd::from(pipe)), PastCache::Always, 4).is_err());
    assert!(
        DirectFile::new(File::options().write(true).open("/dev/null").unwrap(), PastCache::Always, 4)
            .is_err()
    );
    assert_eq!(fs::read(&path).unwrap(), b"older");
}

#[test]
fn a_writer_that_is_dropped_leaves_what_it_took() {
    let path = fresh_directory("direct-dropped").join("capture");
    let packets = packets(5, 700, 3000);
    let mut writer = Writer::new(
        DirectFile::new(File::create(&path).unwrap(), PastCache::Always, 4).unwrap(),
        Format::Pcap,
        &SECTION,
    )
    .unwrap();
    write_and_lend(&mut writer, &packets, 40, 1 << 17);
    drop(writer);
    assert_eq!(read(Format::Pcap, &fs::read(&path).unwrap()).unwrap().len(), 700);
}

/// A file system of 3 MiB, which is full in the middle of a piece.
#[test]
fn a_full_file_system_leaves_a_whole_file() {
    let test = "direct::a_full_file_system_leaves_a_whole_file";
    // From Linux 6.6 on this file system has O_DIRECT, too.
    let limit = r#"mkdir "$0/small" && mount -t tmpfs -o size=3m none "$0/small""#;
    within(test, limit, "small", io::ErrorKind::StorageFull);
}

#[test]
fn a_file_size_limit_leaves_a_whole_file() {
    let limit = r#"trap "" XFSZ; ulimit -f 3000"#;
    within("direct::a_file_size_limit_leaves_a_whole_file", limit, ".", io::ErrorKind::FileTooLarge);
}

/// Runs `test` again behind a limit on what it can write, where it finds that `kind` of error.
fn within(test: &str, limit: &str, folder: &str, kind: io::ErrorKind) {
    let Some(directory) = std::env::var_os(LIMITED) else { return run_limited(test, limit) };
    for format in FORMATS {
        for when in [PastCache::Always, PastCache::WhenFast] {
            fill(&Path::new(&directory).join(folder), format, when, kind);
        }
    }
}

#[expect(clippy::print_stdout, reason = "tells the test outside that this was run")]
fn fill(directory: &Path, format: Format, when: PastCache, kind: io::ErrorKind) {
    let path = directory.join("capture");
    let packets = packets(13, 8000, 1500);
    let output = DirectFile::new(File::create(&path).unwrap(), when, 2).expect("on a disk");
    let mut writer = Writer::new(output, format, &SECTION).unwrap();
    for some in packets.chunks(50) {
        // Slow enough that the beginning goes through the cache, fast enough for the rest to pass it.
        sleep(Duration::from_millis(3));
        write_and_lend(&mut writer, some, 40, 1 << 17);
        assert!(writer.so_far().error.is_none() || Pages::lent() == 0, "memory is kept that nobody needs");
    }
    let summary: Summary = writer.finish(&STATISTICS);
    let Some(WriterError::Output { source }) = &summary.error else { panic!("{summary:?}") };
    assert_eq!(source.kind(), kind);
    let read_back = read(format, &fs::read(&path).unwrap()).unwrap();
    assert_eq!(read_back.len() as u64, summary.written);
    assert!(summary.written > 500 && summary.written + summary.lost == 8000, "{summary:?}");
    fs::remove_file(&path).unwrap();
    println!("{format:?} is full, {when:?}");
}

#[test]
fn what_is_taken_is_kept_when_it_is_written() {
    let path = fresh_directory("direct-kept").join("capture");
    let mut output = DirectFile::new(File::create(&path).unwrap(), PastCache::Always, 4).unwrap();
    let first = |output: &mut DirectFile, bytes: &[u8]| output.write(&[io::IoSlice::new(bytes)]).unwrap();
    // Nowhere to wait.
    assert_eq!(first(&mut output, b"one"), 3);
    assert_eq!((output.kept(3), fs::read(&path).unwrap().len()), (3, 3));
    output.lend(Box::new(Pages::new(4096))).unwrap();
    assert_eq!(first(&mut output, b"two"), 3);
    assert_eq!((output.kept(6), fs::read(&path).unwrap().len()), (3, 3));
    output.finish().unwrap();
    assert_eq!((output.kept(6), fs::read(&path).unwrap()), (6, b"onetwo".to_vec()));
}
