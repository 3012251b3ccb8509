//! What goes wrong stands out: each failure made for real.

use nsntrace_testkit::{Lab, Plan};
use serde_json::{Value, json};

use crate::trace::Trace;

/// Ports of the internet that behave badly.
const FIREWALL: &str = "nft -f - <<'END'
table inet bad {
    chain input {
        type filter hook input priority 0
        meta l4proto { tcp, udp } th dport 2001 drop
        meta l4proto { tcp, udp } th dport 2002 reject with icmpx type admin-prohibited
        meta l4proto { tcp, udp } th dport 2003 reject with icmpx type no-route
        ip daddr 198.51.100.12 icmp type echo-request drop
        ip6 daddr 2001:db8:ff::1 icmpv6 type echo-request drop
        tcp dport 2004 tcp flags & (psh | syn) == psh numgen inc mod 2 == 0 drop
    }
}
END";

/// Tries them all, the slow ones at once. Who answers may take his time.
const SCRIPT: &str = "
for h in 198.51.100.2 2001:db8:1::2; do
    for p in 1 2001 2002 2003; do
        nc -z -w$([ $p = 2001 ] && echo 1 || echo 20) $h $p &
        echo x | nc -u -w3 $h $p &
    done
    python3 -c \"
import socket
s = socket.create_connection(('$h', 80)); s.send(b'GET /bytes/9000000 HTTP/1.1\\r\\n\\r\\n'); s.recv(9)
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0])); s.close()\" &
done
ping -q -c1 -W1 198.51.100.12 & ping -q -c1 -W1 2001:db8:ff::1 &
dig nosuch.example >/dev/null; dig broken.test >/dev/null; dig +tries=1 +timeout=1 silent.test >/dev/null
wait";

#[track_caller]
fn check(net: &str) {
    let lab = Lab::new(&Plan::default());
    lab.wan.sh(FIREWALL);
    let trace = Trace::of(&lab, &["--net", net], SCRIPT);
    let failures = |one: &Value| one["failures"].clone();
    for address in ["198.51.100.2", "2001:db8:1::2"] {
        let of = |port, protocol| failures(trace.one(address, Some(port), protocol));
        assert_eq!(of(1, "TCP"), json!({"refused": 1}));
        assert_eq!(of(1, "UDP"), json!({"refused": 1}));
        assert_eq!(of(2001, "TCP"), json!({"timeout": 1}));
        // Nobody has to answer a datagram.
        assert_eq!(of(2001, "UDP"), json!({}));
        assert_eq!(of(2002, "UDP"), json!({"prohibited": 1}));
        assert_eq!(of(2003, "UDP"), json!({"unreachable": 1}));
        assert_eq!(of(2003, "TCP"), json!({"unreachable": 1}));
        // By proxy connect(2) says it, which for IPv4 has one word for both.
        let is_vague = net == "proxy" && address.contains('.');
        let expected = if is_vague { json!({"unreachable": 1}) } else { json!({"prohibited": 1}) };
        assert_eq!(of(2002, "TCP"), expected, "{net} {address}");
        assert_eq!(of(80, "HTTP"), json!({"reset": 1}));
    }
    for address in ["198.51.100.12", "2001:db8:ff::1"] {
        assert_eq!(failures(trace.one(address, None, "ICMP")), json!({"timeout": 1}));
        assert!(trace.line(&format!("{address}  ")).ends_with("  timeout"));
    }
    for (name, word) in
        [("nosuch.example", "NXDOMAIN"), ("broken.test", "lookup failed"), ("silent.test", "timeout")]
    {
        for one in trace.lookups(name) {
            assert_eq!(failures(one), json!({word: 1}), "{name}");
        }
        assert!(trace.line(&format!("A {name}")).contains(&format!("  {word}")));
    }
    assert!(trace.line("198.51.100.2:1 ").ends_with("  refused"), "{}", trace.finished.stderr);
    // A slow answer may come after the question's second.
    assert!(trace.line("[2001:db8:1::2]:2002 ").contains("  prohibited"), "{}", trace.finished.stderr);
}

#[test]
fn failures_by_nat() {
    check("nat");
}

#[test]
fn failures_by_proxy() {
    check("proxy");
}

/// Every other segment with data is dropped on the way, so the program's kernel sends it again.
#[test]
fn what_is_sent_again_is_counted() {
    let lab = Lab::new(&Plan::default());
    lab.wan.sh(FIREWALL);
    let server = lab.wan.run(|| std::net::TcpListener::bind("[::]:2004").expect("nobody else listens there"));
    let script = "python3 -c \"
import socket, time
for h in '198.51.100.2', '2001:db8:1::2':
    s = socket.create_connection((h, 2004))
    for _ in range(4): s.send(b'again and again'); time.sleep(0.7)\"";
    let trace = Trace::of(&lab, &[], script);
    drop(server);
    for address in ["198.51.100.2", "2001:db8:1::2"] {
        let again = trace.one(address, Some(2004), "TCP")["retransmissions"].as_u64().expect("a count");
        assert!((2..=8).contains(&again), "{again}");
    }
    let tshark = nsntrace_testkit::CaptureFile::new(&lab.dir.join("trace.pcapng"));
    let analysed = "tcp.analysis.retransmission";
    let all: u64 = trace.conversations().iter().filter_map(|one| one["retransmissions"].as_u64()).sum();
    assert_eq!(tshark.count(analysed) as u64, all, "tshark counts as many");
    assert!(trace.line("198.51.100.2:2004").ends_with(" retransmitted"), "{}", trace.finished.stderr);
}

/// Twenty lines, ten more for what failed, and a count.
#[test]
fn a_long_list_is_cut() {
    let lab = Lab::new(&Plan::default());
    let script = "for p in $(seq 3001 3060); do nc -z -w1 198.51.100.2 $p; done
        for p in $(seq 4001 4060); do echo x >/dev/udp/198.51.100.2/$p; done; exit 0";
    let trace = Trace::of(&lab, &[], script);
    assert_eq!(trace.conversations().len(), 120);
    let lines: Vec<_> = trace.finished.stderr.lines().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(lines.len(), 1 + 20 + 10 + 1, "{}", trace.finished.stderr);
    assert_eq!(lines[31], "  and 90 more, all of which --report FILE writes down");
    let refused = lines.iter().filter(|line| line.ends_with("  refused")).count();
    assert_eq!(refused, 30, "{}", trace.finished.stderr);
}

#[test]
fn quiet_says_nothing_but_what_was_not_to_be() {
    let lab = Lab::new(&Plan::default());
    let trace = Trace::of(&lab, &["-q"], "curl -s http://198.51.100.2/ >/dev/null");
    assert_eq!((trace.finished.stderr.as_str(), trace.conversations().len()), ("", 1));
    let trace = Trace::of(&lab, &["-q", "--deny", "198.51.100.2"], "curl -s http://198.51.100.2/ >/dev/null");
    assert_eq!(trace.finished.stderr.lines().count(), 1, "{}", trace.finished.stderr);
}
