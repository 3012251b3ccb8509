//! From the first system call to the last: whatever ends us, and whenever, the machine is as it was.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use nsntrace_testkit::{
    CaptureFile, Lab, Member, Plan, Process, Report, Residue, becoming_program_of, program_of, until, within,
    worker_of,
};

/// When a signal is sent: a fact is awaited where there is one to see, and a moment after it.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// This long after the start, in microseconds: in the middle of set-up, about 20 ms long.
    SetUp(u64),
    /// As soon as front has a child with a session of its own.
    WorkerIsBorn,
    /// When the first line is printed, before or while the program starts.
    Announced,
    /// When the program has become what was asked for.
    ProgramRuns,
    /// While packets fly.
    Traffic,
    /// This long after the program's last act, in microseconds: in the middle of teardown.
    Teardown(u64),
}

impl Moment {
    /// What is traced. Before packets fly it is a program that a signal ends from its first instruction on: an interpreter
    /// that is still starting makes of SIGINT whatever it likes.
    fn program(self) -> &'static [&'static str] {
        match self {
            Self::Traffic | Self::Teardown(_) => &["/usr/bin/python3", "-I", "-S", "-c", PROGRAM],
            _ => &["/usr/bin/sleep", "60"],
        }
    }
}

const MOMENTS: [Moment; 10] = [
    Moment::SetUp(0),
    Moment::SetUp(3_000),
    Moment::SetUp(8_000),
    Moment::SetUp(15_000),
    Moment::WorkerIsBorn,
    Moment::Announced,
    Moment::ProgramRuns,
    Moment::Traffic,
    Moment::Teardown(0),
    Moment::Teardown(5_000),
];

