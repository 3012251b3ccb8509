//! Programs that do what programs seldom do: the trace is whole, the status theirs, and nothing is left.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nsntrace_testkit::{CaptureFile, Finished, Lab, Report, Residue};

use crate::caller::Caller;

/// Runs a program to its end in both transports, each in a lab of its own.
#[track_caller]
fn in_both(program: &[&str], check: impl Fn(Caller, Report)) {
    for caller in [Caller::Root, Caller::User] {
        let lab = Caller::lab();
        let before = Residue::of(&lab.host);
        check(caller, report(&lab, trace(caller, &lab, program)));
        before.assert_same(&lab.host);
    }
}

#[track_caller]
fn trace(caller: Caller, lab: &Lab, program: &[&str]) -> Finished {
    caller.run(lab, &[&["-o", "trace.pcap"], program].concat())
}

#[track_caller]
fn report(lab: &Lab, finished: Finished) -> Report {
    Report::new(finished, &lab.dir.join("trace.pcap"))
}

/// How many datagrams to the sink are in the file.
fn datagrams(file: &CaptureFile) -> usize {
    file.tcpdump(&["-t"], "udp dst port 9").len()
}

#[test]
fn hundreds_of_short_ones_at_once() {
    let script = "for i in $(seq 300); do printf x >/dev/udp/198.51.100.2/9 & done; wait; exit 4";
    in_both(&["bash", "-c", script], |_, report| {
        assert_eq!(datagrams(&report.file), 300);
        report.finished.ended_with(4);
    });
}

#[test]
fn one_that_closes_every_descriptor() {
    let script = "import os, socket
os.closerange(0, 65536)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('198.51.100.2', 9))
os._exit(7)";
    in_both(&["/usr/bin/python3", "-I", "-S", "-c", script], |_, report| {
        assert_eq!(datagrams(&report.file), 1);
        report.finished.ended_with(7);
    });
}

/// Two forks and a session of its own: nobody's child any more. It speaks when it may.
const DAEMON: &str = "import os, socket, time
def say(): socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('198.51.100.2', 9))
if os.fork(): os._exit(6)
os.setsid()
if os.fork(): os._exit(0)
os.closerange(0, 3)
while not os.path.exists('late'): time.sleep(0.02)
say()";

#[test]
fn one_that_daemonises_is_named_and_not_waited_for() {
    for caller in [Caller::Root, Caller::User] {
        let lab = Caller::lab();
        let before = Residue::of(&lab.host);
        let finished = trace(caller, &lab, &["/usr/bin/python3", "-I", "-S", "-c", DAEMON]).ended_with(6);
        let report = report(&lab, finished);
        assert_eq!(datagrams(&report.file), 0);
        assert!(report.notes.iter().any(|note| note.contains("till running")), "{:?}", report.notes);
        fs::write(lab.dir.join("late"), "").expect("it is ours");
        let left = before.left_after(Duration::from_mins(1), &lab.host, |_| false);
        assert!(left.is_empty(), "the daemon ends by itself: {left}");
    }
}

#[test]
fn one_that_daemonises_can_be_waited_for() {
    for caller in [Caller::Root, Caller::User] {
        let lab = Caller::lab();
        let before = Residue::of(&lab.host);
        let program = ["--wait-all", "/usr/bin/python3", "-I", "-S", "-c", DAEMON];
        let mut process = caller.start(&lab, &[&["-o", "trace.pcap"], &program[..]].concat());
        process.await_stderr("ctrl-c");
        thread::sleep(Duration::from_millis(500));
        assert!(!process.has_ended(), "the daemon lives");
        fs::write(lab.dir.join("late"), "").expect("it is ours");
        let report = report(&lab, process.wait().ended_with(6));
        assert_eq!(datagrams(&report.file), 1);
        before.assert_same(&lab.host);
    }
}

/// What is said in another namespace is said elsewhere, and not in the file.
#[test]
fn one_that_goes_to_another_namespace() {
    let script = "printf x >/dev/udp/198.51.100.2/9
        unshare -Urn bash -c 'ip link set lo up; printf y >/dev/udp/127.0.0.1/9'
        printf x >/dev/udp/198.51.100.2/9; exit 5";
    in_both(&["bash", "-c", script], |_, report| {
        assert_eq!(datagrams(&report.file), 2);
        report.finished.ended_with(5);
    });
}

/// The file's owner counts where it is somebody: not in a user namespace that has only its user.
#[test]
fn one_that_is_setuid() {
    let lab = Caller::lab();
    let path = lab.dir.copy_program(Path::new("/usr/bin/id"), "id");
    chown(&path, Some(0), Some(0)).expect("we are root");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).expect("it is ours");
    let by_nat = trace(Caller::Root, &lab, &["-u", "nobody", "./id", "-u"]).succeeded();
    assert_eq!(by_nat.text(), "0\n", "as without us");
    let by_proxy = trace(Caller::User, &lab, &["-o", "user.pcap", "./id", "-u"]).succeeded();
    assert_eq!(by_proxy.text(), "65534\n", "it runs, and gains nothing");
}

#[test]
fn a_hundred_traces_at_once() {
    let lab = Caller::lab();
    let before = Residue::of(&lab.host);
    let script = "printf x >/dev/udp/198.51.100.2/9; exit 9";
    let runs: Vec<_> = (0..100)
        .map(|n| {
            let (caller, name) = (if n % 2 == 0 { Caller::Root } else { Caller::User }, format!("{n}.pcap"));
            let process = caller.start(&lab, &["-o", &name, "bash", "-c", script]);
            (name, process)
        })
        .collect();
    for (name, process) in runs {
        let report = Report::new(process.wait().ended_with(9), &lab.dir.join(&name));
        assert_eq!(datagrams(&report.file), 1, "{name}");
    }
    before.assert_same(&lab.host);
}
