//! Processes of ours that stand still for a while.

use std::fs;
use std::time::Duration;

use nsntrace_testkit::{Lab, Member, Process, Report, Residue, program_of, until, worker_of};

use crate::caller::{Caller, leave};

/// Sends a datagram each 10 ms, fifty in all.
const PROGRAM: &str = "import os, socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(50):
    s.sendto(b'%02d' % n, ('198.51.100.2', 9)); time.sleep(0.01)
    if n == 9: open('begun', 'w').close()
open('over', 'w').close(); os._exit(8)";

/// A trace that is under way.
fn under_way(lab: &Lab, caller: Caller) -> Process {
    let process = caller.start(lab, &["-o", "trace.pcap", "/usr/bin/python3", "-I", "-S", "-c", PROGRAM]);
    wait_for(lab, "begun");
    process
}

fn wait_for(lab: &Lab, name: &str) {
    let path = lab.dir.join(name);
    until(name, Duration::from_mins(1), || path.exists().then_some(()));
}

/// Stops somebody until the program is over. Then all is as it would have been.
#[track_caller]
fn check(caller: Caller, who: impl Fn(u32) -> Member) {
    let lab = Caller::lab();
    let before = Residue::of(&lab.host);
    let process = under_way(&lab, caller);
    let member = who(process.pid());
    member.signal(SIGSTOP);
    let is_stopped = || Member::read(member.pid).filter(|now| now.state == 'T');
    until("it has stopped", Duration::from_mins(1), is_stopped);
    wait_for(&lab, "over");
    member.signal(SIGCONT);
    let report = Report::new(process.wait().ended_with(8), &lab.dir.join("trace.pcap"));
    assert_eq!(report.notes, Vec::<String>::new(), "nothing was lost");
    check_stamps(&report);
    before.assert_same(&lab.host);
}

/// Each packet has the time at which it was sent, whenever we came to read it: it is the kernel that stamps.
fn check_stamps(report: &Report) {
    let stamps: Vec<f64> = report
        .file
        .field("udp.dstport == 9", "frame.time_epoch")
        .iter()
        .map(|stamp| stamp.parse().expect("seconds"))
        .collect();
    assert_eq!(stamps.len(), 50);
    let early = stamps.windows(2).filter(|pair| pair[1] - pair[0] < 0.009).count();
    assert_eq!(early, 0, "{stamps:?}");
}

fn front(pid: u32) -> Member {
    Member::read(pid).expect("it runs")
}

fn worker(front: u32) -> Member {
    worker_of(front).expect("its program runs")
}

#[test]
fn worker_by_nat() {
    check(Caller::Root, worker);
}

#[test]
fn worker_by_proxy() {
    check(Caller::User, worker);
}

#[test]
fn front_by_nat() {
    check(Caller::Root, front);
}

#[test]
fn front_by_proxy() {
    check(Caller::User, front);
}

/// A worker that never goes on: the user can leave, and what it held goes with it.
#[test]
fn worker_for_ever() {
    let lab = Caller::lab();
    let before = Residue::of(&lab.host);
    let process = Caller::Root.start(&lab, &["-o", "trace.pcap", "sleep", "60"]);
    let program = until("the program runs", Duration::from_mins(1), || program_of(process.pid())).pid;
    let stopped = worker(process.pid());
    stopped.signal(SIGSTOP);
    process.signal(SIGTERM);
    until("the program has ended", Duration::from_mins(1), || {
        Member::read(program).is_none_or(|now| now.state == 'Z').then_some(())
    });
    leave(process).ended_with(125);
    stopped.signal(SIGKILL);
    // To its last thread: until then it has its locks.
    until("it is gone", Duration::from_mins(1), || Member::read(stopped.pid).is_none().then_some(()));
    Caller::Root.run(&lab, &["-q", "-o", "next.pcap", "true"]).succeeded();
    before.assert_same(&lab.host);
    assert!(fs::metadata(lab.dir.join("trace.pcap")).is_ok_and(|file| file.len() >= 24));
}

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
