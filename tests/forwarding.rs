//! The way out: nothing global is switched, `-d` is obeyed, the host's routing decides else, and all is put back.
#![forbid(unsafe_code)]

use std::time::Duration;

use nsntrace_testkit::{
    HOST4, HOST6, Lab, Member, Plan, Process, Report, Residue, SECOND4, until, worker_of,
};

#[test]
fn smoke_ip_forward_stays_off() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    let process = running(&lab, &[]);
    assert_eq!(lab.host.read("/proc/sys/net/ipv4/ip_forward"), "0\n");
    for scope in ["all", "default"] {
        assert_eq!(lab.host.read(&format!("/proc/sys/net/ipv4/conf/{scope}/forwarding")), "0\n");
        assert_eq!(lab.host.read(&format!("/proc/sys/net/ipv6/conf/{scope}/forwarding")), "0\n");
    }
    assert_eq!(lab.host.read("/proc/sys/net/ipv4/conf/up0/forwarding"), "1\n");
    process.signal(15);
    process.wait().ended_with(143);
    before.assert_same(&lab.host);
}

/// Starts a trace that lasts, and waits until its program runs.
fn running(lab: &Lab, options: &[&str]) -> Process {
    let mut process = lab.start(&[options, &["sleep", "60"]].concat());
    process.await_stderr("ctrl-c");
    process
}

#[test]
fn the_last_of_several_puts_the_settings_back() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    let first = running(&lab, &["-o", "1.pcap"]);
    let second = running(&lab, &["-o", "2.pcap"]);
    first.signal(15);
    first.wait().ended_with(143);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(lab.host.read("/proc/sys/net/ipv4/conf/up0/forwarding"), "1\n", "the second still needs it");
    let third = lab.trace(&["curl", "-s", "http://198.51.100.2/whoami"]);
    assert_eq!(third.stdout(), format!("{HOST4}\n"));
    second.signal(15);
    second.wait().ended_with(143);
    before.assert_same(&lab.host);
}

#[test]
fn a_device_is_obeyed() {
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    let before = Residue::of(&lab.host);
    let script =
        "curl -s --max-time 5 http://192.0.2.1/whoami; curl -s --max-time 5 http://[2001:db8:ff::1]/whoami";
    for (device, expected) in
        [("up1", "203.0.113.1\n2001:db8:2::1\n"), ("up0", "198.51.100.1\n2001:db8:1::1\n")]
    {
        let report = lab.trace_with(&["-d", device], &["sh", "-ec", script]);
        assert_eq!(report.stdout(), expected, "-d {device}");
        assert_eq!(report.interface, device);
        before.assert_same(&lab.host);
    }
}

#[test]
fn names_are_resolved_over_the_relay_with_a_device_too() {
    let mut lab = Lab::new(&Plan {
        second_uplink: true,
        resolv_conf: "nameserver 127.0.0.53\n".to_owned(),
        ..Plan::default()
    });
    lab.serve_dns_on_host("127.0.0.53");
    let report = lab
        .trace_with(&["-d", "up1"], &["curl", "-s", "-4", "--max-time", "5", "http://neutral.test/whoami"]);
    assert_eq!(report.stdout(), format!("{SECOND4}\n"));
}

#[test]
fn two_devices_at_once() {
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    let before = Residue::of(&lab.host);
    let script = "for n in 1 2 3 4 5; do curl -s --max-time 5 http://192.0.2.1/whoami; done";
    let start = |device, file| lab.start(&["-o", file, "-d", device, "sh", "-ec", script]);
    let (one, two) = (start("up0", "0.pcap"), start("up1", "1.pcap"));
    assert_eq!(one.wait().succeeded().text(), format!("{HOST4}\n").repeat(5));
    assert_eq!(two.wait().succeeded().text(), format!("{SECOND4}\n").repeat(5));
    before.assert_same(&lab.host);
}

