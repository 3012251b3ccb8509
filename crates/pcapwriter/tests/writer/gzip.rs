//! Compressed captures: whole members wherever the output fails, exact counts, no wait but for the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::Duration;

use crate::files::{LIMITED, fresh_directory, run_limited};
use crate::foreign::{check_lines, path_of, run, udp_packets};
use crate::gunzip::{content, members};
use crate::support::{
    FORMATS, Memory, OwnedPacket, Random, SECTION, START_NS, STATISTICS, capture, packets, read, write,
};
use nsntrace_pcapwriter::{
    Compression, Direction, Format, Gzip, Output, OutputFile, Summary, Writer, WriterError,
};

#[test]
fn a_file_ends_with_a_whole_member_wherever_it_fails() {
    check_every_offset(true);
}

#[test]
fn the_count_of_a_stream_is_that_of_its_whole_members() {
    check_every_offset(false);
}

fn check_every_offset(is_regular: bool) {
    let packets = compressible(14);
    for format in FORMATS {
        // Where members begin is a matter of time, so the next file may be a little longer or shorter; one that had no time was not
        // compressed at all.
        let lens = (0..10).map(|_| compress_into(Memory::endless(), format, &packets).0.bytes.len());
        let len = lens.min().unwrap();
        let mut failures = 0;
        for room in 0..len + 100 {
            let (memory, summary) = compress_into(Memory::new(room, is_regular), format, &packets);
            check_left(format, &memory.bytes, &summary, &packets);
            assert!(!is_regular || members(&memory.bytes).1 == 0, "room {room}");
            assert!(is_regular || summary.error.is_none() || memory.bytes.len() == room, "room {room}");
            failures += usize::from(summary.error.is_some());
        }
        assert!(len > 800 && failures > len - 100, "{failures} of {len}");
    }
}

/// That `summary` tells the truth about a compressed file.
#[track_caller]
fn check_left(format: Format, file: &[u8], summary: &Summary, packets: &[OwnedPacket]) {
    let content = content(file);
    let found = if content.is_empty() { Vec::new() } else { read(format, &content).unwrap() };
    let expected: Vec<_> = packets.iter().map(OwnedPacket::captured).collect();
    assert_eq!(summary.written, found.len() as u64);
    assert_eq!(summary.written + summary.lost, packets.len() as u64);
    assert!(found == expected[..found.len()]);
    match &summary.error {
        None => assert_eq!(summary.lost, 0),
        Some(error) => assert!(matches!(error, WriterError::Output { .. }), "{error:?}"),
    }
}

#[test]
fn what_comes_out_is_what_went_in() {
    for seed in 1..=20 {
        for format in FORMATS {
            let packets = packets(seed, 60, 9000);
            let (memory, summary) = compress_into(Memory::endless(), format, &packets);
            assert!(summary.error.is_none() && summary.written == 60, "{summary:?}");
            assert!(content(&memory.bytes) == capture(format, &packets).0, "seed {seed}");
        }
    }
}

#[test]
fn a_half_member_that_stays_is_said() {
    struct Sticky;
    impl Output for Sticky {
        fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            // The second call is for what the first has left.
            if slices[0].len() == 10 { Ok(7) } else { Err(io::ErrorKind::StorageFull.into()) }
        }
        fn take_back(&mut self, bytes: u64) -> io::Result<()> {
            Err(io::Error::other(format!("{bytes} bytes stick")))
        }
    }
    let mut gzip = Gzip::new(Sticky).unwrap();
    assert_eq!(gzip.write(&[IoSlice::new(b"record")]).unwrap(), 6);
    let expected = "an incomplete gzip member is left at the end (7 bytes stick)";
    for _ in 0..2 {
        let error = gzip.finish().unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::StorageFull, expected));
    }
    assert_eq!(gzip.kept(6), 0);
}

#[test]
fn a_full_file_system_leaves_whole_members() {
    let limit = r#"mount -t tmpfs -o size=200k none "$0""#;
    within("gzip::a_full_file_system_leaves_whole_members", limit, io::ErrorKind::StorageFull);
}

#[test]
fn a_file_size_limit_leaves_whole_members() {
    let limit = r#"trap "" XFSZ; ulimit -f 400"#;
    within("gzip::a_file_size_limit_leaves_whole_members", limit, io::ErrorKind::FileTooLarge);
}

