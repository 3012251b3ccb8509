//! The proxy: for whoever has no privilege, with the same honesty as without us, and nothing on the host but the file.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::time::Duration;

use nsntrace_testkit::{
    CaptureFile, HOST4, HOST6, Lab, Plan, Process, Report, Residue, nsntrace, until, worker_of,
};

/// Nobody in particular.
const UID: u32 = 65_534;

/// A host that would let nobody through: it forwards nothing, and takes in what it asked for alone.
fn lab() -> Lab {
    let lab = Lab::new(&Plan { drop_forwarded: true, ..Plan::default() });
    let rules = "add table inet strict
        add chain inet strict input { type filter hook input priority 0; policy drop; }
        add rule inet strict input ct state established,related accept
        add rule inet strict input iifname lo accept
        add rule inet strict input icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept";
    lab.host.sh(&format!("nft '{rules}'"));
    // A user can reach neither a build folder of root's nor write to another's directory.
    lab.dir.copy_program(nsntrace(), "nsntrace");
    fs::set_permissions(lab.dir.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    lab
}

/// `nsntrace -o NAME options... program...` of an ordinary user on the host.
fn start(lab: &Lab, name: &str, arguments: &[&str]) -> Process {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"]);
    command.arg(lab.dir.join("nsntrace")).args(["-o", name]).args(arguments);
    command.current_dir(lab.dir.path()).stdin(Stdio::null());
    lab.host.spawn(command)
}

#[track_caller]
fn trace(lab: &Lab, script: &str) -> Report {
    let finished = start(lab, "user.pcapng", &["sh", "-ec", script]).wait().succeeded();
    let report = Report::new(finished, &lab.dir.join("user.pcapng"));
    assert!(report.is_proxied, "{}", report.finished.stderr);
    report
}

#[test]
fn smoke_an_ordinary_user_traces_both_families() {
    let lab = lab();
    let before = Residue::of(&lab.host);
    let script = "curl -s http://198.51.100.2/whoami; curl -s http://[2001:db8:1::2]/whoami";
    let report = trace(&lab, script);
    assert_eq!(report.stdout(), format!("{HOST4}\n{HOST6}\n"), "the host is who connects");
    for (family, peer) in [("ip", "198.51.100.2"), ("ipv6", "2001:db8:1::2")] {
        let rows = report.file.fields("http.response", &[&format!("{family}.src"), "tcp.srcport"]);
        assert!(rows.contains(&vec![peer.to_owned(), "80".to_owned()]), "{rows:?}");
    }
    assert!(report.file.capinfos(&["-k"]).contains("transport: proxy"), "the file says how");
    let metadata = fs::metadata(report.file.path()).expect("it was read just now");
    assert_eq!(metadata.uid(), UID, "the file is the user's");
    before.assert_same(&lab.host);
}

#[test]
fn megabytes_come_and_go_whole() {
    let lab = lab();
    let script = "curl -s http://198.51.100.2/bytes/5000000 | wc -c; head -c 3000000 /dev/zero >zeros
        nc -N 198.51.100.2 7 <zeros | cmp - zeros && echo same";
    let report = trace(&lab, script);
    assert_eq!(report.stdout().trim(), "5000000\nsame");
}

#[test]
fn connections_fail_as_they_would_without_us() {
    let lab = lab();
    lab.host.sh("ip route add prohibit 203.0.113.1; ip route add unreachable 203.0.113.2; ip route add blackhole 203.0.113.3");
    let program = "import socket, errno
for address in ['198.51.100.2', '203.0.113.1', '203.0.113.2', '127.0.0.1']:
    s = socket.socket(); s.settimeout(3)
    try: s.connect((address, 4444)); print('connected')
    except OSError as e: print(errno.errorcode.get(e.errno, 'timeout'))";
    let finished = start(&lab, "errors.pcapng", &["/usr/bin/python3", "-I", "-S", "-c", program]).wait();
    // No code of ICMP becomes EACCES for IPv4, which is what a prohibited route says to the host itself.
    assert_eq!(finished.text(), "ECONNREFUSED\nEHOSTUNREACH\nEHOSTUNREACH\nECONNREFUSED\n");
}

#[test]
fn what_listens_on_the_hosts_loopback_is_not_exposed() {
    let mut lab = lab();
    lab.serve_dns_on_host("127.0.0.1");
    // Through the gateway, and under the host's own name for itself.
    let script =
        "for a in 127.0.0.1 127.0.0.53 0.0.0.0 [::1]; do curl -s -m 2 http://$a:80/ || echo no; done";
    assert_eq!(trace(&lab, script).stdout(), "no\n".repeat(4));
}

#[test]
fn names_resolve_over_the_network_and_by_a_server_on_loopback() {
    let mut lab = lab();
    assert!(trace(&lab, "getent ahostsv4 www.lab.test").stdout().contains("198.51.100.2"));
    lab.serve_dns_on_host("127.0.0.1");
    fs::write(lab.dir.join("resolv.conf"), "nameserver 127.0.0.1\n").expect("our directory");
    let report = trace(&lab, "getent ahostsv4 www.lab.test");
    assert!(report.stdout().contains("198.51.100.2"), "{}", report.stdout());
    assert!(report.file.count("dns && ip.dst == 127.0.0.1") >= 1, "the question is in the file");
}

#[test]
fn datagrams_and_pings_are_answered() {
    let lab = lab();
    lab.host.sh("echo '0 4294967294' > /proc/sys/net/ipv4/ping_group_range");
    let script =
        "ping -q -c2 -i0.2 198.51.100.2 >/dev/null && ping -q -c2 -i0.2 2001:db8:1::2 >/dev/null && echo pong
        echo hello | nc -u -w1 198.51.100.2 7";
    let report = trace(&lab, script);
    assert_eq!(report.stdout(), "pong\nhello\n");
    assert_eq!(report.file.count("icmp.type == 0"), 2);
    assert_eq!(report.file.count("icmpv6.type == 129"), 2);
}

#[test]
fn the_program_is_who_it_was_and_can_no_more_than_before() {
    let lab = lab();
    let script = "id -u; id -g; grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status | tr -s '\\t' ' '; ls -l /proc/self/fd | wc -l";
    let none = "0000000000000000";
    let direct = "ls -l /proc/self/fd | wc -l";
    let plain = lab
        .host
        .sh(&format!("setpriv --reuid {UID} --regid {UID} --clear-groups sh -c '{direct}' </dev/null"));
    let expected =
        format!("{UID}\n{UID}\nCapPrm: {none}\nCapEff: {none}\nCapAmb: {none}\n{}\n", plain.trim());
    assert_eq!(trace(&lab, script).stdout(), expected, "and no descriptor of ours");
}

#[test]
fn the_status_is_the_programs_and_another_user_is_refused() {
    let lab = lab();
    start(&lab, "x.pcap", &["sh", "-c", "exit 42"]).wait().ended_with(42);
    start(&lab, "x.pcap", &["sh", "-c", "kill -TERM $$"]).wait().ended_with(143);
    let finished = start(&lab, "never.pcap", &["-u", "daemon", "true"]).wait().ended_with(125);
    assert!(finished.stderr.contains("without privilege"), "{}", finished.stderr);
    assert!(finished.stderr.contains("hint: "), "{}", finished.stderr);
    assert!(!lab.dir.join("never.pcap").exists());
}

/// Whoever is killed, the kernel removes the rest.
#[test]
fn nothing_is_left_when_one_of_us_is_killed() {
    let lab = lab();
    let before = Residue::of(&lab.host);
    let script = "for n in $(seq 500); do curl -s -m 1 http://198.51.100.2/ >/dev/null; sleep 0.01; done";
    for kills_worker in [true, false] {
        let mut process = start(&lab, "killed.pcap", &["sh", "-c", script]);
        process.await_stderr("ctrl-c");
        let path = lab.dir.join("killed.pcap");
        until("packets are in the file", Duration::from_mins(1), || {
            (fs::metadata(&path).is_ok_and(|file| file.len() > 2000)).then_some(())
        });
        // setpriv has become front.
        if kills_worker {
            worker_of(process.pid()).expect("it was born").signal(9);
            // The program runs on, without a network.
            process.await_stderr("the capture was cut short");
            process.signal(15);
            process.wait().ended_with(125);
        } else {
            process.signal(9);
            process.wait();
        }
        before.assert_same(&lab.host);
        assert!(CaptureFile::new(&path).tcpdump(&[], "tcp").len() > 10);
    }
}

#[test]
fn root_can_choose_it_too() {
    let lab = lab();
    let before = Residue::of(&lab.host);
    let report = lab.trace_with(&["--net", "proxy"], &["curl", "-s", "http://198.51.100.2/whoami"]);
    assert!(report.is_proxied);
    assert_eq!(report.stdout(), format!("{HOST4}\n"));
    before.assert_same(&lab.host);
}
