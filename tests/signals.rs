//! Signals to us reach the program, once, and the file is closed properly; a terminal works as if the program ran alone.
#![forbid(unsafe_code)]

use std::process::Command;
use std::time::{Duration, Instant};

use nsntrace_testkit::{Lab, Plan, Process, Report, nsntrace, program_of, until};

use Step::{Lend, See, Type};

/// Counts its signals for a while after the first one, and says which came how often.
const COUNT_SIGNALS: &str = "
import signal, time, os
seen = []
for n in (1, 2, 3, 10, 12, 15): signal.signal(n, lambda n, _: seen.append(n))
open('ready', 'w').close()
while not seen: time.sleep(0.01)
time.sleep(0.3)
print(seen, flush=True)
os._exit(7)
";

fn start_counter(lab: &Lab) -> Process {
    let process = lab.start(&["-o", "trace.pcap", "/usr/bin/python3", "-I", "-S", "-c", COUNT_SIGNALS]);
    let ready = lab.dir.join("ready");
    until("the program has its handlers", Duration::from_mins(1), || ready.exists().then_some(()));
    process
}

#[test]
fn smoke_each_signal_reaches_the_program_once() {
    let lab = Lab::new(&Plan::default());
    for signal in [1, 2, 3, 15, 10, 12] {
        let process = start_counter(&lab);
        process.signal(signal);
        let finished = process.wait().ended_with(7);
        assert_eq!(finished.text(), format!("[{signal}]\n"));
        Report::new(finished, &lab.dir.join("trace.pcap"));
        std::fs::remove_file(lab.dir.join("ready")).expect("the program made it");
    }
}

#[test]
fn a_program_that_ignores_a_signal_is_traced_on() {
    let lab = Lab::new(&Plan::default());
    let script = "trap '' INT TERM HUP QUIT; echo >&2 up; until test -e go; do sleep 0.02; done; ping -q -c1 198.51.100.2 >/dev/null";
    let mut process = lab.start(&["-o", "trace.pcap", "sh", "-c", script]);
    process.await_stderr("up\n");
    for signal in [2, 15, 1, 3] {
        process.signal(signal);
    }
    std::fs::write(lab.dir.join("go"), "").expect("our directory");
    let report = Report::new(process.wait().succeeded(), &lab.dir.join("trace.pcap"));
    assert_eq!(report.file.count("icmp.type == 8"), 1, "what it sent after the signals is in the file");
}

#[test]
fn a_signal_ends_the_trace_with_everything_before_it_in_the_file() {
    let lab = Lab::new(&Plan::default());
    for signal in [2, 15, 1, 3] {
        let script = "ulimit -c 0; ping -q -c2 -i0.05 198.51.100.2 >/dev/null; echo >&2 sent; exec sleep 60";
        let mut process = lab.start(&["-o", "trace.pcap", "sh", "-c", script]);
        process.await_stderr("sent\n");
        let start = Instant::now();
        process.signal(signal);
        let report = Report::new(process.wait().ended_with(128 + signal), &lab.dir.join("trace.pcap"));
        assert!(start.elapsed() < Duration::from_secs(30), "signal {signal} took {:?}", start.elapsed());
        assert_eq!(report.file.count("icmp"), 4);
    }
}

#[test]
fn standard_input_is_the_programs() {
    let lab = Lab::new(&Plan::default());
    let mut command = lab.nsntrace(&["-q", "cat"]);
    command.stdin(std::process::Stdio::piped());
    let mut process = lab.host.spawn(command);
    process.feed("x".repeat(300_000).as_bytes());
    assert_eq!(process.wait().succeeded().stdout.len(), 300_000);
}

/// Everything that a program can find out about how it was started.
const LOOK_AROUND: &str = "
import os, resource, signal
print('cwd', os.getcwd()); print('umask', oct(os.umask(0)))
print('ids', os.getresuid(), os.getresgid(), sorted(os.getgroups()))
print('session', os.getsid(0) == os.getsid(os.getppid()), 'group', os.getpgid(0) == os.getpgid(os.getppid()))
print('descriptors', sorted(f for f in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + f)))
keys = ('SigBlk', 'SigCgt', 'Cap', 'NoNewPrivs', 'Seccomp', 'Cpus_allowed', 'Mems_allowed')
print([line for line in open('/proc/self/status') if line.startswith(keys)])
# Signals 32 and 33 are the C library's own.
ignored = [int(line.split()[1], 16) for line in open('/proc/self/status') if line.startswith('SigIgn')]
print('ignored', hex(ignored[0] & 0x7fffffff)); print('limits', open('/proc/self/limits').read()); print('nice', os.nice(0))
print('oom', open('/proc/self/oom_score_adj').read(), open('/proc/self/cgroup').read())
print(sorted((k, v) for k, v in os.environ.items() if k not in ('_', 'SHLVL')))
";

