//! Ports of UDP that one process has after the other.

use std::collections::{BTreeMap, BTreeSet};

use nsntrace_testkit::{Lab, Plan, Report};

use super::{commented, said};

/// Ten ports, each had by two processes right behind each other. The second one lives until the trace ends. Each has a peer port of its own.
const HEIRS: &str = "
import os, socket, time
for turn in range(10):
    for peer in 7000 + turn, 8000 + turn:
        pid = os.fork()
        if pid == 0:
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind(('0.0.0.0', 5000 + turn))
            s.sendto(b'x', ('198.51.100.2', peer))
            if peer >= 8000:
                time.sleep(3)
            os._exit(0)
        print(pid, peer, flush=True)
        if peer < 8000:
            os.waitpid(pid, 0)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
";

/// One process speaks by IPv4 all the time; others have the same port of IPv6 for some milliseconds each.
const NEIGHBOURS: &str = "
import os, socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 5000))
print(os.getpid(), 5000, flush=True)
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        other = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(('::', 5000))
        time.sleep(0.01)
        os._exit(0)
    for _ in range(20):
        s.sendto(b'x', ('198.51.100.2', 9))
        time.sleep(0.005)
    os.waitpid(pid, 0)
";

fn trace(lab: &Lab, script: &str) -> Report {
    let options = ["-o", "trace.pcapng", "--report", "trace.json"];
    let finished = lab.start(&[&options[..], &["python3", "-c", script]].concat()).wait().succeeded();
    Report::new(finished, &lab.dir.join("trace.pcapng"))
}

#[test]
fn who_has_the_port_now_is_not_who_had_it() {
    let lab = Lab::new(&Plan::default());
    let report = trace(&lab, HEIRS);
    let said = said(&report);
    assert_eq!(said.len(), 20);
    // That a socket has gone the kernel tells when it finds the time: some of the comments are not there then, and none is wrong.
    let commented = commented(&report, "udp.dstport", "-> ");
    assert!(commented.iter().all(|(port, pids)| said.get(port) == Some(pids)), "{commented:?}, {said:?}");
    assert!(commented.len() > 10, "one that had a port is known: {commented:?}");
    let json = std::fs::read(lab.dir.join("trace.json")).expect("it was written");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
    let conversations = json["conversations"].as_array().expect("a list").iter();
    let reported = conversations.map(|one| {
        let [port, pid] = [&one["peer"]["port"], &one["process"]["pid"]].map(ToString::to_string);
        (port, BTreeSet::from([pid]))
    });
    assert_eq!(reported.collect::<BTreeMap<_, _>>(), said, "all is known at the end: {json}");
}

#[test]
fn the_same_port_of_another_family_is_another() {
    let lab = Lab::new(&Plan::default());
    let report = trace(&lab, NEIGHBOURS);
    assert_eq!(commented(&report, "udp.srcport", "-> "), said(&report));
}
