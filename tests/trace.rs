//! What is in the file: every protocol, both families, loopback, frames of every size, each packet once.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::net::Ipv6Addr;
use std::time::Duration;

use nsntrace_testkit::{CaptureFile, HOST4, Lab, Plan, Report, WAN4, WAN6, until};

/// tshark's word for data that was acknowledged and is not in the file. (What the network loses is sent again, and is no fault.)
const LOST: &str = "tcp.analysis.ack_lost_segment";

#[test]
fn smoke_tcp_over_ipv4() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace(&["curl", "-s", "http://198.51.100.2/whoami"]);
    assert_eq!(report.stdout(), format!("{HOST4}\n"), "the internet sees the host's address");
    assert_eq!((report.program.as_str(), report.interface.as_str()), ("curl", "up0"));
    assert_eq!(report.notes, Vec::<String>::new());
    check_whole_http(&report, &format!("ip.src == {} and ip.dst == {WAN4}", report.address4));
}

#[test]
fn smoke_tcp_over_ipv6() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace(&["curl", "-s", "http://[2001:db8:1::2]/whoami"]);
    assert_eq!(report.stdout(), "2001:db8:1::1\n");
    let address6 = report.address6.clone().expect("the host has IPv6, so the trace has");
    check_whole_http(&report, &format!("ipv6.src == {address6} and ipv6.dst == {WAN6}"));
}

#[test]
fn wget_saves_what_the_server_sent() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace(&["wget", "-q", "-O", "page", "http://www.lab.test/bytes/300000"]);
    assert_eq!(std::fs::metadata(lab.dir.join("page")).expect("wget wrote it").len(), 300_000);
    check_whole_http(&report, "tcp.dstport == 80");
}

/// A request, its answer, three-way handshake first, and nothing between missing.
#[track_caller]
fn check_whole_http(report: &Report, towards: &str) {
    let file = &report.file;
    let flags = file.field(towards, "tcp.flags.syn");
    assert_eq!(flags.first().map(String::as_str), Some("1"), "the first packet is the SYN");
    assert_eq!(file.count(&format!("{towards} and http.request")), 1);
    assert_eq!(file.count("http.response.code == 200"), 1);
    assert_eq!(file.count("tcp.flags.syn == 1"), 2);
    assert_eq!(file.count("tcp.flags.fin == 1"), 2, "the close is there too, both ways");
    assert_eq!(file.count(LOST), 0);
}

#[test]
fn udp_both_ways() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace_sh("echo four | nc -u -w1 198.51.100.2 7; echo six | nc -u -w1 2001:db8:1::2 7");
    assert_eq!(report.stdout(), "four\nsix\n");
    let payload = |filter| report.file.field(filter, "udp.payload");
    assert_eq!(payload("udp and ip.addr == 198.51.100.2"), ["666f75720a", "666f75720a"]);
    assert_eq!(payload("udp and ipv6.addr == 2001:db8:1::2"), ["7369780a", "7369780a"]);
}

#[test]
fn smoke_icmp_both_families() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace_sh("ping -q -c3 -i0.1 198.51.100.2; ping -6 -q -c3 -i0.1 2001:db8:1::2");
    let count = |filter| report.file.count(filter);
    assert_eq!((count("icmp.type == 8"), count("icmp.type == 0")), (3, 3));
    assert_eq!((count("icmpv6.type == 128"), count("icmpv6.type == 129")), (3, 3));
}

#[test]
fn icmp_errors_of_the_internet_reach_the_program() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace_sh("! nc -z 198.51.100.2 1; echo x | nc -u -w1 198.51.100.2 1 || true");
    assert_eq!(report.file.count("tcp.flags.reset == 1 and tcp.srcport == 1"), 1);
    assert!(report.file.count("icmp.type == 3 and icmp.code == 3") >= 1);
}

#[test]
fn loopback_is_in_the_file_and_each_packet_once() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace(&["/usr/bin/python3", "-I", "-S", "-c", TALK_TO_YOURSELF]);
    assert_eq!(report.file.count("udp.dstport == 4444 and ip.dst == 127.0.0.1"), 5);
    assert_eq!(report.file.count("udp.dstport == 4444 and ipv6.dst == ::1"), 5);
    assert_eq!(report.packets, 10);
}

