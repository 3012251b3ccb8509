//! Every system call of ours that can fail, refused once by the kernel (`refuse.py`): there is a trace and it is whole, or there is none and
//! one line says why; and nothing is left.

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nsntrace_testkit::{CaptureFile, Finished, Lab, Residue, within};

use crate::caller::Caller;

/// One call of one of our processes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    role: String,
    syscall: String,
    /// The how manieth of its kind, from 1.
    number: u32,
}

/// Which of the calls of a kind are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    FirstAndLast,
    All,
}

impl Choice {
    /// All of them take minutes: for who sets `NSNTRACE_REFUSE=all`.
    fn of_environment() -> Self {
        if env::var("NSNTRACE_REFUSE").is_ok_and(|which| which == "all") {
            Self::All
        } else {
            Self::FirstAndLast
        }
    }
}

/// Refuses call after call, and tells of all that went wrong at once.
fn check(caller: Caller) {
    let lab = Caller::lab();
    fs::write(lab.dir.join("refuse.py"), REFUSE).expect("our directory");
    let before = Residue::of(&lab.host);
    let calls = calls(caller, &lab, Choice::of_environment());
    assert!(calls.len() > 50, "{calls:?}");
    let complaints: Vec<_> = calls.iter().filter_map(|call| complaint(caller, &lab, &before, call)).collect();
    let count = complaints.len();
    assert!(count == 0, "{count} of {} calls:\n{}", calls.len(), complaints.join("\n"));
}

/// What is to be refused, found out in a run in which nothing is.
fn calls(caller: Caller, lab: &Lab, choice: Choice) -> Vec<Call> {
    let nothing = Call { role: "nobody".into(), syscall: "nothing".into(), number: 0 };
    run(caller, lab, &nothing, "EIO").expect("it ends").succeeded();
    let report = fs::read_to_string(lab.dir.join("report")).expect("refuse.py wrote it");
    let kinds = report.lines().map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let [role, syscall, count] = words[..] else { panic!("{line}") };
        (role.to_owned(), syscall.to_owned(), count.parse::<u32>().expect("a number"))
    });
    let fallible = kinds.filter(|(_, syscall, _)| !INFALLIBLE.contains(&syscall.as_str()));
    fallible
        .flat_map(|(role, syscall, count)| {
            let mut numbers: Vec<_> = (1..=count).collect();
            if choice == Choice::FirstAndLast {
                numbers.retain(|&number| number == 1 || number == count);
            }
            numbers.into_iter().map(move |number| Call {
                role: role.clone(),
                syscall: syscall.clone(),
                number,
            })
        })
        .collect()
}

/// `None` if all is well when the call is refused.
fn complaint(caller: Caller, lab: &Lab, before: &Residue, call: &Call) -> Option<String> {
    let errno = errno_of(&call.syscall);
    let told = format!("{} {} {} {errno}", call.role, call.syscall, call.number);
    let checked = catch_unwind(AssertUnwindSafe(|| {
        let finished = run(caller, lab, call, errno).ok_or("it hangs")?;
        check_words(&finished, lab, call)?;
        let left = before.left_after(LIMIT, &lab.host, is_for_the_next_run);
        if !left.is_empty() {
            return Err(format!("left: {left}{}", finished.stderr));
        }
        if before.left_after(Duration::ZERO, &lab.host, |_| false).is_empty() {
            return Ok(());
        }
        caller.run(lab, &["-q", "-o", "next.pcap", "true"]).succeeded();
        let left = before.left_after(LIMIT, &lab.host, |_| false);
        if left.is_empty() { Ok(()) } else { Err(format!("left after the next run: {left}")) }
    }));
    match checked {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(format!("{told}: {why}")),
        Err(_panic) => Some(format!("{told}: see above")),
    }
}

/// `None` for a run that does not end.
fn run(caller: Caller, lab: &Lab, call: &Call, errno: &str) -> Option<Finished> {
    let _not_made = fs::remove_file(lab.dir.join("refused.pcap"));
    let number = call.number.to_string();
    let wrapper =
        ["/usr/bin/python3", "-I", "-S", "refuse.py", "report", &call.role, &call.syscall, &number, errno];
    let mut process = lab.host.spawn(caller.wrapped(lab, &wrapper, PROGRAM));
    within(Duration::from_mins(1), || process.has_ended().then_some(()))?;
    Some(process.wait())
}