/// Sends and gets packets until a file appears, so that the test decides when it ends; says when packets fly and when it is
/// over. One process: a signal to the program alone would leave a child of it behind, as it does without us.
const PROGRAM: &str = "
import os, signal, socket, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((\"198.51.100.2\", 7))
def echo(): s.send(b\"x\"); s.recv(9)
echo(); open(\"traffic\", \"w\").close()
while not os.path.exists(\"stop\"): echo(); time.sleep(0.005)
open(\"over\", \"w\").close(); os._exit(0)
";

/// A run that has come to its moment.
fn bring_to(lab: &Lab, moment: Moment) -> Process {
    for name in ["traffic", "stop", "over"] {
        let _ = std::fs::remove_file(lab.dir.join(name));
    }
    let mut process = lab.start(&[&["-o", "trace.pcap"], moment.program()].concat());
    let exists = |name: &str| lab.dir.join(name).exists().then_some(());
    let limit = Duration::from_secs(20);
    match moment {
        Moment::SetUp(microseconds) => thread::sleep(Duration::from_micros(microseconds)),
        Moment::WorkerIsBorn => {
            within(limit, || worker_of(process.pid()));
        }
        Moment::Announced => process.await_stderr("Starting"),
        Moment::ProgramRuns => {
            until("the program runs", limit, || program_of(process.pid()));
        }
        Moment::Traffic => until("packets fly", limit, || exists("traffic")),
        Moment::Teardown(microseconds) => {
            until("packets fly", limit, || exists("traffic"));
            std::fs::write(lab.dir.join("stop"), "").expect("our directory");
            until("the program is over", limit, || exists("over"));
            thread::sleep(Duration::from_micros(microseconds));
        }
    }
    process
}

/// Sends `signal` at each moment; every time front ends soon, nothing is left, and what file there is can be read.
#[track_caller]
fn check_signal(signal: i32) {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    for moment in MOMENTS {
        let mut process = bring_to(&lab, moment);
        process.signal(signal);
        if signal == SIGSEGV && within(Duration::from_secs(1), || process.has_ended().then_some(())).is_none()
        {
            process.signal(signal);
        }
        let finished = process.wait_for(Duration::from_secs(30));
        let status = finished.shell_status();
        let may_finish = matches!(moment, Moment::Teardown(_));
        assert!(
            status == 128 + signal || (may_finish && status == 0),
            "{moment:?}: {status}: {}",
            finished.stderr
        );
        before.assert_same(&lab.host);
        let file = CaptureFile::new(&lab.dir.join("trace.pcap"));
        let size = std::fs::metadata(file.path()).map_or(0, |file| file.len());
        if size > 0 {
            let packets = file.packets();
            let flew = matches!(moment, Moment::Traffic | Moment::Teardown(_));
            assert!(!flew || packets >= 2, "{moment:?}: {packets} packets in the file");
        }
        let _ = std::fs::remove_file(file.path());
    }
}

/// The one signal that Rust's runtime handles until a program says otherwise, to tell a stack overflow: the first of a
/// process's life may be taken for none, and the default action restored for the next.
const SIGSEGV: i32 = 11;

#[test]
fn sighup_at_ten_moments() {
    check_signal(1);
}

#[test]
fn sigint_at_ten_moments() {
    check_signal(2);
}

#[test]
fn sigquit_at_ten_moments() {
    check_signal(3);
}

#[test]
fn sigabrt_at_ten_moments() {
    check_signal(6);
}

#[test]
fn sigkill_at_ten_moments() {
    check_signal(9);
}

#[test]
fn sigsegv_at_ten_moments() {
    check_signal(SIGSEGV);
}

#[test]
fn sigterm_at_ten_moments() {
    check_signal(15);
}

#[test]
fn sigkill_of_front_ends_a_program_that_forks_without_end() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    for round in 0..10 {
        let script = "for i in 1 2 3; do (while :; do (:); done) & done; : > up; wait";
        let process = lab.start(&["-o", "trace.pcap", "bash", "-c", script]);
        until("it forks", Duration::from_mins(1), || std::fs::remove_file(lab.dir.join("up")).ok());
        thread::sleep(Duration::from_millis(round * 3));
        process.signal(9);
        process.wait().ended_with(137);
        before.assert_same(&lab.host);
    }
}

#[test]
fn smoke_a_plain_run_leaves_nothing() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    lab.trace(&["curl", "-s", "http://www.lab.test/"]);
    before.assert_same(&lab.host);
}

#[test]
fn a_run_with_every_option_leaves_nothing() {
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    let before = Residue::of(&lab.host);
    let options = ["-o", "x.pcapng", "-d", "up1", "-u", "nobody", "--use-public-dns", "--wait-all", "-q"];
    lab.start(&[&options[..], &["curl", "-s", "http://neutral.test/"]].concat()).wait().succeeded();
    before.assert_same(&lab.host);
}

#[test]
fn our_own_failures_leave_nothing() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    lab.start(&["no-such-program"]).wait().ended_with(127);
    before.assert_same(&lab.host);
    lab.start(&["/etc/passwd"]).wait().ended_with(126);
    before.assert_same(&lab.host);
}

/// Starts a long trace, and waits until its program runs.
fn running(lab: &Lab, options: &[&str]) -> (Process, Member, Member) {
    let process = lab.start(&[options, &["-o", "trace.pcap", "sleep", "60"]].concat());
    let limit = Duration::from_secs(20);
    let program = until("the program runs", limit, || program_of(process.pid()));
    let worker = until("there is a worker", limit, || worker_of(process.pid()));
    (process, worker, program)
}

#[test]
fn smoke_sigkill_of_front_ends_everything() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    let (process, worker, program) = running(&lab, &[]);
    process.signal(9);
    process.wait().ended_with(137);
    before.assert_same(&lab.host);
    assert!(worker.has_ended() && program.has_ended());
    assert_eq!(CaptureFile::new(&lab.dir.join("trace.pcap")).packets(), 0);
}

#[test]
fn ip_netns_knows_a_trace_while_it_runs() {
    let lab = Lab::new(&Plan::default());
    let (process, _worker, program) = running(&lab, &[]);
    let front = Member::read(process.pid()).and_then(|front| front.inner_pid()).expect("it runs");
    let name = format!("nsntrace-{front}");
    assert_eq!(lab.host.sh("ip netns list").split_whitespace().next(), Some(name.as_str()));
    let inside = lab.host.sh(&format!("ip netns exec {name} ip -o link"));
    assert!(inside.contains("eth0"), "{inside}");
    let pids = lab.host.sh(&format!("ip netns pids {name}"));
    assert_eq!(pids.trim().parse().ok(), program.inner_pid());
    process.signal(15);
    process.wait().ended_with(143);
}

#[test]
fn sigkill_of_worker_is_told_and_leaves_nothing() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    let process = lab.start(&["-o", "trace.pcap", "sh", "-c", "until test -e go; do sleep 0.02; done"]);
    let worker = until("there is a worker", Duration::from_mins(1), || {
        program_of(process.pid()).and_then(|_| worker_of(process.pid()))
    });
    worker.signal(9);
    std::fs::write(lab.dir.join("go"), "").expect("our directory");
    // The program may run on, without its trace; its status would hide that there is none.
    let finished = process.wait().ended_with(125);
    assert!(finished.stderr.lines().any(|line| line.starts_with("nsntrace: ")), "{}", finished.stderr);
    // Nobody is left who could give back what worker held; the next run does.
    lab.trace(&["true"]);
    before.assert_same(&lab.host);
}

#[test]
fn sigkill_of_worker_is_healed_by_front() {
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    let before = Residue::of(&lab.host);
    for options in [&[][..], &["-d", "up1"]] {
        let process = lab.start(
            &[&["-o", "trace.pcap"], options, &["sh", "-c", "until test -e go; do sleep 0.02; done"]]
                .concat(),
        );
        let worker = until("there is a worker", Duration::from_mins(1), || {
            program_of(process.pid()).and_then(|_| worker_of(process.pid()))
        });
        worker.signal(9);
        let go = lab.dir.join("go");
        std::fs::write(&go, "").expect("our directory");
        process.wait().ended_with(125);
        before.assert_same(&lab.host);
        std::fs::remove_file(go).expect("it was there");
    }
}

#[test]
fn sigkill_of_both_is_healed_by_the_next_run() {
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    let before = Residue::of(&lab.host);
    for options in [&[][..], &["-d", "up1"], &["--use-public-dns"]] {
        let (process, worker, program) = running(&lab, options);
        let front = Member::read(process.pid()).expect("it runs");
        for member in [&front, &worker] {
            member.signal(19);
        }
        for member in [&worker, &front] {
            member.signal(9);
        }
        process.wait().ended_with(137);
        until("worker is gone", Duration::from_mins(1), || worker.has_ended().then_some(()));
        let left = lab.host.sh("nft list ruleset");
        let table =
            within(Duration::from_mins(1), || lab.host.sh("nft list ruleset").is_empty().then_some(()));
        assert!(table.is_some(), "the kernel drops the table by itself: {left}");
        // A program that its tracer left alone lives on like any orphan, if nobody asked the kernel to end it.
        program.signal(9);
        // The kernel closes one descriptor after the other, and waits tens of milliseconds at some of them.
        let is_let_go = "for run in /run/nsntrace/*/run-*; do flock -n $run true || exit 1; done";
        let let_go = || lab.host.try_sh(is_let_go).status.success().then_some(());
        until("nobody has its lock", Duration::from_mins(1), let_go);
        let report = lab.trace(&["curl", "-s", "http://198.51.100.2/whoami"]);
        assert_eq!(report.stdout(), "198.51.100.1\n");
        before.assert_same(&lab.host);
    }
}

#[test]
fn healing_leaves_other_instances_alone() {
    let lab = Lab::new(&Plan::default());
    let script = "until test -e go; do sleep 0.02; done; curl -s --max-time 5 http://198.51.100.2/whoami";
    let mut other = lab.start(&["-o", "other.pcap", "sh", "-c", script]);
    other.await_stderr("ctrl-c");
    let (process, worker, program) = running(&lab, &[]);
    worker.signal(19);
    process.signal(9);
    worker.signal(9);
    program.signal(9);
    process.wait();
    lab.trace(&["true"]);
    std::fs::write(lab.dir.join("go"), "").expect("our directory");
    assert_eq!(other.wait().succeeded().text(), "198.51.100.1\n");
}

#[test]
fn twenty_at_once() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    let runs: Vec<_> = (0..20)
        .map(|n| {
            let script = format!("curl -s -A client-{n} http://198.51.100.2/bytes/100000 | wc -c; curl -s -6 http://www.lab.test/");
            (n, lab.start(&["-o", &format!("{n}.pcap"), "sh", "-ec", &script]))
        })
        .collect();
    let reports: Vec<_> = runs
        .into_iter()
        .map(|(n, process)| {
            let finished = process.wait().succeeded();
            assert_eq!(finished.text(), "100000\nhello from the lab\n", "run {n}");
            Report::new(finished, &lab.dir.join(&format!("{n}.pcap")))
        })
        .collect();
    for (n, report) in reports.iter().enumerate() {
        let agents = report.file.field("http.request.uri contains bytes", "http.user_agent");
        assert_eq!(agents, [format!("client-{n}")]);
    }
    let addresses: HashSet<_> = reports.iter().map(|report| report.address4.clone()).collect();
    assert_eq!(addresses.len(), 20);
    before.assert_same(&lab.host);
}

