//! SIGKILL of front, of worker and of both, at random moments of set-up, run and teardown.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nsntrace_testkit::{Lab, Process, Residue, until, worker_of};

use crate::caller::Caller;
use crate::chance::Chance;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Front,
    Worker,
    Both,
}

impl Victim {
    /// Kills it, if it is there.
    fn kill(self, front: &Process) {
        let is_worker_meant = self != Self::Front;
        if self == Self::Both {
            // Else front might see the end of worker, and do something about it.
            front.signal(SIGSTOP);
        }
        if let (Some(worker), true) = (worker_of(front.pid()), is_worker_meant) {
            worker.signal(SIGKILL);
        }
        if self != Self::Worker {
            front.signal(SIGKILL);
        }
    }
}

/// Many rounds, each with a moment of its own.
fn check(caller: Caller, victim: Victim) {
    let lab = Caller::lab();
    let before = Residue::of(&lab.host);
    let mut chance = Chance::new();
    let length = length_of_a_run(caller, &lab);
    for round in 0..ROUNDS {
        let moment = chance.moment(length);
        let told = format!("NSNTRACE_SEED={} round {round}, after {moment:?}", chance.seed());
        let left = kill_at(moment, caller, victim, &lab, &before);
        assert!(left.is_empty(), "{told}: {left}");
        check_file(&lab, &told);
    }
}

/// From the start to a moment after the end: what is behind the prompt is to be met, too.
fn length_of_a_run(caller: Caller, lab: &Lab) -> Duration {
    let start = Instant::now();
    caller.run(lab, PROGRAM).succeeded();
    start.elapsed() * 3 / 2
}

/// One round. Gives what is wrong.
fn kill_at(moment: Duration, caller: Caller, victim: Victim, lab: &Lab, before: &Residue) -> String {
    let process = caller.start(lab, PROGRAM);
    thread::sleep(moment);
    victim.kill(&process);
    let finished = process.wait_for(Duration::from_secs(10));
    let status = finished.shell_status();
    let (is_expected, is_anybody_left) = match victim {
        Victim::Front => (status == 137 || status == 0, true),
        // A front that had its answer already has gone, and nobody looks after a worker then.
        Victim::Worker => (status == 125 && is_told(&finished.stderr) || status == 0, status == 125),
        Victim::Both => (status == 137 || status == 0, false),
    };
    if !is_expected {
        return format!("status {status}: {}", finished.stderr);
    }
    let left = before.left_after(LIMIT, &lab.host, |line| !is_anybody_left && is_for_the_next_run(line));
    if !left.is_empty() {
        return format!("left {LIMIT:?} after status {status}:\n{left}{}", finished.stderr);
    }
    if is_anybody_left {
        return left;
    }
    caller.run(lab, &["-q", "-o", "next.pcap", "true"]).succeeded();
    before.left_after(LIMIT, &lab.host, |_| false)
}

fn is_told(stderr: &str) -> bool {
    stderr.lines().any(|line| line.starts_with("nsntrace: the capture was cut short"))
}

/// What no descriptor holds, and a wire that the kernel keeps for a connection that still closes.
fn is_for_the_next_run(line: &str) -> bool {
    ["run: +", "sysctls: ", "conntrack: +"].iter().any(|section| line.starts_with(section))
        || line.contains("nst0")
}

/// The file is there or not, but what is there can be read to its end: to the last packet, behind which a worker that was killed in the
/// middle of a write leaves the beginning of another.
fn check_file(lab: &Lab, told: &str) {
    let path = lab.dir.join("killed.pcap");
    if fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
        let mut command = Command::new("tcpdump");
        command.args(["-nn", "-r"]).arg(&path).stdin(Stdio::null());
        let finished = Process::spawn(command).wait();
        let is_readable = finished.status.success() || finished.stderr.contains("truncated dump file");
        assert!(is_readable, "{told}: {}", finished.stderr);
    }
    let _not_made = fs::remove_file(path);
}

/// Worker finds and ends them without being able to trace them.
#[test]
fn what_another_user_has_started_ends_with_front() {
    let lab = Caller::lab();
    let before = Residue::of(&lab.host);
    let script = "setsid sleep 60 & setsid sh -c 'sleep 60 & wait' & touch up; wait";
    let process = Caller::Root.start(&lab, &["-u", "nobody", "-o", "killed.pcap", "bash", "-c", script]);
    let up = lab.dir.join("up");
    until("they run", Duration::from_secs(10), || up.exists().then_some(()));
    process.signal(SIGKILL);
    process.wait().ended_with(137);
    let left = before.left_after(LIMIT, &lab.host, |_| false);
    assert!(left.is_empty(), "{left}");
}

#[test]
fn front_by_nat() {
    check(Caller::Root, Victim::Front);
}

#[test]
fn worker_by_nat() {
    check(Caller::Root, Victim::Worker);
}

#[test]
fn both_by_nat() {
    check(Caller::Root, Victim::Both);
}

#[test]
fn front_by_proxy() {
    check(Caller::User, Victim::Front);
}

#[test]
fn worker_by_proxy() {
    check(Caller::User, Victim::Worker);
}

#[test]
fn both_by_proxy() {
    check(Caller::User, Victim::Both);
}

/// One process, which ends with its network or soon after.
const PROGRAM: &[&str] = &[
    "-o",
    "killed.pcap",
    "curl",
    "-s",
    "--max-time",
    "1",
    "http://198.51.100.2/bytes/100000",
    "http://[2001:db8:1::2]/bytes/1000",
];
const ROUNDS: u32 = 50;
const LIMIT: Duration = Duration::from_secs(1);

const SIGKILL: i32 = 9;
const SIGSTOP: i32 = 19;