/// Whole with the program's status, which may have been without a network; or not at all, with a line that says why.
fn check_words(finished: &Finished, lab: &Lab, call: &Call) -> Result<(), String> {
    let file = CaptureFile::new(&lab.dir.join("refused.pcap"));
    let len = fs::metadata(file.path()).map(|file| file.len()).ok();
    let packets = match len {
        None | Some(0) => None,
        Some(_) => Some(file.tcpdump(&[], "").len()),
    };
    let stderr = &finished.stderr;
    let said = stderr.lines().find_map(|line| line.strip_prefix("Finished capturing ")?.split(' ').next());
    let is_explained = stderr.lines().any(|line| {
        line.starts_with("nsntrace: ") && !line.starts_with("nsntrace: note: ") && line.contains(':')
    });
    // Without memory, Rust's run time has the word before us; and a terminal that takes no more is told nothing.
    let is_memory = ["mmap", "mprotect"].contains(&call.syscall.as_str());
    let is_mute = call.role == "front" && call.syscall == "write";
    let is_well = match finished.shell_status() {
        _ if stderr.contains("panicked") && !is_memory => false,
        0..=99 => packets.is_some() && (said == packets.map(|n| n.to_string()).as_deref() || is_mute),
        134 => is_memory,
        125 | 126 => is_explained || stderr.contains("not written"),
        _ => false,
    };
    let status = finished.shell_status();
    if is_well { Ok(()) } else { Err(format!("status {status}, {packets:?} packets: {stderr}")) }
}

/// What a system call is most likely to fail with.
fn errno_of(syscall: &str) -> &'static str {
    let found = ERRNOS.iter().find(|(_, syscalls)| syscalls.contains(&syscall));
    found.unwrap_or_else(|| panic!("say in this file what {syscall} fails with, or that it does not")).0
}

/// What no descriptor holds, where the call that would have taken it back was refused.
fn is_for_the_next_run(line: &str) -> bool {
    ["run: +", "sysctls: ", "conntrack: +"].iter().any(|section| line.starts_with(section))
}

#[test]
fn calls_by_nat() {
    check(Caller::Root);
}

#[test]
fn calls_by_proxy() {
    check(Caller::User);
}

const LIMIT: Duration = Duration::from_secs(10);

/// Asks for a name and for a page: what serves the program is to fail, too.
const PROGRAM: &[&str] =
    &["-o", "refused.pcap", "curl", "-s", "-m", "3", "-o", "/dev/null", "http://www.lab.test/bytes/20000"];

const REFUSE: &str = include_str!("refuse.py");

/// What cannot fail for us, or is the libc's own.
const INFALLIBLE: &[&str] = &[
    "arch_prctl",
    "brk",
    "clock_nanosleep",
    "exit",
    "exit_group",
    "futex",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "getuid",
    "lseek",
    "madvise",
    "munmap",
    "prlimit64",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "sysinfo",
    "uname",
];

const ERRNOS: &[(&str, &[&str])] = &[
    ("EACCES", &["chdir", "setpriority", "readlink", "readlinkat"]),
    ("EADDRINUSE", &["bind", "listen"]),
    ("EAGAIN", &["clone", "clone3", "setresgid", "setresuid"]),
    ("EBUSY", &["dup2", "dup3"]),
    ("EINTR", &["close", "epoll_pwait", "epoll_wait", "wait4"]),
    (
        "EIO",
        &[
            "fsync",
            "getdents64",
            "ioctl",
            "pread64",
            "read",
            "recvfrom",
            "recvmsg",
            "rmdir",
            "unlink",
            "unlinkat",
        ],
    ),
    (
        "EMFILE",
        &[
            "accept4",
            "epoll_create1",
            "eventfd2",
            "fcntl",
            "open",
            "openat",
            "pidfd_getfd",
            "pidfd_open",
            "pipe2",
            "signalfd4",
            "socket",
            "socketpair",
            "timerfd_create",
        ],
    ),
    ("ENOBUFS", &["connect", "getsockname", "getsockopt", "sendmmsg", "sendmsg", "sendto", "setsockopt"]),
    ("EINVAL", &["seccomp"]),
    ("ENOTCONN", &["getpeername", "shutdown"]),
    ("ENOLCK", &["flock"]),
    (
        "ENOMEM",
        &[
            "capget",
            "epoll_ctl",
            "execve",
            "fstat",
            "mmap",
            "mprotect",
            "newfstatat",
            "poll",
            "ppoll",
            "splice",
            "statx",
            "stat",
            "timerfd_settime",
        ],
    ),
    (
        "ENOSPC",
        &["fallocate", "ftruncate", "mkdir", "mkdirat", "pwrite64", "symlink", "unshare", "write", "writev"],
    ),
    ("EPERM", &["capset", "kill", "prctl", "setgroups", "setns", "setsid", "mount", "umount2"]),
];
