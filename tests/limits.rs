//! How much is recorded: limits on packets, bytes and time, and files that follow one another.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use nsntrace_testkit::{CaptureFile, Lab, Plan, until};
use pcap_file::pcapng::PcapNgReader;
use pcap_file::pcapng::blocks::Block;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_statistics::InterfaceStatisticsOption;

/// Sends numbered datagrams to nobody, as many as it is told, so many milliseconds apart.
const SENDER: &str = "
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('198.51.100.2', 9))
for n in range(int(sys.argv[1])): s.send(b'number-%06d' % n + bytes(400)); time.sleep(float(sys.argv[2]) / 1000)
";

fn send<'a>(count: &'a str, ms: &'a str) -> [&'a str; 7] {
    ["/usr/bin/python3", "-I", "-S", "-c", SENDER, count, ms]
}

/// The numbers of the datagrams in a file, in their order.
fn numbers(file: &CaptureFile) -> Vec<u64> {
    let text = file.tcpdump(&["-A", "-t"], "udp dst port 9").join("\n");
    text.split("number-").skip(1).map(|rest| rest[..6].parse().expect("a number")).collect()
}

/// When its packets were sent.
fn seconds(file: &CaptureFile) -> Vec<f64> {
    file.field("udp", "frame.time_epoch").iter().map(|stamp| stamp.parse().expect("seconds")).collect()
}

/// The files of a trace in their order, which is that of their names.
fn files(lab: &Lab, prefix: &str) -> Vec<CaptureFile> {
    let folder = fs::read_dir(lab.dir.path()).expect("our directory");
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
    paths.sort();
    paths.iter().map(|path| CaptureFile::new(path)).collect()
}

/// What a pcapng file says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    packets: u64,
    received: u64,
    dropped: u64,
    delivered: u64,
    /// Losses told on packets.
    gaps: Vec<u64>,
}

