//! A line for each packet: as many as tshark counts, with what tshark reads; where they go, and that nobody waits for them.
#![forbid(unsafe_code)]

use std::process::{Command, Stdio};
use std::time::Duration;

use nsntrace_testkit::{CaptureFile, Finished, Lab, Plan, Process, Report, Residue, nsntrace, until};

/// Lines of packets among others: they begin with a time, `  0.000123 `.
fn lines(text: &str) -> Vec<&str> {
    let is_line = |line: &&str| {
        let time = line.trim_start().split(' ').next().unwrap_or_default();
        time.split_once('.').is_some_and(|(seconds, micros)| {
            micros.len() == 6
                && [seconds, micros].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
        })
    };
    text.lines().filter(is_line).collect()
}

/// How many packets are said to be left out.
fn left_out(text: &str) -> u64 {
    let counts = text.lines().filter_map(|line| line.split_once(" packets left out: "));
    counts.map(|(count, _)| count.trim().parse::<u64>().expect("a count")).sum()
}

/// Sender, receiver and the rest of a line.
fn parts(line: &str) -> (&str, &str, &str) {
    let (left, right) = line.split_once(" > ").unwrap_or((line, ""));
    let (dst, rest) = right.trim_start().split_once(' ').unwrap_or((right, ""));
    (left.rsplit(' ').next().unwrap_or_default(), dst, rest.trim_start())
}

/// As it is typed, an address and maybe a port.
fn end(address: &str, port: &str) -> String {
    match (port, address.contains(':')) {
        ("", _) => address.to_owned(),
        (port, false) => format!("{address}:{port}"),
        (port, true) => format!("[{address}]:{port}"),
    }
}

const FIELDS: [&str; 14] = [
    "ip.src",
    "ipv6.src",
    "tcp.srcport",
    "udp.srcport",
    "ip.dst",
    "ipv6.dst",
    "tcp.dstport",
    "udp.dstport",
    "tcp.flags",
    "dns.qry.name",
    "tls.handshake.extensions_server_name",
    "http.request.method",
    "http.request.uri",
    "http.response.code",
];

/// What tshark reads of a packet is in its line.
#[track_caller]
fn compare(line: &str, theirs: &[String]) {
    let (src, dst, says) = parts(line);
    let theirs: Vec<&str> = theirs.iter().map(String::as_str).collect();
    let [
        ip_src,
        v6_src,
        tcp_src,
        udp_src,
        ip_dst,
        v6_dst,
        tcp_dst,
        udp_dst,
        flags,
        name,
        sni,
        method,
        uri,
        code,
    ] = theirs[..]
    else {
        panic!("{theirs:?}")
    };
    assert_eq!(src, end(&format!("{ip_src}{v6_src}"), &format!("{tcp_src}{udp_src}")), "{line}");
    assert_eq!(dst, end(&format!("{ip_dst}{v6_dst}"), &format!("{tcp_dst}{udp_dst}")), "{line}");
    if !name.is_empty() {
        assert!(says.starts_with("DNS") && says.split([' ', ':']).any(|word| word == name), "{name}: {line}");
    } else if !sni.is_empty() {
        assert!(says.starts_with(&format!("TLS  client hello for {sni}")), "{sni}: {line}");
    } else if !method.is_empty() {
        assert!(says.starts_with(&format!("HTTP {method} {uri}, host ")), "{method} {uri}: {line}");
    } else if !code.is_empty() {
        assert!(says.starts_with(&format!("HTTP {code} ")), "{code}: {line}");
    } else if !flags.is_empty() {
        let flags = u16::from_str_radix(flags.trim_start_matches("0x"), 16).expect("a number");
        let names = ["FIN", "SYN", "RST", "PSH", "ACK"].iter().enumerate();
        let names: Vec<_> = names.filter(|(bit, _)| flags & 1 << bit != 0).map(|(_, name)| *name).collect();
        let said = says.strip_prefix("TCP  ").and_then(|says| says.split(' ').next());
        assert_eq!(said, Some(names.join(",").as_str()), "{line}");
    }
}

const TALK: &str = "getent ahosts www.lab.test >/dev/null; getent hosts nope.example; curl -s http://198.51.100.2/a?b=c
    ping -q -c1 198.51.100.2 >/dev/null; echo x | nc -u -w1 198.51.100.2 7
    openssl s_client -servername sni.example -connect 198.51.100.2:443 </dev/null; curl -s http://198.51.100.2:81/
    ping -q -c1 127.0.0.1 >/dev/null; true";