#[test]
fn a_hundred_one_after_another_leave_nothing() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    for _ in 0..100 {
        lab.start(&["-q", "true"]).wait().succeeded();
    }
    before.assert_same(&lab.host);
}

/// A daemon that sends one packet when it may, some time after the program has ended.
const DAEMON: &str = "setsid bash -c 'until test -e late; do sleep 0.02; done; printf late > /dev/udp/198.51.100.2/9' \
    >/dev/null 2>&1 </dev/null & exit 3";

#[test]
fn the_trace_ends_with_the_program() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    let finished = lab.start(&["-o", "trace.pcap", "bash", "-c", DAEMON]).wait().ended_with(3);
    let report = Report::new(finished, &lab.dir.join("trace.pcap"));
    assert_eq!(report.file.count("udp"), 0);
    assert!(
        report.notes.iter().any(|line| line.contains("till running")),
        "survivors are named: {:?}",
        report.notes
    );
    // Whoever sees its sockets is there as long as it is.
    before.assert_same_but(&lab.host, |line| {
        let is_ours = line.contains("nsntrace") && !line.contains(" nsntrace-witnes ");
        line.starts_with("processes: +") && !is_ours || line.starts_with("namespaces: +net:")
    });
    std::fs::write(lab.dir.join("late"), "").expect("our directory");
    let left = before.left_after(Duration::from_mins(1), &lab.host, |_| false);
    assert!(left.is_empty(), "the daemon ends by itself: {left}");
}

