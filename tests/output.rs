//! Where the capture goes, and what happens when it cannot go there.
#![forbid(unsafe_code)]

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use nsntrace_testkit::{CaptureFile, Lab, Plan, Process, Report, nsntrace, until};

/// Runs a bash script on the host in the test's directory, `$NT` being nsntrace.
fn bash(lab: &Lab, script: &str) -> Process {
    let mut command = Command::new("bash");
    command.args(["-c", script]).current_dir(lab.dir.path()).env("NT", nsntrace()).stdin(Stdio::null());
    lab.host.spawn(command)
}

#[test]
fn smoke_dash_into_tshark() {
    let lab = Lab::new(&Plan::default());
    let script = "set -o pipefail
        $NT -o - sh -c 'curl -s http://198.51.100.2/; echo err >&2' 2>said | tshark -n -Y http -r - 2>/dev/null";
    let text = bash(&lab, script).wait().succeeded().text();
    assert!(text.contains("GET / HTTP/1.1") && text.contains("HTTP/1.1 200 OK"), "{text}");
    let said = std::fs::read_to_string(lab.dir.join("said")).expect("bash made it");
    assert!(said.contains("hello from the lab\n"), "the program's stdout goes to stderr: {said}");
    assert!(said.contains("err\n") && said.contains("Finished capturing "), "{said}");
}

#[test]
fn dash_carries_the_capture_alone() {
    let lab = Lab::new(&Plan::default());
    let script = "curl -s http://198.51.100.2/; ping -q -c2 -i0.1 198.51.100.2";
    let finished = lab.start(&["-o", "-", "sh", "-c", script]).wait().succeeded();
    assert_eq!(finished.stdout[..4], [0x4d, 0x3c, 0xb2, 0xa1], "nanosecond magic of pcap, little endian");
    let path = lab.dir.join("stdout.pcap");
    std::fs::write(&path, &finished.stdout).expect("our directory");
    Report::new(finished, &path);
}

#[test]
fn a_format_is_what_was_asked_for_whatever_the_name_is() {
    let lab = Lab::new(&Plan::default());
    let script = "set -e; ping='ping -q -c1 198.51.100.2'
        $NT -q --format pcapng -o - $ping 2>/dev/null | tshark -n -r - -c1 -T fields -e frame.interface_name 2>/dev/null
        $NT -q --format pcapng -o x.pcap $ping >/dev/null; capinfos -t x.pcap
        $NT -q --format pcap -o x.pcapng $ping >/dev/null; capinfos -t x.pcapng";
    let text = bash(&lab, script).wait().succeeded().text();
    let said: Vec<_> = text.lines().filter(|line| !line.starts_with("File name")).collect();
    assert_eq!(
        said,
        [
            "eth0",
            "File type:           Wireshark/... - pcapng",
            "File type:           Wireshark/tcpdump/... - nanosecond pcap"
        ]
    );
}

#[test]
fn dash_is_written_as_packets_come() {
    let lab = Lab::new(&Plan::default());
    let script = "$NT -q -o - sh -c 'ping -q -c1 198.51.100.2 >/dev/null; sleep 200' \
                  | timeout 190 tcpdump -nn -l -c2 -r - 2>/dev/null";
    let process = bash(&lab, script);
    until("a reader sees the ping before the program ends", Duration::from_mins(1), || {
        String::from_utf8_lossy(&process.stdout()).contains("ICMP echo reply").then_some(())
    });
}