/// Takes a hello and hangs up.
const HANG_UP: &str = "import socket
s = socket.create_server(('', 443)); print('ready', flush=True)
while True: c = s.accept()[0]; c.recv(9000); c.close()";

fn hang_up_on_hellos(lab: &Lab) -> Process {
    let mut command = Command::new("python3");
    command.args(["-c", HANG_UP]).stdin(Stdio::null());
    let server = lab.wan.spawn(command);
    until("it listens", Duration::from_mins(1), || (server.stdout() == b"ready\n").then_some(()));
    server
}

/// A trace whose lines stand on standard error.
fn talk(options: &[&str], name: &str) -> (Report, Lab) {
    let lab = Lab::new(&Plan::default());
    let server = hang_up_on_hellos(&lab);
    let arguments = [&["--print", "-o", name], options, &["sh", "-c", &format!("exec 2>/dev/null; {TALK}")]];
    let finished = lab.start(&arguments.concat()).wait().succeeded();
    server.signal(9);
    server.wait();
    (Report::new(finished, &lab.dir.join(name)), lab)
}

fn each_packet_has_a_line(options: &[&str], name: &str) {
    let (report, _lab) = talk(options, name);
    let lines = lines(&report.program_stderr);
    let theirs = report.file.fields("", &FIELDS);
    assert_eq!((lines.len(), theirs.len()), (theirs.len(), usize::try_from(report.packets).expect("few")));
    assert_eq!(left_out(&report.program_stderr), 0);
    lines.iter().zip(&theirs).for_each(|(line, theirs)| compare(line, theirs));
    let begins = ["getent[", "curl[", "ping[", "nc[", "openssl["];
    for who in begins {
        assert!(
            lines.iter().any(|line| line.contains(&format!(" {who}"))),
            "{who}: {}",
            report.program_stderr
        );
    }
    for what in [
        "DNS  A nope.example: NXDOMAIN",
        "HTTP GET /a?b=c, host 198.51.100.2",
        "TLS  client hello for sni.example",
    ] {
        assert!(
            lines.iter().any(|line| line.ends_with(what) || line.contains(&format!("{what},"))),
            "{what}: {lines:#?}"
        );
    }
}

#[test]
fn smoke_each_packet_has_a_line_that_says_what_tshark_says() {
    each_packet_has_a_line(&[], "trace.pcapng");
}

#[test]
fn so_it_has_where_the_file_says_nothing_of_processes_and_by_proxy() {
    each_packet_has_a_line(&["--net", "proxy"], "trace.pcap");
}

/// Each line names the process that the file's comment at the flow's first packet names.
#[test]
fn whose_a_packet_is_the_line_says_as_the_file_does() {
    let (report, _lab) = talk(&[], "trace.pcapng");
    let lines = lines(&report.program_stderr);
    let mut named = 0;
    for (line, fields) in lines.iter().zip(report.file.fields("", &["frame.number", "frame.comment"])) {
        let Some((who, _)) = fields.get(1).and_then(|comment| comment.split_once(" ->")) else { continue };
        assert_eq!(line.split_whitespace().nth(1), Some(who), "{line}");
        named += 1;
    }
    assert!(named >= 6, "{named}: {lines:#?}");
}

#[test]
fn limits_are_the_lines_limits_too() {
    let lab = Lab::new(&Plan::default());
    let ping = ["ping", "-q", "-c20", "-i0.01", "198.51.100.2"];
    let finished =
        lab.start(&[&["--print", "-c", "7", "-o", "x.pcap"], &ping[..]].concat()).wait().succeeded();
    assert_eq!(lines(&finished.stderr).len(), 7, "{}", finished.stderr);
    assert_eq!(CaptureFile::new(&lab.dir.join("x.pcap")).packets(), 7);
    let arguments = [&["--print", "--duration", "0.1", "-o", "y.pcap"], &ping[..]].concat();
    let finished = lab.start(&arguments).wait().succeeded();
    let packets = CaptureFile::new(&lab.dir.join("y.pcap")).packets();
    assert_eq!(lines(&finished.stderr).len() as u64, packets, "{}", finished.stderr);
    let arguments = [&["--print", "-f", "icmp[0] == 8", "-o", "z.pcap"], &ping[..]].concat();
    let finished = lab.start(&arguments).wait().succeeded();
    assert_eq!(lines(&finished.stderr).len(), 20, "{}", finished.stderr);
}