#[test]
fn wait_all_goes_on_until_the_last_process_is_gone() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    let mut process = lab.start(&["-o", "trace.pcap", "--wait-all", "bash", "-c", DAEMON]);
    process.await_stderr("ctrl-c");
    thread::sleep(Duration::from_secs(1));
    assert!(!process.has_ended(), "the daemon lives");
    std::fs::write(lab.dir.join("late"), "").expect("our directory");
    let finished = process.wait().ended_with(3);
    let report = Report::new(finished, &lab.dir.join("trace.pcap"));
    assert_eq!(report.file.field("udp.dstport == 9", "udp.payload"), ["6c617465"]);
    before.assert_same(&lab.host);
}

#[test]
fn wait_all_with_nobody_to_wait_for_ends_at_once() {
    let lab = Lab::new(&Plan::default());
    let start = Instant::now();
    lab.trace_with(&["--wait-all"], &["true"]);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn wait_all_can_be_ended_with_a_signal() {
    let lab = Lab::new(&Plan::default());
    let script = "setsid sleep 30 >/dev/null 2>&1 </dev/null & touch started";
    let process = lab.start(&["-o", "trace.pcap", "--wait-all", "sh", "-c", script]);
    let started = lab.dir.join("started");
    until("only the daemon is left", Duration::from_mins(1), || started.exists().then_some(()));
    // As long as there is a program, the signal is the program's.
    let is_reaped = || becoming_program_of(process.pid()).is_none().then_some(());
    until("front has seen the program's end", Duration::from_mins(1), is_reaped);
    process.signal(2);
    let finished = process.wait_for(Duration::from_secs(25));
    assert!(finished.stderr.contains("\nFinished capturing "), "{}", finished.stderr);
}

#[test]
fn smoke_the_namespace_has_a_name_while_it_lives() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    let (process, worker, program) = running(&lab, &[]);
    let inner = Member::read(process.pid()).and_then(|front| front.inner_pid()).expect("it runs");
    let name = format!("nsntrace-{inner}");
    assert_eq!(lab.host.list("/run/netns"), std::slice::from_ref(&name));
    let address = lab
        .host
        .sh(&format!("ip netns exec {name} ip -j -4 addr show scope global | jq -r '.[].addr_info[].local'"));
    assert!(process.stderr().contains(&format!("trace is {}.", address.trim())), "{}", process.stderr());
    let members = lab.host.sh(&format!("ip netns pids {name}"));
    assert_eq!(
        members.trim(),
        program.inner_pid().expect("it runs").to_string(),
        "nobody of ours is in there"
    );
    assert_ne!(worker.netns(), program.netns());
    process.signal(15);
    process.wait().ended_with(143);
    before.assert_same(&lab.host);
}