fn within(test: &str, limit: &str, kind: io::ErrorKind) {
    match std::env::var_os(LIMITED) {
        None => run_limited(test, limit),
        Some(directory) => FORMATS.into_iter().for_each(|format| fill(Path::new(&directory), format, kind)),
    }
}

#[expect(clippy::print_stdout, reason = "tells the test outside that this was run")]
fn fill(directory: &Path, format: Format, kind: io::ErrorKind) {
    let path = directory.join("capture.gz");
    let packets = packets(13, 2000, 1500);
    let summary = compress_to(File::create(&path).unwrap(), format, &packets);
    let Some(WriterError::Output { source }) = &summary.error else { panic!("{summary:?}") };
    assert!(source.kind() == kind && source.raw_os_error().is_some(), "{source:?}");
    check_left(format, &fs::read(&path).unwrap(), &summary, &packets);
    assert!(summary.written > 50, "{summary:?}");
    run("gzip", &["-t", path.to_str().unwrap()]);
    fs::remove_file(&path).unwrap();
    println!("{format:?} is full");
}

#[test]
fn a_file_that_did_not_begin_with_us_keeps_its_beginning() {
    let path = fresh_directory("gzip-offset").join("capture.gz");
    let mut older = Gzip::new(OutputFile::new(File::create(&path).unwrap()).unwrap()).unwrap();
    older.write(&[IoSlice::new(b"older")]).unwrap();
    older.finish().unwrap();
    let packets = packets(17, 30, 500);
    let file = OpenOptions::new().append(true).open(&path).unwrap();
    compress_to(file, Format::Pcap, &packets);
    let expected = [b"older".as_slice(), &capture(Format::Pcap, &packets).0].concat();
    assert!(content(&fs::read(&path).unwrap()) == expected);
}

#[test]
fn a_lone_head_arrives_and_a_pipe_that_nobody_reads_is_a_failure() {
    for format in FORMATS {
        let (mut reader, pipe) = io::pipe().unwrap();
        let output = OutputFile::new(File::from(OwnedFd::from(pipe))).unwrap();
        let mut writer = Writer::new(Gzip::new(output).unwrap(), format, &SECTION).unwrap();
        let mut seen = [0; 4096];
        let count = reader.read(&mut seen).unwrap();
        // The one packet is shorter than the head of pcapng.
        assert_eq!(content(&seen[..count]).len() as u64, writer.position());
        drop(reader);
        write(&mut writer, &packets(23, 1, 100), 1);
        let summary = writer.finish(&STATISTICS);
        assert_eq!((summary.written, summary.lost), (0, 1));
        assert!(
            matches!(summary.error, Some(WriterError::Output { source }) if source.kind() == io::ErrorKind::BrokenPipe)
        );
    }
}

#[test]
fn a_non_blocking_pipe_is_waited_for() {
    let (mut reader, pipe) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&pipe, true).unwrap();
    let packets = packets(29, 400, 3000);
    let (whole, _) = capture(Format::Pcap, &packets);
    let writing = thread::spawn(move || compress_to(File::from(OwnedFd::from(pipe)), Format::Pcap, &packets));
    let mut seen = Vec::new();
    reader.read_to_end(&mut seen).unwrap();
    assert_eq!(writing.join().unwrap().written, 400);
    assert!(content(&seen) == whole);
}