#[test]
fn lines_go_where_they_are_sent() {
    let lab = Lab::new(&Plan::default());
    let curl = ["curl", "-s", "http://198.51.100.2/whoami"];
    let trace = |options: &[&str]| lab.start(&[options, &curl].concat()).wait();
    let finished = trace(&["--print=-", "-q"]).succeeded();
    let packets = CaptureFile::new(&lab.dir.join("nsntrace.pcap")).packets();
    assert_eq!(lines(&finished.text()).len() as u64, packets, "{}", finished.text());
    assert_eq!(finished.stderr, "");
    std::fs::write(lab.dir.join("lines"), "old lines, many of them\n".repeat(1000)).expect("our directory");
    let finished = trace(&["--print=lines", "-q", "-o", "-"]).succeeded();
    let text = std::fs::read_to_string(lab.dir.join("lines")).expect("it was there");
    std::fs::write(lab.dir.join("stdout.pcap"), &finished.stdout).expect("our directory");
    let packets = CaptureFile::new(&lab.dir.join("stdout.pcap")).packets();
    assert_eq!((text.lines().count() as u64, lines(&text).len() as u64), (packets, packets), "{text}");
    for (options, what) in [
        (["--print=-", "-o", "-", "-q"], "packets and lines cannot go to the same file"),
        (["--print=x", "--report", "x", "-q"], "the report and lines of packets cannot go to the same file"),
        (["--print=/nowhere/x", "-o", "new.pcap", "-q"], "cannot write to '/nowhere/x': No such file"),
    ] {
        let said = trace(&options).ended_with(125).stderr;
        assert!(said.starts_with(&format!("nsntrace: {what}")), "{said}");
    }
    let left: Vec<_> = ["x", "new.pcap"].into_iter().filter(|name| lab.dir.join(name).exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_line_is_there_while_the_program_runs() {
    let lab = Lab::new(&Plan::default());
    let process = lab.start(&["--print", "sh", "-c", "ping -q -c1 198.51.100.2 >/dev/null; sleep 300"]);
    until("somebody reads of the ping", Duration::from_mins(1), || {
        process.stderr().contains("ICMP echo reply").then_some(())
    });
    process.signal(15);
    process.wait().ended_with(128 + 15);
}

/// Runs nsntrace at a terminal of its own, which shows everything that is said.
fn at_terminal(lab: &Lab, variable: &str, print: &str) -> Finished {
    let script = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script]).arg(nsntrace()).args([print, "curl", "-s", "http://198.51.100.2/missing"]);
    let (name, value) = variable.split_once('=').expect("NAME=VALUE");
    command.env_remove("NO_COLOR").env("TERM", "xterm").env(name, value);
    command.current_dir(lab.dir.path()).stdin(Stdio::null());
    lab.host.spawn(command).wait().succeeded()
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let lab = Lab::new(&Plan::default());
    let shown = at_terminal(&lab, "TERM=xterm", "--print").text();
    assert!(shown.contains("\x1b[32mHTTP GET /missing, host 198.51.100.2\x1b[0m\r\n"), "{shown}");
    for (variable, print) in
        [("NO_COLOR=1", "--print"), ("TERM=dumb", "--print"), ("TERM=xterm", "--print=x")]
    {
        let shown = at_terminal(&lab, variable, print).text();
        let file = std::fs::read_to_string(lab.dir.join("x")).unwrap_or_default();
        assert!(!shown.contains('\x1b') && !file.contains('\x1b'), "{variable} {print}: {shown}{file}");
        assert!((shown + &file).contains("HTTP GET /missing, host 198.51.100.2"), "{variable} {print}");
    }
}

/// A program that is called what a terminal would obey.
const RENAMED: &str = "import ctypes, socket
ctypes.CDLL(None).prctl(15, b'\\x1b[31mred\\x07\\n', 0, 0, 0)
socket.create_connection(('198.51.100.2', 80)).sendall(b'GET /\\x9b31m HTTP/1.1\\r\\nHost: \\x1b]0;title\\x07\\r\\n\\r\\n')";