/// What comes fast is collected before it is written; when nothing more comes it is in the file, though the program goes on.
#[test]
fn what_came_fast_is_in_the_file_when_silence_comes() {
    let lab = Lab::new(&Plan::default());
    let script = "import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('198.51.100.2', 9)); start = time.time(); n = 0
while n < 10000:
    # Twenty a millisecond, and a machine that was busy with others catches up.
    for _ in range(min(200, int(20000 * (time.time() - start)) - n)): s.send(bytes(1400)); n += 1
    time.sleep(0.001)
print(n, flush=True); time.sleep(300)";
    let python = ["/usr/bin/python3", "-I", "-S", "-c", script];
    let arguments = [["-f", "udp", "-o", "fast.pcap"].as_slice(), &python].concat();
    let process = lab.start(&arguments);
    let sent: usize = until("all is sent", Duration::from_mins(1), || {
        String::from_utf8_lossy(&process.stdout()).trim().parse().ok()
    });
    let path = lab.dir.join("fast.pcap");
    until("all is in the file", Duration::from_mins(1), || {
        let length = std::fs::metadata(&path).expect("it was made").len();
        // Head, then head, Ethernet, IPv4 and UDP for each.
        (length == 24 + sent as u64 * (16 + 14 + 20 + 8 + 1400)).then_some(())
    });
    assert_eq!(CaptureFile::new(&path).tcpdump(&[], "udp port 9").len(), sent);
    process.signal(15);
    process.wait();
}

#[test]
fn the_default_file_and_its_directory() {
    let lab = Lab::new(&Plan::default());
    let finished = lab.start(&["ping", "-q", "-c1", "198.51.100.2"]).wait().succeeded();
    let report = Report::new(finished, &lab.dir.join("nsntrace.pcap"));
    assert_eq!(report.file.count("icmp"), 2);
    assert!(report.file.capinfos(&["-t"]).contains("nanosecond"), "{}", report.file.capinfos(&["-t"]));
}

#[test]
fn the_programs_own_chdir_does_not_move_the_file() {
    let lab = Lab::new(&Plan::default());
    lab.start(&["sh", "-c", "cd /; ping -q -c1 198.51.100.2"]).wait().succeeded();
    assert_eq!(CaptureFile::new(&lab.dir.join("nsntrace.pcap")).count("icmp"), 2);
}

#[test]
fn smoke_pcapng_when_the_name_says_so() {
    let lab = Lab::new(&Plan::default());
    let script = "ping -q -c1 198.51.100.2; ping -q -c1 127.0.0.1";
    let finished = lab.start(&["-o", "x.pcapng", "sh", "-c", script]).wait().succeeded();
    let report = Report::new(finished, &lab.dir.join("x.pcapng"));
    assert!(report.file.capinfos(&["-t"]).contains("pcapng"), "{}", report.file.capinfos(&["-t"]));
    assert_eq!(report.file.count("icmp"), 4);
    let interfaces = report.file.field("ip.addr == 127.0.0.1", "frame.interface_name");
    assert_eq!(interfaces, ["lo", "lo"]);
    assert!(!report.file.tcpdump(&[], "icmp").is_empty(), "tcpdump reads it too: one link type, one snaplen");
}

#[test]
fn an_old_file_is_replaced() {
    let lab = Lab::new(&Plan::default());
    std::fs::write(lab.dir.join("trace.pcap"), vec![b'x'; 1_000_000]).expect("our directory");
    let report = lab.trace(&["ping", "-q", "-c1", "198.51.100.2"]);
    assert_eq!(report.file.count("icmp"), 2);
}

#[test]
fn a_named_pipe_will_do() {
    let lab = Lab::new(&Plan::default());
    let script = "mkfifo p; tcpdump -nn -r p icmp 2>/dev/null > read & \
                  $NT -q -o p ping -q -c2 -i0.1 198.51.100.2; status=$?; wait; wc -l < read; exit $status";
    let text = bash(&lab, script).wait().succeeded().text();
    assert!(text.ends_with("4\n"), "{text}");
}

/// What is said of a loss names a number, and the number is the rest.
#[track_caller]
fn lost(report: &Report) -> u64 {
    let digits =
        |line: &String| line.split(|c: char| !c.is_ascii_digit()).find_map(|n| n.parse::<u64>().ok());
    assert!(!report.notes.is_empty(), "a loss is told: {}", report.finished.stderr);
    report.notes.iter().filter(|line| line.contains("packets were")).filter_map(digits).sum()
}

