//! Sockets that nobody was seen to make, or that are another's by now.

use std::process::Stdio;
use std::time::Duration;

use nsntrace_testkit::{Lab, Plan, Report, until};

use crate::{commented, said};

/// All go on sending until the file says whose each is: at the first look it may not be known who holds what.
#[test]
fn what_no_filter_sees_is_right_or_nobodys() {
    let lab = Lab::new(&Plan::default());
    let path = lab.dir.join("trace.pcapng");
    let options =
        ["-o", "trace.pcapng", "--report", "trace.json", "python3", "-c", include_str!("unseen.py")];
    let mut command = lab.nsntrace(&options);
    command.stdin(Stdio::piped());
    let mut process = lab.host.spawn(command);
    let stdin = process.stdin();
    let lines = if cfg!(target_arch = "x86_64") { 14 } else { 10 };
    let has_said = || String::from_utf8_lossy(&process.stdout()).lines().count() >= lines;
    until("all have sent", Duration::from_mins(1), || has_said().then_some(()));
    // A comment for each, in what is written by now.
    let is_told = || {
        let bytes = std::fs::read(&path).unwrap_or_default();
        (bytes.windows(5).filter(|window| *window == &b"] -> "[..]).count() >= lines).then_some(())
    };
    until("each is somebody's", Duration::from_mins(1), is_told);
    drop(stdin);
    let report = Report::new(process.wait().succeeded(), &path);
    let said = said(&report);
    let mut commented = commented(&report, "tcp.srcport", "-> ");
    // What is found out late stands beside the next packet, which may be an answer.
    for port in ["tcp.dstport", "udp.srcport", "udp.dstport"] {
        for (port, pids) in self::commented(&report, port, "-> ") {
            commented.entry(port).or_default().extend(pids);
        }
    }
    let wrong: Vec<_> = said.iter().filter(|(port, pids)| commented.get(*port) != Some(pids)).collect();
    assert!(wrong.is_empty(), "{wrong:?}: {commented:?}");
    let json = std::fs::read(lab.dir.join("trace.json")).expect("it was written");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
    let of =
        |conversation: &serde_json::Value| conversation["process"]["certainty"]["held"].as_u64().unwrap_or(0);
    let held: u64 = json["conversations"].as_array().expect("a list").iter().map(of).sum();
    assert_eq!(held, if cfg!(target_arch = "x86_64") { 6 } else { 2 }, "{json}");
}