#[test]
fn smoke_a_program_is_started_as_if_alone() {
    let lab = Lab::new(&Plan::default());
    let probe = ["/usr/bin/python3", "-I", "-S", "-c", LOOK_AROUND];
    // The parent of both is a shell, so that session and group can be compared with a parent's.
    let run = |prefix: &str| {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("umask 027; ulimit -n 4321; {prefix}\"$@\"; exit $?"), "sh"])
            .args(probe);
        command
            .current_dir(lab.dir.path())
            .env("NSNTRACE_TEST_WORD", "kept")
            .stdin(std::process::Stdio::null());
        lab.host.spawn(command).wait().succeeded()
    };
    let alone = run("").text();
    assert!(alone.contains("4321") && alone.contains("kept") && alone.contains("0o27"), "{alone}");
    assert_eq!(run(&format!("{} -q ", nsntrace().display())).text(), alone);
}

/// What a user at a terminal does next.
#[derive(Clone, Copy)]
enum Step<'a> {
    /// Types this text, with the escapes of Python.
    Type(&'a str),
    /// Waits until the terminal shows something that this regular expression matches.
    See(&'a str),
    /// Waits until the shell has handed the terminal over to a job.
    Lend,
}

impl<'a> Step<'a> {
    fn words(self) -> Vec<&'a str> {
        match self {
            Type(text) => vec!["type", text],
            See(pattern) => vec!["see", pattern],
            Lend => vec!["lend"],
        }
    }
}