#[test]
fn a_full_disk_does_not_stop_the_program() {
    let lab = Lab::new(&Plan::default());
    // More than two blocks of the ring: of one that does not fit nothing may be left.
    let disk = lab.dir.join("disk");
    lab.host.sh(&format!("mkdir {0}; mount -t tmpfs -o size=3m tmpfs {0}", disk.display()));
    for name in ["x.pcap", "x.pcapng"] {
        // The file is on a mount that the machine alone sees, so it is copied out before it is read.
        let path = disk.join(name);
        let program = [
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{size_download}\n",
            "http://198.51.100.2/bytes/5000000",
        ];
        let options = ["-o", path.to_str().expect("a plain path")];
        // The program is fine, the file is not: 125 where the program says 0.
        let finished = lab.start(&[&options[..], &program[..]].concat()).wait().ended_with(125);
        assert_eq!(finished.text(), "5000000\n", "the program ran on");
        let copy = lab.dir.join(name);
        lab.host.sh(&format!("cp {} {}; rm {}", path.display(), copy.display(), path.display()));
        let report = Report::new(finished, &copy);
        assert!(report.finished.stderr.contains("No space left on device"), "{}", report.finished.stderr);
        assert!(lost(&report) > 0);
        assert!(report.packets > 0, "what fitted is there");
    }
}

/// Descriptors run out at every step of the set-up, one after the other.
#[test]
fn a_trace_that_does_not_come_about_costs_nobody_the_last_one() {
    let lab = Lab::new(&Plan::default());
    let path = lab.dir.join("old.pcap");
    let (mut failed, mut traced) = (0, 0);
    for descriptors in 4..48 {
        std::fs::write(&path, "precious").expect("our directory");
        let script = format!("ulimit -n {descriptors}; exec $NT -o old.pcap true");
        let finished = bash(&lab, &script).wait();
        let content = std::fs::read(&path).expect("it is there");
        if finished.status.success() {
            traced += 1;
            assert!(content.len() >= 24, "{descriptors} descriptors: {content:?}");
        } else {
            failed += 1;
            assert!(content == b"precious", "{descriptors} descriptors: {}", finished.stderr);
        }
    }
    assert!(failed >= 10 && traced >= 5, "{failed} failed, {traced} did not");
}

/// At the moment, not at the end: somebody may want to make room.
/// A file on a disk of its own, of `size`.
fn on_small_disk(lab: &Lab, size: &str) -> String {
    let disk = lab.dir.join("disk");
    lab.host.sh(&format!("mkdir {0}; mount -t tmpfs -o size={size} tmpfs {0}", disk.display()));
    disk.join("x.pcap").to_str().expect("a plain path").to_owned()
}

#[test]
fn a_disk_that_becomes_full_is_told_while_the_program_runs() {
    let lab = Lab::new(&Plan::default());
    let path = &on_small_disk(&lab, "256k");
    let script = "curl -s -o /dev/null http://198.51.100.2/bytes/5000000; read word; echo $word";
    let mut command = lab.nsntrace(&["-o", path, "sh", "-c", script]);
    command.stdin(Stdio::piped());
    let mut process = lab.host.spawn(command);
    process.await_stderr("packets are lost from now on: cannot write the capture: No space left on device");
    process.feed(b"still here\n");
    let finished = process.wait().ended_with(125);
    assert_eq!(finished.text(), "still here\n");
    assert_eq!(finished.stderr.matches("from now on").count(), 1, "{}", finished.stderr);
}

/// More than a whole ring comes behind the failure: none of it waits for a file that is not written any more.
#[test]
fn a_disk_that_becomes_full_costs_the_ring_nothing() {
    let lab = Lab::new(&Plan::default());
    let path = &on_small_disk(&lab, "6m");
    let send = "import socket, time\n\
        socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        for i in range(30000):\n    \
            socket.sendto(b'x' * 1400, ('127.0.0.1', 9)) if i % 50 else time.sleep(0.003)\n";
    let options = ["--direct", "--no-process-info", "-f", "udp", "-o", path, "python3", "-c", send];
    let finished = lab.start(&options).wait().ended_with(125);
    assert!(finished.stderr.contains("packets were captured but not written"), "{}", finished.stderr);
    assert!(!finished.stderr.contains("dropped"), "{}", finished.stderr);
    let written = lab.host.sh(&format!("capinfos -Mrc {path}"));
    let written: u64 =
        written.split_whitespace().last().and_then(|count| count.parse().ok()).expect("a count");
    assert!(written > 2000, "{written}");
}