/// The test itself, run once more, is who is killed.
#[test]
fn what_sigkill_leaves_is_readable() {
    const PATH: &str = "NSNTRACE_KILLED";
    if let Some(path) = std::env::var_os(PATH) {
        write_until_killed(Path::new(&path));
    }
    let path = fresh_directory("gzip-killed").join("capture.gz");
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "gzip::what_sigkill_leaves_is_readable"])
        .env(PATH, &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while fs::metadata(&path).is_ok_and(|file| file.len() < 3_000_000) || !path.exists() {
        assert!(victim.try_wait().unwrap().is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(1));
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    let file = fs::read(&path).unwrap();
    let found = read(Format::PcapNg, &content(&file)).unwrap();
    assert!(found.len() > 1000 && found.iter().all(|packet| packet.len() == 1000), "{}", found.len());
    // gzip says so when the last member is incomplete, but gives all the others.
    let unpacked = Command::new("gzip").arg("-dc").arg(&path).stderr(Stdio::null()).output().unwrap().stdout;
    assert!(unpacked.starts_with(&content(&file)));
}

fn write_until_killed(path: &Path) -> ! {
    let output = OutputFile::new(File::create(path).unwrap()).unwrap();
    let mut writer = Writer::new(Gzip::new(output).unwrap(), Format::PcapNg, &SECTION).unwrap();
    let packets: Vec<_> = packets(3, 100, 2000).iter().map(|packet| of_length(packet, 1000)).collect();
    loop {
        write(&mut writer, &packets, 7);
        assert!(writer.so_far().error.is_none());
    }
}

fn of_length(packet: &OwnedPacket, length: usize) -> OwnedPacket {
    let bytes = packet.bytes.iter().copied().cycle().chain([0; 1000]).take(length).collect();
    OwnedPacket { bytes, original_len: 1000, vlan: None, ..packet.clone() }
}

#[test]
fn small_pieces_share_members() {
    let packets: Vec<_> = (0..500).flat_map(|_| udp_packets()).collect();
    for format in FORMATS {
        let shared = Shared::new(Memory::endless());
        let mut writer = Writer::new(Gzip::new(shared.clone()).unwrap(), format, &SECTION).unwrap();
        write(&mut writer, &packets, 1);
        assert_eq!(writer.finish(&STATISTICS).written, 2000);
        let (plain, _) = capture(format, &packets);
        let file = &shared.lock().bytes;
        assert!(content(file) == plain);
        let count = members(file).0.len();
        assert!(count <= plain.len() / 32_768 + 2, "{count} members for {} bytes", plain.len());
    }
}

/// Packets that come as fast as memory allows are stored now and then; those that come slowly, never.
#[test]
fn who_comes_too_fast_is_stored() {
    let chunk = text(1024 * 1024);
    let flooded = compress_chunks(&Shared::new(Endless::default()), &chunk, 60, |_, _| ());
    assert!(flooded.iter().any(|&is_stored| is_stored), "{flooded:?}");
    assert!(!flooded[0] && flooded.iter().any(|&is_stored| !is_stored), "{flooded:?}");
    let slow = compress_chunks(&Shared::new(Endless::default()), &chunk, 6, |gzip, taken| {
        while gzip.kept(taken) < taken {
            thread::yield_now();
        }
    });
    assert_eq!(slow, [false; 6]);
}

#[test]
fn a_slow_disk_gets_compressed_members() {
    let disk = Endless { delay_per_kib: Duration::from_millis(1), ..Endless::default() };
    let methods = compress_chunks(&Shared::new(disk), &text(64 * 1024), 20, |_, _| ());
    assert!(methods.iter().filter(|&&is_stored| is_stored).count() < 3, "{methods:?}");
}

/// Of each member, whether it was stored. What is in them is checked.
fn compress_chunks(
    shared: &Shared<Endless>,
    chunk: &[u8],
    count: usize,
    mut after_each: impl FnMut(&Gzip, u64),
) -> Vec<bool> {
    let mut gzip = Gzip::new(shared.clone()).unwrap();
    for number in 1..=count {
        assert_eq!(gzip.write(&[IoSlice::new(chunk)]).unwrap(), chunk.len());
        after_each(&gzip, (number * chunk.len()) as u64);
    }
    gzip.finish().unwrap();
    let (members, left) = members(&shared.lock().bytes);
    assert!(left == 0 && members.iter().all(|member| member.bytes == chunk));
    assert_eq!((members.len(), gzip.kept(u64::MAX)), (count, (count * chunk.len()) as u64));
    members.iter().map(|member| member.is_stored).collect()
}

#[test]
fn five_members_are_the_most_that_memory_holds() {
    let (go, gate) = mpsc::channel();
    let (told, taken) = mpsc::channel();
    let writing = thread::spawn(move || {
        let mut gzip = Gzip::new(Gate(gate)).unwrap();
        for _ in 0..8 {
            gzip.write(&[IoSlice::new(&vec![1; 40_000])]).unwrap();
            told.send(()).unwrap();
        }
        gzip.finish()
    });
    for _ in 0..5 {
        taken.recv().unwrap();
    }
    assert_eq!(taken.recv_timeout(Duration::from_millis(100)), Err(mpsc::RecvTimeoutError::Timeout));
    go.send(()).unwrap();
    taken.recv().unwrap();
    // Without a sender, the gate is open.
    drop(go);
    writing.join().unwrap().unwrap();
    assert_eq!(taken.iter().count(), 2);
}

struct Gate(mpsc::Receiver<()>);

impl Output for Gate {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let _open = self.0.recv();
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn take_back(&mut self, _: u64) -> io::Result<()> {
        unreachable!("all was taken")
    }
}

#[test]
fn dropped_it_writes_what_it_has_taken() {
    let shared = Shared::new(Memory::endless());
    let packets = packets(5, 40, 3000);
    let mut writer = Writer::new(Gzip::new(shared.clone()).unwrap(), Format::Pcap, &SECTION).unwrap();
    write(&mut writer, &packets, 3);
    drop(writer);
    assert!(content(&shared.lock().bytes) == capture(Format::Pcap, &packets).0);
}

#[test]
fn a_panic_behind_the_scenes_is_a_failure_and_no_hang() {
    struct Broken;
    impl Output for Broken {
        fn write(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
            panic!("on purpose");
        }
        fn take_back(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = Writer::new(Gzip::new(Broken).unwrap(), Format::Pcap, &SECTION).unwrap();
    write(&mut writer, &compressible(40), 2);
    let summary = writer.finish(&STATISTICS);
    assert_eq!((summary.written, summary.lost), (0, 40));
    let Some(WriterError::Output { source }) = summary.error else { panic!("no error") };
    assert_eq!(source.to_string(), "the compressing thread panicked");
}

#[test]
fn its_thread_has_a_name_and_is_nice() {
    struct Mirror(mpsc::Sender<[String; 2]>);
    impl Output for Mirror {
        fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let files = ["comm", "stat"].map(|name| format!("/proc/thread-self/{name}"));
            self.0.send(files.map(|path| fs::read_to_string(path).unwrap())).unwrap();
            Ok(slices.iter().map(|slice| slice.len()).sum())
        }
        fn take_back(&mut self, _: u64) -> io::Result<()> {
            unreachable!("all was taken")
        }
    }
    let (seen, seer) = mpsc::channel();
    let mut gzip = Gzip::new(Mirror(seen)).unwrap();
    gzip.write(&[IoSlice::new(b"record")]).unwrap();
    gzip.finish().unwrap();
    let [name, stat] = seer.recv().unwrap();
    assert_eq!(name, "nsntrace-gzip\n");
    assert!(nice(&stat) >= 5);
    assert_eq!(nice(&stat), 5.max(nice(&fs::read_to_string("/proc/thread-self/stat").unwrap())));
}

/// The nineteenth field of proc_pid_stat(5); the second, in parentheses, may hold spaces.
fn nice(stat: &str) -> i32 {
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().parse().unwrap()
}

#[test]
fn foreign_readers_read_it() {
    for format in FORMATS {
        let path = format!("{}.gz", path_of(format, "gzip"));
        assert_eq!(Compression::of_path(Path::new(&path)), Compression::Gzip);
        let questions: Vec<_> = (0..2500).flat_map(|_| udp_packets()).collect();
        let file = OutputFile::new(File::create(&path).unwrap()).unwrap();
        let mut writer = Writer::new(Gzip::new(file).unwrap(), format, &SECTION).unwrap();
        write(&mut writer, &questions, 40);
        // The first may share a member with others that shrink.
        write(&mut writer, &incompressible(2), 1);
        assert_eq!(writer.finish(&STATISTICS).written, 10_002);
        let methods: Vec<_> = members(&fs::read(&path).unwrap()).0.iter().map(|m| m.is_stored).collect();
        assert!(methods.contains(&true) && methods.contains(&false) && methods.len() > 5, "{methods:?}");
        run("gzip", &["-t", &path]);
        check_lines(&run("capinfos", &["-M", "-c", &path]), &["Number of packets:   10002"]);
        let ports = run("tshark", &["-n", "-r", &path, "-T", "fields", "-e", "udp.srcport"]);
        assert_eq!(ports.lines().filter(|&port| port == "4660").count(), 10_000);
        assert_eq!(ports.lines().count(), 10_002);
        let script = format!("zcat {path} | tcpdump --count -r -");
        assert_eq!(run("sh", &["-c", &script]), "10002 packets\n");
    }
}

/// Cut anywhere in the last member, Wireshark's reader gives all packets before it.
#[test]
fn foreign_readers_read_a_file_that_is_cut() {
    let path = format!("{}.gz", path_of(Format::PcapNg, "gzip-cut"));
    let packets = compressible(14);
    let (memory, _) = compress_into(Memory::new(1500, false), Format::PcapNg, &packets);
    let whole = memory.bytes.len() - members(&memory.bytes).1;
    let expected = read(Format::PcapNg, &content(&memory.bytes)).unwrap().len();
    assert!(expected > 3 && whole < memory.bytes.len(), "{expected}");
    fs::write(&path, &memory.bytes).unwrap();
    let output = Command::new("tshark").args(["-n", "-r", &path]).output().unwrap();
    let found = String::from_utf8_lossy(&output.stdout).lines().count();
    assert!(found >= expected, "{found} of {expected}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Packets two of which have a member of their own, of some hundred bytes.
fn compressible(count: u8) -> Vec<OwnedPacket> {
    let packet = |index: u8| OwnedPacket {
        interface: 0,
        timestamp_ns: START_NS + u64::from(index),
        original_len: 20_000,
        bytes: [vec![index; 10_000], vec![!index; 10_000]].concat(),
        vlan: None,
        direction: Direction::Inbound,
        dropped_before: 0,
        process: None,
        comment: None,
    };
    (0..count).map(packet).collect()
}

/// Packets of the greatest length, of random bytes.
fn incompressible(count: u8) -> Vec<OwnedPacket> {
    let mut random = Random::new(99);
    let packets = compressible(count).into_iter();
    packets
        .map(|packet| OwnedPacket { bytes: random.bytes(262_144), original_len: 262_144, ..packet })
        .collect()
}

/// What compressing has work with: words in random order.
fn text(length: usize) -> Vec<u8> {
    let words =
        ["connection ", "accept-encoding: ", "host: ", "0123456789abcdef ", "GET /", "\r\n", "nsntrace"];
    let mut random = Random::new(7);
    let mut text = Vec::new();
    while text.len() < length {
        text.extend_from_slice(words[random.below(words.len())].as_bytes());
        text.push(random.bytes(1)[0]);
    }
    text.truncate(length);
    text
}

fn compress_into(memory: Memory, format: Format, packets: &[OwnedPacket]) -> (Memory, Summary) {
    let shared = Shared::new(memory);
    let mut writer = Writer::new(Gzip::new(shared.clone()).unwrap(), format, &SECTION).unwrap();
    write(&mut writer, packets, 2);
    let summary = writer.finish(&STATISTICS);
    let memory = Arc::into_inner(shared.0).expect("the thread has ended").into_inner().unwrap();
    (memory, summary)
}

fn compress_to(file: File, format: Format, packets: &[OwnedPacket]) -> Summary {
    let gzip = Gzip::new(OutputFile::new(file).unwrap()).unwrap();
    let mut writer = Writer::new(gzip, format, &SECTION).unwrap();
    write(&mut writer, packets, 40);
    writer.finish(&STATISTICS)
}

/// An output that two threads see.
struct Shared<O>(Arc<Mutex<O>>);

impl<O> Shared<O> {
    fn new(output: O) -> Self {
        Self(Arc::new(Mutex::new(output)))
    }

    fn lock(&self) -> MutexGuard<'_, O> {
        self.0.lock().unwrap()
    }
}

impl<O> Clone for Shared<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<O: Output> Output for Shared<O> {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.lock().write(slices)
    }

    fn take_back(&mut self, bytes: u64) -> io::Result<()> {
        self.lock().take_back(bytes)
    }
}

/// An output in memory that takes everything, at its own pace.
#[derive(Default)]
struct Endless {
    bytes: Vec<u8>,
    delay_per_kib: Duration,
}

impl Output for Endless {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = self.bytes.write_vectored(slices)?;
        thread::sleep(self.delay_per_kib * u32::try_from(count / 1024).unwrap());
        Ok(count)
    }

    fn take_back(&mut self, _: u64) -> io::Result<()> {
        unreachable!("all was taken")
    }
}
