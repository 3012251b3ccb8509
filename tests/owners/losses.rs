//! When more goes on than can be heard.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use nsntrace_testkit::{Lab, Member, Plan, program_of, until, worker_of};

/// So many sockets of UDP that go are more than the kernel keeps for us.
const CROWD: &str = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b'x', ('198.51.100.2', 9))
print('begun', flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[1])):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(('127.0.0.1', 0))
print('over', flush=True)
sys.stdin.readline()
";

/// What is said at the end if so many sockets go while worker stands still, and the kernel has dropped so many announcements at least.
fn say(count: &str, dropped: u64) -> (bool, bool) {
    let lab = Lab::new(&Plan::default());
    let mut command =
        lab.nsntrace(&["-o", "trace.pcapng", "--report", "trace.json", "python3", "-c", CROWD, count]);
    command.stdin(Stdio::piped());
    let mut process = lab.host.spawn(command);
    let mut stdin = process.stdin();
    let has_said = |word: &str| {
        until(word, Duration::from_mins(1), || {
            String::from_utf8_lossy(&process.stdout()).contains(word).then_some(())
        });
    };
    has_said("begun");
    let worker = worker_of(process.pid()).expect("its program runs");
    worker.signal(SIGSTOP);
    let is_stopped = || Member::read(worker.pid).filter(|now| now.state == 'T');
    until("it has stopped", Duration::from_mins(1), is_stopped);
    stdin.write_all(b"\n").expect("it reads");
    has_said("over");
    // They are announced from a queue of work, some time later.
    let program = program_of(process.pid()).expect("it runs").pid;
    until("some are dropped", Duration::from_mins(1), || {
        (announcements_dropped(program) >= dropped).then_some(())
    });
    worker.signal(SIGCONT);
    drop(stdin);
    let finished = process.wait().succeeded();
    let json = std::fs::read(lab.dir.join("trace.json")).expect("it was written");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
    let is_told = finished.stderr.contains("\n  sockets went too fast to hear of them all: ");
    (json["unheard"].as_bool().expect("it is always there"), is_told)
}

/// What the socket that hears of sockets that go had no room for, in the namespace of a process.
fn announcements_dropped(pid: u32) -> u64 {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/netlink")).expect("it runs");
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    // Eth is the family: NETLINK_SOCK_DIAG.
    let ours: Vec<_> = rows.iter().filter(|row| row[1] == "4" && row[3] == "0000000f").collect();
    assert_eq!(ours.len(), 1, "{table}");
    ours[0][8].parse().expect("it is a number")
}

#[test]
fn sockets_that_go_unheard_of_are_told() {
    assert_eq!(say("100", 0), (false, false));
    assert_eq!(say("20000", 1), (true, true));
}

const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
