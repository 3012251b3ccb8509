//! Whose packets they are: what the file and the report say, against what the processes said themselves.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use nsntrace_testkit::{Lab, Plan, Report};

/// Lines `PID PORT` of processes, by port: a port may have been used twice.
fn said(report: &Report) -> BTreeMap<String, BTreeSet<String>> {
    let mut said: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in report.stdout().lines() {
        let (pid, port) = line.split_once(' ').expect("two words");
        said.entry(port.into()).or_default().insert(pid.into());
    }
    said
}

/// Pids by the comments `NAME[PID] -> PEER` of packets, by local port.
fn commented(report: &Report, port: &str, arrow: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut commented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for fields in report.file.fields("frame.comment", &[port, "frame.comment"]) {
        let [port, comment] = &fields[..] else { panic!("{fields:?}") };
        let Some((who, _)) = comment.split_once(arrow) else { continue };
        let Some((_, pid)) = who.split_once('[') else { continue };
        commented.entry(port.clone()).or_default().insert(pid.trim_end_matches("] ").into());
    }
    commented
}

fn python(lab: &Lab, options: &[&str], script: &str) -> Report {
    let options = [&["--net", "auto"], options].concat();
    lab.trace_with(&options, &["python3", "-c", script])
}

const CHILDREN: &str = "
import os, socket, sys
for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1000):
    pid = os.fork()
    if pid == 0:
        s = socket.create_connection(('198.51.100.2', 80))
        os.write(1, b'%d %d\\n' % (os.getpid(), s.getsockname()[1]))
        os._exit(0)
    os.waitpid(pid, 0)
";

fn thousand_children(transport: &str) {
    let lab = Lab::new(&Plan::default());
    let options = ["--net", transport, "-o", "trace.pcapng", "--report", "trace.json"];
    let report = lab.trace_with(&options, &["python3", "-c", CHILDREN]);
    let said = said(&report);
    assert_eq!(said.values().map(BTreeSet::len).sum::<usize>(), 1000);
    let commented = commented(&report, "tcp.srcport", "-> ");
    assert_eq!(commented, said);
}

#[test]
fn a_thousand_children_that_live_for_a_moment() {
    thousand_children("nat");
}

#[test]
fn a_thousand_children_by_proxy() {
    thousand_children("proxy");
}
