//! Names: the host's own resolv.conf works, also on loopback, and no look-up bypasses the trace.
#![forbid(unsafe_code)]

use std::process::Command;

use nsntrace_testkit::{Lab, PUBLIC_DNS, Plan, Report, WAN4, WAN6, until};

const STUB: &str = "nameserver 127.0.0.53\noptions edns0\nsearch lab.test\n";

/// A host whose resolver listens on loopback, as systemd-resolved and dnsmasq do.
fn stub_lab() -> Lab {
    let mut lab = Lab::new(&Plan { resolv_conf: STUB.to_owned(), ..Plan::default() });
    lab.serve_dns_on_host("127.0.0.53");
    lab
}

#[test]
fn smoke_names_over_the_relay() {
    let lab = stub_lab();
    let report = lab.trace_sh("cat /etc/resolv.conf; dig +short www.lab.test; getent ahosts www.lab.test");
    let text = report.stdout();
    assert!(text.starts_with(&format!("{STUB}{WAN4}\n")), "{text}");
    assert!(text.contains(&format!("{WAN6}  ")) && text.contains(&format!("{WAN4}  ")), "{text}");
    check_each_once(&report, "127.0.0.53");
}

/// Every question stands in the file once, on loopback, and has its answer.
#[track_caller]
fn check_each_once(report: &Report, server: &str) {
    let ids = report.file.field(&format!("dns.flags.response == 0 and ip.dst == {server}"), "dns.id");
    let answered = report.file.field(&format!("dns.flags.response == 1 and ip.src == {server}"), "dns.id");
    assert!(!ids.is_empty());
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    let (ids, answered) = (sorted(ids), sorted(answered));
    assert_eq!(ids, answered);
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "a packet stands there twice: {ids:?}");
}

#[test]
fn a_server_on_the_network_is_asked_directly() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace(&["dig", "+short", "www.lab.test"]);
    assert_eq!(report.stdout(), format!("{WAN4}\n"));
    let query = format!("dns.flags.response == 0 and ip.src == {} and ip.dst == {WAN4}", report.address4);
    assert_eq!(report.file.count(&query), 1);
}

#[test]
fn long_answers_come_over_tcp() {
    let lab = stub_lab();
    let report = lab.trace(&["dig", "TXT", "big.lab.test"]);
    let text = report.stdout();
    assert!(text.contains("Truncated, retrying in TCP mode") && text.contains("ANSWER: 20"), "{text}");
    assert_eq!(report.file.count("udp and dns.flags.truncated == 1"), 1);
    assert_eq!(report.file.count("tcp and dns.flags.response == 1 and dns.count.answers == 20"), 1);
    assert_eq!(report.file.count("tcp.flags.syn == 1 and ip.addr == 127.0.0.53"), 2, "each packet once");
}

#[test]
fn several_questions_on_one_connection() {
    let lab = stub_lab();
    let report =
        lab.trace(&["dig", "+tcp", "+keepopen", "+short", "a.lab.test", "b.lab.test", "big.lab.test", "TXT"]);
    assert!(report.stdout().starts_with(&format!("{WAN4}\n{WAN4}\n")), "{}", report.stdout());
    assert_eq!(report.file.count("tcp.flags.syn == 1 and tcp.flags.ack == 0"), 1);
}

#[test]
fn names_that_do_not_exist_are_told_so_at_once() {
    let lab = stub_lab();
    let report =
        lab.trace_sh("dig nosuch.example | grep -o NXDOMAIN; getent hosts nosuch.example. || echo $?");
    assert_eq!(report.stdout(), "NXDOMAIN\n2\n");
    assert!(report.file.count("dns.flags.rcode == 3") >= 2);
}

#[test]
fn dnsmasq_as_a_real_resolver() {
    let lab = Lab::new(&Plan { resolv_conf: "nameserver 127.0.0.1\n".to_owned(), ..Plan::default() });
    let mut dnsmasq = Command::new("dnsmasq");
    dnsmasq.args([
        "--keep-in-foreground",
        "--no-resolv",
        "--no-hosts",
        "--conf-file=/dev/null",
        "--user=root",
    ]);
    dnsmasq.args(["--listen-address=127.0.0.1", "--bind-interfaces", "--server=198.51.100.2", "--pid-file"]);
    let _dnsmasq = lab.host.spawn(dnsmasq);
    until("dnsmasq answers", std::time::Duration::from_mins(1), || {
        let answer = lab.host.try_sh("dig +short +time=1 +tries=1 x.lab.test || true").text();
        (answer.trim() == WAN4).then_some(())
    });
    let report = lab
        .trace_sh("dig +short y.lab.test; dig +tcp +short z.lab.test; curl -s -4 http://www.lab.test/whoami");
    assert_eq!(report.stdout(), format!("{WAN4}\n{WAN4}\n198.51.100.1\n"));
    assert!(report.file.count("dns.flags.response == 1 and ip.src == 127.0.0.1") >= 3);
}

#[test]
fn loopback_of_ipv6_too() {
    let mut lab = Lab::new(&Plan { resolv_conf: "nameserver ::1\n".to_owned(), ..Plan::default() });
    lab.serve_dns_on_host("::1");
    let report = lab.trace_sh("dig +short www.lab.test; dig +tcp +short www.lab.test");
    assert_eq!(report.stdout(), format!("{WAN4}\n{WAN4}\n"));
    assert_eq!(report.file.count("udp and dns.flags.response == 0 and ipv6.dst == ::1"), 1);
}