impl Said {
    fn by(file: &CaptureFile) -> Self {
        let mut reader = PcapNgReader::new(File::open(file.path()).expect("it is there")).expect("pcapng");
        let mut said = Self::default();
        while let Some(block) = reader.next_block() {
            match block.expect("a whole block").0 {
                Block::EnhancedPacket(packet) => {
                    said.packets += 1;
                    said.gaps.extend(packet.options.iter().filter_map(|option| match option {
                        EnhancedPacketOption::DropCount(count) => Some(*count),
                        _ => None,
                    }));
                }
                Block::InterfaceStatistics(statistics) => {
                    for option in &statistics.options {
                        match option {
                            InterfaceStatisticsOption::IsbIfRecv(count) => said.received += count,
                            InterfaceStatisticsOption::IsbOsDrop(count) => said.dropped += count,
                            InterfaceStatisticsOption::IsbUsrDeliv(count) => said.delivered += count,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        said
    }
}

#[test]
fn files_of_a_size_are_each_complete_and_together_all() {
    let lab = Lab::new(&Plan::default());
    let options = ["-o", "t.pcapng", "-C", "20K"];
    let finished = lab.start(&[&options[..], &send("500", "0")].concat()).wait().succeeded();
    assert!(finished.stderr.contains("\nFinished capturing 500 packets.\n"), "{}", finished.stderr);
    let files = files(&lab, "t_");
    assert!(files.len() >= 10, "{files:?}");
    let all: Vec<_> = files.iter().flat_map(numbers).collect();
    assert!(all.iter().copied().eq(0..500), "{all:?}");
    for (index, file) in files.iter().enumerate() {
        let name = file.path().file_name().expect("it has one").to_string_lossy().into_owned();
        assert!(name.starts_with(&format!("t_{:05}_2", index + 1)), "{name}");
        assert!(name.len() == "t_00001_20261124011500.pcapng".len() && name.ends_with(".pcapng"), "{name}");
        let len = fs::metadata(file.path()).expect("it is there").len();
        // One more packet, and the closing statistics.
        assert!(len <= (20 << 10) + 1000, "{name} has {len} bytes");
        let said = Said::by(file);
        assert_eq!((said.received, said.dropped, said.delivered), (said.packets, 0, said.packets), "{name}");
        assert_eq!(file.packets(), said.packets);
    }
}

#[test]
fn the_newest_files_are_kept() {
    let lab = Lab::new(&Plan::default());
    let options = ["-o", "t.pcap", "-C", "20K", "-W", "3"];
    lab.start(&[&options[..], &send("500", "0")].concat()).wait().succeeded();
    let files = files(&lab, "t_");
    assert_eq!(files.len(), 3);
    let kept: Vec<_> = files.iter().flat_map(numbers).collect();
    assert!(kept.len() > 50 && kept.iter().copied().eq(500 - kept.len() as u64..500), "{kept:?}");
}

#[test]
fn files_of_a_time_are_named_by_strftime() {
    let lab = Lab::new(&Plan::default());
    // Whatever the moment they begin at, files of two seconds do not begin in the same one.
    let options = ["-o", "t-%Y-%s.pcap", "-G", "2"];
    lab.start(&[&options[..], &send("100", "50")].concat()).wait().succeeded();
    let files = files(&lab, "t-20");
    // The sender takes its time where others are busy, too.
    let stamps: Vec<_> = files.iter().flat_map(seconds).collect();
    let spans = (stamps[stamps.len() - 1] - stamps[0]) / 2.0;
    let count = f64::from(u32::try_from(files.len()).expect("a few"));
    assert!((3.0..spans + 2.0).contains(&count), "{spans}: {files:?}");
    let all: Vec<_> = files.iter().flat_map(numbers).collect();
    assert!(all.iter().copied().eq(0..100), "{all:?}");
    for file in &files[1..] {
        let stamps = seconds(file);
        let span = stamps[stamps.len() - 1] - stamps[0];
        assert!(span < 2.0, "{span}");
        let name = file.path().to_string_lossy().into_owned();
        let second = stamps[0].floor();
        assert!(name.ends_with(&format!("-{second}.pcap")), "{name}: {second}");
    }
}

#[test]
fn a_name_that_stays_the_same_gets_a_number() {
    let lab = Lab::new(&Plan::default());
    let options = ["-o", "t-%Y.pcap", "-C", "20K"];
    lab.start(&[&options[..], &send("200", "0")].concat()).wait().succeeded();
    let mut all: Vec<_> = files(&lab, "t-20").iter().flat_map(numbers).collect();
    assert!(files(&lab, "t-20").len() > 3);
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..200), "{all:?}");
}

#[test]
fn a_file_of_somebody_else_is_not_overwritten_nor_its_link_followed() {
    let lab = Lab::new(&Plan::default());
    let options = ["-q", "-o", "t.pcap", "-C", "20K"];
    let lanes: Vec<_> = (0..3).map(|_| lab.start(&[&options[..], &send("100", "1")].concat())).collect();
    for lane in lanes {
        lane.wait().succeeded();
    }
    let all: usize = files(&lab, "t_").iter().map(|file| numbers(file).len()).sum();
    assert_eq!(all, 300, "three traces of the same name, and no file of one in another's way");
    let target = lab.dir.join("target");
    fs::write(&target, "precious").expect("our directory");
    std::os::unix::fs::symlink(&target, lab.dir.join("u-%.pcap")).expect("our directory");
    let refused = lab.start(&["-o", "u-%%.pcap", "-G", "5", "true"]).wait().ended_with(125);
    assert!(refused.stderr.contains("cannot write to"), "{}", refused.stderr);
    assert_eq!(fs::read(&target).expect("it is there"), b"precious");
}

#[test]
fn a_file_that_cannot_be_begun_does_not_stop_the_program() {
    let lab = Lab::new(&Plan::default());
    let script = "mkdir d; mount -t tmpfs -o size=2m,nr_inodes=3 none d; \
        exec $NT -o d/t.pcap -C 20K /usr/bin/python3 -I -S -c \"$SENDER\" 200 0";
    let finished = run(&lab, script).ended_with(125);
    assert!(finished.stderr.contains("No space left on device"), "{}", finished.stderr);
    assert!(finished.stderr.contains(" packets were captured but not written."), "{}", finished.stderr);
    let written: u64 = between(&finished.stderr, "Finished capturing ", " packets");
    let unwritten: u64 =
        between(at_the_end(&finished.stderr), "os error 28)\n", " packets were captured but");
    assert_eq!(written + unwritten, 200, "{}", finished.stderr);
}

/// What is said last. Of an error a program that is slow to end is told before, too.
fn at_the_end(stderr: &str) -> &str {
    stderr.split_once("Finished capturing ").expect("it was there").1
}

#[test]
fn limits_hold_without_a_file_too() {
    let lab = Lab::new(&Plan::default());
    let script = "mkdir d; mount -t tmpfs -o size=2m,nr_inodes=3 none d; \
        exec $NT -o d/t.pcap -C 20K -c 150 /usr/bin/python3 -I -S -c \"$SENDER\" 200 0";
    let finished = run(&lab, script).ended_with(125);
    let written: u64 = between(&finished.stderr, "Finished capturing ", " packets");
    let unwritten: u64 =
        between(at_the_end(&finished.stderr), "os error 28)\n", " packets were captured but");
    assert_eq!(written + unwritten, 150, "{}", finished.stderr);
}

#[test]
fn a_count_ends_the_recording_and_not_the_program() {
    let lab = Lab::new(&Plan::default());
    fs::write(lab.dir.join("send.py"), SENDER).expect("our directory");
    let script = "python3 send.py 50 0; until test -e go; do sleep 0.02; done; python3 send.py 50 0";
    let process = lab.start(&["-o", "t.pcapng", "-c", "7", "sh", "-c", script]);
    let file = CaptureFile::new(&lab.dir.join("t.pcapng"));
    until("the file is complete while the program runs", Duration::from_mins(1), || {
        process.stderr().contains("recorded 7 packets; the program goes on unrecorded").then_some(())
    });
    assert_eq!(numbers(&file), [0, 1, 2, 3, 4, 5, 6]);
    let said = Said::by(&file);
    assert_eq!((said.packets, said.received, said.delivered), (7, 7, 7));
    let name = lab.host.list("/run/netns").remove(0);
    let sockets = lab.host.sh(&format!("ip netns exec {name} ss -0 -H"));
    assert_eq!(sockets, "", "the ring is closed");
    fs::write(lab.dir.join("go"), "").expect("our directory");
    let finished = process.wait().succeeded();
    assert!(finished.stderr.contains("\nFinished capturing 7 packets.\n"), "{}", finished.stderr);
    until("the program went on", Duration::from_mins(1), || (lab.sink_count().0 == 100).then_some(()));
}

#[test]
fn a_count_that_is_not_reached_changes_nothing() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace_with(&["-c", "1000"], &send("20", "0"));
    assert_eq!((report.packets, report.notes), (20, vec![]));
}

#[test]
fn a_duration_ends_the_recording_with_everything_before() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace_with(&["--duration", "1"], &send("300", "10"));
    let numbers = numbers(&report.file);
    assert!((1..=200).contains(&numbers.len()), "{numbers:?}");
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "{numbers:?}");
}