/// Types at a terminal, and returns what it showed.
#[track_caller]
fn at_a_terminal(lab: &Lab, steps: &[Step<'_>]) -> String {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-I", "-S", "-c", include_str!("terminal.py")]);
    command.args(steps.iter().flat_map(|step| step.words()));
    command.current_dir(lab.dir.path()).env("NT", nsntrace()).stdin(std::process::Stdio::null());
    lab.host.spawn(command).wait().succeeded().text().replace('\r', "")
}

#[test]
fn ctrl_c_ends_the_program_and_the_file_is_whole() {
    let lab = Lab::new(&Plan::default());
    let shown = at_a_terminal(
        &lab,
        &[
            Type("$NT -o t.pcap ping -i0.05 198.51.100.2\\r"),
            See("icmp_seq=2 "),
            Type("\\x03"),
            See("Finished capturing [1-9][0-9]* packets"),
            See("prompt> "),
            Type("echo status=$?\\r"),
            See("status=[0-9]+"),
        ],
    );
    assert!(shown.contains("ping statistics"), "ping saw SIGINT itself and said goodbye: {shown}");
    assert!(shown.contains("status=0\n"), "ping exits 0 on ctrl-c: {shown}");
    assert!(lab.host.try_sh(&format!("capinfos {}", lab.dir.join("t.pcap").display())).status.success());
}

#[test]
fn ctrl_c_comes_once() {
    let lab = Lab::new(&Plan::default());
    std::fs::write(lab.dir.join("count.py"), COUNT_SIGNALS).expect("our directory");
    // The shell waits for the handlers, for a signal would end a python that is still starting.
    let ready = "until test -e ready; do sleep 0.01; done; echo is-$((1+1))-up\\r";
    let shown = at_a_terminal(
        &lab,
        &[
            Type("$NT -q python3 -I -S count.py &\\r"),
            See("prompt> "),
            Type(ready),
            See("is-2-up"),
            Type("fg\\r"),
            See("count.py"),
            Lend,
            Type("\\x03"),
            See(r"\[2[^]]*\]"),
            See("prompt> "),
            Type("echo status=$?\\r"),
            See("status=7"),
        ],
    );
    assert!(shown.contains("[2]\n"), "{shown}");
}

#[test]
fn ctrl_c_stops_a_loop_of_the_shell() {
    let lab = Lab::new(&Plan::default());
    let shown = at_a_terminal(
        &lab,
        &[
            Type("for i in 1 2 3; do $NT sleep 60; done; echo after-$((1+1))\\r"),
            See("ctrl-c"),
            Type("\\x03"),
            See("Finished capturing"),
            See("prompt> "),
            Type("echo status=$?\\r"),
            See("status=130"),
        ],
    );
    assert_eq!(shown.matches("Starting network trace").count(), 1, "{shown}");
}

#[test]
fn ctrl_z_stops_and_fg_goes_on() {
    let lab = Lab::new(&Plan::default());
    let shown = at_a_terminal(
        &lab,
        &[
            Type("$NT -o t.pcap sh -c 'ping -q -c40 -i0.05 198.51.100.2; echo ok-$((1+1))'\\r"),
            See("bytes of data"),
            Type("\\x1a"),
            See("Stopped"),
            See("prompt> "),
            Type("jobs\\r"),
            See("Stopped"),
            Type("fg\\r"),
            See("ok-2"),
            See("Finished capturing [0-9]+ packets"),
            See("prompt> "),
            Type("echo status=$?\\r"),
            See("status=0"),
        ],
    );
    assert!(shown.contains("40 packets transmitted, 40 received"), "{shown}");
}

#[test]
fn ctrl_backslash_quits() {
    let lab = Lab::new(&Plan::default());
    at_a_terminal(
        &lab,
        &[
            Type("ulimit -c 0; $NT sleep 60\\r"),
            See("ctrl-c"),
            Type("\\x1c"),
            See("Finished capturing"),
            See("prompt> "),
            Type("echo status=$?\\r"),
            See("status=131"),
        ],
    );
}

/// As `ssh -t host nsntrace ...` does, or a terminal that was told to run it: no shell is there to pass the hang-up on.
const HANG_UP: &str = "
import os, pty, sys, time
pid, terminal = pty.fork()
if pid == 0: os.execv(sys.argv[1], sys.argv[1:])
while not os.path.exists('ready'): time.sleep(0.01)
os.close(terminal)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn a_terminal_that_goes_away_is_told_to_the_program() {
    let lab = Lab::new(&Plan::default());
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-I", "-S", "-c", HANG_UP]).arg(nsntrace()).args(["--print", "-o", "trace.pcap"]);
    command.args(["sh", "-c", "trap 'exit 7' HUP; touch ready; while :; do sleep 0.05; done"]);
    command.current_dir(lab.dir.path());
    lab.host.spawn(command).wait().ended_with(7);
    nsntrace_testkit::CaptureFile::new(&lab.dir.join("trace.pcap")).packets();
}

#[test]
fn a_program_at_a_terminal_has_the_terminal() {
    let lab = Lab::new(&Plan::default());
    let shown = at_a_terminal(
        &lab,
        &[
            Type("$NT -q bash --norc --noprofile -i\\r"),
            See("prompt> "),
            Type("tty; sh -c 'test -t 0 && echo yes-$((1+1)); exec sleep 50'\\r"),
            See("/dev/pts/[0-9]+"),
            See("yes-2"),
            Type("\\x1a"),
            See("Stopped"),
            Type("kill -9 %1; sleep 0.1\\r"),
            See("Killed"),
            See("prompt> "),
            Type("exit 3\\r"),
            See("prompt> "),
            Type("echo status=$?\\r"),
            See("status=3"),
        ],
    );
    assert!(!shown.contains("no job control"), "{shown}");
}

#[test]
fn a_stopped_program_stays_stopped() {
    let lab = Lab::new(&Plan::default());
    let mut process = lab.start(&["sh", "-c", "until test -e go; do sleep 0.02; done"]);
    process.await_stderr("ctrl-c");
    let program = until("it runs", Duration::from_mins(1), || program_of(process.pid()));
    program.signal(19);
    std::fs::write(lab.dir.join("go"), "").expect("our directory");
    std::thread::sleep(Duration::from_millis(500));
    assert!(!process.has_ended(), "a stopped program has not ended");
    program.signal(18);
    process.wait().succeeded();
}

#[test]
fn a_signal_that_was_ignored_from_the_start_stays_ignored() {
    let lab = Lab::new(&Plan::default());
    for signal in ["HUP", "INT", "QUIT", "TERM"] {
        let script = format!(
            "trap '' {signal}; exec \"$NT\" -o trace.pcap sh -c 'echo >&2 up; until test -e go; do sleep 0.02; done'"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(lab.dir.path()).env("NT", nsntrace());
        let mut process = lab.host.spawn(command);
        process.await_stderr("up\n");
        lab.host.sh(&format!(
            "kill -{signal} {}",
            nsntrace_testkit::Member::read(process.pid())
                .and_then(|front| front.inner_pid())
                .expect("it runs")
        ));
        std::fs::write(lab.dir.join("go"), "").expect("our directory");
        Report::new(process.wait().succeeded(), &lab.dir.join("trace.pcap"));
        std::fs::remove_file(lab.dir.join("go")).expect("it was there");
    }
}

#[test]
fn closed_descriptors_do_not_end_up_in_the_file() {
    let lab = Lab::new(&Plan::default());
    for closing in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let script = format!(
            "$NT -o trace.pcap sh -c 'echo word; echo word >&2; ping -q -c1 198.51.100.2; exit 7' {closing}; echo $?"
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]).current_dir(lab.dir.path()).env("NT", nsntrace());
        let text = lab.host.spawn(command).wait().text();
        assert!(text.ends_with("7\n"), "{closing}: {text}");
        let file = nsntrace_testkit::CaptureFile::new(&lab.dir.join("trace.pcap"));
        assert_eq!(file.packets(), 2, "{closing}");
    }
}