#[test]
fn the_second_server_helps_when_the_first_is_dead() {
    let resolv_conf = "nameserver 127.0.0.54\nnameserver 127.0.0.53\noptions timeout:1\n".to_owned();
    let mut lab = Lab::new(&Plan { resolv_conf, ..Plan::default() });
    lab.serve_dns_on_host("127.0.0.53");
    let report = lab.trace(&["getent", "ahostsv4", "www.lab.test"]);
    assert!(report.stdout().starts_with(WAN4), "{}", report.stdout());
}

#[test]
fn a_hundred_questions_at_once() {
    let lab = stub_lab();
    let report = lab.trace_sh(
        "for n in $(seq 100); do echo host$n.lab.test; done > names
         xargs -P 20 -n 5 dig +short +tries=1 < names | sort | uniq -c",
    );
    assert_eq!(report.stdout().trim(), format!("100 {WAN4}"));
    assert_eq!(report.file.count("dns.flags.response == 0 and ip.dst == 127.0.0.53"), 100);
    assert_eq!(report.file.count("dns.flags.response == 1 and ip.src == 127.0.0.53"), 100);
}

#[test]
fn public_dns_replaces_the_file_for_the_program_alone() {
    let lab = Lab::new(&Plan { resolv_conf: STUB.to_owned(), ..Plan::default() });
    let report = lab
        .trace_with(&["--use-public-dns"], &["sh", "-c", "cat /etc/resolv.conf; getent hosts www.lab.test"]);
    let text = report.stdout();
    let servers: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("nameserver ")).collect();
    assert_eq!(servers, PUBLIC_DNS);
    assert!(text.contains("www.lab.test"), "{text}");
    assert!(report.file.count("dns.flags.response == 1 and ip.src == 9.9.9.9") >= 1);
    assert_eq!(report.file.count("ip.addr == 127.0.0.53"), 0);
    assert_eq!(lab.host.read("/etc/resolv.conf"), STUB);
    assert_eq!(lab.host.read("/proc/1/mounts").matches("/etc/resolv.conf").count(), 1, "the lab's own mount");
}

#[test]
fn a_resolv_conf_that_is_a_symlink() {
    let mut lab = Lab::new(&Plan { private_etc: true, resolv_conf: STUB.to_owned(), ..Plan::default() });
    lab.serve_dns_on_host("127.0.0.53");
    lab.host.sh("umount /etc/resolv.conf; rm /etc/resolv.conf; mkdir -p /run/systemd/resolve
         echo 'nameserver 127.0.0.53' > /run/systemd/resolve/stub-resolv.conf
         ln -s ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf");
    let report = lab.trace_sh("readlink /etc/resolv.conf; dig +short www.lab.test");
    assert_eq!(report.stdout(), format!("../run/systemd/resolve/stub-resolv.conf\n{WAN4}\n"));
    let report =
        lab.trace_with(&["--use-public-dns"], &["sh", "-c", "cat /etc/resolv.conf; dig +short www.lab.test"]);
    assert!(report.stdout().contains("9.9.9.9") && report.stdout().ends_with(&format!("{WAN4}\n")));
    assert_eq!(lab.host.read("/etc/resolv.conf"), "nameserver 127.0.0.53\n");
}

#[test]
fn nscd_does_not_carry_a_look_up_past_the_trace() {
    let lab = Lab::new(&Plan::default());
    lab.host.sh("mkdir /run/nscd");
    lab.host.write("/run/nscd.conf", "enable-cache hosts yes\npersistent hosts no\nshared hosts no\n");
    let mut nscd = Command::new("nscd");
    nscd.args(["--foreground", "--config-file", "/run/nscd.conf"]);
    let _nscd = lab.host.spawn(nscd);
    until("nscd listens", std::time::Duration::from_mins(1), || {
        lab.host.has("/run/nscd/socket").then_some(())
    });
    lab.host.sh("getent ahostsv4 cached.lab.test");
    let asked = lab.dns_count();
    lab.host.sh("getent ahostsv4 cached.lab.test");
    assert_eq!(lab.dns_count(), asked, "the lab: nscd answers from its cache");
    let report = lab.trace(&["getent", "ahostsv4", "cached.lab.test"]);
    assert!(report.stdout().starts_with(WAN4));
    assert!(report.file.count("dns.qry.name == cached.lab.test and dns.flags.response == 1") >= 1);
    assert!(lab.host.has("/run/nscd/socket"), "it is hidden from the program alone");
}

#[test]
fn the_socket_of_resolved_is_out_of_reach() {
    let lab = stub_lab();
    lab.host.sh("mkdir -p /run/systemd/resolve");
    let mut listener = Command::new("/usr/bin/python3");
    listener.args(["-I", "-S", "-c", LISTEN]).stdin(std::process::Stdio::piped());
    let _listener = lab.host.spawn(listener);
    until("it listens", std::time::Duration::from_mins(1), || {
        lab.host.has("/run/systemd/resolve/io.systemd.Resolve").then_some(())
    });
    lab.host.sh(&format!("/usr/bin/python3 -I -S -c '{CONNECT}'"));
    let report =
        lab.trace_sh(&format!("! /usr/bin/python3 -I -S -c '{CONNECT}' 2>/dev/null; dig +short a.lab.test"));
    assert_eq!(report.stdout(), format!("{WAN4}\n"));
    lab.host.sh(&format!("/usr/bin/python3 -I -S -c '{CONNECT}'"));
}

const LISTEN: &str = "
import socket, sys
s = socket.socket(socket.AF_UNIX); s.bind('/run/systemd/resolve/io.systemd.Resolve'); s.listen(9); sys.stdin.read()
";

const CONNECT: &str =
    "import socket; socket.socket(socket.AF_UNIX).connect(\"/run/systemd/resolve/io.systemd.Resolve\")";
