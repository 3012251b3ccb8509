//! What a queue does to packets that a firewall would drop, seen by ping(8) and the kernel's own list of queues.
#![forbid(unsafe_code)]

use std::thread;

use nsntrace_nfqueue::{Queue, QueueError};
use nsntrace_testkit::{Netns, eventually, isolated, isolated_by, sh};
use rustix::pipe::pipe;

/// Two namespaces, and this one as the router between them, whose firewalls drop, at priority 0 and at 10.
fn world() -> (Netns, Netns) {
    let (a, b) = (Netns::new(), Netns::new());
    for (netns, device, net) in [(&a, "va", 1), (&b, "vb", 2)] {
        let path = netns.path();
        sh(&format!(
            "ip link add {device} index 1{net} type veth peer name eth0 netns {path}
             ip addr add 10.0.{net}.1/24 dev {device}; ip -6 addr add 2001:db8:{net}::1/64 dev {device} nodad
             ip link set {device} up",
            path = path.display()
        ));
        netns.sh(&format!(
            "ip addr add 10.0.{net}.2/24 dev eth0; ip -6 addr add 2001:db8:{net}::2/64 dev eth0 nodad; ip link set eth0 up
             ip route add default via 10.0.{net}.1; ip -6 route add default via 2001:db8:{net}::1"
        ));
    }
    sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
        iptables-legacy -P FORWARD DROP; ip6tables-legacy -P FORWARD DROP
        nft 'add table inet f; add chain inet f c { type filter hook forward priority 10; policy drop; }'");
    (a, b)
}

#[track_caller]
fn hand_over(queue: &Queue) {
    for iptables in ["iptables-legacy", "ip6tables-legacy"] {
        sh(&format!("{iptables} -t mangle -I FORWARD -j NFQUEUE --queue-num {}", queue.number()));
    }
}

fn reaches(from: &Netns, to: &str) -> bool {
    from.inside(|| sh(&format!("ping -n -c1 -W1 {to} >/dev/null 2>&1 && echo yes || echo no"))) == "yes"
}

#[test]
fn packets_go_past_every_firewall_as_long_as_the_queue_is_served() {
    isolated(|| {
        let (a, _b) = world();
        let (stopped, stop) = pipe().unwrap();
        let mut queue = Queue::bind().unwrap();
        hand_over(&queue);
        assert!(!reaches(&a, "10.0.2.2"), "nobody serves it yet");
        let thread = thread::spawn(move || queue.serve(stopped));
        assert!(reaches(&a, "10.0.2.2"));
        // Neighbours of IPv6 are found a little later than the link.
        eventually(|| reaches(&a, "2001:db8:2::2"));
        // Many more at once than are let go at once.
        let flood = "ping -n -q -f -c 500 -l 100 10.0.2.2 | grep -o '[0-9]* received'";
        assert_eq!(a.inside(|| sh(flood)), "500 received");
        drop(stop);
        thread.join().unwrap().unwrap();
        assert!(!reaches(&a, "10.0.2.2"), "the queue is gone");
    });
}

#[test]
fn each_queue_has_a_number_of_its_own() {
    isolated(|| {
        let queues: Vec<_> = (0..3).map(|_| Queue::bind().unwrap()).collect();
        let mut numbers: Vec<_> = queues.iter().map(Queue::number).collect();
        numbers.sort_unstable();
        // queue number, reader, waiting, copy mode (1: no bytes of packets), copy range, ...
        let listed = sh("awk '{print $1, $4}' /proc/net/netfilter/nfnetlink_queue | sort -n");
        let expected: Vec<_> = numbers.iter().map(|number| format!("{number} 1")).collect();
        assert_eq!(listed, expected.join("\n"));
        drop(queues);
        assert_eq!(sh("cat /proc/net/netfilter/nfnetlink_queue"), "");
    });
}

#[test]
fn without_the_capability_the_kernel_says_no() {
    let wrapper = ["unshare", "--net", "--", "setpriv", "--bounding-set", "-net_admin", "--"];
    isolated_by(&wrapper, || {
        let error = Queue::bind().unwrap_err();
        assert!(matches!(error, QueueError::Refused { .. }), "{error:?}");
    });
}