#[test]
fn a_device_that_is_down_is_told() {
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    lab.host.sh("ip link set up1 down");
    let before = Residue::of(&lab.host);
    let finished = lab.start(&["-d", "up1", "true"]).wait();
    before.assert_same(&lab.host);
    assert!(finished.stderr.contains("up1"), "{}", finished.stderr);
}

#[test]
fn the_hosts_routing_decides_for_every_destination() {
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    lab.host.sh("ip route add 192.0.2.1 via 203.0.113.2; ip route add 198.51.100.12 via 203.0.113.2");
    let report = lab.trace_sh(
        "for host in 192.0.2.1 198.51.100.10 198.51.100.12; do curl -s --max-time 5 http://$host/whoami; done",
    );
    assert_eq!(report.interface, "up0", "the message names the interface of the default route");
    assert_eq!(report.stdout(), format!("{SECOND4}\n{HOST4}\n{SECOND4}\n"));
}

#[test]
fn the_default_route_may_change_in_mid_trace() {
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    let before = Residue::of(&lab.host);
    let script = "curl -s --max-time 5 http://192.0.2.1/whoami; touch first
                  until test -e changed; do sleep 0.02; done
                  curl -s --max-time 8 http://192.0.2.1/whoami
                  curl -s --max-time 8 http://[2001:db8:ff::1]/whoami";
    let process = lab.start(&["-o", "trace.pcap", "sh", "-c", script]);
    let first = lab.dir.join("first");
    until("the first answer came", Duration::from_mins(1), || first.exists().then_some(()));
    lab.host.sh("ip route del default via 198.51.100.2; ip -6 route del default via 2001:db8:1::2");
    std::fs::write(lab.dir.join("changed"), "").expect("our directory");
    let report = Report::new(process.wait().succeeded(), &lab.dir.join("trace.pcap"));
    assert_eq!(report.stdout(), format!("{HOST4}\n{SECOND4}\n2001:db8:2::1\n"));
    lab.host.sh("ip route add default via 198.51.100.2; ip -6 route add default via 2001:db8:1::2");
    before.assert_same(&lab.host);
}

#[test]
fn the_address_block_is_one_that_no_route_of_the_host_covers() {
    let lab = Lab::new(&Plan::default());
    // All of 10/8 but one /24, spread over tables, is somebody's.
    let all_but = |hole| (0..256).filter(move |n| *n != hole);
    let wide = all_but(77).map(|n| format!("route add 10.{n}.0.0/16 dev up0 table {}", 1000 + n % 3));
    let narrow = all_but(99).map(|n| format!("route add unreachable 10.77.{n}.0/24 table 2000"));
    let lines = wide.chain(narrow).collect::<Vec<_>>().join("\n");
    std::fs::write(lab.dir.join("routes"), lines).expect("our directory");
    lab.host.sh(&format!("ip -batch {}", lab.dir.join("routes").display()));
    let report = lab.trace(&["curl", "-s", "http://198.51.100.2/whoami"]);
    assert!(report.address4.starts_with("10.77.99."), "{}", report.address4);
    assert_eq!(report.stdout(), format!("{HOST4}\n"));
}

