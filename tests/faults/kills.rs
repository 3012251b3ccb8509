//! SIGKILL of front, of worker, of the witness, of the process that becomes the program, of front and worker, and of all of them, at random moments
//! of set-up, run and teardown.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nsntrace_testkit::{Lab, Process, Residue, becoming_program_of, until, witness_of, worker_of};

use crate::caller::Caller;
use crate::chance::Chance;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Front,
    Worker,
    Witness,
    /// What is ours until it becomes the program.
    Program,
    /// Front and worker.
    Both,
    All,
}

impl Victim {
    /// Kills it, if it is there.
    fn kill(self, front: &Process) {
        let is_meant = |victims: &[Self]| victims.contains(&self);
        let is_front_meant = is_meant(&[Self::Front, Self::Both, Self::All]);
        if is_front_meant {
            // Else front might see the end of another, and do something about it.
            front.signal(SIGSTOP);
        }
        if is_meant(&[Self::Witness, Self::All]) {
            let witness = worker_of(front.pid()).and_then(|worker| witness_of(worker.pid));
            witness.inspect(|witness| witness.signal(SIGKILL));
        }
        if is_meant(&[Self::Worker, Self::Both, Self::All]) {
            worker_of(front.pid()).inspect(|worker| worker.signal(SIGKILL));
        }
        if is_meant(&[Self::Program, Self::All]) {
            becoming_program_of(front.pid()).inspect(|program| program.signal(SIGKILL));
        }
        if is_front_meant {
            front.signal(SIGKILL);
        }
    }
}

/// Many rounds, each with a moment of its own. Nothing may be left for good, and hardly ever for more than a second: these tests run beside
/// others, and the kernel takes down one network namespace after the other.
fn check(caller: Caller, victim: Victim) {
    let lab = Caller::lab();
    let before = Residue::of(&lab.host);
    let mut chance = Chance::new();
    let length = length_of_a_run(caller, &lab);
    let mut late = Vec::new();
    for round in 0..ROUNDS {
        let moment = chance.moment(length);
        let told = format!("NSNTRACE_SEED={} round {round}, after {moment:?}", chance.seed());
        let options = OPTIONS[round as usize % OPTIONS.len()];
        kill_at((moment, options), caller, victim, &lab, &before, &mut late)
            .unwrap_or_else(|why| panic!("{told}: {why}"));
        check_file(&lab, &told);
    }
    assert!(
        late.len() <= 5,
        "{} rounds of {ROUNDS} took more than {LIMIT:?}:\n{}",
        late.len(),
        late.join("\n")
    );
}

/// From the start to a moment after the end: what is behind the prompt is to be met, too.
fn length_of_a_run(caller: Caller, lab: &Lab) -> Duration {
    let start = Instant::now();
    caller.run(lab, &[OPTIONS[0], PROGRAM].concat()).succeeded();
    start.elapsed() * 3 / 2
}

/// One round. Notes what was there for longer than it should.
fn kill_at(
    (moment, options): (Duration, &[&str]),
    caller: Caller,
    victim: Victim,
    lab: &Lab,
    before: &Residue,
    late: &mut Vec<String>,
) -> Result<(), String> {
    let process = caller.start(lab, &[options, PROGRAM].concat());
    thread::sleep(moment);
    victim.kill(&process);
    let finished = process.wait_for(Duration::from_mins(1));
    let status = finished.shell_status();
    let (is_expected, is_anybody_left) = match victim {
        Victim::Front => (status == 137 || status == 0, true),
        // A front that had its answer already has gone, and nobody looks after a worker then.
        Victim::Worker => (status == 125 && is_told(&finished.stderr) || status == 0, status == 125),
        // The program's connections fail, and it says so in its own way.
        Victim::Witness => (status < 100 || status == 125 && finished.stderr.contains("nsntrace: "), true),
        // Before its exec it is a failure of ours, afterwards the program's own end. Until worker has a session it may be met instead.
        Victim::Program => {
            let is_ours = finished.stderr.contains(UNSTARTED) || is_told(&finished.stderr);
            (status == 125 && is_ours || status == 137 || status == 0, true)
        }
        Victim::Both | Victim::All => (status == 137 || status == 0, false),
    };
    if !is_expected {
        return Err(format!("status {status}: {}", finished.stderr));
    }
    let mut goes = |tolerated: &dyn Fn(&str) -> bool| {
        let after_limit = before.left_after(LIMIT, &lab.host, tolerated);
        if after_limit.is_empty() {
            return Ok(());
        }
        late.push(after_limit);
        let left = before.left_after(FOR_GOOD, &lab.host, tolerated);
        if left.is_empty() {
            return Ok(());
        }
        Err(format!("left for good after status {status}:\n{left}{}", finished.stderr))
    };
    goes(&|line| !is_anybody_left && is_for_the_next_run(line))?;
    if !is_anybody_left {
        caller.run(lab, &["-q", "-o", "next.pcap", "true"]).succeeded();
        goes(&|_| false)?;
    }
    Ok(())
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
    for name in ["killed.pcap", "killed.pcapng"] {
        let path = lab.dir.join(name);
        if fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
            let mut command = Command::new("tcpdump");
            command.args(["-nn", "-r"]).arg(&path).stdin(Stdio::null());
            let finished = Process::spawn(command).wait();
            let is_cut = finished.stderr.contains("truncated") && finished.stderr.contains("dump file");
            assert!(finished.status.success() || is_cut, "{told}: {}", finished.stderr);
        }
        let _not_made = fs::remove_file(path);
    }
}