#[test]
fn somebody_elses_names_under_run_netns_are_left_alone() {
    let lab = Lab::new(&Plan::default());
    lab.host.sh("ip netns add mine; ip netns add nsntrace-of-mine; ip netns exec mine ip link set lo up");
    let before = Residue::of(&lab.host);
    lab.trace(&["curl", "-s", "http://198.51.100.2/"]);
    before.assert_same(&lab.host);
    lab.host.sh("ip netns exec mine ping -q -c1 127.0.0.1");
}

#[test]
fn the_file_is_complete_when_front_ends() {
    let lab = Lab::new(&Plan::default());
    let process = lab.start(&[
        "-o",
        "trace.pcap",
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "http://198.51.100.2/bytes/3000000",
    ]);
    let finished = process.wait().succeeded();
    let path = lab.dir.join("trace.pcap");
    let then = std::fs::read(&path).expect("it is there");
    let report = Report::new(finished, &path);
    assert_eq!(report.file.count("tcp.flags.fin == 1"), 2);
    thread::sleep(Duration::from_millis(300));
    assert!(then == std::fs::read(&path).expect("it is there"), "nothing is added behind the prompt");
}

#[test]
fn mounts_of_the_host_reach_a_running_program_and_not_the_other_way() {
    let lab = Lab::new(&Plan::default());
    lab.host.sh("mkdir /run/there /run/here");
    let script = "touch up; until test -e /run/there/file; do sleep 0.02; done
                  mount -t tmpfs none /run/here; touch /run/here/file mounted; sleep 0.5";
    // A resolv.conf of its own is what makes a mount namespace of its own necessary.
    let process = lab.start(&["--use-public-dns", "sh", "-ec", script]);
    let exists = |name: &str| lab.dir.join(name).exists().then_some(());
    until("the program runs", Duration::from_mins(1), || exists("up"));
    lab.host.sh("mount -t tmpfs none /run/there; touch /run/there/file");
    until("it saw the mount", Duration::from_mins(1), || exists("mounted"));
    assert!(!lab.host.has("/run/here/file"), "a mount of the program stays with the program");
    process.wait().succeeded();
}