#[test]
fn the_table_is_ours_alone_and_says_what_it_does() {
    let lab = Lab::new(&Plan::default());
    lab.host.sh("nft add table inet admin; nft add chain inet admin forward '{ type filter hook forward priority 0; }'");
    let before = Residue::of(&lab.host);
    let process = running(&lab, &[]);
    let inner =
        nsntrace_testkit::Member::read(process.pid()).and_then(|front| front.inner_pid()).expect("it runs");
    // Not as JSON: nft of Debian 12 uses what it has freed when it prints a table with an owner.
    let tables = lab.host.sh("nft list tables | sort");
    assert_eq!(tables, format!("table inet admin\ntable inet nsntrace-{inner}\n"));
    let rules = lab.host.sh(&format!("nft list table inet nsntrace-{inner}"));
    assert!(rules.contains("masquerade"), "{rules}");
    let address =
        process.stderr().lines().nth(1).expect("line 2").split(' ').next_back().expect("a word").to_owned();
    assert!(rules.contains(address.trim_end_matches('.').rsplit_once('.').expect("dots").0), "{rules}");
    lab.host.sh("nft flush ruleset");
    let tables = lab.host.sh("nft list tables");
    assert_eq!(tables, format!("table inet nsntrace-{inner}\n"), "an admin's flush leaves the trace working");
    process.signal(15);
    process.wait().ended_with(143);
    lab.host.sh("nft add table inet admin; nft add chain inet admin forward '{ type filter hook forward priority 0; }'");
    before.assert_same_but(&lab.host, |line| line.starts_with("nftables: ") && line.contains("handle"));
}

#[test]
fn established_connections_leave_no_conntrack_entries() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    // nc keeps the connection open until it is killed, so conntrack would keep it for five days.
    let mut process = lab.start(&["nc", "198.51.100.2", "7"]);
    process.await_stderr("ctrl-c");
    let line = || lab.host.sh("conntrack -L -p tcp --state ESTABLISHED 2>/dev/null || true");
    until("the connection is up", Duration::from_mins(1), || line().contains("dport=7").then_some(()));
    process.signal(15);
    process.wait();
    before.assert_same(&lab.host);
}

#[test]
fn where_ipv6_cannot_be_forwarded_the_trace_is_ipv4_only_and_says_so() {
    let lab = Lab::new(&Plan::default());
    // As on a kernel before 6.17, which has no such switch.
    lab.host.sh("all=/proc/sys/net/ipv6/conf/all; mount -t tmpfs none $all; echo 0 > $all/forwarding");
    let before = Residue::of(&lab.host);
    let finished =
        lab.start(&["-o", "trace.pcap", "curl", "-s", "http://www.lab.test/whoami"]).wait().succeeded();
    assert_eq!(finished.text(), format!("{HOST4}\n"));
    let reasons: Vec<_> = finished.stderr.lines().filter(|line| line.contains("IPv6")).collect();
    assert_eq!(reasons.len(), 1, "one line says why: {}", finished.stderr);
    before.assert_same(&lab.host);
}

#[test]
fn a_trace_within_a_trace() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    let script = format!(
        "{} -o inner.pcap curl -s http://198.51.100.2/whoami 2>inner.said",
        nsntrace_testkit::nsntrace().display()
    );
    let report = lab.trace_sh(&script);
    assert_eq!(report.stdout(), format!("{HOST4}\n"));
    let inner = nsntrace_testkit::CaptureFile::new(&lab.dir.join("inner.pcap"));
    assert_eq!((inner.count("http"), report.file.count("http")), (2, 2));
    before.assert_same(&lab.host);
}

/// Starts a trace that asks twice, and lets `change` happen in between.
#[track_caller]
fn asks_before_and_after(lab: &Lab, url: &str, change: &str) -> String {
    let script = format!(
        "curl -s --max-time 5 {url}; touch first; until test -e changed; do sleep 0.02; done; curl -s --max-time 5 {url}"
    );
    let process = lab.start(&["-o", "trace.pcap", "sh", "-c", &script]);
    let first = lab.dir.join("first");
    until("the first answer came", Duration::from_mins(1), || first.exists().then_some(()));
    lab.host.sh(change);
    // Whoever follows the change does so within this time; nothing can be seen that says so.
    std::thread::sleep(Duration::from_millis(300));
    std::fs::write(lab.dir.join("changed"), "").expect("our directory");
    Report::new(process.wait().succeeded(), &lab.dir.join("trace.pcap")).stdout()
}