#[test]
fn nothing_that_a_program_or_a_packet_says_commands_a_terminal() {
    let lab = Lab::new(&Plan::default());
    let arguments = ["--print", "-o", "trace.pcapng", "python3", "-c", RENAMED];
    let finished = lab.start(&arguments).wait().succeeded();
    let comments = CaptureFile::new(&lab.dir.join("trace.pcapng")).field("frame.comment", "frame.comment");
    assert!(
        finished.stderr.contains("[31mred") && comments.iter().any(|comment| comment.contains("[31mred"))
    );
    let is_command = |letter: char| letter.is_control() && letter != '\n';
    assert!(!finished.stderr.contains(is_command), "{:?}", finished.stderr);
    assert!(!comments.iter().any(|comment| comment.contains(is_command)), "{comments:?}");
}

const SEND: &str = "import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('198.51.100.2', 9))
for n in range(int(sys.argv[1])): s.send(b'x')
open('sent', 'w').close()";

fn bash(lab: &Lab, script: &str) -> Process {
    let mut command = Command::new("bash");
    command.args(["-c", script]).current_dir(lab.dir.path()).env("NT", nsntrace()).stdin(Stdio::null());
    lab.host.spawn(command)
}

/// Whoever reads begins when the program has ended; until then the program is not held up, and no packet is lost for its line.
#[test]
fn nobody_waits_for_a_reader_and_what_is_left_out_is_counted() {
    let lab = Lab::new(&Plan::default());
    std::fs::write(lab.dir.join("send.py"), SEND).expect("our directory");
    let script = "mkfifo p; { until [ -e sent ]; do sleep 0.1; done; cat; } < p > lines &
        $NT -B 64M -f 'udp port 9' --print=p -o x.pcap python3 send.py 100000; status=$?; wait; exit $status";
    let report = Report::new(bash(&lab, script).wait().succeeded(), &lab.dir.join("x.pcap"));
    let text = std::fs::read_to_string(lab.dir.join("lines")).expect("bash made it");
    let (printed, left_out) = (lines(&text).len() as u64, left_out(&text));
    assert_eq!(printed + left_out, report.packets);
    assert!(printed > 1000 && left_out > 1000, "{printed} lines, {left_out} left out");
    assert!(lines(&text).iter().all(|line| line.ends_with("UDP  len 1")));
}

#[test]
fn a_reader_that_has_seen_enough_ends_nothing_but_the_lines() {
    let lab = Lab::new(&Plan::default());
    std::fs::write(lab.dir.join("send.py"), SEND).expect("our directory");
    let script =
        "$NT -q -f 'udp port 9' --print=- -o x.pcap python3 send.py 20000 | head -1; exit ${PIPESTATUS[0]}";
    let finished = bash(&lab, script).wait().succeeded();
    assert_eq!((lines(&finished.text()).len(), finished.stderr.as_str()), (1, ""));
    assert_eq!(CaptureFile::new(&lab.dir.join("x.pcap")).packets(), 20_000);
}

#[test]
fn lines_that_cannot_be_written_are_told_of_and_the_file_is_complete() {
    let lab = Lab::new(&Plan::default());
    let curl = ["curl", "-s", "http://198.51.100.2/whoami"];
    let failed = lab.start(&[&["--print=/dev/full", "-q"], &curl[..]].concat()).wait().ended_with(125);
    assert_eq!(
        failed.stderr,
        "nsntrace: cannot write lines of packets: No space left on device (os error 28)\n"
    );
    assert!(CaptureFile::new(&lab.dir.join("nsntrace.pcap")).packets() > 4);
    let failed = lab.start(&["--print=/dev/full", "sh", "-c", "ping -q -c1 198.51.100.2; exit 3"]).wait();
    failed.ended_with(3);
}

/// Whoever waits for lines can give up, or be killed: then nobody of ours waits for a reader that will never read.
#[test]
fn a_reader_that_never_reads_keeps_nobody() {
    let lab = Lab::new(&Plan::default());
    std::fs::write(lab.dir.join("send.py"), SEND).expect("our directory");
    let before = Residue::of(&lab.host);
    for signal in [15, 9] {
        let script = "mkfifo p; exec 9<>p; exec $NT -q --print=p -o x.pcap python3 send.py 20000";
        let mut process = bash(&lab, script);
        until("all is sent", Duration::from_mins(1), || lab.dir.join("sent").exists().then_some(()));
        until("front ends", Duration::from_mins(1), || {
            process.signal(signal);
            process.has_ended().then_some(())
        });
        let left = before.left_after(Duration::from_mins(1), &lab.host, |_| false);
        assert!(left.is_empty(), "signal {signal}: {left}");
        lab.host.sh(&format!("cd {}; rm p sent", lab.dir.path().display()));
    }
}