const TALK_TO_YOURSELF: &str = "
import socket
for family, address in [(socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')]:
    s = socket.socket(family, socket.SOCK_DGRAM); s.bind((address, 4444))
    for n in range(5): s.sendto(b'%d' % n, (address, 4444)); assert s.recv(9) == b'%d' % n
";

#[test]
fn a_program_that_sends_nothing_has_an_empty_file() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace(&["true"]);
    assert_eq!(report.packets, 0, "{:?}", report.file.tcpdump(&[], ""));
    assert_eq!(report.program, "true");
}

#[test]
fn packets_of_others_are_not_in_the_file() {
    let lab = Lab::new(&Plan::default());
    let mut ping = std::process::Command::new("ping");
    ping.args(["-q", "-i0.01", "198.51.100.2"]);
    let noise = lab.host.spawn(ping);
    let report = lab.trace(&["curl", "-s", "http://198.51.100.2/"]);
    drop(noise);
    assert_eq!(report.file.count("icmp"), 0);
    let expected = format!("not (ip.addr == {} or arp)", report.address4);
    assert_eq!(report.file.count(&expected), 0);
}

#[test]
fn segmentation_offload_is_whole() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace(&["curl", "-s", "-o", "got", "http://198.51.100.2/bytes/8000000"]);
    assert_eq!(report.notes, Vec::<String>::new(), "nothing is lost of what the ring can hold");
    assert_eq!(report.file.count(LOST), 0);
    let cut = report.file.field("frame.cap_len != frame.len", "frame.number");
    assert_eq!(cut, Vec::<String>::new(), "no frame is cut");
    assert!(report.file.count("frame.len > 1514") > 0, "offload makes frames longer than the MTU");
    check_export(&lab, &report.file);
}

/// The object that tshark puts together from the file is what curl saved.
#[track_caller]
fn check_export(lab: &Lab, file: &CaptureFile) {
    let objects = lab.dir.join("objects");
    // Two processors that receive for one connection may do so out of order.
    let script = format!(
        "tshark -n -q -o tcp.reassemble_out_of_order:TRUE -r {} --export-objects http,{} 2>/dev/null",
        file.path().display(),
        objects.display()
    );
    lab.host.sh(&script);
    let exported = std::fs::read(objects.join("8000000")).expect("tshark names it like the URL's end");
    let saved = std::fs::read(lab.dir.join("got")).expect("curl saved it");
    assert!(exported == saved, "{} bytes in the file, {} in the program", exported.len(), saved.len());
}

#[test]
fn large_uploads_are_whole_too() {
    let lab = Lab::new(&Plan::default());
    let report =
        lab.trace_sh("head -c 3000000 /dev/urandom | tee sent | nc -N 198.51.100.2 7 > back; cmp sent back");
    assert_eq!(report.notes, Vec::<String>::new());
    assert_eq!(report.file.count(LOST), 0);
    assert_eq!(end_of_stream(&report.file, "ip.dst == 198.51.100.2"), 3_000_001);
    assert_eq!(end_of_stream(&report.file, "ip.src == 198.51.100.2"), 3_000_001);
}

/// The relative sequence number up to which a TCP stream is in the file without a gap. Data starts at 1.
fn end_of_stream(file: &CaptureFile, filter: &str) -> u64 {
    let number = |field: &String| field.parse::<u64>().expect("a number");
    let segments = file.fields(&format!("{filter} and tcp.len > 0"), &["tcp.seq", "tcp.len"]);
    let mut ranges: Vec<_> =
        segments.iter().map(|s| (number(&s[0]), number(&s[0]) + number(&s[1]))).collect();
    ranges.sort_unstable();
    ranges.into_iter().fold(1, |end, (first, next)| if first <= end { end.max(next) } else { end })
}

#[test]
fn iperf3_runs_and_the_count_is_honest() {
    let lab = Lab::new(&Plan::default());
    let server = lab.serve_iperf3();
    // Report::new compares the count in the message with the file's, drops or not.
    let report = lab.trace(&["iperf3", "-c", "198.51.100.2", "-t", "1", "-b", "2G"]);
    server.wait().succeeded();
    assert!(report.packets > 100, "{}", report.packets);
}

