//! Threads that fail, one after the other: what was captured up to then is in the file, the user is told which it was, and nothing is left behind.
//!
//! A thread fails by a trap, as it does where a panic has no words; `crates/sys/src/failing.rs` has the tests of those that have.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nsntrace_testkit::{CaptureFile, Finished, Lab, Process, Residue, until, within, worker_of};

use crate::caller::Caller;

/// Sends datagrams all at once, and goes on until it may end.
const PROGRAM: &str = "import os, socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(20): s.sendto(b'%02d' % n, ('198.51.100.2', 9))
open('sent', 'w').close()
while not os.path.exists('enough'): time.sleep(0.01)";
const SENT: usize = 20;
/// What has every thread at work that there can be.
const EVERYTHING: &[&str] = &["--print=lines", "--report", "report.json", "--tls-keys"];

struct Trace {
    lab: Lab,
    before: Residue,
    front: Process,
}

impl Trace {
    /// One whose program has sent its datagrams, just now.
    fn under_way(caller: Caller, options: &[&str], file: &str) -> Self {
        let lab = Caller::lab();
        let before = Residue::of(&lab.host);
        let options = [options, &["-o", file, "/usr/bin/python3", "-I", "-S", "-c", PROGRAM]].concat();
        let front = caller.start(&lab, &options);
        let sent = lab.dir.join("sent");
        until("the program has sent", Duration::from_mins(1), || sent.exists().then_some(()));
        Self { lab, before, front }
    }

    fn worker(&self) -> u32 {
        worker_of(self.front.pid()).expect("its program runs").pid
    }

    /// Waits for the end of everything.
    fn end(self) -> (Finished, Lab) {
        fs::write(self.lab.dir.join("enough"), "").expect("it is ours");
        let finished = self.front.wait_for(Duration::from_mins(1));
        let left = self.before.left_after(Duration::from_mins(1), &self.lab.host, |_| false);
        assert!(left.is_empty(), "{left}\n{}", finished.stderr);
        (finished, self.lab)
    }
}

/// The names of a process' threads.
fn threads(pid: u32) -> Vec<(u32, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let named = tasks.filter_map(|task| {
        let task = task.ok()?;
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        Some((task.file_name().to_str()?.parse().ok()?, name.trim_end().to_owned()))
    });
    named.collect()
}

/// Makes one thread of a process fail.
fn break_thread(pid: u32, name: &str) {
    let (thread, _) = threads(pid).into_iter().find(|(_, found)| found == name).expect("it is there");
    let script = format!("import ctypes, sys; sys.exit(ctypes.CDLL(None).tgkill({pid}, {thread}, 4))");
    assert!(Command::new("python3").args(["-c", &script]).status().expect("python3 is needed").success());
}

fn check_worker(caller: Caller, file: &str, expected: &[&str]) {
    let trace = Trace::under_way(caller, EVERYTHING, file);
    let mut names = Vec::new();
    // One that was never on a processor has the name of whoever started it.
    within(Duration::from_mins(1), || {
        names = threads(trace.worker()).into_iter().map(|(_, name)| name).collect();
        names.sort();
        (names == expected).then_some(())
    });
    trace.end();
    assert_eq!(names, expected, "each thread has a name, by which it is told");
    for name in expected {
        let trace = Trace::under_way(caller, EVERYTHING, file);
        break_thread(trace.worker(), name);
        let (finished, lab) = trace.end();
        let told = format!("nsntrace: the capture was cut short: thread {name} has failed, which is a bug\n");
        assert_eq!(finished.shell_status(), 125, "{}", finished.stderr);
        assert!(finished.stderr.contains(&told), "{name}: {}", finished.stderr);
        let packets = CaptureFile::new(&lab.dir.join(file)).count("udp.dstport == 9");
        // What those two have at hand is lost with them.
        let is_whole = packets == SENT || ["nsntrace-ring", "nsntrace-gzip"].contains(name);
        assert!(is_whole, "{name}: {packets} of {SENT}");
    }
}

#[test]
fn of_worker_by_nat() {
    let threads = [
        "nsntrace-explai",
        "nsntrace-keys",
        "nsntrace-owners",
        "nsntrace-print",
        "nsntrace-ring",
        "nsntrace-worker",
    ];
    check_worker(Caller::Root, "trace.pcapng", &threads);
}

#[test]
fn of_worker_by_proxy() {
    let threads = [
        "nsntrace-explai",
        "nsntrace-gzip",
        "nsntrace-keys",
        "nsntrace-owners",
        "nsntrace-print",
        "nsntrace-proxy",
        "nsntrace-ring",
        "nsntrace-worker",
        "sockets of r",
    ];
    check_worker(Caller::User, "trace.pcapng.gz", &threads);
}

/// Whom the shell waits for. Worker sees to the rest, as after SIGKILL.
#[test]
fn of_front() {
    for name in ["nsntrace", "nsntrace-lines"] {
        let trace = Trace::under_way(Caller::Root, EVERYTHING, "trace.pcapng");
        break_thread(trace.front.pid(), name);
        let (finished, lab) = trace.end();
        assert_eq!(finished.shell_status(), 125, "{}", finished.stderr);
        let told = format!("nsntrace: thread {name} has failed: this is a bug\n");
        assert!(finished.stderr.ends_with(&told), "{}", finished.stderr);
        let file = CaptureFile::new(&lab.dir.join("trace.pcapng"));
        assert_eq!(file.count("udp.dstport == 9"), SENT);
    }
}
