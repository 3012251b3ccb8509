//! Real files and pipes, and limits on what can be written. A full file system needs root, for a mount of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::support::{FORMATS, OwnedPacket, SECTION, STATISTICS, capture, packets, read, write};
use nsntrace_pcapwriter::{Format, OutputFile, Summary, Writer, WriterError};

#[test]
fn a_full_file_system_leaves_a_whole_file() {
    let limit = r#"mount -t tmpfs -o size=200k none "$0""#;
    within("files::a_full_file_system_leaves_a_whole_file", limit, io::ErrorKind::StorageFull);
}

/// `ulimit -f`. The signal that comes with `EFBIG` is ignored, as whoever wants to go on must.
#[test]
fn a_file_size_limit_leaves_a_whole_file() {
    let limit = r#"trap "" XFSZ; ulimit -f 400"#;
    within("files::a_file_size_limit_leaves_a_whole_file", limit, io::ErrorKind::FileTooLarge);
}

/// Runs `test` again behind a limit on what it can write, where it finds that `kind` of error.
fn within(test: &str, limit: &str, kind: io::ErrorKind) {
    match std::env::var_os(LIMITED) {
        None => run_limited(test, limit),
        Some(directory) => {
            for format in FORMATS {
                fill(Path::new(&directory), format, kind);
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "tells the test outside that this was run")]
fn fill(directory: &Path, format: Format, kind: io::ErrorKind) {
    let path = directory.join("capture");
    let packets = packets(13, 2000, 1500);
    let summary = write_all(File::create(&path).unwrap(), format, &packets);
    let Some(WriterError::Output { source }) = &summary.error else { panic!("{summary:?}") };
    assert_eq!(source.kind(), kind);
    let read_back = read(format, &fs::read(&path).unwrap()).unwrap();
    assert_eq!(read_back.len() as u64, summary.written);
    assert!(summary.written > 50 && summary.written + summary.lost == 2000, "{summary:?}");
    println!("{format:?} is full");
}

#[test]
fn a_file_that_did_not_begin_with_us_keeps_its_beginning() {
    let packets = packets(17, 30, 500);
    for format in FORMATS {
        let (whole, _) = capture(format, &packets);
        let directory = fresh_directory(&format!("offset-{format:?}"));
        let path = directory.join("capture");
        fs::write(&path, "older").unwrap();
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        write_all(file, format, &packets);
        assert!(fs::read(&path).unwrap() == [b"older".as_slice(), &whole].concat());
    }
}

/// `take_back` of a file whose offset is shared, as that of a shell's redirection is.
#[test]
fn what_others_write_later_follows_the_last_record() {
    use nsntrace_pcapwriter::Output as _;
    let path = fresh_directory("shared").join("capture");
    for append in [false, true] {
        fs::write(&path, "older").unwrap();
        let mut file = OpenOptions::new().write(true).append(append).open(&path).unwrap();
        file.seek(io::SeekFrom::Start(5)).unwrap();
        let mut shared = file.try_clone().unwrap();
        let mut output = OutputFile::new(file).unwrap();
        assert_eq!(output.write(&[io::IoSlice::new(b"wholehalf")]).unwrap(), 9);
        output.take_back(4).unwrap();
        shared.write_all(b"later").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "olderwholelater");
    }
}

#[test]
fn bytes_of_others_are_not_cut_off() {
    use nsntrace_pcapwriter::Output as _;
    let path = fresh_directory("others").join("capture");
    let mut output = OutputFile::new(File::create(&path).unwrap()).unwrap();
    assert_eq!(output.write(&[io::IoSlice::new(b"half")]).unwrap(), 4);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"theirs").unwrap();
    assert_eq!(output.take_back(4).unwrap_err().to_string(), "somebody else's bytes follow it");
    assert_eq!(fs::read_to_string(&path).unwrap(), "halftheirs");
}

#[test]
fn a_device_that_is_full_is_a_failure_at_once() {
    let output = OutputFile::new(OpenOptions::new().write(true).open("/dev/full").unwrap()).unwrap();
    let error = Writer::new(output, Format::Pcap, &SECTION).err().expect("it is full");
    assert!(matches!(error, WriterError::Output { source } if source.kind() == io::ErrorKind::StorageFull));
}

#[test]
fn the_reader_of_a_pipe_sees_packets_after_each_batch() {
    let (mut reader, pipe) = io::pipe().unwrap();
    let packets = packets(19, 3, 100);
    let (whole, _) = capture(Format::Pcap, &packets);
    let output = OutputFile::new(File::from(std::os::fd::OwnedFd::from(pipe))).unwrap();
    let mut writer = Writer::new(output, Format::Pcap, &SECTION).unwrap();
    let mut seen = vec![0; 24];
    reader.read_exact(&mut seen).unwrap();
    for packet in packets.chunks(1) {
        write(&mut writer, packet, 1);
        let mut record = vec![0; 16 + packet[0].captured().len()];
        reader.read_exact(&mut record).unwrap();
        seen.extend(record);
    }
    assert!(writer.finish(&STATISTICS).error.is_none());
    assert!(seen == whole);
}

#[test]
fn a_pipe_that_nobody_reads_is_a_failure() {
    let (mut reader, pipe) = io::pipe().unwrap();
    let output = OutputFile::new(File::from(std::os::fd::OwnedFd::from(pipe))).unwrap();
    let mut writer = Writer::new(output, Format::PcapNg, &SECTION).unwrap();
    assert!(reader.read(&mut [0; 4096]).unwrap() > 0);
    drop(reader);
    write(&mut writer, &packets(23, 1, 100), 1);
    let summary = writer.finish(&STATISTICS);
    assert_eq!((summary.written, summary.lost), (0, 1));
    assert!(
        matches!(summary.error, Some(WriterError::Output { source }) if source.kind() == io::ErrorKind::BrokenPipe)
    );
}

#[test]
fn a_non_blocking_pipe_is_waited_for() {
    let (mut reader, pipe) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&pipe, true).unwrap();
    let packets = packets(29, 400, 3000);
    let (whole, _) = capture(Format::Pcap, &packets);
    let writing = thread::spawn(move || {
        write_all(File::from(std::os::fd::OwnedFd::from(pipe)), Format::Pcap, &packets)
    });
    let mut seen = Vec::new();
    reader.read_to_end(&mut seen).unwrap();
    let summary = writing.join().unwrap();
    assert_eq!((summary.written, summary.lost), (400, 0));
    assert!(seen == whole);
}

fn write_all(file: File, format: Format, packets: &[OwnedPacket]) -> Summary {
    let mut writer = Writer::new(OutputFile::new(file).unwrap(), format, &SECTION).unwrap();
    write(&mut writer, packets, 40);
    writer.finish(&STATISTICS)
}

pub(crate) fn fresh_directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pcapwriter-{name}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

pub(crate) fn run_limited(test: &str, limit: &str) {
    let directory = fresh_directory(test.rsplit(':').next().expect("it has a name"));
    let script = format!(r#"{limit} && exec "$1" --exact "$2" --nocapture"#);
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .args([directory.as_os_str(), std::env::current_exe().unwrap().as_os_str(), test.as_ref()])
        .env(LIMITED, &directory)
        .output()
        .expect("unshare(1) is needed");
    let text = String::from_utf8_lossy(&output.stdout);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{words}");
    assert!(text.contains("Pcap is full") && text.contains("PcapNg is full"), "{text}{words}");
}

/// Where there is little room, for the test that fills it.
pub(crate) const LIMITED: &str = "NSNTRACE_LIMITED";