#[test]
fn snaplen_cuts_every_packet_and_keeps_its_length() {
    let lab = Lab::new(&Plan::default());
    for filter in [&[][..], &["-f", "udp"]] {
        let report = lab.trace_with(&[&["-s", "60"], filter].concat(), &send("20", "0"));
        let lengths = report.file.fields("udp", &["frame.cap_len", "frame.len"]);
        assert_eq!(lengths, vec![vec!["60".to_owned(), "455".to_owned()]; 20]);
        assert!(report.file.capinfos(&["-l"]).contains("file hdr: 60 bytes"));
    }
}

#[test]
fn compressed_files_are_complete_too() {
    let lab = Lab::new(&Plan::default());
    let options = ["-o", "t.pcapng.gz", "-C", "50K"];
    lab.start(&[&options[..], &send("500", "0")].concat()).wait().succeeded();
    let files = files(&lab, "t_");
    assert!(files.len() >= 4, "{files:?}");
    let mut all = Vec::new();
    for file in &files {
        assert!(file.path().to_string_lossy().ends_with(".pcapng.gz"), "{file:?}");
        let packets = file.packets();
        lab.host.sh(&format!("gzip -t {0} && zcat {0} >{0}.pcapng", file.path().display()));
        let plain = CaptureFile::new(&lab.dir.join(&format!("{}.pcapng", file.path().display())));
        assert!(fs::metadata(file.path()).unwrap().len() < fs::metadata(plain.path()).unwrap().len() / 2);
        assert_eq!(Said::by(&plain).delivered, packets);
        all.extend(numbers(&plain));
    }
    assert!(all.iter().copied().eq(0..500), "{all:?}");
}
/// As many bytes as a small ring has no room for, and what each file and each gap says of it.
#[test]
fn what_a_small_ring_loses_is_told_where_it_was_lost() {
    let lab = Lab::new(&Plan::default());
    let server = lab.serve_iperf3();
    let script = "mkfifo slow.pcapng; (sleep 0.4; cat slow.pcapng >got.pcapng) & \
        $NT -B 1M -o slow.pcapng sh -c 'iperf3 -c 198.51.100.2 -n 60M >/dev/null; sleep 1; ping -c 1 198.51.100.2 >/dev/null'; status=$?; wait; exit $status";
    let finished = run(&lab, script).succeeded();
    server.wait().succeeded();
    let written: u64 = between(&finished.stderr, "Finished capturing ", " packets");
    let mut lines = finished.stderr.lines().filter_map(|line| line.strip_suffix(DROPPED));
    let dropped: u64 = lines.next().and_then(|number| number.parse().ok()).expect("a small ring loses");
    let said = Said::by(&CaptureFile::new(&lab.dir.join("got.pcapng")));
    assert_eq!((said.packets, said.delivered, said.dropped), (written, written, dropped));
    assert_eq!(said.received, written + dropped);
    assert!(dropped > 0 && !said.gaps.is_empty(), "{said:?}");
    assert_eq!(said.gaps.iter().sum::<u64>(), dropped, "packets came after the last gap: {said:?}");
}