#[test]
fn vlan_tags_are_in_the_file() {
    let lab = Lab::new(&Plan::default());
    let script = format!(
        "touch up; until test -e sent; do sleep 0.02; done; /usr/bin/python3 -I -S -c '{SEND_TAGGED}' 8"
    );
    let process = lab.start(&["-o", "trace.pcap", "sh", "-ec", &script]);
    let up = lab.dir.join("up");
    until("the program runs", Duration::from_mins(1), || up.exists().then_some(()));
    // The tag of a received frame is not in its bytes any more when it comes to a packet socket.
    lab.host.sh(&format!("/usr/bin/python3 -I -S -c '{SEND_TAGGED}' 7"));
    std::fs::write(lab.dir.join("sent"), "").expect("our directory");
    let report = Report::new(process.wait().succeeded(), &lab.dir.join("trace.pcap"));
    let tagged = report.file.fields("vlan", &["vlan.id", "vlan.priority", "vlan.etype", "frame.len"]);
    assert_eq!(tagged, [["7", "5", "0x88b5", "64"], ["8", "5", "0x88b5", "64"]]);
}

/// Sends one broadcast frame of 64 bytes with a tag (priority 5, the id given) from the one veth that is not the lab's own.
const SEND_TAGGED: &str = "
import os, socket, struct, sys
[name] = [n for n in os.listdir(\"/proc/sys/net/ipv4/conf\") if n not in (\"all\", \"default\", \"lo\", \"up0\")]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((name, 0))
s.send(b\"\\xff\" * 6 + b\"\\x02\" * 6 + struct.pack(\"!HHH\", 0x8100, 5 << 13 | int(sys.argv[1]), 0x88b5) + bytes(46))
";

#[test]
fn stamps_rise_and_have_nanoseconds() {
    let lab = Lab::new(&Plan::default());
    let before = nanoseconds(lab.host.sh("date +%s.%N").trim());
    let report = lab.trace(&["curl", "-s", "http://198.51.100.2/bytes/200000"]);
    let after = nanoseconds(lab.host.sh("date +%s.%N").trim());
    let mut stamps: Vec<_> = vec![before];
    stamps.extend(report.file.field("", "frame.time_epoch").iter().map(|stamp| nanoseconds(stamp)));
    stamps.push(after);
    assert!(stamps.is_sorted(), "{stamps:?}");
    assert!(stamps[1..stamps.len() - 1].iter().any(|stamp| stamp % 1000 != 0));
    assert!(report.file.capinfos(&["-E"]).contains("Ethernet"));
}

/// `SECONDS.NNNNNNNNN` as a number.
fn nanoseconds(stamp: &str) -> u64 {
    let (seconds, fraction) = stamp.split_once('.').expect("a fraction");
    assert_eq!(fraction.len(), 9, "{stamp}");
    format!("{seconds}{fraction}").parse().expect("digits")
}

#[test]
fn addresses_in_the_messages_are_the_programs() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace_sh("ip -j addr | jq -r '.[].addr_info[] | select(.scope == \"global\") | .local'");
    let text = report.stdout();
    let mut addresses = text.lines();
    assert_eq!(addresses.next(), Some(report.address4.as_str()));
    assert_eq!(addresses.next(), report.address6.as_deref());
    assert!(report.address4.starts_with("10."), "{}", report.address4);
}

#[test]
fn the_mtu_is_the_uplinks() {
    let lab = Lab::new(&Plan { mtu: 1400, ..Plan::default() });
    let report = lab.trace_sh(
        "dev=$(ip -j route show default | jq -r '.[0].dev')
         ip -j link show $dev | jq '.[0].mtu'
         ! ping -q -c1 -M do -s 1400 198.51.100.2 >/dev/null 2>&1
         ping -q -c1 -W2 -M do -s 1372 198.51.100.2 >/dev/null",
    );
    assert_eq!(report.stdout(), "1400\n");
}

#[test]
fn without_ipv6_on_the_host_there_is_none_in_the_trace() {
    let lab = Lab::new(&Plan { ipv6: false, ..Plan::default() });
    let report =
        lab.trace_sh("! curl -s --max-time 5 -o /dev/null -w '%{time_total}' http://[2001:db8:1::2]/");
    assert_eq!(report.address6, None);
    let seconds: f64 = report.stdout().parse().expect("curl's clock");
    assert!(seconds < 4.0, "an address without a route fails at once, not after {seconds} s");
}

#[test]
fn the_first_packet_of_a_program_does_not_wait_for_duplicate_address_detection() {
    let lab = Lab::new(&Plan::default());
    // Whoever waits for it does so each time; a busy machine is slow now and then.
    let mut seconds = (0..10).map(|_| -> f64 {
        let curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{time_total}", "http://[2001:db8:1::2]/"];
        lab.trace(&curl).stdout().parse().expect("curl's clock")
    });
    assert!(seconds.any(|seconds| seconds < 0.5), "not once within half a second");
}

/// Else the first answer vanishes where many start at once. The kernel has addresses that are taken in beside its other routes, ipv6_route in proc(5).
#[test]
fn what_comes_for_the_program_is_taken_in_from_its_start() {
    let lab = Lab::new(&Plan::default());
    for net in ["nat", "proxy"] {
        let start = |n: usize| {
            let file = format!("{n}.pcap");
            (lab.start(&["--net", net, "-o", &file, "cat", "/proc/net/ipv6_route"]), file)
        };
        let started: Vec<_> = (0..20).map(start).collect();
        for (process, file) in started {
            let report = Report::new(process.wait().succeeded(), &lab.dir.join(&file));
            let address: Ipv6Addr =
                report.address6.as_deref().expect("it has one").parse().expect("an address");
            let itself = format!("{:032x} 80 ", u128::from(address));
            let routes = report.stdout();
            assert!(
                routes.lines().any(|line| line.starts_with(&itself) && line.ends_with("eth0")),
                "{net}: {routes}"
            );
        }
    }
}

#[test]
fn the_wire_is_quiet_but_for_the_program() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace(&["sleep", "1"]);
    let lines = report.file.tcpdump(&[], "");
    assert!(lines.is_empty(), "a program that sends nothing for a second: {lines:#?}");
}

#[test]
fn two_traces_at_once_do_not_see_each_other() {
    let lab = Lab::new(&Plan::default());
    let one = lab.start(&["-o", "one.pcap", "ping", "-q", "-c3", "-i0.1", "198.51.100.10"]);
    let two = lab.start(&["-o", "two.pcap", "ping", "-q", "-c3", "-i0.1", "198.51.100.11"]);
    let one = Report::new(one.wait().succeeded(), &lab.dir.join("one.pcap"));
    let two = Report::new(two.wait().succeeded(), &lab.dir.join("two.pcap"));
    assert_ne!(one.address4, two.address4);
    let peers =
        |report: &Report| report.file.field("icmp.type == 8", "ip.dst").into_iter().collect::<HashSet<_>>();
    assert_eq!(peers(&one), HashSet::from(["198.51.100.10".to_owned()]));
    assert_eq!(peers(&two), HashSet::from(["198.51.100.11".to_owned()]));
}

#[test]
fn without_offload_frames_are_as_on_a_wire() {
    let lab = Lab::new(&Plan::default());
    let script = "curl -s -o got http://198.51.100.2/bytes/3000000
        curl -s -g -o /dev/null http://[2001:db8:1::2]/bytes/100000
        head -c 500000 /dev/urandom | nc -N 198.51.100.2 7 >echoed";
    let report = lab.trace_with(&["--no-offload"], &["bash", "-c", script]);
    assert_eq!(report.file.count("frame.len > 1514"), 0, "no frame is longer than the MTU");
    let options =
        ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"];
    // For a sum of 0 the kernel writes 0xffff (`CSUM_MANGLED_0`), which adds up to the same, and which tshark does not like.
    let wrong =
        "eth.type && (ip.checksum.status == 0 || (tcp.checksum.status == 0 && !(tcp.checksum == 0xffff)))";
    let mut command = std::process::Command::new("tshark");
    command.args(options).args(["-n", "-Y", wrong, "-r"]).arg(report.file.path());
    let output = command.output().expect("tshark is needed");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "every checksum is right");
    assert!(report.file.count("tcp.checksum.status") > 1000 && report.packets > 2000, "{}", report.packets);
}
