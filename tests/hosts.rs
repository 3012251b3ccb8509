//! Hosts as they are found: by NAT, by proxy and by choice the same answers as without us, and a host that is as it was.
#![forbid(unsafe_code)]

use std::time::Duration;

use nsntrace_testkit::{HOST4, HOST6, Lab, Plan, Process, Report, Residue, SECOND4, nsntrace, until};

const TRANSPORTS: [&str; 3] = ["nat", "proxy", "auto"];

/// Who asks, by the addresses of the lab's internet: one on the first uplink's network, one behind it.
const ASK4: &str =
    "curl -sS --max-time 5 http://198.51.100.2/whoami; curl -sS --max-time 5 http://192.0.2.1/whoami";
const ASK6: &str = "curl -sS --max-time 5 http://[2001:db8:1::2]/whoami; curl -sS --max-time 5 http://[2001:db8:ff::1]/whoami";
/// A look-up by UDP, and a ping.
const ASK_BRIEFLY: &str = "dig +short +tries=1 +time=5 @198.51.100.2 www.lab.test A; ping -q -c1 -W5 198.51.100.2 | grep -o '1 received'";

/// Runs a script without us, then traced by each transport, and insists on the same answers and on a host that is as before.
#[track_caller]
fn check(lab: &Lab, script: &str, expected: &str) -> [Report; 3] {
    // Where some of it fails, the rest is done all the same.
    let script = format!("set +e\n{script}\ntrue");
    assert_eq!(lab.host.sh(&script), expected, "without us");
    TRANSPORTS.map(|transport| {
        let before = Residue::of(&lab.host);
        let report = lab.trace_with(&["--net", transport], &["sh", "-c", &script]);
        assert_eq!(report.stdout(), expected, "by {transport}: {}", report.finished.stderr);
        assert_eq!(report.is_proxied, transport == "proxy", "{transport}: {}", report.finished.stderr);
        before.assert_same(&lab.host);
        report
    })
}

fn twice(address: &str) -> String {
    format!("{address}\n").repeat(2)
}

#[test]
fn smoke_a_host_that_forwards_and_one_that_does_not() {
    for is_router in [false, true] {
        let lab = Lab::new(&Plan { ip_forward: is_router, ipv6_forwarding: is_router, ..Plan::default() });
        let expected = [twice(HOST4), twice(HOST6), "198.51.100.2\n1 received\n".to_owned()].concat();
        check(&lab, &[ASK4, ASK6, ASK_BRIEFLY].join("; "), &expected);
    }
}

#[test]
fn strict_reverse_path_filters() {
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    for device in ["all", "default", "up0", "up1"] {
        lab.host.write(&format!("/proc/sys/net/ipv4/conf/{device}/rp_filter"), "1");
    }
    check(&lab, ASK4, &twice(HOST4));
}

/// No addresses: a program is told at once that there is no way.
#[test]
fn a_host_without_ipv6_addresses() {
    let lab = Lab::new(&Plan::default());
    lab.host.sh("ip -6 addr flush dev up0; ip -6 route flush dev up0");
    let script = format!("{ASK4}; timeout 20 curl -s http://[2001:db8:1::2]/ || echo $?");
    let reports = check(&lab, &script, &format!("{}7\n", twice(HOST4)));
    for report in reports {
        assert_eq!(report.address6, None);
    }
}

#[test]
fn a_host_whose_ipv6_is_switched_off() {
    let lab = Lab::new(&Plan { ipv6: false, ..Plan::default() });
    let reports = check(
        &lab,
        &format!("{ASK4}; {ASK_BRIEFLY}"),
        &format!("{}198.51.100.2\n1 received\n", twice(HOST4)),
    );
    for report in reports {
        assert_eq!(report.address6, None);
    }
    // Later than its addresses were given.
    let lab = Lab::new(&Plan::default());
    lab.host.write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    check(&lab, ASK4, &twice(HOST4));
}

/// As `ipv6.disable=1` on the kernel's command line leaves it: no socket of IPv6 can be had, by anybody.
#[test]
fn a_kernel_without_sockets_of_ipv6() {
    let lab = Lab::new(&Plan { ipv6: false, ..Plan::default() });
    for transport in TRANSPORTS {
        let before = Residue::of(&lab.host);
        let script = format!(
            "cd {}; exec /usr/bin/python3 -I -S {}/seccomp.py no-ipv6 {} -o trace.pcap --net {transport} sh -c '{}'",
            lab.dir.path().display(),
            env!("CARGO_MANIFEST_DIR"),
            nsntrace().display(),
            format!("{ASK4}; {ASK_BRIEFLY}").replace('\'', "'\\''"),
        );
        let report = Report::new(lab.host.try_sh(&script).succeeded(), &lab.dir.join("trace.pcap"));
        assert_eq!(report.stdout(), format!("{}198.51.100.2\n1 received\n", twice(HOST4)), "by {transport}");
        assert_eq!(report.is_proxied, transport == "proxy");
        before.assert_same(&lab.host);
    }
}

#[test]
fn a_host_with_ipv6_alone() {
    let lab = Lab::new(&Plan::default());
    lab.host.sh("ip -4 addr flush dev up0; ip -4 route flush table main");
    let lookup = "dig +short +tries=1 +time=5 @2001:db8:1::2 www.lab.test A";
    let reports = check(&lab, &format!("{ASK6}; {lookup}"), &format!("{}198.51.100.2\n", twice(HOST6)));
    for report in reports {
        assert_eq!(report.interface, "up0");
    }
}