/// Worker finds and ends them without being able to trace them.
#[test]
fn what_another_user_has_started_ends_with_front() {
    let lab = Caller::lab();
    let before = Residue::of(&lab.host);
    let script = "setsid sleep 60 & setsid sh -c 'sleep 60 & wait' & touch up; wait";
    let process = Caller::Root.start(&lab, &["-u", "nobody", "-o", "killed.pcap", "bash", "-c", script]);
    let up = lab.dir.join("up");
    until("they run", Duration::from_mins(1), || up.exists().then_some(()));
    process.signal(SIGKILL);
    process.wait().ended_with(137);
    let left = before.left_after(LIMIT, &lab.host, |_| false);
    assert!(left.is_empty(), "{left}");
}

#[test]
fn the_end_of_a_witness_is_told() {
    let lab = Caller::lab();
    let script = "touch up; until test -e go; do sleep 0.02; done; curl -s http://198.51.100.2/whoami";
    let process = Caller::Root.start(&lab, &["-o", "killed.pcap", "sh", "-c", script]);
    let up = lab.dir.join("up");
    until("it runs", Duration::from_mins(1), || up.exists().then_some(()));
    let witness = worker_of(process.pid()).and_then(|worker| witness_of(worker.pid)).expect("there is one");
    witness.signal(SIGKILL);
    until("it is gone", Duration::from_mins(1), || witness.has_ended().then_some(()));
    fs::write(lab.dir.join("go"), "").expect("our directory");
    let finished = process.wait().ended_with(7);
    let told = "nsntrace: note: the process that sees whose packets are whose was ended";
    assert!(finished.stderr.contains(told), "{}", finished.stderr);
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
fn witness_by_nat() {
    check(Caller::Root, Victim::Witness);
}

#[test]
fn program_by_nat() {
    check(Caller::Root, Victim::Program);
}

#[test]
fn both_by_nat() {
    check(Caller::Root, Victim::Both);
}

#[test]
fn all_by_nat() {
    check(Caller::Root, Victim::All);
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
fn witness_by_proxy() {
    check(Caller::User, Victim::Witness);
}

#[test]
fn program_by_proxy() {
    check(Caller::User, Victim::Program);
}

#[test]
fn both_by_proxy() {
    check(Caller::User, Victim::Both);
}

#[test]
fn all_by_proxy() {
    check(Caller::User, Victim::All);
}

/// Which are taken in turns: with the least of ours, and with the most.
const OPTIONS: [&[&str]; 2] =
    [&["-o", "killed.pcap"], &["--tls-keys", "--report", "killed.json", "-o", "killed.pcapng"]];
/// One process, which ends with its network or soon after.
const PROGRAM: &[&str] = &[
    "curl",
    "-s",
    "--max-time",
    "1",
    "http://198.51.100.2/bytes/100000",
    "http://[2001:db8:1::2]/bytes/1000",
];
const UNSTARTED: &str = "nsntrace: cannot start the program: its process is gone";
const ROUNDS: u32 = 50;
const LIMIT: Duration = Duration::from_secs(1);
const FOR_GOOD: Duration = Duration::from_mins(1);

const SIGKILL: i32 = 9;
const SIGSTOP: i32 = 19;