/// Numbered datagrams over loopback, which a slow reader makes the ring lose some of, several times. Two of us at least are in the file
/// when the last gap has passed.
const FLOOD: &str = "
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('127.0.0.1', 9999))
r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); r.bind(('127.0.0.1', 9999))
for n in range(60000):
    s.send(b'number-%06d' % n + bytes(400))
    if n % 6000 == 0: time.sleep(0.1)
time.sleep(0.5); s.send(b'number-%06d' % 60000)
";

#[test]
fn every_gap_is_as_long_as_the_packet_behind_it_says() {
    let lab = Lab::new(&Plan::default());
    let script = "mkfifo slow.pcapng; python3 -c 'import sys, time
while True:
    piece = sys.stdin.buffer.read1(1 << 19)
    if not piece: break
    sys.stdout.buffer.write(piece); time.sleep(0.03)' <slow.pcapng >got.pcapng &
        $NT -q -B 1M -f udp -o slow.pcapng /usr/bin/python3 -I -S -c \"$FLOOD\"; status=$?; wait; exit $status";
    run(&lab, script).succeeded();
    let rows = numbers_and_gaps(&CaptureFile::new(&lab.dir.join("got.pcapng")));
    let mut expected = 0;
    let (mut gaps, mut wrong) = (0, Vec::new());
    let (mut all_lost, mut all_told) = (0, 0);
    for (number, told) in rows {
        let gap = number - expected;
        expected = number + 1;
        (all_lost, all_told) = (all_lost + gap, all_told + told);
        gaps += u64::from(gap > 0);
        if gap != told {
            wrong.push((number, gap, told));
        }
    }
    assert_eq!(expected, 60001, "the last one is in the file");
    assert_eq!(all_told, all_lost, "{wrong:?}");
    // Where we were not on the processor when it mattered, some of one gap are told with its neighbour, and both are off.
    assert!(gaps >= 5 && wrong.len() as u64 <= 2 * gaps.div_ceil(10), "{} of {gaps}: {wrong:?}", wrong.len());
}

