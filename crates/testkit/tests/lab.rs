//! The lab tested by itself: what a test concludes from it must not depend on nsntrace.
#![forbid(unsafe_code)]

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use nsntrace_testkit::{Lab, Plan, Residue, WAN4};

#[test]
fn the_internet_answers_over_both_families() {
    let lab = Lab::new(&Plan::default());
    lab.host.sh("ping -c1 -W2 198.51.100.2");
    lab.host.sh("ping -6 -c1 -W2 2001:db8:ff::1");
    assert_eq!(lab.host.sh("curl -s http://192.0.2.1/whoami").trim(), "198.51.100.1");
    assert_eq!(lab.host.sh("curl -s http://[2001:db8:ff::1]/whoami").trim(), "2001:db8:1::1");
    assert_eq!(lab.host.sh("curl -s http://www.lab.test/bytes/1000000 | wc -c").trim(), "1000000");
}

#[test]
fn the_servers_do_what_they_say() {
    let mut lab = Lab::new(&Plan::default());
    assert_eq!(lab.host.sh("dig +short a.lab.test").trim(), WAN4);
    assert_eq!(lab.host.sh("dig +short @9.9.9.9 AAAA a.lab.test").trim(), "2001:db8:1::2");
    assert!(lab.host.sh("dig nosuch.example").contains("NXDOMAIN"));
    let big = lab.host.sh("dig TXT big.lab.test");
    assert!(big.contains("Truncated, retrying in TCP mode") && big.contains("ANSWER: 20"), "{big}");
    assert!(lab.dns_count() >= 5);
    lab.serve_dns_on_host("127.0.0.53");
    assert_eq!(lab.host.sh("dig +short @127.0.0.53 a.lab.test").trim(), WAN4);
    assert_eq!(lab.host.sh("echo hi | nc -N 198.51.100.2 7").trim(), "hi");
    assert_eq!(lab.host.sh("echo hi | nc -u -w1 198.51.100.2 7").trim(), "hi");
    lab.host.sh(
        "for i in 1 2 2; do printf $i > /dev/null; bash -c \"printf $i > /dev/udp/198.51.100.2/9\"; done",
    );
    nsntrace_testkit::until("all arrived", std::time::Duration::from_mins(1), || {
        (lab.sink_count() == (3, 2)).then_some(())
    });
    let server = lab.serve_iperf3();
    lab.host.sh("iperf3 -c 198.51.100.2 -t 1");
    server.wait().succeeded();
}

#[test]
fn the_lab_is_sealed_and_its_own() {
    let lab = Lab::new(&Plan { second_uplink: true, private_etc: true, ..Plan::default() });
    assert_eq!(lab.host.sh("ip -j link | jq -r '.[].ifname' | sort | xargs").trim(), "lo up0 up1");
    assert_eq!(lab.wan.sh("ip -j link | jq -r '.[].ifname' | sort | xargs").trim(), "lo wan0 wan1");
    assert_eq!(lab.host.sh("ls /sys/class/net | xargs").trim(), "lo up0 up1");
    assert_eq!(lab.host.read("/etc/resolv.conf"), "nameserver 198.51.100.2\n");
    lab.host.sh("echo 'tester:x:4711:4711::/:/bin/sh' >> /etc/passwd; id tester");
    assert!(!std::fs::read_to_string("/etc/passwd").expect("our own").contains("tester"));
    lab.host.sh("ip netns add t; ip netns exec t true; ip netns del t");
    assert!(!std::path::Path::new("/run/netns/t").exists());
}

#[test]
fn signals_reach_what_was_started_inside() {
    let lab = Lab::new(&Plan::default());
    let mut command = Command::new("sleep");
    command.arg("60");
    let process = lab.host.spawn(command);
    process.signal(10);
    assert_eq!(process.wait().status.signal(), Some(10));
}

#[test]
fn residue_is_seen_and_its_absence_too() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    before.assert_same(&lab.host);
    for (mess, cleaning) in MESSES {
        lab.host.sh(mess);
        assert_ne!(before, Residue::of(&lab.host), "{mess}");
        lab.host.sh(cleaning);
        before.assert_same(&lab.host);
    }
}

/// Each is something that a careless tool leaves behind, one per section of the picture.
const MESSES: [(&str, &str); 9] = [
    ("ip link add d0 type dummy || ip link add d0 type veth", "ip link del d0"),
    ("ip addr add 192.0.2.77/32 dev lo", "ip addr del 192.0.2.77/32 dev lo"),
    ("ip route add 192.0.2.0/24 via 198.51.100.2 table 77", "ip route flush table 77"),
    ("ip rule add from 192.0.2.0/24 table 77", "ip rule del from 192.0.2.0/24 table 77"),
    ("nft add table inet left", "nft delete table inet left"),
    ("sysctl -qw net.ipv4.conf.up0.forwarding=1", "sysctl -qw net.ipv4.conf.up0.forwarding=0"),
    ("touch /run/left", "rm /run/left"),
    ("mkdir /run/m; mount -t tmpfs none /run/m; rmdir /run/m || true", "umount /run/m; rmdir /run/m"),
    ("setsid sleep 77 >/dev/null & echo $! > /run/pid", "kill $(cat /run/pid); rm /run/pid"),
];

#[test]
fn the_first_connection_does_not_wait() {
    let lab = Lab::new(&Plan::default());
    for url in ["http://[2001:db8:ff::1]/", "http://192.0.2.1/", "http://www.lab.test/"] {
        let time = lab.host.sh(&format!("curl -s -o /dev/null -w '%{{time_total}}' {url}"));
        assert!(time.trim().parse::<f64>().expect("curl's clock") < 0.5, "{url}: {time}");
    }
}
