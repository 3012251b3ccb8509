//! Counting: what was sent is in the file, no more and no less, down to the first packet and the last.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nsntrace_testkit::{CaptureFile, Lab, Plan, until};

const PACKETS: u64 = 10_000;

/// Sends numbered datagrams, with a pause now and then for the sink's sake, and says how many left.
const SENDER: &str = "
import socket, sys, time
family, host = sys.argv[1:3]
s = socket.socket(socket.AF_INET6 if family == '6' else socket.AF_INET, socket.SOCK_DGRAM); s.connect((host, 9))
sent = 0
for n in range(10000):
    sent += s.send(b'%08d' % n) == 8
    if n % 100 == 99: time.sleep(0.001)
print(sent)
";

#[test]
fn ten_thousand_datagrams_over_ipv4() {
    ten_thousand("4", "198.51.100.2", "udp dst port 9 and ip");
}

#[test]
fn ten_thousand_datagrams_over_ipv6() {
    ten_thousand("6", "2001:db8:1::2", "udp dst port 9 and ip6");
}

/// The sender's count is the sink's count is the file's count, and each number is there once.
#[track_caller]
fn ten_thousand(family: &str, host: &str, filter: &str) {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace(&["/usr/bin/python3", "-I", "-S", "-c", SENDER, family, host]);
    assert_eq!(report.stdout(), format!("{PACKETS}\n"));
    assert_eq!(report.notes, Vec::<String>::new());
    assert_eq!(report.file.tcpdump(&["-t"], filter).len() as u64, PACKETS);
    let payloads = report.file.field("udp.dstport == 9", "udp.payload");
    let expected: Vec<_> = (0..PACKETS).map(|n| hex(&format!("{n:08}"))).collect();
    assert!(payloads == expected, "each number once and in order");
    until("the sink has them all", Duration::from_mins(1), || {
        (lab.sink_count() == (PACKETS, PACKETS)).then_some(())
    });
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// Asks the generator for datagrams and counts them as they come, until the last one.
const RECEIVER: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)
s.settimeout(5); s.sendto(b'10000 1200', ('198.51.100.2', 19))
seen = 0
while seen < 10000: seen += len(s.recv(2000)) == 1200
print(seen)
";

#[test]
fn ten_thousand_datagrams_received() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace(&["/usr/bin/python3", "-I", "-S", "-c", RECEIVER]);
    assert_eq!(report.stdout(), format!("{PACKETS}\n"));
    assert_eq!(report.file.tcpdump(&["-t"], "udp src port 19").len() as u64, PACKETS);
    assert_eq!(report.file.tcpdump(&["-t"], "udp dst port 19").len(), 1);
}

/// Sends as fast as it can and exits at once: the last packets are still in the kernel when it has gone.
const BURST: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('198.51.100.2', 9))
for n in range(3000): s.send(b'%08d' % n)
";

#[test]
fn a_burst_before_the_exit_is_whole() {
    let lab = Lab::new(&Plan::default());
    for round in 0..20 {
        let report = lab.trace(&["/usr/bin/python3", "-I", "-S", "-c", BURST]);
        let lines = report.file.tcpdump(&["-t"], "udp dst port 9");
        assert_eq!(lines.len(), 3000, "round {round}: {:?}", report.notes);
    }
}

#[test]
fn the_answer_in_flight_when_a_tcp_client_exits_is_there() {
    let lab = Lab::new(&Plan::default());
    for round in 0..20 {
        let report = lab.trace(&["curl", "-s", "-o", "/dev/null", "http://198.51.100.2/bytes/1000"]);
        let fins = report.file.tcpdump(&["-t"], "tcp[tcpflags] & tcp-fin != 0");
        assert_eq!(
            fins.len(),
            2,
            "round {round}: both ends said goodbye: {:#?}",
            report.file.tcpdump(&["-t"], "tcp")
        );
    }
}

/// 500 programs that send one packet and are gone, four at a time so that they disturb each other.
#[test]
fn five_hundred_single_packets() {
    let lab = Lab::new(&Plan::default());
    let next = AtomicUsize::new(0);
    let lane = || {
        let numbers = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < RUNS));
        numbers.filter_map(|n| one_packet(&lab, n).err()).collect::<Vec<_>>()
    };
    let wrong: Vec<_> = thread::scope(|scope| {
        let lanes = [(); 4].map(|()| scope.spawn(lane));
        lanes.into_iter().flat_map(|lane| lane.join().expect("no panic in a lane")).collect()
    });
    let (_, arrived) = lab.sink_count();
    assert!(wrong.is_empty(), "{} of {RUNS} wrong, {arrived} arrived; the first:\n{}", wrong.len(), wrong[0]);
    until("the sink has them all", Duration::from_mins(1), || {
        (lab.sink_count() == (RUNS as u64, RUNS as u64)).then_some(())
    });
}

/// Sends one packet with the run's number in it and insists that it is in the file, once. The error is what is in the file.
fn one_packet(lab: &Lab, n: usize) -> Result<(), String> {
    let file = format!("{n}.pcap");
    let script = format!("printf packet-{n:04} > /dev/udp/198.51.100.2/9");
    let finished = lab.start(&["-o", &file, "bash", "-c", &script]).wait().succeeded();
    let file = CaptureFile::new(&lab.dir.join(&file));
    let text = file.tcpdump(&["-A"], "").join("\n");
    std::fs::remove_file(file.path()).expect("just read");
    let count = text.matches(&format!("packet-{n:04}")).count();
    if count == 1 { Ok(()) } else { Err(format!("run {n}: {}{text}", finished.stderr)) }
}

const RUNS: usize = 500;

/// As much as TCP can carry, and how many packets the kernel counted on the program's own device meanwhile. Before that it counted
/// those by which the firewall was tried. No packet comes any more when no connection closes any more.
const OVERLOAD: &str = "passed() { ip -j -s link show eth0 | jq '.[0].stats64 | .rx.packets + .tx.packets'; }
before=$(passed)
iperf3 -c 198.51.100.2 -t 1 -P 2 >/dev/null; until test -z \"$(ss -Htn)\"; do sleep 0.05; done
echo $(($(passed) - before))";

#[test]
fn what_is_written_and_what_is_dropped_is_all_there_was() {
    let lab = Lab::new(&Plan::default());
    let server = lab.serve_iperf3();
    let report = lab.trace_sh(OVERLOAD);
    server.wait().succeeded();
    let passed: u64 = report.stdout().trim().parse().expect("a number");
    let dropped: u64 =
        report.notes.iter().filter_map(|line| line.split(' ').next()?.parse::<u64>().ok()).sum();
    assert_eq!(report.packets + dropped, passed, "{:?}", report.notes);
}