#[test]
fn a_disk_that_is_full_from_the_start_is_told_before_the_program_starts() {
    let lab = Lab::new(&Plan::default());
    let finished = lab.start(&["-o", "/dev/full", "touch", "started"]).wait().ended_with(125);
    assert!(finished.stderr.contains("No space left on device"), "{}", finished.stderr);
    assert!(!lab.dir.join("started").exists());
}

#[test]
fn a_closed_pipe_does_not_stop_the_program() {
    let lab = Lab::new(&Plan::default());
    let script = "$NT -o - sh -c 'curl -s -o /dev/null http://198.51.100.2/bytes/5000000 && echo done > done' \
                  2>said | head -c 100 >/dev/null; echo ${PIPESTATUS[0]}";
    let text = bash(&lab, script).wait().succeeded().text();
    let said = std::fs::read_to_string(lab.dir.join("said")).expect("bash made it");
    assert_eq!(text, "0\n", "the status is the program's: {said}");
    assert!(lab.dir.join("done").exists(), "the program ran to its end: {said}");
    assert!(said.contains("Finished capturing "), "{said}");
    assert!(said.contains("packets were captured but not written"), "the loss is told: {said}");
}

#[test]
fn a_slow_pipe_does_not_stop_the_program() {
    let lab = Lab::new(&Plan::default());
    let script = "curl -s -o /dev/null http://198.51.100.2/bytes/50000000 && touch done";
    let mut command = lab.nsntrace(&["-o", "-", "sh", "-c", script]);
    command
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(lab.dir.join("said")).expect("our directory"));
    let mut child = lab.host.start(command);
    let done = lab.dir.join("done");
    // Nobody reads yet: a pipe holds 64 KiB, curl fetches 50 MB all the same.
    until("the program is done", Duration::from_mins(1), || done.exists().then_some(()));
    let mut capture = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut capture).expect("a pipe");
    assert!(child.wait().expect("our child").success());
    let path = lab.dir.join("read.pcap");
    std::fs::write(&path, capture).expect("our directory");
    let said = std::fs::read_to_string(lab.dir.join("said")).expect("just made");
    let count = CaptureFile::new(&path).packets();
    assert!(said.contains(&format!("Finished capturing {count} packets.")), "{count} in the pipe: {said}");
    if capture_is_short(&path) {
        assert!(said.contains("packets were"), "a loss is told: {said}");
    }
}

/// Whether less than what curl fetched is in the file.
fn capture_is_short(path: &std::path::Path) -> bool {
    std::fs::metadata(path).expect("just written").len() < 50_000_000
}

#[test]
fn a_reader_that_never_reads_can_be_left_with_a_signal() {
    let lab = Lab::new(&Plan::default());
    let mut command = lab.nsntrace(&["-o", "-", "curl", "-s", "http://198.51.100.2/bytes/5000000"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = lab.host.start(command);
    std::thread::sleep(Duration::from_secs(2));
    let pipe = child.stdout.take();
    assert!(child.try_wait().expect("our child").is_none_or(|status| status.success()));
    drop(pipe);
    until("it ends once the pipe is closed", Duration::from_mins(1), || child.try_wait().expect("our child"));
}

#[test]
fn the_file_belongs_to_who_started_us() {
    let lab = Lab::new(&Plan::default());
    let finished = lab.start(&["-u", "nobody", "ping", "-q", "-c1", "198.51.100.2"]).wait().succeeded();
    let report = Report::new(finished, &lab.dir.join("nsntrace.pcap"));
    let owner = lab.host.sh(&format!("stat -c '%U %a' {}", report.file.path().display()));
    assert_eq!(owner.trim(), "root 644");
}