#[test]
fn a_host_without_a_default_route() {
    let lab = Lab::new(&Plan::default());
    lab.host.sh("ip route del default; ip -6 route del default");
    let reports = check(&lab, &format!("{ASK4}; {ASK6}"), &format!("{HOST4}\n{HOST6}\n"));
    for report in reports {
        assert!(report.finished.stderr.contains("no default route"), "{}", report.finished.stderr);
    }
}

/// As wg-quick(8) has it: everything goes by a device of its own, except the tunnel's own packets, which have a mark.
#[test]
fn a_host_whose_rules_lead_into_a_vpn() {
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    lab.host.sh("for family in -4 -6; do
             ip $family rule add not fwmark 51820 table 51820
             ip $family rule add table main suppress_prefixlength 0
         done
         ip -4 route add default via 203.0.113.2 dev up1 table 51820
         ip -6 route add default via 2001:db8:2::2 dev up1 table 51820");
    let script =
        "curl -sS --max-time 5 http://192.0.2.1/whoami; curl -sS --max-time 5 http://[2001:db8:ff::1]/whoami
        curl -sS --max-time 5 http://198.51.100.2/whoami";
    check(&lab, script, &format!("{SECOND4}\n2001:db8:2::1\n{HOST4}\n"));
}

/// The least that IPv6 allows, and what data centres have.
#[test]
fn uplinks_of_other_sizes() {
    for mtu in [1280, 9000] {
        let lab = Lab::new(&Plan { mtu, ..Plan::default() });
        let script = "curl -s http://198.51.100.2/bytes/3000000 | wc -c; curl -s http://[2001:db8:1::2]/bytes/3000000 | wc -c
            head -c 1000000 /dev/zero | nc -N 198.51.100.2 7 | wc -c; head -c 1000000 /dev/zero | nc -N 2001:db8:1::2 7 | wc -c";
        check(&lab, script, "3000000\n3000000\n1000000\n1000000\n");
        for transport in TRANSPORTS {
            let report = lab.trace_with(&["--net", transport], &["ip", "-j", "link", "show", "eth0"]);
            let mtu = format!("\"mtu\":{mtu},");
            assert!(report.stdout().contains(&mtu), "by {transport}: {}", report.stdout());
        }
    }
}

/// As in most containers: what NAT would have to write cannot be written.
#[test]
fn a_host_with_read_only_settings() {
    let lab = Lab::new(&Plan::default());
    lab.host.sh("mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys");
    let before = Residue::of(&lab.host);
    let report = lab.trace_sh(&format!("{ASK4}; {ASK6}"));
    assert_eq!(report.stdout(), [twice(HOST4), twice(HOST6)].concat());
    let said = &report.finished.stderr;
    let why = "note: going by proxy, since NAT does not work here: cannot write /proc/sys/net/ipv4/conf/nst0/forwarding: \
               Read-only file system (os error 30)";
    assert!(report.is_proxied && said.contains(why), "{said}");
    before.assert_same(&lab.host);
    let refused =
        lab.start(&["--net", "nat", "-o", "refused.pcap", "touch", "started"]).wait().ended_with(125);
    assert!(
        refused.stderr.contains("Read-only file system") && refused.stderr.contains("hint: "),
        "{}",
        refused.stderr
    );
    assert!(!lab.dir.join("started").exists() && !lab.dir.join("refused.pcap").exists());
    before.assert_same(&lab.host);
}

/// What the router said must not be lost: a host that becomes a router itself would forget it.
#[test]
fn a_route_learned_by_router_advertisement_stays() {
    let lab = Lab::new(&Plan::default());
    // A neighbour that does not say of itself that it is a router is soon none, RFC 4861 section 7.2.5.
    lab.wan.sh("ip addr add fe80::2/64 dev wan0 nodad; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
    lab.host.sh("ip addr add fe80::1/64 dev up0 nodad; ip -6 route del default");
    let advertise = || lab.wan.sh(&format!("/usr/bin/python3 -I -S -c '{ADVERTISE}'"));
    let learned = || lab.host.sh("ip -6 route show default").contains("proto ra");
    advertise();
    until("the host took the advertisement", Duration::from_mins(1), || learned().then_some(()));
    let before = Residue::of(&lab.host);
    for transport in TRANSPORTS {
        let mut process: Process = lab.start(&["--net", transport, "sleep", "60"]);
        process.await_stderr("ctrl-c");
        assert!(learned(), "while tracing by {transport}");
        advertise();
        process.signal(15);
        process.wait().ended_with(143);
        before.assert_same(&lab.host);
        assert!(learned(), "and after");
        assert_eq!(lab.host.read("/proc/sys/net/ipv6/conf/up0/accept_ra"), "1\n");
    }
    check(&lab, ASK6, &twice(HOST6));
}

/// One router advertisement with a lifetime of 1800 s to all nodes, RFC 4861 section 4.2. The kernel fills in the checksum.
const ADVERTISE: &str = "
import socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
index = socket.if_nametoindex(\"wan0\")
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
s.bind((\"fe80::2\", 0, 0, index))
s.sendto(struct.pack(\"!BBHBBHII\", 134, 0, 0, 64, 0, 1800, 0, 0), (\"ff02::1\", 0, 0, index))
";