#[test]
fn switching_a_router_off_does_not_cut_the_program_off() {
    let lab = Lab::new(&Plan { ip_forward: true, ipv6_forwarding: true, ..Plan::default() });
    let answers =
        asks_before_and_after(&lab, "http://198.51.100.2/whoami", "echo 0 > /proc/sys/net/ipv4/ip_forward");
    assert_eq!(answers, format!("{HOST4}\n{HOST4}\n"));
    let lab = Lab::new(&Plan { ip_forward: true, ipv6_forwarding: true, ..Plan::default() });
    let off = "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding";
    let answers = asks_before_and_after(&lab, "http://[2001:db8:1::2]/whoami", off);
    assert_eq!(answers, format!("{HOST6}\n{HOST6}\n"));
}

#[test]
fn somebody_who_makes_the_host_a_router_meanwhile_keeps_it_one() {
    let lab = Lab::new(&Plan::default());
    let on = "echo 1 > /proc/sys/net/ipv4/ip_forward";
    let answers = asks_before_and_after(&lab, "http://198.51.100.2/whoami", on);
    assert_eq!(answers, format!("{HOST4}\n{HOST4}\n"));
    let read = |key: &str| lab.host.read(&format!("/proc/sys/net/{key}"));
    until("the flag of IPv6 is given back", Duration::from_mins(1), || {
        (read("ipv6/conf/up0/force_forwarding") == "0\n").then_some(())
    });
    assert_eq!(read("ipv4/conf/up0/forwarding"), "1\n");
}

/// How often a process has called read(2): proc(5), `/proc/PID/io`. Announcements and DNS come by recv(2), which is not counted; a look at the
/// host's settings is.
fn reads(worker: &Member) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{}/io", worker.pid)).expect("it is our process");
    let count = io.lines().find_map(|line| line.strip_prefix("syscr: ")).expect("the kernel counts");
    count.parse().expect("a number")
}

/// The same when it has nothing in hand: what it announced itself while it started, it still may look after.
fn reads_at_rest(worker: &Member) -> u64 {
    let mut count = reads(worker);
    let is_at_rest = || {
        std::thread::sleep(Duration::from_millis(300));
        let last = std::mem::replace(&mut count, reads(worker));
        let sleeps = Member::read(worker.pid).is_some_and(|now| now.state == 'S');
        (last == count && sleeps).then_some(count)
    };
    until("worker is at rest", Duration::from_mins(1), is_at_rest)
}

/// Else traces that start at once keep each other busy, all the more the more there are.
#[test]
fn a_trace_lets_others_come_and_go_without_looking_up() {
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    let process = running(&lab, &["-o", "first.pcap"]);
    let worker = until("there is a worker", Duration::from_mins(1), || worker_of(process.pid()));
    let before = reads_at_rest(&worker);
    for options in [&[][..], &["-d", "up0"]] {
        lab.trace_with(options, &["curl", "-s", "http://198.51.100.2/whoami"]);
    }
    assert_eq!(reads_at_rest(&worker), before, "it looked at the host's settings again");
    lab.host.sh("ip route add 203.0.113.128/25 dev up1");
    until("it follows the host's routes", Duration::from_mins(1), || (reads(&worker) > before).then_some(()));
    process.signal(15);
    process.wait().ended_with(143);
}

#[test]
fn a_gateway_on_the_link_by_decree() {
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    lab.wan.sh("ip addr add 172.31.1.1/32 dev wan1; ip addr add 198.18.5.5/32 dev wan1");
    lab.host.sh("ip route add 198.18.5.5 via 172.31.1.1 dev up1 onlink; ip route add blackhole 198.18.5.6");
    let report = lab.trace_with(&["-d", "up1"], &["ping", "-q", "-c1", "-W5", "198.18.5.5"]);
    assert_eq!(report.file.count("icmp.type == 0"), 1);
    let refused = lab.start(&["-d", "up1", "-o", "trace.pcap", "ping", "-q", "-c1", "-W1", "198.18.5.6"]);
    refused.wait().ended_with(1);
}