/// The number of each datagram, and how many packets were lost before it.
fn numbers_and_gaps(file: &CaptureFile) -> Vec<(u64, u64)> {
    let mut reader = PcapNgReader::new(File::open(file.path()).expect("it is there")).expect("pcapng");
    let mut rows = Vec::new();
    while let Some(block) = reader.next_block() {
        let Block::EnhancedPacket(packet) = block.expect("a whole block").0 else { continue };
        let text = String::from_utf8_lossy(&packet.data).into_owned();
        let number = text.split("number-").nth(1).and_then(|rest| rest.get(..6)?.parse().ok());
        let told = packet.options.iter().find_map(|option| match option {
            EnhancedPacketOption::DropCount(count) => Some(*count),
            _ => None,
        });
        rows.push((number.expect("a datagram of ours"), told.unwrap_or(0)));
    }
    rows
}

/// Longer segments than any file format takes: recorded up to 262144 bytes, with their true length.
#[test]
fn big_tcp_is_cut_at_what_readers_take() {
    let lab = Lab::new(&Plan::default());
    let script = "ip link set lo gso_max_size 400000 gro_max_size 400000
        echo 4096 8000000 16000000 | tee /proc/sys/net/ipv4/tcp_wmem >/proc/sys/net/ipv4/tcp_rmem
        exec /usr/bin/python3 -I -S -c \"$BIG\"";
    let script = format!("BIG='{BIG_SENDER}'\n{script}");
    let report = lab.trace_sh(&script);
    let lengths = report.file.fields("frame.len > 300000", &["frame.cap_len", "frame.len"]);
    assert!(!lengths.is_empty(), "BIG TCP makes such segments over loopback");
    for length in lengths {
        let [captured, original] = [0, 1].map(|field| length[field].parse::<u32>().expect("a length"));
        assert!(captured == 262_144 && original <= 400_200, "{captured} of {original}");
    }
    assert_eq!(report.file.tcpdump(&["-t"], "").len() as u64, report.packets, "tcpdump reads it to the end");
}

const BIG_SENDER: &str = "
import socket, threading
s = socket.create_server((\"::1\", 7000), family=socket.AF_INET6)
def serve():
    c, _ = s.accept()
    while c.recv(1 << 22): pass
t = threading.Thread(target=serve); t.start()
c = socket.create_connection((\"::1\", 7000))
for _ in range(4): c.sendall(bytes(1 << 23))
c.close(); t.join()
";

#[test]
fn what_is_asked_for_wrongly_is_told_before_anything_is_touched() {
    let lab = Lab::new(&Plan::default());
    for (options, words) in [
        (&["-W", "3"][..], "-C or -G"),
        (&["-C", "1", "-o", "nowhere/t.pcap"], "cannot write to 'nowhere/t.pcap'"),
        (&["-C", "1", "-o", "folder/"], "cannot write to 'folder/'"),
        (&["-C", "1", "-o", "/dev/null"], "beside a regular file only"),
        (&["-C", "x"], "'x' is not a size"),
        (&["--buffer", "9999999G"], "is not between"),
        (&["--buffer", "900G"], "more than half of this machine's memory"),
        (&["--duration", "soon"], "'soon' is not a time"),
    ] {
        let finished = lab.start(&[options, &["true"]].concat()).wait().ended_with(125);
        assert!(finished.stderr.contains(words), "{options:?}: {}", finished.stderr);
    }
    assert!(files(&lab, "").iter().all(|file| !file.path().to_string_lossy().contains("pcap")));
}

/// Runs a bash script on the host, `$NT` being nsntrace, `$SENDER` and `$FLOOD` the programs.
fn run(lab: &Lab, script: &str) -> nsntrace_testkit::Finished {
    let mut command = std::process::Command::new("bash");
    command.args(["-c", script]).current_dir(lab.dir.path());
    command
        .env("NT", nsntrace_testkit::nsntrace())
        .env("SENDER", SENDER)
        .env("FLOOD", FLOOD)
        .stdin(std::process::Stdio::null());
    lab.host.spawn(command).wait()
}

/// Behind a number.
const DROPPED: &str = " packets were dropped by the kernel: they came faster than they could be written.";

#[track_caller]
fn between(text: &str, before: &str, after: &str) -> u64 {
    let number = text.split(before).nth(1).and_then(|rest| rest.split(after).next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {before}N{after} in {text}"))
}
